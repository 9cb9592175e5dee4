"""Which fixes of a receiver are believed, which source wins, and where a TPS should be."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sigprobe.lists import Station, keep, registered
from sigprobe.places import lies_outside
from sigprobe.runs.clock import gps_offset
from sigprobe.tag.fix import Expected, Fix, location
from sigprobe.tag.gps import open_gps
from sigprobe.tag.track import Track
from tests.tag.test_nmea import GGA, RMC, nmea, until

BANDUNG = "3273011001005"


def fix(second: float, lat: float = -6.91474, lon: float = 107.60981, **more: object) -> Fix:
    return Fix(lat, lon, "nmea", at_s=second, mode="3d", **more)  # type: ignore[arg-type]


def test_a_receiver_that_strays_for_a_moment() -> None:
    """A leap to 0/0 or elsewhere does not take the place of the fix before it, but it is told."""
    for stray in (fix(2, 0.0, 0.0), fix(2, -7.9, 110.4)):
        track = Track()
        track.take(fix(1))
        track.take(stray)
        best = track.best(3.0)
        assert best is not None and (best.lat, best.oddity) == (-6.91474, "jump")
        tag = location(best, 3.0)
        assert tag is not None and (tag.quality, tag.quality_reasons) == ("poor", ("jump",))
        track.take(fix(4))
        best = track.best(5.0)
        assert best is not None and best.oddity is None and best.at_s == 4


def test_a_receiver_that_stays_at_the_new_place_is_believed() -> None:
    """Who was carried off asleep is somewhere else: the third fix in a row there counts."""
    track = Track()
    track.take(fix(1))
    seen = []
    for second in (2.0, 3.0, 4.0):
        track.take(fix(second, -7.9, 110.4))
        best = track.best(second)
        seen.append(best is not None and best.lat == -7.9)
    assert seen == [False, False, True]


def test_zero_alone_is_told_as_zero() -> None:
    """A receiver that knows nothing but 0/0 gives a position that says so."""
    track = Track()
    track.take(fix(1, 0.0, 0.0))
    tag = location(track.best(1.0), 1.0)
    assert tag is not None and (tag.quality, tag.quality_reasons) == ("poor", ("zero",))


def test_a_car_is_no_jump() -> None:
    """A hundred kilometres in an hour, and 30 m in a second, are a drive."""
    track = Track()
    for second in range(0, 60):
        track.take(fix(float(second), -6.91474 + 0.00027 * second))
    best = track.best(60.0)
    assert best is not None and best.oddity is None and best.at_s == 59


def test_a_receiver_that_goes_back_in_time() -> None:
    """A replayed fix is no new one; a receiver that stays at the other time has set its clock."""
    track = Track()
    track.take(fix(1, time="2029-02-14T07:05:01.000Z"))
    seen = []
    for second in (2, 3, 4):
        track.take(fix(float(second), time=f"2029-02-14T06:00:0{second}.000Z"))
        best = track.best(float(second))
        seen.append(None if best is None else best.oddity)
    assert seen == ["time_back", "time_back", None]


# --- the best source ----------------------------------------------------------------------------------------


def test_the_better_source_wins(free_port: Callable[[], int]) -> None:
    """Under `auto` a graver doubt loses, whoever spoke last; where grades are alike the smaller error wins."""
    tpv = (
        b'{"class":"VERSION"}\n{"class":"TPV","mode":%d,"time":"2029-02-14T07:05:01Z","lat":-6.915,"lon":107.61,'
        b'"eph":%d}\n'
    )
    for mode, error, winner in ((3, 8, "gpsd"), (3, 90, "nmea"), (2, 8, "nmea")):
        port = free_port()
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(type=socket.SOCK_DGRAM) as phone:
            server.settimeout(15)
            gpsd = f"127.0.0.1:{server.getsockname()[1]}"
            with open_gps(source="auto", gpsd=gpsd, nmea=f"udp://127.0.0.1:{port}", fixed=(1.0, 2.0)) as gps:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(tpv % (mode, error))
                    # HDOP 3 and no error of its own: counted as 15 m
                    sentence = nmea(GGA.replace(",0.9,", ",3.0,"))

                    def both(phone: socket.socket = phone, port: int = port, sentence: bytes = sentence) -> bool:
                        phone.sendto(sentence, ("127.0.0.1", port))
                        return all(feed.track.newest is not None for feed in gps._feeds[:2])

                    assert until(both)
                    newest = gps.newest()
                    assert newest is not None and newest.source == winner


def test_gps_time_is_held_against_the_clock(free_port: Callable[[], int]) -> None:
    """The receiver's time gives the clock's offset; a week counter that ran over does not."""
    port = free_port()
    for date, known in (("140229", True), ("010709", False)):
        with (
            open_gps(source="nmea", nmea=f"udp://127.0.0.1:{port}") as gps,
            socket.socket(type=socket.SOCK_DGRAM) as phone,
        ):

            def told(phone: socket.socket = phone, date: str = date) -> bool:
                phone.sendto(nmea(RMC.replace("140229", date)), ("127.0.0.1", port))
                return gps.newest() is not None

            assert until(told)
            offset = gps_offset(gps)
            assert (offset is not None) is known
            if offset is not None:
                expected = 1865747101 - time.time()
                assert offset[0] / 1000 == pytest.approx(expected, abs=10) and offset[1] > 0


# --- where it should be -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tps_id", "lat", "lon", "outside"),
    [
        (BANDUNG, -6.91474, 107.60981, False),
        (BANDUNG, -8.65, 115.22, True),  # Denpasar
        (BANDUNG, 1.15, 104.0, True),  # Batam
        (BANDUNG, 51.5, -0.1, True),  # London
        (BANDUNG, -7.38, 108.55, False),  # Banjar, at the border to Central Java
        ("3101011001001", -5.74, 106.61, False),  # the Thousand Islands, far from any listed place
        ("2171011001001", 3.94, 108.38, False),  # Natuna
        ("9171011001001", -2.53, 140.71, False),  # Jayapura
        ("9171011001001", -6.2, 106.85, True),
        ("9301011001001", -6.2, 106.85, False),  # Papua Selatan is younger than the data
        ("9471011001001", -6.2, 106.85, False),
        (None, -6.2, 106.85, False),
        ("", float("nan"), 106.85, False),
    ],
)
def test_outside_the_province(tps_id: str | None, lat: float, lon: float, outside: bool) -> None:
    """Only what lies clearly outside is doubted, and nothing where the data has no answer."""
    assert lies_outside(tps_id, lat, lon) is outside


@pytest.mark.parametrize(
    ("expected", "reasons"),
    [
        (Expected(BANDUNG), ()),
        (Expected(BANDUNG, (-6.9150, 107.6100)), ()),
        (Expected(BANDUNG, (-6.9500, 107.6100)), ("far_from_tps",)),
        (Expected("5171011001001", (-8.65, 115.22)), ("far_from_tps", "other_province")),
        (None, ()),
    ],
)
def test_a_place_that_is_not_the_tps(expected: Expected | None, reasons: tuple[str, ...]) -> None:
    """Far from the registered TPS, or in another province: a doubt with its reason, and the position stays."""
    tag = location(fix(1), 1.0, expected)
    assert tag is not None and tag.quality_reasons == reasons
    assert tag.quality == ("fair" if reasons else "good")


def test_the_registered_position_comes_from_the_list(tmp_path: Path) -> None:
    """The list beside the queue tells where a TPS is; without list, entry or position nothing is known."""
    queue = tmp_path / "buffer.db"
    assert registered(queue, BANDUNG) is None
    keep(queue, [Station(BANDUNG, "Sukarasa, balai", -6.9, 107.6), Station("3273011001006", "x")])
    assert registered(queue, BANDUNG) == (-6.9, 107.6)
    assert registered(queue, "3273011001006") is None
    assert registered(queue, "3273011001007") is None
    assert registered(queue, None) is None
