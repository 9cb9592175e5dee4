"""GPS time counts only where it can be true and contradicts nothing that is known."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sigprobe.record.plausible_time import LATEST, RELEASED, is_plausible
from sigprobe.runs.clock import agrees, gps_offset
from sigprobe.tag import gpsd, nmea
from sigprobe.tag.fix import Fix
from sigprobe.upload.clock_offset import estimate, last_known_time_s

NOW_S = datetime(2026, 11, 28, 6, tzinfo=UTC).timestamp()
YEAR_MS = 365 * 86_400_000.0
WRONG = ["2080-03-01", "2087-07-04", "2099-12-31", "2007-04-12", "2019-04-07", "1980-01-06", "2046-07-14", "2006-10-01"]
"""What receivers tell whose count of weeks is off by 1024, and the dates that some start from."""


@dataclass
class Receiver:
    """A receiver with this newest fix."""

    fix: Fix | None

    def newest(self) -> Fix | None:
        return self.fix


def _sentence(body: str) -> bytes:
    total = 0
    for char in body:
        total ^= ord(char)
    return f"${body}*{total:02X}\r\n".encode()


@pytest.mark.parametrize("date", WRONG)
@pytest.mark.parametrize("source", ["gpsd", "nmea", "modem"])
def test_a_wrong_year_is_no_time_but_still_a_position(source: str, date: str) -> None:
    year, month, day = date.split("-")
    if source == "gpsd":
        told = {"class": "TPV", "mode": 3, "time": f"{date}T07:05:01Z", "lat": -6.9, "lon": 107.6}
        fix = gpsd.Talk(time.monotonic, time.time).feed(json.dumps(told).encode())
    else:
        talk = nmea.Talk(time.monotonic, time.time, source=source)
        fix = talk.feed(_sentence(f"GPRMC,070501.00,A,0654.0,S,10736.0,E,0.0,0.0,{day}{month}{year[2:]},,,A"))
    assert fix is not None and (round(fix.lat, 3), round(fix.lon, 3)) == (-6.9, 107.6)
    if year >= "2000" or source == "gpsd":  # two digits of 1980 read as 2080, which is as wrong
        assert fix.time is None
    assert gps_offset(Receiver(fix)) is None  # type: ignore[arg-type]


def test_a_right_year_gives_the_offset_of_the_clock() -> None:
    fix = Fix(-6.9, 107.6, "gpsd", at_s=time.monotonic(), time="2026-11-28T06:00:00.000Z")
    told = gps_offset(Receiver(fix), now=lambda: NOW_S - 3600)  # type: ignore[arg-type]
    assert told is not None and told[0] == pytest.approx(3_600_000, abs=2000)


def test_the_bounds_leave_no_room_for_a_wrong_count_of_weeks() -> None:
    weeks_s = 1024 * 7 * 86_400
    assert (LATEST - RELEASED).total_seconds() < weeks_s
    assert is_plausible(datetime.now(UTC))


@pytest.mark.parametrize(
    ("offset_ms", "learnt", "sync", "last_known_s", "expected"),
    [
        (3_600_000.0, None, None, None, True),
        (3_600_000.0, None, (False, None), None, True),
        (3_600_000.0, None, (True, 5.0), None, False),
        (10_000.0, None, (True, 5.0), None, True),
        (3_600_000.0, (3_601_000.0, 20.0), None, None, True),
        (3_600_000.0, (0.0, 20.0), None, None, False),
        (-2 * YEAR_MS, None, None, None, False),
        (-10 * 86_400_000.0, None, None, NOW_S, False),
        (3 * YEAR_MS, None, None, NOW_S, True),
        (54 * YEAR_MS, None, None, None, False),
    ],
)
def test_gps_time_that_contradicts_what_is_known_is_ignored(
    offset_ms: float,
    learnt: tuple[float, float] | None,
    sync: tuple[bool, float | None] | None,
    last_known_s: float | None,
    expected: bool,
) -> None:
    assert agrees((offset_ms, 6000.0), learnt, sync, last_known_s, NOW_S) is expected


def test_a_synced_clock_before_the_release_proves_nothing() -> None:
    """A time service that set 1970 cannot outvote the receiver."""
    assert agrees((NOW_S * 1000, 6000.0), None, (True, 5.0), None, 0.0)


def test_what_receipts_told_is_bounded_too(tmp_path: Path) -> None:
    path = tmp_path / "buffer.db.clock.json"
    for server_s, known in ((NOW_S, True), (4_000_000_000.0, False), (1_000_000_000.0, False)):
        document = {"boot_id": "b", "learnt_at_boottime_s": 100.0, "true_at_boot_s": server_s - 100.0, "error_ms": 9.0}
        path.write_text(json.dumps(document), encoding="utf-8")
        assert (estimate(path, "b", since_boot=lambda: 200.0, now=lambda: NOW_S) is not None) is known
        assert (last_known_time_s(path) is not None) is known
