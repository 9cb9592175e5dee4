"""The verbs that look back at tests that were kept: ready, report, share."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

from tests.commands.conftest import CLOSED, PING, TPS, Settings
from tests.support.running_site import Run, Site


def test_ready_counts_the_uploads_of_this_place_alone(site: Site, settings: Settings, sigprobe: Run) -> None:
    """A forecast rests on uploads measured here, within the hours asked for; elsewhere nothing is known, not 0."""
    speed = {"kind": "throughput", "name": "center", "engine": "http", "url": site.url, "max_mb": 2, "max_s": 1}
    here = str(settings(PING, speed))
    elsewhere = str(settings(PING, name="other.yaml", probe={"site": "kantor"}))
    none = json.loads(sigprobe("ready", "--json", "--config", here).stdout)
    assert (none["measurements"], none["probability"], none["newest_age_h"]) == (0, None, None)
    assert sigprobe("test", "-q", "--no-upload", "--config", here).returncode == 0

    known = json.loads(sigprobe("ready", "--json", "--photos", "1", "--mb", "0.01", "--config", here).stdout)
    assert known["measurements"] == 1 and known["probability"] > 0.9
    asked = sigprobe(
        "ready", "--mb", "1000", "--photos", "1000", "--minutes", "0.1", "--fail-below", "0.5", "--config", here
    )
    assert asked.returncode == 3, "ten thousand gigabits a second are not there"
    other = sigprobe("ready", "--json", "--fail-below", "0.5", "--config", elsewhere)
    assert other.returncode == 3 and json.loads(other.stdout)["probability"] is None


def test_a_report_is_two_files_that_are_never_overwritten_unasked(
    settings: Settings, sigprobe: Run, tmp_path: Path
) -> None:
    """The newest run goes into a page and a document for programs; an older one by its id; nothing is replaced."""
    config = str(settings(PING, CLOSED))
    empty = sigprobe("report", "--lang", "en", "--config", config)
    assert (empty.returncode, empty.stdout) == (2, "") and "sigprobe test" in empty.stderr
    runs = [json.loads(sigprobe("test", "--json", "--no-upload", "--config", config).stdout) for _ in range(2)]

    page = tmp_path / "ticket.html"
    done = sigprobe("report", "--out", str(page), "--lang", "id", "--config", config)
    assert done.returncode == 0 and str(page) in done.stdout
    made = page.read_text()
    assert TPS in made and runs[1]["run_id"] in page.with_suffix(".json").read_text()
    assert "Lokasi tidak tercatat." in made, "no GPS was asked for, so none is blamed"
    again = sigprobe("report", "--run", runs[0]["run_id"], "--out", str(page), "--config", config)
    assert again.returncode == 2 and page.read_text() == made
    older = sigprobe("report", "--run", runs[0]["run_id"], "--out", str(page), "--force", "--config", config)
    assert older.returncode == 0 and runs[0]["run_id"] in page.with_suffix(".json").read_text()
    assert sigprobe("report", "--run", "nonsense", "--config", config).returncode == 2
    assert sigprobe("report", "--last", "--run", runs[0]["run_id"], "--config", config).returncode == 2
    away = sigprobe("report", "--out", str(tmp_path / "missing" / "ticket.html"), "--lang", "en", "--config", config)
    assert away.returncode == 1 and "could not be written" in away.stderr


def test_share_is_the_message_and_its_link(settings: Settings, sigprobe: Run) -> None:
    """What is shared is the same text on the screen, for programs, and in the link."""
    config = str(settings(PING))
    empty = sigprobe("share", "--lang", "en", "--config", config)
    assert (empty.returncode, empty.stdout) == (2, "") and "sigprobe test" in empty.stderr
    sigprobe("test", "-q", "--no-upload", "--config", config)
    shared = json.loads(sigprobe("share", "--json", "--lang", "id", "--config", config).stdout)
    assert TPS in shared["text"]
    assert unquote(shared["link"]).endswith(shared["text"])
    shown = sigprobe("share", "--lang", "id", "--config", config).stdout
    assert shown.startswith(shared["text"]) and shared["link"] in shown
    assert sigprobe("share", "--run", "nonsense", "--config", config).returncode == 2
