"""Define a position and its plausibility checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from sigprobe import places
from sigprobe.places.geometry import distance_m
from sigprobe.record.result import Location

STALE_S: Final = 60.0
INACCURATE_M: Final = 100.0
USELESS_M: Final = 1000.0
FEW_SATELLITES: Final = 4
HIGH_HDOP: Final = 5.0
FAR_M: Final = 1000.0
"""So far from the registered position of its TPS a device is not at the TPS; a village may be smaller than that."""
_ZERO_DEG: Final = 0.001  # about 110 m around 0/0, the output of receivers without a fix
_MAX_DELAY_S: Final = 5.0

_POOR: Final = frozenset({"zero", "stale", "useless_accuracy", "jump", "time_back"})


@dataclass(frozen=True, slots=True)
class Fix:
    """Position as its source reported it. Degrees WGS 84, metres.

    `at_s` is the time of the fix on the monotonic clock; None for a position that was typed and not measured. `time` is
    the receiver's own time (RFC 3339 UTC); None if it is missing or implausible.
    """

    lat: float
    lon: float
    source: str
    at_s: float | None = None
    time: str | None = None
    alt_m: float | None = None
    accuracy_m: float | None = None
    mode: str | None = None  # "2d", "3d"
    satellites: int | None = None
    hdop: float | None = None
    oddity: str | None = None  # "jump", "time_back": an impossible behaviour of the receiver


@dataclass(frozen=True, slots=True)
class Expected:
    """Expected place of the device: the TPS code, and the TPS's registered position if known."""

    tps_id: str | None = None
    position: tuple[float, float] | None = None


def is_position(lat: float, lon: float) -> bool:
    """Return True for finite degrees within the globe."""
    return math.isfinite(lat) and math.isfinite(lon) and -90 <= lat <= 90 and -180 <= lon <= 180


def typed(position: tuple[float, float], source: str) -> Fix:
    """Build a position from the settings (`fixed`) or the command line (`manual`). Raises ValueError off the globe."""
    lat, lon = position
    if not is_position(lat, lon):
        raise ValueError(f"{lat}, {lon} is no position: latitude -90 to 90, longitude -180 to 180")
    return Fix(lat, lon, source)


def taken_at(now_s: float, wall_s: float, told_s: float) -> float:
    """Return the time of a fix on the monotonic clock, by the receiver's time and ours.

    The receiver's time gives the delay of the report if both clocks are right; a wrong clock gives nothing.
    """
    delay = wall_s - told_s
    return now_s - delay if 0 <= delay <= _MAX_DELAY_S else now_s


def location(fix: Fix | None, check_started_s: float, expected: Expected | None = None) -> Location | None:
    """Return the tag for a check that started at `check_started_s` on the monotonic clock; None without a fix.

    `fix_age_s` is start minus fix, negative when the fix is the later one.
    """
    if fix is None:
        return None
    age_s = None if fix.at_s is None else check_started_s - fix.at_s
    reasons = doubts(fix, age_s, expected)
    return Location(
        lat=fix.lat,
        lon=fix.lon,
        alt_m=fix.alt_m,
        accuracy_m=fix.accuracy_m,
        fix=fix.mode,
        satellites=fix.satellites,
        hdop=fix.hdop,
        source=fix.source,
        fix_age_s=None if age_s is None else round(age_s, 3),
        quality="poor" if _POOR & set(reasons) else "fair" if reasons else "good",
        quality_reasons=reasons,
    )


def doubts(fix: Fix, age_s: float | None, expected: Expected | None = None) -> tuple[str, ...]:
    """Return every reason to doubt a position; empty for a plausible one."""
    accuracy = fix.accuracy_m
    found = {
        fix.source: fix.source in ("manual", "fixed"),
        "zero": is_zero(fix),
        "2d": fix.mode == "2d",
        "stale": age_s is not None and abs(age_s) > STALE_S,
        "inaccurate": accuracy is not None and INACCURATE_M < accuracy <= USELESS_M,
        "useless_accuracy": accuracy is not None and accuracy > USELESS_M,
        "few_satellites": fix.satellites is not None and fix.satellites < FEW_SATELLITES,
        "hdop": fix.hdop is not None and fix.hdop > HIGH_HDOP,
    }
    if fix.oddity is not None:
        found[fix.oddity] = True
    if expected is not None and not found["zero"]:
        found["far_from_tps"] = _is_far(fix, expected.position)
        found["other_province"] = places.lies_outside(expected.tps_id, fix.lat, fix.lon)
    return tuple(reason for reason, true in found.items() if true)


def is_zero(fix: Fix) -> bool:
    """Return True for a position around 0/0, which receivers report without a fix."""
    return abs(fix.lat) < _ZERO_DEG and abs(fix.lon) < _ZERO_DEG


def _is_far(fix: Fix, registered: tuple[float, float] | None) -> bool:
    if registered is None:
        return False
    return distance_m(fix.lat, fix.lon, *registered) > FAR_M + (fix.accuracy_m or 0.0)
