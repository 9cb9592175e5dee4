"""GPS: gpsd's real daemon, gpsd's bad days, typed positions, and how far each is trusted."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigprobe.tag import fix as fixes
from sigprobe.tag.fix import Fix, location
from sigprobe.tag.gps import GpsReader, open_gps
from sigprobe.tag.gpsd import Talk, lines, split_address

VERSION = {"class": "VERSION", "release": "3.22", "proto_major": 3, "proto_minor": 14}
DEVICES = {"class": "DEVICES", "devices": [{"class": "DEVICE", "path": "/dev/ttyUSB0"}]}
SKY = {"class": "SKY", "device": "/dev/ttyUSB0", "hdop": 0.9, "satellites": [{"used": True}] * 7 + [{"used": False}]}
TPV = {
    "class": "TPV",
    "device": "/dev/ttyUSB0",
    "mode": 3,
    "time": "2029-02-14T07:05:01.000Z",
    "lat": -6.91474,
    "lon": 107.60981,
    "altMSL": 700.5,
    "eph": 8.2,
}


def line(report: object) -> bytes:
    return json.dumps(report).encode() + b"\n"


@contextmanager
def server(*parts: bytes, then: str = "stay", turns: Sequence[Sequence[bytes]] = ()) -> Iterator[str]:
    """A daemon of our own: greets each connection with `parts` (or the next of `turns`), then stays or closes."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()
    rest = [list(turn) for turn in turns]

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(4096)
                    for part in rest.pop(0) if rest else parts:
                        connection.sendall(part)
                    if then == "stay" and not rest:
                        stop.wait(30)
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


# --- the real daemon ----------------------------------------------------------------------------------------


def nmea(body: str) -> str:
    total = 0
    for char in body:
        total ^= ord(char)
    return f"${body}*{total:02X}\r\n"


def nmea_log(seconds: int = 40) -> str:
    """A receiver that stands in Bandung: 6°54.8844' S, 107°36.5886' E, 8 satellites."""
    out = []
    for second in range(seconds):
        at = f"0705{second:02d}.00"
        place = "0654.8844,S,10736.5886,E"
        out.append(nmea(f"GPGGA,{at},{place},1,08,0.9,700.5,M,0.0,M,,"))
        out.append(nmea("GPGSA,A,3,01,02,03,04,05,06,07,08,,,,,1.8,0.9,1.5"))
        out.append("$GPGGA,garbage*00\r\n")
        out.append(nmea(f"GPRMC,{at},A,{place},0.0,0.0,141126,,,A"))
    return "".join(out)


@pytest.mark.system("gpsfake", "gpsd-clients")
@pytest.mark.system("gpsd", "gpsd")
def test_the_real_gpsd_is_read(tmp_path: Path, spawn: Callable[..., Any], free_port: Callable[[], int]) -> None:
    """A receiver's log, played by the real daemon, becomes a 3D fix with its accuracy, age and quality."""
    log = tmp_path / "bandung.nmea"
    log.write_text(nmea_log(), encoding="ascii", newline="")
    port = free_port()
    with (tmp_path / "out").open("w") as out:
        spawn(["gpsfake", "-P", str(port), "-c", "0.1", "-q", str(log)], stdout=out, stderr=out, cwd=tmp_path)
        assert until(lambda: _listens(port), 20), (tmp_path / "out").read_text()
        with open_gps(source="gpsd", gpsd=f"127.0.0.1:{port}") as gps:
            # gpsfake plugs its receiver in after the daemon has begun, so the first wait may end at once
            assert until(lambda: gps.wait(0.5), 30), (tmp_path / "out").read_text()
            assert until(lambda: (f := gps.newest()) is not None and f.alt_m is not None)
            found = gps.location(time.monotonic())
            assert gps.answered
    assert found is not None
    assert found.lat == pytest.approx(-6.91474, abs=1e-5)
    assert found.lon == pytest.approx(107.60981, abs=1e-5)
    assert (found.source, found.fix) == ("gpsd", "3d")
    assert found.alt_m == pytest.approx(700.5, abs=1)
    assert found.fix_age_s is not None and 0 <= found.fix_age_s < 10


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- its bad days -------------------------------------------------------------------------------------------


def test_a_fix_has_everything_gpsd_told() -> None:
    """Position, height, error, satellites and dilution arrive in the tag."""
    with server(line(VERSION), line(DEVICES), line(SKY), line(TPV)) as where, open_gps(gpsd=where) as gps:
        assert gps.wait(10)
        found = gps.location(time.monotonic())
    assert found is not None
    assert (found.lat, found.lon, found.alt_m, found.accuracy_m) == (-6.91474, 107.60981, 700.5, 8.2)
    assert (found.fix, found.satellites, found.hdop, found.source) == ("3d", 7, 0.9, "gpsd")
    assert (found.quality, found.quality_reasons) == ("good", ())


def test_garbage_between_the_lines_is_survived() -> None:
    """Binary noise, half lines, wrong types and endless lines do not hide the next good fix."""
    bad = [
        b"\x00\xff\xfe garbage\n",
        b'{"class":"TPV","mode":3,\n',
        b"[1,2,3]\n",
        b'"TPV"\n',
        b'{"class":7}\n',
        b"[" * 5000 + b"\n",
        b"x" * 200_000 + b"\n",
        line({**TPV, "lat": "north"}),
        line({**TPV, "lat": True}),
        line({**TPV, "lat": 91}),
        line({**TPV, "time": "yesterday"}),
        b'{"class":"TPV","mode":3,"time":"2029-02-14T07:05:01Z","lat":NaN,"lon":1}\n',
        b'{"class":"TPV","mode":3,"time":"2029-02-14T07:05:01Z","lat":1e999,"lon":1}\n',
        b'{"class":"DEVICES","devices":{}}\n',
        b'{"class":"SKY","satellites":5,"hdop":"low"}\n',
    ]
    good = line(TPV)
    with server(*bad, good[:20], good[20:]) as where, open_gps(gpsd=where) as gps:
        assert gps.wait(10)
        found = gps.newest()
    assert found is not None and (found.lat, found.lon) == (-6.91474, 107.60981)


def test_mode_and_time_are_both_needed() -> None:
    """A cold receiver repeats where it was last: no time, no fix; and no fix below mode 2."""
    talk = Talk(time.monotonic, time.time)
    assert talk.feed(line({k: v for k, v in TPV.items() if k != "time"})) is None
    for mode in (0, 1, None, "3", True):
        assert talk.feed(line({**TPV, "mode": mode})) is None
    two = talk.feed(line({**TPV, "mode": 2}))
    assert two is not None and (two.mode, two.alt_m) == ("2d", None)


def test_accuracy_from_its_two_parts() -> None:
    """Without `eph` the error is put together from east and north; without either it is not known."""
    bare = {k: v for k, v in TPV.items() if k != "eph"}
    talk = Talk(time.monotonic, time.time)
    both = talk.feed(line({**bare, "epx": 3.0, "epy": 4.0}))
    one = talk.feed(line({**bare, "epx": 3.0}))
    assert both is not None and both.accuracy_m == 5.0
    assert one is not None and one.accuracy_m is None


@pytest.mark.slow
def test_gpsd_that_goes_away_leaves_the_last_fix_with_its_age() -> None:
    """The last fix stays, its age grows, and a daemon that is back is read again."""
    second = {**TPV, "lat": -6.9149}
    turns = [[line(VERSION), line(TPV)], [line(VERSION), line(second)]]
    with server(then="close", turns=turns) as where, open_gps(gpsd=where) as gps:
        assert gps.wait(10)
        first = gps.newest()
        assert first is not None and first.lat == -6.91474
        assert until(lambda: (f := gps.newest()) is not None and f.lat == -6.9149)
    later = gps.location(time.monotonic() + 120)
    assert later is not None and later.fix_age_s is not None and later.fix_age_s > 119
    assert (later.quality, later.quality_reasons) == ("poor", ("stale",))


def test_no_gpsd_at_all_costs_no_time(free_port: Callable[[], int]) -> None:
    """Nothing listens: waiting ends at once, there is no fix, and the reason is known."""
    started = time.monotonic()
    with open_gps(gpsd=f"127.0.0.1:{free_port()}") as gps:
        assert gps.wait(20) is False
        assert gps.newest() is None and gps.location(started) is None
        assert gps.problem is not None and "gpsd" in gps.problem
    assert time.monotonic() - started < 5


def test_gpsd_without_a_receiver_is_not_waited_for() -> None:
    """A daemon with no device can give no fix, so nobody waits for it."""
    started = time.monotonic()
    with server(line(VERSION), line({"class": "DEVICES", "devices": []})) as where, open_gps(gpsd=where) as gps:
        assert gps.wait(20) is False
        assert gps.problem == "gpsd has no receiver"
    assert time.monotonic() - started < 5


def test_something_else_on_the_port_is_not_waited_for() -> None:
    """A server that only talks nonsense is no gpsd."""
    started = time.monotonic()
    with server(b"220 mail ready\n" * 30) as where, open_gps(gpsd=where) as gps:
        assert gps.wait(20) is False
        assert gps.answered is False
    assert time.monotonic() - started < 5


def test_waiting_ends_at_its_deadline() -> None:
    """A receiver that finds nothing is waited for until the deadline and no longer."""
    with server(line(VERSION), line(DEVICES)) as where, open_gps(gpsd=where) as gps:
        started = time.monotonic()
        assert gps.wait(0.3) is False
        assert 0.25 < time.monotonic() - started < 3


def test_close_ends_the_thread() -> None:
    """Closing leaves no thread behind, whatever the daemon does."""
    with server(line(VERSION), line(DEVICES)) as where:
        gps = open_gps(gpsd=where)
        assert until(lambda: gps.answered)
        gps.close()
        gps.close()
        assert not any(t.name == "gps" for t in threading.enumerate())


# --- the choice of the source -------------------------------------------------------------------------------


def test_auto_takes_the_fixed_position_until_gpsd_has_one(free_port: Callable[[], int]) -> None:
    """Under `auto` a real fix goes before the fixed position, which stands in where there is none."""
    fixed = (-6.9, 107.6)
    with open_gps(gpsd=f"127.0.0.1:{free_port()}", fixed=fixed) as gps:
        assert gps.wait(10)
        found = gps.location(time.monotonic())
        assert found is not None and (found.lat, found.source, found.fix_age_s) == (-6.9, "fixed", None)
        assert (found.quality, found.quality_reasons) == ("fair", ("fixed",))
    with server(line(VERSION), line(TPV)) as where, open_gps(gpsd=where, fixed=fixed) as gps:
        assert gps.wait(10)
        newest = gps.newest()
        assert newest is not None and newest.source == "gpsd"


def test_gpsd_alone_does_not_fall_back(free_port: Callable[[], int]) -> None:
    """Who asks for gpsd gets gpsd or nothing."""
    with open_gps(source="gpsd", gpsd=f"127.0.0.1:{free_port()}", fixed=(-6.9, 107.6)) as gps:
        assert gps.wait(10) is False


@pytest.mark.parametrize("source", ["auto", "gpsd", "fixed", "none", "nmea"])
def test_what_is_typed_goes_before_every_source(source: str) -> None:
    """--lat/--lon is at once there, marked as typed, and nothing is connected to."""
    with open_gps(source=source, manual=(-8.1, 115.2), fixed=(1.0, 2.0)) as gps:
        found = gps.location(time.monotonic())
        assert gps.wait(0)
        assert not any(t.name == "gps" for t in threading.enumerate())
    assert found is not None and (found.lat, found.source, found.fix) == (-8.1, "manual", None)
    assert found.quality_reasons == ("manual",)


def test_none_gives_no_place() -> None:
    """`none` means none, even where a fixed position is written down."""
    with open_gps(source="none", fixed=(1.0, 2.0)) as gps:
        assert gps.wait(5) is False
        assert gps.location(0.0) is None


@pytest.mark.parametrize("position", [(91.0, 0.0), (0.0, 180.5), (math.nan, 0.0), (0.0, math.inf)])
def test_a_position_off_the_globe_is_refused(position: tuple[float, float]) -> None:
    """Degrees out of range are refused before anything starts."""
    with pytest.raises(ValueError):
        GpsReader("fixed", fixed=position)


def test_an_unknown_source_is_refused() -> None:
    """A source that does not exist is an error, not a silent nothing."""
    with pytest.raises(ValueError):
        GpsReader("glonass")


# --- age and trust ------------------------------------------------------------------------------------------


def test_age_is_told_on_the_monotonic_clock() -> None:
    """Age is start minus fix, negative for a later fix, and no wall clock is in it."""
    found = Fix(-6.9, 107.6, "gpsd", at_s=100.0, mode="3d")
    before, after = location(found, 95.0), location(found, 108.5)
    assert before is not None and before.fix_age_s == -5.0
    assert after is not None and after.fix_age_s == 8.5


def test_the_daemons_own_delay_is_taken_off() -> None:
    """A report that was 0.4 s under way is 0.4 s older; with a clock that is years off nothing is taken off."""
    epoch = 1865747101.0  # the time of TPV
    right = Talk(lambda: 50.0, lambda: epoch + 0.4).feed(line(TPV))
    wrong = Talk(lambda: 50.0, lambda: epoch - 1e8).feed(line(TPV))
    assert right is not None and right.at_s == pytest.approx(49.6)
    assert wrong is not None and wrong.at_s == 50.0


@pytest.mark.parametrize(
    ("changes", "quality", "reason"),
    [
        ({"lat": 0.0, "lon": 0.0}, "poor", "zero"),
        ({"mode": "2d"}, "fair", "2d"),
        ({"accuracy_m": 250.0}, "fair", "inaccurate"),
        ({"accuracy_m": 5000.0}, "poor", "useless_accuracy"),
        ({"satellites": 3}, "fair", "few_satellites"),
        ({"hdop": 12.0}, "fair", "hdop"),
        ({"at_s": 10.0}, "poor", "stale"),
    ],
)
def test_each_doubt_is_named(changes: dict[str, Any], quality: str, reason: str) -> None:
    """A position is graded, and every reason stands beside it."""
    plain: dict[str, Any] = {"lat": -6.9, "lon": 107.6, "source": "gpsd", "at_s": 100.0, "mode": "3d"}
    got = location(Fix(**(plain | changes)), 101.0)
    assert got is not None and (got.quality, got.quality_reasons) == (quality, (reason,))


def test_the_equator_alone_is_no_zero() -> None:
    """Pontianak lies on the equator: only both degrees at zero are suspicious."""
    assert fixes.doubts(Fix(0.0, 109.3, "gpsd", at_s=1.0, mode="3d"), 0.0) == ()


@given(st.binary(max_size=200))
def test_no_line_can_break_the_reading(data: bytes) -> None:
    """Whatever bytes come, they are a fix or nothing."""
    assert Talk(time.monotonic, time.time).feed(data) is None


@given(
    st.dictionaries(
        st.sampled_from([*TPV, "epx", "epy", "altHAE"]), st.none() | st.text() | st.floats() | st.integers()
    )
)
def test_no_report_can_break_the_reading(report: dict[str, Any]) -> None:
    """A report with any values gives a position on the globe or nothing."""
    text = json.dumps({**TPV, **report, "class": "TPV"}).encode()
    found = Talk(time.monotonic, time.time).feed(text)
    assert found is None or fixes.is_position(found.lat, found.lon)


def test_lines_are_put_together_across_reads() -> None:
    """Half lines wait for their other half; a line without an end does not fill the memory."""
    left, right = socket.socketpair()
    with left, right:
        sender = threading.Thread(
            target=lambda: (
                [right.sendall(p) for p in (b"on", b"e\ntwo\n", b"y" * 150_000, b"\nthree\nfo")],
                right.close(),
            )
        )
        sender.start()
        assert list(lines(left)) == [b"one", b"two", b"three"]
        sender.join()


def test_addresses_of_gpsd() -> None:
    """host, host:port and IPv6 in brackets; anything else is refused."""
    assert split_address("127.0.0.1:2948") == ("127.0.0.1", 2948)
    assert split_address("gps.local") == ("gps.local", 2947)
    assert split_address("[::1]:2949") == ("::1", 2949)
    for bad in ("", ":2947", "host:0", "host:99999", "host:x"):
        with pytest.raises(ValueError):
            split_address(bad)
