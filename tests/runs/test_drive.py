"""`sigprobe drive` end to end: a car with a receiver, a real gpsd, tunnels, false positions, budgets, full disks."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sigprobe.buffer import Buffer
from tests.support.drive_process import PING, Driving
from tests.support.moving_receiver import START, Car, degrees, fix, sentence, until
from tests.support.netns import pair
from tests.support.requirements import needs
from tests.support.running_site import Run, Site

Drives = Callable[..., Driving]
Settings = Callable[..., Path]
Spawn = Callable[..., "subprocess.Popen[str]"]


def kept(config: Path) -> list[dict[str, Any]]:
    """Everything in the queue, oldest first."""
    with Buffer(Path(json.loads(config.read_text())["buffer"]["path"])) as buffer:
        return [json.loads(row.line) for row in buffer.rows()]


def shapes(document: dict[str, Any], kind: str | None) -> list[dict[str, Any]]:
    """The features of one kind of geometry."""
    return [f for f in document["features"] if (f["geometry"] or {}).get("type") == kind]


def on_the_way(lat: float, lon: float) -> bool:
    """Whether a position lies on the car's road."""
    return abs(lat - START[0]) < 1e-4 and START[1] <= lon < START[1] + 0.5


# --- the way ------------------------------------------------------------------------------------------------


def test_a_row_for_each_fix(on_the_road: Car, settings: Settings, driving: Drives) -> None:
    """Each point is shown, in the files and in the queue: with its position, a verdict, and the drive it belongs to."""
    config = settings(on_the_road.port)
    drive = driving(config, "--points", "4")
    code, summary, said = drive.end()
    assert (code, summary["ended"], summary["points"]) == (0, "points", 4), said
    assert summary["service_share"] == 1.0 and summary["worst"] is None
    lons = [row["lon"] for row in drive.rows]
    assert all(on_the_way(row["lat"], row["lon"]) for row in drive.rows) and lons == sorted(set(lons))
    assert summary["distance_m"] == pytest.approx((lons[-1] - lons[0]) * 111_195 * 0.993, abs=60)

    document = drive.geojson()
    assert document["type"] == "FeatureCollection" and document["sigprobe"]["ended"] == "points"
    (line,) = shapes(document, "LineString")
    assert [lon for lon, _lat in line["geometry"]["coordinates"]] == lons, "longitude comes first"
    assert [p["properties"]["point"] for p in shapes(document, "Point")] == [1, 2, 3, 4]
    assert [float(row["lon"]) for row in drive.csv()] == lons

    records = kept(config)
    assert {r["kind"] for r in records} == {"ping", "run"} and len(records) == 8 == summary["saved"]
    runs = [r for r in records if r["kind"] == "run"]
    assert [r["data"]["drive"]["point"] for r in runs] == [1, 2, 3, 4]
    assert {r["data"]["drive"]["id"] for r in runs} == {row["drive_id"] for row in drive.rows}
    assert [r["tags"]["location"]["lon"] for r in runs] == pytest.approx(lons, abs=1e-6)
    assert [r["run_id"] for r in runs] == [row["run_id"] for row in drive.rows]
    # a car that passes by has not tested the TPS of the settings
    assert {(r["tags"]["tps_id"], r["tags"]["site"]) for r in records} == {(None, "drive")}


@pytest.mark.system("gpsfake", "gpsd-clients")
@pytest.mark.system("gpsd", "gpsd")
def test_a_track_from_the_real_gpsd(
    tmp_path: Path, settings: Settings, driving: Drives, spawn: Spawn, free_port: Callable[[], int]
) -> None:
    """A log of a moving receiver, played by the real daemon, becomes points along its road."""
    begun = datetime.now(UTC)
    log = b"".join(fix(START[0], START[1] + s * 0.0002, begun + timedelta(seconds=s)) for s in range(400))
    (tmp_path / "road.nmea").write_bytes(log)
    port = free_port()
    with (tmp_path / "out").open("w") as out:
        command = ["gpsfake", "-P", str(port), "-c", "0.05", "-q", str(tmp_path / "road.nmea")]
        spawn(command, stdout=out, stderr=out, cwd=tmp_path)
        place = {"source": "gpsd", "gpsd": f"127.0.0.1:{port}", "timeout_ms": 20_000}
        drive = driving(settings(None, location=place), "--points", "4")
        code, summary, said = drive.end()
    assert (code, summary["points"]) == (0, 4), said
    placed = [row for row in drive.rows if row["lat"] is not None]
    assert len(placed) >= 3, (drive.rows, (tmp_path / "out").read_text())
    assert all(on_the_way(row["lat"], row["lon"]) and row["location_source"] == "gpsd" for row in placed)
    assert len({row["lon"] for row in placed}) == len(placed), "no place stands for two points"


def test_a_tunnel_is_a_gap(on_the_road: Car, settings: Settings, driving: Drives) -> None:
    """A receiver that falls silent leaves points without a position, none at the tunnel's mouth; the line breaks."""
    drive = driving(settings(on_the_road.port))
    for _ in range(3):
        assert drive.row()["lat"] is not None
    on_the_road.silent = True
    drive.row_where(lambda row: row["lat"] is None, 6)
    assert all(drive.row()["lat"] is None for _ in range(3))
    on_the_road.silent = False
    drive.row_where(lambda row: row["lat"] is not None, 4)
    drive.row()
    drive.process.send_signal(signal.SIGINT)
    code, summary, _said = drive.end()
    assert (code, summary["ended"], summary["gaps"]) == (130, "stopped", 1)
    lost = [row for row in drive.rows if row["lat"] is None]
    assert summary["points_without_position"] == len(lost) >= 4
    assert all(row["lon"] is None and row["fix_age_s"] is None and row["service"] for row in lost)
    document = drive.geojson()
    assert len(shapes(document, "LineString")) == 2
    assert len(shapes(document, None)) == len(lost), "a point without a place is a feature without a geometry"
    assert drive.html().count('class="way"') == 2
    before, after = drive.rows[lost[0]["point"] - 2], drive.rows[lost[-1]["point"]]
    straight = (after["lon"] - before["lon"]) * 110_000
    assert after["distance_m"] - before["distance_m"] < straight / 2, "what lies in the tunnel is not counted"


def test_a_receiver_that_lies_is_not_believed(on_the_road: Car, settings: Settings, driving: Drives) -> None:
    """Garbage, half lines, 0/0, a leap to Papua and a step back in time are never a place of a point."""
    drive = driving(settings(on_the_road.port))
    assert drive.row()["lat"] is not None
    past = datetime.now(UTC) - timedelta(hours=2)
    zero = f"{degrees(0.0, 2, 'NS')},{degrees(0.0, 3, 'EW')}"
    lies = (
        b"\x00\xff$GPGGA,garbage*00\r\n" + fix(*START)[:40] + b"\n",
        sentence(f"GPGGA,{datetime.now(UTC):%H%M%S}.00,{zero},1,08,0.9,0.0,M,0.0,M,,"),
        fix(-4.08, 138.95),
        fix(START[0], START[1] + 0.01, past),
    )
    for lie in lies:
        on_the_road.beside = lie
        drive.row()
        drive.row()
    on_the_road.beside = b""
    drive.row_where(lambda row: row["lat"] is not None, 6)
    # lies alone, without a sound fix between them
    on_the_road.silent = True
    on_the_road.beside = b""
    drive.row_where(lambda row: row["lat"] is None, 6)
    drive.process.send_signal(signal.SIGTERM)
    code, _summary, said = drive.end()
    assert code == 143, said
    placed = [row for row in drive.rows if row["lat"] is not None]
    assert len(placed) >= 3
    assert all(on_the_way(row["lat"], row["lon"]) for row in placed), placed
    for shape in drive.geojson()["features"]:
        if shape["geometry"] is not None and shape["geometry"]["type"] == "LineString":
            assert all(on_the_way(lat, lon) for lon, lat in shape["geometry"]["coordinates"])


def test_no_receiver_at_all(settings: Settings, driving: Drives) -> None:
    """Without any position the drive goes on, says so, and its page holds the table."""
    drive = driving(settings(None), "--points", "2")
    code, summary, said = drive.end()
    assert (code, summary["points"], summary["points_without_position"]) == (0, 2, 2)
    assert "location.source is none" in said
    assert shapes(drive.geojson(), "LineString") == [] and "No point has a position." in drive.html()


@pytest.mark.slow
def test_a_point_for_so_many_metres(on_the_road: Car, settings: Settings, tmp_path: Path, sigprobe: Run) -> None:
    """With --metres a point comes when the car has come that far, and a car that stands makes none."""
    config = settings(on_the_road.port)
    base = tmp_path / "far"
    options = ("drive", "--config", str(config), "--metres", "300", "--out", str(base), "--json", "--no-upload")
    document = json.loads(sigprobe(*options, "--points", "3").stdout)
    ways = [row["distance_m"] for row in document["points"]]
    assert all(250 < b - a < 1000 for a, b in pairwise(ways)), ways
    on_the_road.driving = False
    document = json.loads(sigprobe(*options, "--for", "4s", "--force").stdout)
    assert (document["summary"]["points"], document["summary"]["ended"]) == (1, "time")
    assert document["summary"]["distance_m"] < 50


# --- the network --------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.system("ip", "iproute2")
def test_an_outage_in_the_middle(on_the_road: Car, settings: Settings, driving: Drives, spawn: Spawn) -> None:
    """Points within the outage have no service and say why; those before and after have; the worst stretch is it."""
    with pair(61) as (near, far):
        spawn(
            far.command(sys.executable, "-m", "http.server", "8080", "--bind", "10.87.61.2"), stderr=subprocess.DEVNULL
        )
        assert until(lambda: near.run("bash", "-c", "echo > /dev/tcp/10.87.61.2/8080", check=False).returncode == 0)
        page = {"kind": "http", "name": "page", "url": "http://10.87.61.2:8080/", "timeout_ms": 800}
        ping = {**PING, "name": "far", "address": "10.87.61.2", "timeout_ms": 800}
        config = settings(on_the_road.port, ping, page)
        drive = driving(config, inside=near.command)
        for _ in range(3):
            row = drive.row()
            assert row["service"] is True and row["grade"] != "bad", row
        far.ip("link", "set", "eth0", "down")
        drive.row_where(lambda row: row["service"] is False, 4)
        for _ in range(3):
            row = drive.row()
            assert (row["service"], row["grade"]) == (False, "bad"), row
            assert row["failure_codes"] and row["lat"] is not None and row["latency_ms"] is None
        far.ip("link", "set", "eth0", "up")
        drive.row_where(lambda row: row["service"] is True, 8)
        drive.row()
        drive.process.send_signal(signal.SIGINT)
        code, summary, said = drive.end()
    assert code == 130, said
    bad = [row["point"] for row in drive.rows if row["grade"] == "bad"]
    assert bad == list(range(bad[0], bad[-1] + 1)) and bad[0] > 3
    worst = summary["worst"]
    assert (worst["grade"], worst["from_point"], worst["to_point"]) == ("bad", bad[0], bad[-1])
    assert summary["points_with_service"] == len(drive.rows) - len(bad)
    failed = {r["run_id"] for r in kept(config) if r["outcome"] == "failed" and r["kind"] != "run"}
    assert {row["run_id"] for row in drive.rows if row["grade"] == "bad"} <= failed
    assert "no service" in drive.html()


def test_it_is_sent_at_the_end(settings: Settings, driving: Drives, site: Site) -> None:
    """What a drive has kept goes up when it ends, and a collector stores it like any other result."""
    collectors = {"collectors": [{"url": site.url, "token_file": str(site.token_file)}]}
    drive = driving(settings(None, upload=collectors), "--points", "2")
    code, summary, said = drive.end()
    assert (code, summary["pending"], summary["saved"]) == (0, 0, 4), said
    runs = [r for r in site.stored() if r["kind"] == "run"]
    assert sorted(r["data"]["drive"]["point"] for r in runs) == [1, 2]


def test_a_tps_only_when_it_is_said(settings: Settings, driving: Drives) -> None:
    """--tps counts the points for that TPS."""
    config = settings(None)
    assert driving(config, "--points", "1", "--tps", "3273011001005").end()[0] == 0
    assert {r["tags"]["tps_id"] for r in kept(config)} == {"3273011001005"}


# --- enough -------------------------------------------------------------------------------------------------


def test_it_ends_on_time_and_on_data(settings: Settings, driving: Drives, tmp_path: Path) -> None:
    """The time that was set ends it, and so does the data: before the point that might go beyond."""
    config = settings(None)
    code, summary, said = driving(config, "--for", "3s").end()
    assert (code, summary["ended"]) == (0, "time") and 3 <= summary["points"] <= 4, said
    # one point of two pings takes some 400 bytes at most
    drive = driving(config, "--max-data", "2k", base=tmp_path / "second")
    code, summary, said = drive.end()
    assert (code, summary["ended"]) == (0, "data") and summary["points"] >= 2, said
    assert summary["data_used_bytes"] <= 2000
    # the budget of the day counts what earlier drives have used
    config = settings(None, data_budget={"per_day_mb": 0})
    drive = driving(config, base=tmp_path / "third")
    _out, said = drive.process.communicate(timeout=60)
    assert drive.process.returncode == 2 and "--max-data" in said and not (tmp_path / "third.csv").exists()


def test_speed_tests_run_only_when_asked(settings: Settings, sigprobe: Run, tmp_path: Path) -> None:
    """A drive repeats pings, names and pages; with nothing but a speed test in the settings it asks."""
    fast = {"kind": "throughput", "name": "center", "engine": "http", "url": "http://127.0.0.1:9/"}
    options = ("--points", "1", "--out", str(tmp_path / "a"), "--json", "--lang", "en")
    done = sigprobe("drive", "--config", str(settings(None, PING, fast)), *options)
    assert list(json.loads(done.stdout)["points"][0]["checks"]) == ["near"]
    done = sigprobe("drive", "--config", str(settings(None, fast)), *options, "--force")
    assert done.returncode == 2 and "--only" in done.stderr
    done = sigprobe("drive", "--config", str(settings(None, fast)), *options, "--force", "--only", "throughput")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["points"][0]["checks"] == {"center": "failed"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--for", "soon"], "30m"),
        (["--for", "0m"], "30m"),
        (["--max-data", "much"], "20MB"),
        (["--json", "--ndjson"], "--ndjson"),
        (["--only", "video"], "near"),
        (["--csv-dialect", "odd"], "excel-id"),
        (["--every", "0"], "--every"),
        (["--points", "0"], "--points"),
        (["--max-data", "0.0001"], "--max-data"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said(
    options: list[str], said: str, settings: Settings, sigprobe: Run, tmp_path: Path
) -> None:
    """A mistake on the command line is exit 2, one sentence, and no file."""
    done = sigprobe("drive", "--config", str(settings(None)), "--lang", "en", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("sigprobe-drive-*"))


# --- the files ----------------------------------------------------------------------------------------------


def test_files_are_not_overwritten_unasked(settings: Settings, sigprobe: Run, tmp_path: Path) -> None:
    """A name that is taken is exit 2 before anything is measured; --force replaces all three; a folder is a place."""
    config = settings(None)
    (tmp_path / "a.geojson").write_text("mine")
    options = ("drive", "--config", str(config), "--points", "1", "--lang", "en")
    done = sigprobe(*options, "--out", str(tmp_path / "a.csv"))
    assert done.returncode == 2 and "a.geojson" in done.stderr and "--force" in done.stderr
    assert (tmp_path / "a.geojson").read_text() == "mine" and not (tmp_path / "a.csv").exists()
    assert kept(config) == []
    assert sigprobe(*options, "--out", str(tmp_path / "a.csv"), "--force").returncode == 0
    assert json.loads((tmp_path / "a.geojson").read_text())["type"] == "FeatureCollection"
    folder = tmp_path / "folder"
    folder.mkdir()
    assert sigprobe(*options, "--out", str(folder)).returncode == 0
    assert sorted(path.suffix for path in folder.iterdir()) == [".csv", ".geojson", ".html"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_an_early_end_leaves_whole_files(how: signal.Signals, settings: Settings, driving: Drives) -> None:
    """Ctrl-C, a closed terminal and even SIGKILL leave files that are whole and hold every point that was shown."""
    config = settings(None)
    drive = driving(config)
    for _ in range(3):
        drive.row()
    drive.process.send_signal(how)
    drive.process.communicate(timeout=30)
    assert drive.process.returncode == (-9 if how is signal.SIGKILL else 128 + how)
    shown = [row["run_id"] for row in drive.rows]
    assert [row["run_id"] for row in drive.csv()][:3] == shown
    features = shapes(drive.geojson(), None)
    ended = drive.geojson()["sigprobe"]["ended"]
    assert len(features) >= 2 and drive.html().endswith("</html>\n")
    if how is signal.SIGKILL:
        assert ended is None and "still running when" in drive.html()
    else:
        assert [f["properties"]["run_id"] for f in features][:3] == shown and ended == "stopped"
    assert set(shown) <= {r["run_id"] for r in kept(config) if r["kind"] == "run"}
    assert not list(drive.base.parent.glob(".*")), "no draft is left"


@pytest.mark.root
@pytest.mark.parametrize("full", ["queue", "drives"])
def test_a_full_disk_is_exit_6(full: str, settings: Settings, driving: Drives, tmp_path: Path) -> None:
    """Where a result or the files cannot be kept, the drive ends with 6 and a sentence; the CSV has no half line."""
    config = settings(None)
    place = tmp_path / full
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "sigprobe-test", str(place)], check=True)
    try:
        drive = driving(config)
        drive.row()
        _fill(place)
        out, said = drive.process.communicate(timeout=60)
        assert drive.process.returncode == 6, said
        summary = json.loads(out.splitlines()[-1])["summary"]
        if full == "queue":
            assert "SP-DSK" in said and summary["ended"] == "storage"
        else:
            assert "could not be written" in said and summary["ended"] == "files"
            assert len([r for r in kept(config) if r["kind"] == "run"]) == summary["points"], "the queue has them all"
        rows = drive.csv()
        assert rows and all(row["saved"] in ("true", "false") for row in rows)
        assert json.loads(drive.base.with_name("first.geojson").read_text())["type"] == "FeatureCollection"
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(place: Path) -> None:
    with (place / "filler").open("wb", buffering=0) as filler:
        for size in (65536, 4096, 512):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                continue


@pytest.mark.root
def test_a_full_disk_is_blamed_on_nobody_else(
    settings: Settings, site: Site, spawn: Callable[..., Any], tmp_path: Path
) -> None:
    """A drive that a full disk ends asks no collector, so its screen does not say that one refused the token."""
    config = settings(None, upload={"collectors": [{"url": site.url, "token_file": str(site.token_file)}]})
    place = tmp_path / "queue"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "sigprobe-test", str(place)], check=True)
    try:
        command = [sys.executable, "-m", "sigprobe", "drive", "--config", str(config), "--lang", "en", "--every", "1"]
        piped = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = spawn([*command, "--out", str(tmp_path / "drives" / "first")], cwd=tmp_path, **piped)
        until = time.monotonic() + 60
        while not list((tmp_path / "drives").glob("*.csv")) and time.monotonic() < until:
            time.sleep(0.05)
        _fill(place)
        shown, said = process.communicate(timeout=60)
        assert process.returncode == 6, said
        assert "SP-DSK" in said and "Not sent" in shown and "token" not in shown + said
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_formula_stays_text(settings: Settings, driving: Drives) -> None:
    """What a spreadsheet would run stands in the CSV as text; the same name is harmless on the page."""
    drive = driving(settings(None), "--points", "1", "--operator", "=1+<b>1</b>")
    assert drive.end()[0] == 0
    assert drive.csv()[0]["operator_name"] == "'=1+<b>1</b>"
    assert "<b>1</b>" not in drive.html() and "&lt;b&gt;1" in drive.html()
    assert drive.geojson()["features"][0]["properties"]["operator_name"] == "=1+<b>1</b>"


# --- the screen ---------------------------------------------------------------------------------------------


def test_the_screen_in_both_languages(
    on_the_road: Car, settings: Settings, sigprobe: Run, sigprobe_process: Run, tmp_path: Path
) -> None:
    """A line a point on stderr, the sums on stdout, within 80 columns; --plain without symbols; -q nothing."""
    config = settings(on_the_road.port)
    options = (
        "drive",
        "--config",
        str(config),
        "--points",
        "2",
        "--every",
        "1",
        "--force",
        "--out",
        str(tmp_path / "a"),
    )
    told = {}
    for language in ("id", "en"):
        done = sigprobe(*options, "--lang", language)
        assert done.returncode == 0
        assert all(len(line) <= 80 for line in (done.stdout + done.stderr).splitlines() if str(tmp_path) not in line)
        assert len(re.findall(r"^ +[12]  \d\d", done.stderr, re.MULTILINE)) == 2
        assert "\x1b" not in done.stdout + done.stderr
        told[language] = done.stdout
        assert f'<html lang="{language}">' in (tmp_path / "a.html").read_text()
    assert "Result: Service at 2 of 2 points" in told["en"] and "Hasil: Ada layanan di 2 dari 2 titik" in told["id"]
    done = sigprobe(*options, "--lang", "en", "--plain")
    assert not re.search("[✓✗~│]", done.stdout + done.stderr)
    assert re.search(r"^Point 1, \d\d:\d\d:\d\d, good", done.stderr, re.MULTILINE)
    done = sigprobe(*options, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = sigprobe_process(*options, "--lang", "id", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and (done.stdout + done.stderr).isascii() and "?" not in done.stdout


@pytest.mark.system("chromium", "chromium")
def test_the_map_opens_without_a_network(on_the_road: Car, settings: Settings, driving: Drives) -> None:
    """A real browser shows the map from the file alone: nothing else is asked for, and shapes tell the grades apart."""
    closed = {"kind": "http", "name": "closed", "url": "http://127.0.0.1:9/"}
    drive = driving(settings(on_the_road.port, PING, closed), "--points", "3")
    assert drive.end()[0] == 0
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=needs("chromium", "chromium"), args=[*flags, "--no-first-run"]
        )
        page = browser.new_page()
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        url = f"file://{drive.base}.html"
        page.goto(url)
        assert asked == [url] and faults == []
        assert page.locator("svg[role=img] g.spot.poor polygon").count() == 3
        assert page.locator("svg[role=img] polyline.way").count() == 1
        box = page.locator("svg[role=img]").bounding_box()
        assert box is not None and box["width"] > 300 and box["height"] > 80
        for spot in page.locator("svg[role=img] g.spot").all():
            inner = spot.bounding_box()
            assert inner is not None and box["y"] <= inner["y"] <= box["y"] + box["height"]
        assert page.locator(".legend li").inner_text().strip().startswith("! poor")
        assert page.locator(".scroll tr").count() == 4
        browser.close()


def test_a_second_ctrl_c_ends_it_at_once(settings: Settings, driving: Drives) -> None:
    """Who means it twice is obeyed, and the queue keeps what was shown."""
    config = settings(None, {"kind": "http", "name": "slow", "url": "http://127.0.0.1:9/"})
    drive = driving(config, "--every", "30")
    drive.row()
    os.kill(drive.process.pid, signal.SIGINT)
    time.sleep(0)
    drive.process.communicate(timeout=30)
    assert drive.process.returncode in (130, -2)
    assert len(kept(config)) == 2


@pytest.mark.root
@pytest.mark.system("ip", "iproute2")
def test_a_point_cut_short_is_none(settings: Settings, driving: Drives) -> None:
    """Ctrl-C in the middle of a point leaves no point that calls the place bad; what was finished is in the queue."""
    with pair(62) as (near, far):
        far.drop("ip protocol tcp")
        page = {"kind": "http", "name": "page", "url": "http://10.87.62.2:8080/", "timeout_ms": 6000}
        config = settings(None, {**PING, "name": "far", "address": "10.87.62.2"}, page)
        drive = driving(config, inside=near.command)
        assert drive.row()["checks"] == {"far": "ok", "page": "failed"}
        # the next point has begun once its ping is in the queue, and waits for the page
        assert until(lambda: len(kept(config)) == 4)
        drive.process.send_signal(signal.SIGINT)
        code, summary, said = drive.end()
    assert (code, summary["ended"], summary["points"]) == (130, "stopped", 1), said
    assert len(drive.csv()) == 1 and len(kept(config)) >= 5
