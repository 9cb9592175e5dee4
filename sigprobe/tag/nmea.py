"""Parse NMEA 0183 from GPS receivers and phone apps: sentences with checksums, and their fixes.

GGA, RMC, ZDA, GSA and GST of every talker are read. A sentence without a valid checksum is dropped, since serial lines
lose characters silently.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sigprobe.record.plausible_time import is_plausible
from sigprobe.record.result import format_time
from sigprobe.tag.fix import Fix, is_position, taken_at

_SENTENCE: Final = re.compile(rb"[$]([A-Z0-9]{2})([A-Z]{3}),([\x20-\x7e]*?)[*]([0-9A-Fa-f]{2})\s*")
_LATITUDE: Final = re.compile(r"([0-9]{2})([0-9]{2}(?:\.[0-9]+)?)")
_LONGITUDE: Final = re.compile(r"([0-9]{3})([0-9]{2}(?:\.[0-9]+)?)")
_TIME: Final = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{2})(\.[0-9]+)?")
_DATE: Final = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{2}|[0-9]{4})")
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}(?:\.[0-9]{1,9})?")

_MEASURED: Final = frozenset("12345")
"""GGA's qualities that rest on satellites; the others are guessed, typed or simulated."""
_GUESSED: Final = frozenset("EMSN")
"""RMC's mode letters for estimated, manual, simulated and none."""
_MODES: Final = {"1": None, "2": "2d", "3": "3d"}
_TOGETHER_S: Final = 5.0
"""Sentences further apart belong to different fixes."""
_SAME_DATE: Final = timedelta(hours=12)
"""Dates of two recent sentences that are further apart contradict each other."""
_STRANGE_LINES: Final = 40


def sentence(line: bytes) -> tuple[str, list[str]] | None:
    """Return the type (`GGA`) and the fields of one line; None without a valid checksum."""
    found = _SENTENCE.fullmatch(line.strip())
    if found is None:
        return None
    total = 0
    for byte in found[1] + found[2] + b"," + found[3]:
        total ^= byte
    if total != int(found[4], 16):
        return None
    return found[2].decode("ascii"), found[3].decode("ascii").split(",")


@dataclass(frozen=True, slots=True)
class _Sky:
    """Values of a GGA beside the position."""

    at_s: float
    time: str
    satellites: int | None
    hdop: float | None
    alt_m: float | None


@dataclass(slots=True)
class Talk:
    """State of one receiver. `feed` takes a line and returns its fix, if any.

    `answered` becomes true with the first valid sentence.
    """

    clock: Callable[[], float]
    wall: Callable[[], float]
    source: str = "nmea"
    answered: bool = False
    strange: int = 0
    _sky: _Sky | None = None
    _date: tuple[float, datetime] | None = None
    _dates_differ_at_s: float | None = None
    _mode: tuple[float, str | None] | None = None
    _error: tuple[float, float] | None = None
    _hdop: tuple[float, float | None] | None = None

    def feed(self, line: bytes) -> Fix | None:
        """Process one line; return None for anything that is not a usable fix."""
        told = sentence(line)
        if told is None:
            self.strange += bool(line.strip())
            return None
        self.answered = True
        kind, fields = told
        now = self.clock()
        if kind == "GGA" and len(fields) >= 9:
            return self._gga(now, fields)
        if kind == "RMC" and len(fields) >= 9:
            return self._rmc(now, fields)
        if kind == "ZDA" and len(fields) >= 4 and len(fields[3]) == 4:
            self._keep_date(now, _moment(fields[0], "".join(fields[1:4])))
        elif kind == "GSA" and len(fields) >= 17:
            self._gsa(now, fields)
        elif kind == "GST" and len(fields) >= 7:
            north, east = _number(fields[5]), _number(fields[6])
            if north is not None and east is not None:
                self._error = now, math.hypot(north, east)
        return None

    def trouble(self) -> str | None:
        """Return why this connection cannot give a fix, or None."""
        return None if self.answered or self.strange <= _STRANGE_LINES else "what comes there is not NMEA"

    def _gga(self, now: float, fields: list[str]) -> Fix | None:
        if fields[5] not in _MEASURED:
            self._sky = None
            return None
        hdop = _number(fields[7])
        self._sky = _Sky(
            at_s=now,
            time=fields[0],
            satellites=int(fields[6]) if re.fullmatch(r"[0-9]{1,3}", fields[6]) else None,
            hdop=hdop if hdop is not None and 0 < hdop < 99 else None,
            alt_m=_number(fields[8]),
        )
        return self._fix(now, fields[0], fields[1:5])

    def _rmc(self, now: float, fields: list[str]) -> Fix | None:
        when = _moment(fields[0], fields[8])
        if fields[1] == "A":
            self._keep_date(now, when)
        mode = fields[11] if len(fields) > 11 else ""
        if fields[1] != "A" or mode in _GUESSED:
            return None
        return self._fix(now, fields[0], fields[2:6])

    def _keep_date(self, now: float, when: datetime | None) -> None:
        """Keep the date of an RMC or ZDA; two recent ones that differ count as none."""
        if when is None:
            return
        known = self._date
        if known is not None and now - known[0] <= _TOGETHER_S and abs(when - known[1]) > _SAME_DATE:
            self._dates_differ_at_s = now
        self._date = now, when

    def _gsa(self, now: float, fields: list[str]) -> None:
        if fields[1] in _MODES:
            mode = _MODES[fields[1]]
            # several systems report in turn, and one of them may have no satellites
            if mode is not None or self._mode is None or now - self._mode[0] > _TOGETHER_S:
                self._mode = now, mode
        hdop = _number(fields[15])
        self._hdop = now, hdop if hdop is not None and 0 < hdop < 99 else None

    def _fix(self, now: float, time: str, where: list[str]) -> Fix | None:
        lat = _degrees(_LATITUDE, where[0], where[1], "NS")
        lon = _degrees(_LONGITUDE, where[2], where[3], "EW")
        # a receiver without a fix may repeat its last position, usually without a time
        if lat is None or lon is None or not is_position(lat, lon) or _TIME.fullmatch(time) is None:
            return None
        sky = self._sky if self._sky is not None and now - self._sky.at_s <= _TOGETHER_S else None
        mode = self._mode[1] if self._mode is not None and now - self._mode[0] <= _TOGETHER_S else None
        hdop = sky.hdop if sky is not None else None
        if hdop is None and self._hdop is not None and now - self._hdop[0] <= _TOGETHER_S:
            hdop = self._hdop[1]
        error = self._error[1] if self._error is not None and now - self._error[0] <= _TOGETHER_S else None
        when = self._dated(now, time)
        return Fix(
            lat=lat,
            lon=lon,
            source=self.source,
            at_s=now if when is None else taken_at(now, self.wall(), when.timestamp()),
            time=None if when is None else format_time(when),
            alt_m=sky.alt_m if sky is not None and mode != "2d" else None,
            accuracy_m=None if error is None else round(error, 2),
            mode=mode,
            satellites=None if sky is None else sky.satellites,
            hdop=hdop,
        )

    def _dated(self, now: float, time: str) -> datetime | None:
        """Return the full time for a time of day, by the date of a recent RMC or ZDA; None without a plausible date.

        Midnight may be between the two.
        """
        if self._date is None or now - self._date[0] > _TOGETHER_S:
            return None
        if self._dates_differ_at_s is not None and now - self._dates_differ_at_s <= _TOGETHER_S:
            return None
        base = self._date[1]
        when = _moment(time, f"{base:%d%m}{base.year:04}")
        if when is None:
            return None
        if when - base < timedelta(hours=-12):
            when += timedelta(days=1)
        # a receiver with a wrong week number still has a right position
        return when if is_plausible(when) else None


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _degrees(shape: re.Pattern[str], text: str, side: str, sides: str) -> float | None:
    found = shape.fullmatch(text)
    if found is None or len(side) != 1 or side not in sides:
        return None
    minutes = float(found[2])
    if minutes >= 60:
        return None
    value = round(int(found[1]) + minutes / 60, 7)
    return -value if side in "SW" else value


def _moment(time: str, date: str) -> datetime | None:
    """Parse the time and date of an RMC or ZDA in UTC; two-digit years are of this century."""
    clock, day = _TIME.fullmatch(time), _DATE.fullmatch(date)
    if clock is None or day is None:
        return None
    try:
        second = min(int(clock[3]), 59)  # datetime cannot represent a leap second
        year = int(day[3]) if len(day[3]) == 4 else 2000 + int(day[3])
        whole = datetime(year, int(day[2]), int(day[1]), int(clock[1]), int(clock[2]), second, tzinfo=UTC)
        return whole + timedelta(seconds=float(clock[4] or 0))
    except (ValueError, OverflowError):
        return None
