"""The options of `sigprobe test`, right and wrong: what they do, and what a wrong one is answered."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import CLOSED, PING, TPS, Settings
from tests.support.running_site import Run
from tests.support.servers.tcp import Peer, http_server, page, tcp_server
from tests.support.taken_away import hold_read


def names(document: str) -> list[str]:
    return [result["target"]["name"] for result in json.loads(document)["results"]]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["http"], ["closed", "other"]),
        (["device"], ["device"]),
        (["other", "ping"], ["device", "other"]),
        (["other, ping"], ["device", "other"]),
    ],
)
def test_only(words: list[str], kept: list[str], settings: Settings, sigprobe: Run) -> None:
    """`--only` takes kinds and names, repeated or with commas, and keeps the order of the settings."""
    config = settings(PING, CLOSED, {**CLOSED, "name": "other"})
    flags = [part for word in words for part in ("--only", word)]
    done = sigprobe("test", "--json", *flags, "--config", str(config))
    assert names(done.stdout) == kept
    assert json.loads(done.stdout)["saved"] == len(kept) + 1


WRONG = {
    "unknown target": (["--only", "sirekap"], "closed, device, http, path, ping"),
    "short TPS": (["--tps", "327301100100"], "SP-CFG-03"),
    "TPS with letters": (["--tps", "32730110010O5"], "SP-CFG-03"),
    "lat alone": (["--lat", "-6.9"], "--lon"),
    "lon alone": (["--lon", "107.6"], "--lat"),
    "lat too far": (["--lat", "95", "--lon", "107.6"], "90"),
    "lon too far": (["--lat", "1", "--lon", "181"], "180"),
    "lat nan": (["--lat", "nan", "--lon", "107.6"], "--lat"),
    "lat in words": (["--lat", "six", "--lon", "107.6"], "--lat"),
    "data in words": (["--max-data", "lots"], "20MB"),
    "data negative": (["--max-data", "-5"], "--max-data"),
    "data of another unit": (["--max-data", "20 MiB"], "20MB"),
    "no time": (["--max-time", "0"], "--max-time"),
    "two formats": (["--json", "--csv"], "--ndjson"),
    "dialect": (["--csv", "--csv-dialect", "excel-us"], "excel-id"),
    "misspelt option": (["--jsno"], "--json"),
    "too many words": (["now"], "now"),
    "no value": (["--only"], "--only"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_option_measures_nothing(name: str, settings: Settings, sigprobe: Run, clean_home: Path) -> None:
    """A wrong option: exit 2, a sentence on stderr that names what fits, nothing on stdout, nothing stored."""
    flags, said = WRONG[name]
    done = sigprobe("test", "--config", str(settings(PING, CLOSED)), "--lang", "id", *flags)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert said in done.stderr
    for english in ("Traceback", "Input should", "Value error", "requires an argument", "Error"):
        assert english not in done.stderr
    assert not list(clean_home.rglob("*.db"))


@pytest.mark.parametrize("typed", ["3273011001005", "32.73.01.1001.005", " 32 73 01 1001 005 "])
def test_tps_as_people_write_it(typed: str, settings: Settings, sigprobe: Run) -> None:
    """Dots and spaces in a TPS number are taken out; the tag has 13 digits, and replaces the settings' own place."""
    config = settings(probe={"site": "kantor"})
    document = json.loads(sigprobe("test", "--json", "--tps", typed, "--config", str(config)).stdout)
    tags = document["results"][0]["tags"]
    assert (tags["tps_id"], tags["site"]) == (TPS, None)


def test_a_position_by_hand(settings: Settings, sigprobe: Run) -> None:
    """`--lat --lon` go before whatever the settings say, and the record names them as typed."""
    config = settings(location={"source": "fixed", "fixed": {"lat": 1.0, "lon": 2.0}})
    done = sigprobe("test", "--json", "--lat", "-6.91474", "--lon", "107.60981", "--config", str(config))
    place = json.loads(done.stdout)["results"][0]["tags"]["location"]
    assert (place["lat"], place["lon"], place["source"]) == (-6.91474, 107.60981, "manual")


@pytest.mark.parametrize("typed", ["20", "20MB", "1.5MB", "1,5 MB", "900kB", "1GB"])
def test_max_data_forms(typed: str, settings: Settings, sigprobe: Run) -> None:
    """Megabytes without a unit, and the units people write, with dot or comma; small checks fit into each."""
    done = sigprobe("test", "--json", "--max-data", typed, "--config", str(settings()))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"][0]["outcome"] == "ok"


def test_max_data_is_kept_to(settings: Settings, sigprobe: Run) -> None:
    """What does not fit into the allowance is left out and says so; what fits is measured."""
    with http_server(page(b"x")) as server:
        config = settings(PING, {"kind": "http", "name": "page", "url": server.url("/")})
        done = sigprobe("test", "--json", "--max-data", "2kB", "--config", str(config))
    outcomes = [(r["outcome"], (r["failure"] or {}).get("code")) for r in json.loads(done.stdout)["results"][:2]]
    assert outcomes == [("ok", None), ("skipped", "data_budget")]
    assert server.connections == 0


@pytest.mark.slow
def test_max_time_ends_the_whole_test(settings: Settings, sigprobe: Run) -> None:
    """`--max-time`: what has begun ends then, what has not is `skipped` with `time_up`; all is saved, exit 0."""

    def silent(peer: Peer) -> None:
        peer.head()
        peer.wait()

    with tcp_server(silent) as server:
        config = settings(
            {"kind": "http", "name": "silent", "url": server.url("/"), "timeout_ms": 60_000},
            {"kind": "throughput", "name": "speed", "engine": "http", "url": "http://127.0.0.1:9/"},
        )
        begun = time.monotonic()
        done = sigprobe("test", "--json", "--max-time", "1", "--config", str(config))
        assert time.monotonic() - begun < 30, "the check's own timeout is 60 s"
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    silent_one, speed, _path = document["results"]
    assert (silent_one["outcome"], silent_one["failure"]["code"]) == ("failed", "timeout")
    assert silent_one["duration_ms"] < 30_000
    assert (speed["outcome"], speed["failure"]["code"]) == ("skipped", "time_up")
    assert document["saved"] == 4


def test_strict_and_fail_below(settings: Settings, sigprobe: Run) -> None:
    """Only with these flags does a bad network fail a run: 4 for what was not sent, 3 for the quality."""
    config = settings(
        PING,
        CLOSED,
        upload={"collectors": [{"url": "http://127.0.0.1:9/", "token_file": None}]},
    )
    env = {"SIGPROBE_TOKEN": "t"}

    def code(*flags: str, **options: Any) -> int:
        return int(sigprobe("test", "--config", str(config), *flags, env=env, **options).returncode)

    assert code() == 0
    assert code("--strict") == 4
    assert code("--fail-below") == 3
    assert code("--fail-below", "--only", "ping") == 0
    assert code("--fail-below", "--strict") == 4
    assert code("--strict", "--no-upload") == 4


@pytest.mark.slow
def test_the_pause_that_these_tests_leave_out_is_read_when_it_is_needed() -> None:
    """The control of `no_pause_before_a_second_look`: no module has a copy of the pause."""
    hold_read("sigprobe.measure.path.second_look", "AFTER_S")
