"""`sigprobe nearest` and `sigprobe status --coverage` as people run them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.requirements import needs_root

Run = Callable[..., subprocess.CompletedProcess[str]]
TPS = "3273011001005"
LIST = f"kode_tps;nama;lintang;bujur\n{TPS};TPS 5 Sukarasa;-6,87;107,59\n3273011001006;TPS 6;-6,88;107,60\n"
POINTS = "nama;jenis;operator;lat;lon\nSukarasa;BTS;Telkomsel;-6,8650;107,5950\nJauh;WiFi;;-6,5;107,9\n"


FAR = "198.51.100.7"
"""An address of this test's own namespace that counts as beyond the local network."""


@pytest.fixture(scope="module", autouse=True)
def far_address() -> Iterator[None]:
    """Let the far address answer."""
    needs_root()
    command = ["ip", "address", "add", f"{FAR}/32", "dev", "lo"]
    subprocess.run(command, check=True)
    yield
    command[2] = "del"
    subprocess.run(command, check=True)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""language: en
probe: {{tps_id: "{TPS}"}}
location: {{source: none}}
buffer: {{path: "{tmp_path / "queue" / "buffer.db"}"}}
targets:
  - {{kind: ping, name: device, address: {FAR}, count: 2, interval_ms: 10}}
"""
    )
    return path


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_coverage_from_a_list_to_a_test(sigprobe: Run, config: Path, tmp_path: Path) -> None:
    """A list is taken in once and remembered; a test moves its TPS from none to good; JSON, CSV and screen agree."""
    missing = sigprobe("status", "--coverage", "--config", str(config))
    assert missing.returncode == 2 and "[SP-LST-02]" in missing.stderr
    file = tmp_path / "list.csv"
    file.write_text(LIST)
    ok(sigprobe("status", "--coverage", "--list", str(file), "--config", str(config)))
    file.unlink()
    ok(sigprobe("test", "--no-upload", "--only", "ping", "--lat", "-6.87", "--lon", "107.59", "--config", str(config)))
    document = json.loads(ok(sigprobe("status", "--coverage", "--json", "--config", str(config))))
    assert (document["total"], document["none"], document["good"]) == (2, 1, 1)
    states = {s["tps_id"]: s for s in document["stations"]}
    assert states[TPS]["state"] == "good" and states[TPS]["age_s"] < 600 and states[TPS]["lat"] == -6.87
    assert states["3273011001006"] == {
        **dict.fromkeys(("last_test_at", "age_s", "cause")),
        "carried": False,
        "tps_id": "3273011001006",
        "name": "TPS 6",
        "state": "none",
        "old": False,
        "lat": -6.88,
        "lon": 107.6,
    }
    rows = list(csv.DictReader(io.StringIO(ok(sigprobe("status", "--coverage", "--csv", "--config", str(config))))))
    assert [(r["tps_id"], r["state"]) for r in rows] == [("3273011001006", "none"), (TPS, "good")]
    screen = ok(sigprobe("status", "--coverage", "--older-than", "0", "--config", str(config)))
    assert "old test" in screen and "sigprobe test --tps 3273011001006" in screen
    assert all(len(text) <= 80 for text in screen.splitlines())


def test_a_faulty_list_changes_nothing(sigprobe: Run, config: Path, tmp_path: Path) -> None:
    """Every faulty line is named on stderr, the exit code is 2, and the list before it stays."""
    file = tmp_path / "list.csv"
    file.write_text(LIST)
    ok(sigprobe("status", "--coverage", "--list", str(file), "--config", str(config)))
    file.write_text("id;name;lat;lon\n3,27E+12;A;-6,8;107,5\n2273011001005;B;-6,8;107,5\n")
    done = sigprobe("status", "--coverage", "--list", str(file), "--config", str(config))
    assert done.returncode == 2 and not done.stdout
    assert f"{file}:2: " in done.stderr and "Excel" in done.stderr
    assert f"{file}:3: " in done.stderr and "3273011001005 (Kota Bandung)" in done.stderr
    assert json.loads(ok(sigprobe("status", "--coverage", "--json", "--config", str(config))))["total"] == 2
    gone = sigprobe("status", "--coverage", "--list", str(tmp_path / "none.csv"), "--config", str(config))
    assert gone.returncode == 2 and "[SP-FIL-05]" in gone.stderr


def points(found: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(found)["points"]
    return listed


def test_nearest_from_lists_and_history(sigprobe: Run, config: Path, tmp_path: Path) -> None:
    """Points of a list and of one's own tests are ranked together; the position comes from history, else the list."""
    nothing = sigprobe("nearest", "--config", str(config))
    assert nothing.returncode == 2 and "--lat" in nothing.stderr
    empty = ok(sigprobe("nearest", "--lat", "-6.87", "--lon", "107.59", "--config", str(config)))
    assert "sigprobe nearest --import" in empty
    (tmp_path / "points.csv").write_text(POINTS)
    (tmp_path / "list.csv").write_text(LIST)
    ok(sigprobe("status", "--list", str(tmp_path / "list.csv"), "--config", str(config)))
    document = json.loads(
        ok(sigprobe("nearest", "--import", str(tmp_path / "points.csv"), "--json", "--config", str(config)))
    )
    assert document["from"] == {"lat": -6.87, "lon": 107.59, "source": "list", "at": None}
    first, second = document["points"]
    assert first["name"] == "Sukarasa" and first["bearing"] == "ne" and first["operator"] == "Telkomsel"
    assert first["distance_m"] == pytest.approx(783, rel=0.01) and first["quality"] is None
    assert second["name"] == "Jauh" and second["bearing"] == "ne"
    arguments = ("--operator", "Indosat", "--lat", "-6.8695", "--lon", "107.59", "--config", str(config))
    ok(sigprobe("test", "--no-upload", "--only", "ping", *arguments))
    document = json.loads(ok(sigprobe("nearest", "--config", str(config), "--json", "--limit", "2")))
    assert document["from"]["source"] == "history" and document["from"]["lat"] == -6.8695
    own, listed = document["points"]
    assert own["origin"] == "history" and own["bearing"] is None and own["operator"] == "Indosat"
    assert own["quality"] == "good" and own["age_s"] < 600 and own["name"] == f"TPS {TPS}"
    assert listed["name"] == "Sukarasa"
    screen = ok(sigprobe("nearest", "--lat", "-6.88", "--lon", "107.59", "--lang", "id", "--config", str(config)))
    assert "utara" in screen and "timur laut" in screen and "1,2 km" in screen and "belum diuji" in screen
    assert all(len(text) <= 80 for text in screen.splitlines())
    plain = ok(sigprobe("--plain", "nearest", "--lat", "-6.88", "--lon", "107.59", "--config", str(config)))
    assert any(text.startswith("1.2 km, north, Indosat, ") for text in plain.splitlines())


def test_refused_points_change_nothing(sigprobe: Run, config: Path, tmp_path: Path) -> None:
    """A file with faults is refused whole, with its lines; half a position on the command line is a usage error."""
    file = tmp_path / "points.csv"
    file.write_text(POINTS)
    ok(sigprobe("nearest", "--import", str(file), "--config", str(config)))
    file.write_text("nama;lat;lon\nA;-6,8;\nB;x;107\n")
    done = sigprobe("nearest", "--import", str(file), "--config", str(config))
    assert done.returncode == 2 and f"{file}:2: " in done.stderr and f"{file}:3: " in done.stderr
    assert len(points(ok(sigprobe("nearest", "--lat", "-7", "--lon", "107", "--json", "--config", str(config))))) == 2
    assert sigprobe("nearest", "--lat", "-7", "--config", str(config)).returncode == 2
    assert sigprobe("nearest", "--lat", "-97", "--lon", "107", "--config", str(config)).returncode == 2


@pytest.mark.root
@pytest.mark.system("unshare", "util-linux")
def test_a_blank_spot_ends_with_the_nearest_signal(sigprobe: Run, config: Path) -> None:
    """Without any network the screen ends with the nearest point that was tested with success."""
    common = ("--no-upload", "--only", "ping", "--lang", "en", "--config", str(config))
    ok(sigprobe("test", "--operator", "Telkomsel", "--lat", "-6.865", "--lon", "107.595", *common))
    command = ["unshare", "-n", sys.executable, "-m", "sigprobe", "test", "--lat", "-6.87", "--lon", "107.59", *common]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "Nearest known signal: 780 m north-east, Telkomsel, " in text
    assert done.stdout.splitlines()[-1] == "Next: sigprobe nearest"
    # a place that has lost its signal is no longer offered
    here = [*command[:5], "test", "--operator", "Telkomsel", "--lat", "-6.865", "--lon", "107.595", *common]
    subprocess.run(here, capture_output=True, timeout=60, check=True, stdin=subprocess.DEVNULL)
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL)
    assert "Nearest known signal" not in " ".join(again.stdout.split())


@pytest.mark.parametrize(("language", "mark"), [("id", "uji perangkat lain"), ("en", "test of another device")])
def test_places_of_another_device_are_marked(
    language: str, mark: str, sigprobe: Run, config: Path, tmp_path: Path
) -> None:
    """On a carrier's laptop each point and TPS says whether this device was there itself."""
    mine = tmp_path / "mine.yaml"
    mine.write_text(config.read_text().replace("queue", "mine"))
    stick = str(tmp_path / "stick.gz")
    theirs = ("--lat", "-6.87", "--lon", "107.59", "--config", str(config))
    ok(sigprobe("test", "--no-upload", "--only", "ping", *theirs))
    ok(sigprobe("export", stick, "--config", str(config)))
    ok(sigprobe("import", stick, "--config", str(mine)))
    (tmp_path / "list.csv").write_text(LIST)
    asked = ("--lang", language, "--config", str(mine))
    coverage = ok(sigprobe("status", "--coverage", "--list", str(tmp_path / "list.csv"), *asked))
    assert " * " in next(line for line in coverage.splitlines() if line.startswith(TPS))
    assert f"* {mark}" in coverage.splitlines()
    spoken = ok(sigprobe("status", "--coverage", "--plain", *asked))
    assert mark in next(line for line in spoken.splitlines() if line.startswith(TPS))
    other = ("--tps", "3273011001006", "--lat", "-6.88", "--lon", "107.60")
    ok(sigprobe("test", "--no-upload", "--only", "ping", *other, "--config", str(mine)))
    document = json.loads(ok(sigprobe("nearest", "--json", *asked)))
    assert [(point["name"][-3:], point["carried"]) for point in document["points"]] == [("006", False), ("005", True)]
    for form in ((), ("--plain",)):
        own, _between, carried = ok(sigprobe("nearest", *form, *asked)).partition("TPS 3273011001005")
        assert mark in " ".join(carried.split()) and mark not in " ".join(own.split())
