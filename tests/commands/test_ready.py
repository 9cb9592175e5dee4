"""The forecast on the screen and for programs: what it rests on, and when there is no percentage."""

from __future__ import annotations

import json
from typing import Any

from tests.commands.conftest import CLOSED, PING, Settings
from tests.support.running_site import Run, Site

KEYS = {
    "schema",
    *("photos", "photo_mb", "minutes", "probability", "needed_bps", "typical_minutes", "measurements", "failed"),
    *("newest_age_h", "interval_minutes", "probability_range", "dead_share", "unreachable", "reason"),
}
EASY = ("--photos", "1", "--mb", "0.01")


def speed(site: Site) -> dict[str, Any]:
    """A speed test of a second."""
    return {"kind": "throughput", "name": "center", "engine": "http", "url": site.url, "max_mb": 2, "max_s": 1}


def test_a_service_that_cannot_be_reached_has_no_percentage(site: Site, settings: Settings, sigprobe: Run) -> None:
    """A fast link to a service that is down sends nothing: the reason is given, in words and as a code."""
    front = {"kind": "http", "name": "front", "url": f"{site.url}healthz"}
    config = str(settings(PING, speed(site), CLOSED, front))
    measured = json.loads(sigprobe("test", "--json", "--no-upload", "--config", config).stdout)
    outcomes = {result["target"]["name"]: result["outcome"] for result in measured["results"]}
    assert (outcomes["closed"], outcomes["front"], outcomes["center"]) == ("failed", "ok", "ok")

    down = sigprobe("ready", *EASY, "--to", "closed", "--fail-below", "0.1", "--json", "--config", config)
    told = json.loads(down.stdout)
    assert down.returncode == 3, "what is not known is below any probability"
    assert set(told) == KEYS
    assert (told["probability"], told["reason"], told["unreachable"]) == (None, "service_unreachable", ["closed"])
    assert told["interval_minutes"] is None and told["probability_range"] is None and told["measurements"] == 1
    for language, words in (("en", "closed could not be reached"), ("id", "closed")):
        screen = sigprobe("ready", *EASY, "--to", "closed", "--lang", language, "--config", config).stdout
        assert words in screen and "%" not in screen

    up = json.loads(sigprobe("ready", *EASY, "--to", "front", "--json", "--config", config).stdout)
    assert up["probability"] > 0.9 and up["reason"] is None and up["unreachable"] == []
    low, high = up["interval_minutes"]
    assert 0 < low <= up["typical_minutes"] <= high
    assert up["probability_range"][0] <= up["probability"] <= up["probability_range"][1]
    assert 0 < up["dead_share"] < 0.1
    any_of_both = json.loads(sigprobe("ready", *EASY, "--json", "--config", config).stdout)
    assert any_of_both["probability"] > 0.9 and any_of_both["unreachable"] == ["closed"]

    assert "1 pengujian" in sigprobe("ready", *EASY, "--to", "front", "--lang", "id", "--config", config).stdout
    assert "Only 1 test so far" in sigprobe("ready", *EASY, "--lang", "en", "--config", config).stdout
    unknown = sigprobe("ready", "--to", "nowhere", "--config", config)
    assert unknown.returncode == 2 and "nowhere" in unknown.stderr
    assert sigprobe("ready", "--to", "center", "--config", config).returncode == 2, "a speed test is no web target"


def test_without_an_upload_there_is_another_reason(settings: Settings, sigprobe: Run) -> None:
    """Where nothing was measured the code says that, and no service is named."""
    told = json.loads(sigprobe("ready", "--json", "--config", str(settings(PING))).stdout)
    assert set(told) == KEYS
    assert (told["probability"], told["reason"], told["unreachable"]) == (None, "no_upload_measured", [])
