"""A laptop that carries another device's results speaks of its own; the carried ones are counted apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sigprobe.buffer import Buffer, State, Verdicts
from sigprobe.record.result import Tags, new_id
from tests.commands.conftest import PING, Settings
from tests.support.collector_client import make_result
from tests.support.laptops import Laptop
from tests.support.running_site import Run


def carry(home: Laptop, carrier: Buffer) -> None:
    """Import everything that `home` holds."""
    carrier.take_in((row.id, row.line) for row in home.buffer.rows())


def test_status_counts_what_is_carried_apart(laptop: Callable[..., Laptop], sigprobe: Run) -> None:
    """Totals stay, the other device's part is named, and `oldest` is of this device alone."""
    home, carrier = laptop("home", 5), laptop("carrier")
    config = str(carrier.config())
    carry(home, carrier.buffer)
    found = json.loads(sigprobe("status", "--json", "--config", config).stdout)
    assert (found["pending"], found["oldest_pending_at"]) == (5, None)
    assert (found["imported"]["pending"], found["imported"]["acked"]) == (5, 0)
    assert found["imported"]["oldest_pending_at"].endswith("Z")
    shown = sigprobe("status", "--lang", "en", "--config", config).stdout
    assert "5 waiting (5 from other devices)" in shown and "Oldest waiting" not in shown

    carrier.measure(2)
    others = [row.id for row in carrier.buffer.rows() if not row.own]
    carrier.buffer.settle(Verdicts(acked=others[:1], rejected=[(others[1], "too old")]), "https://collector.example/")
    found = json.loads(sigprobe("status", "--json", "--config", config).stdout)
    mine = min(row.put_at for row in carrier.buffer.rows(State.PENDING) if row.own)
    assert (found["pending"], found["acked"], found["rejected"], found["oldest_pending_at"]) == (5, 1, 1, mine)
    assert [found["imported"][key] for key in ("pending", "acked", "rejected", "carried", "damaged")] == [3, 1, 1, 0, 0]
    shown = sigprobe("status", "--lang", "id", "--config", config).stdout
    assert "5 menunggu (3 dari perangkat lain)" in shown and "1 (1 dari perangkat lain)" in shown


def test_a_thousand_carried_results_do_not_hide_the_own_ones(
    settings: Settings, laptop: Callable[..., Laptop], sigprobe: Run, tmp_path: Path
) -> None:
    """`share`, `report`, `nearest` and `status` find this device's test behind more carried records than they read."""
    from sigprobe.commands import report, status

    most = max(report.RECENT, status._LOOKED_AT)
    config = str(settings(PING, location={"source": "fixed", "fixed": {"lat": -6.91474, "lon": 107.60981}}))
    mine = json.loads(sigprobe("test", "--json", "--no-upload", "--config", config).stdout)["run_id"]
    path = json.loads(sigprobe("status", "--json", "--config", config).stdout)["path"]
    stranger = laptop("home").buffer.put(make_result()).result
    with Buffer(Path(path)) as buffer:
        copies = (replace(stranger, id=new_id(), seq=n + 2) for n in range(most + 10))
        buffer.take_in((copy.id, copy.to_line()) for copy in copies)
        newest = list(buffer.rows(newest=most))
        assert not any(row.own for row in newest), "the carried ones are in front"
        assert all(row.own for row in buffer.rows(newest=most, own=True))
    assert json.loads(sigprobe("share", "--json", "--config", config).stdout)["text"]
    assert mine in sigprobe("report", "--json", "--config", config).stdout
    here = json.loads(sigprobe("nearest", "--json", "--config", config).stdout)["from"]
    assert (here["lat"], here["source"]) == (pytest.approx(-6.91474), "history")
    assert "-6,91474 107,60981" in sigprobe("status", "--lang", "id", "--config", config).stdout


@pytest.mark.parametrize(("language", "mark"), [("id", "perangkat lain"), ("en", "another device")])
def test_tests_of_another_device_are_marked(
    language: str, mark: str, settings: Settings, sigprobe: Run, tmp_path: Path
) -> None:
    """`nearest`, `results` and the coverage of TPS say which of their tests another device made."""

    def laptop(name: str, **fixed: float) -> str:
        place = {"source": "fixed", "fixed": fixed}
        return str(settings(PING, name=f"{name}.yaml", location=place, buffer={"path": str(tmp_path / name / "q.db")}))

    theirs, mine = laptop("theirs", lat=-6.914, lon=107.609), laptop("mine", lat=-6.924, lon=107.619)
    # the path check decides whether a place has a signal; without it the ping does
    for config in (theirs, mine):
        assert sigprobe("test", "--no-upload", "--only", "device", "--config", config).returncode == 0
    stick, stations = str(tmp_path / "stick.gz"), tmp_path / "tps.csv"
    stations.write_text("id,name\n3273011001005,TPS 5\n")
    assert sigprobe("export", stick, "--config", theirs).returncode == 0
    assert sigprobe("import", stick, "--config", mine).returncode == 0

    def shown(*words: str) -> list[str]:
        done = sigprobe(*words, "--lang", language, "--config", mine)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    found = json.loads("".join(shown("results", "--json")))
    assert sorted({entry["own"] for entry in found}) == [False, True]
    listed = shown("results")
    assert sum(line.endswith(" *") for line in listed) == sum(not entry["own"] for entry in found)
    assert listed[-1].startswith("* ") and mark in listed[-1]
    assert sum(mark in line for line in shown("results", "--plain")) == sum(not entry["own"] for entry in found)
    stations_line = shown("status", "--coverage", "--list", str(stations))[0]
    assert mark not in stations_line, "the newest test of this TPS is this device's own"


def test_carried_results_have_their_own_zone_and_age(
    laptop: Callable[..., Laptop], tmp_path: Path, sigprobe: Run
) -> None:
    """Three days from Jayapura on a laptop in Bandung: WIT times, and when the first of them was measured."""
    carrier = laptop("carrier")
    config = str(carrier.config())
    line = make_result(started_at="2029-02-11T13:05:00Z", tags=Tags(tps_id="9171011001003")).to_line()
    carrier.buffer.take_in([(json.loads(line)["id"], line)])
    carrier.measure(1)
    listed = sigprobe("results", "--lang", "en", "--config", config).stdout
    assert "11 Feb 2029 22:05 WIT" in listed and " WIB" in listed
    shown = sigprobe("status", "--lang", "en", "--config", config).stdout
    row = next(line for line in shown.splitlines() if line.startswith("Oldest of others"))
    assert row.endswith("11 Feb 2029 22:05 WIT")
    found = json.loads(sigprobe("status", "--json", "--config", config).stdout)
    assert found["imported"]["oldest_measured_at"].startswith("2029-02-11T13:05:00")
    assert found["oldest_pending_at"] != found["imported"]["oldest_measured_at"]
