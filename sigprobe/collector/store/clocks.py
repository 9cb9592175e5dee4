"""Compute the collector's own start time of a record, stored beside the probe's.

A record has the offset of its probe's clock, once the probe has learnt it from a receipt or from GPS. Earlier records
of the same boot have only the time since boot. One record of that boot with an offset, an anchor, gives the true time
of all of them, even if the wall clock was set in between. The store combines them in whatever order they arrive: see
`ingest/corrections.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sigprobe.record.plausible_time import LATEST, RELEASED

_MOST_S: Final = 200 * 366 * 86_400.0
"""No clock is off by more than two hundred years, and nothing runs for longer."""

_MOST_BOOT_CHARS: Final = 200
"""As much as a column holds. Linux names a boot with 36 characters."""

_SPREAD: Final = timedelta(days=5 * 365)
"""A week number of GPS that has rolled over is off by 1,024 weeks; the collector's own clock may be years behind."""

_FIRST_RELEASE: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Clock values of a record in seconds; None for unknown ones.

    `corrected_at` is the record's start by its own offset, None if that is implausible; `error_s` is its uncertainty.
    """

    boot_id: str | None
    since_boot_s: float | None
    corrected_at: datetime | None
    error_s: float | None


@dataclass(frozen=True, slots=True)
class Anchor:
    """The true time at which a boot began, in seconds since 1970, and how far it may be off (None: not said)."""

    error_s: float | None
    booted_at_s: float

    def rank(self) -> tuple[float, float]:
        """Smaller is better. Never a tie between two that differ, or the order of arrival would decide."""
        return (math.inf if self.error_s is None else self.error_s, self.booted_at_s)

    def time_of(self, since_boot_s: float) -> datetime | None:
        """Return the true time so many seconds after the boot; None if it is implausible."""
        return plausible(_calendar(self.booted_at_s + since_boot_s))

    def is_plausible(self) -> bool:
        """Tell whether a device can have booted then: not in the future, and not years before the first release."""
        booted_at = _calendar(self.booted_at_s)
        return booted_at is not None and _FIRST_RELEASE - _SPREAD <= booted_at <= _latest()


def plausible(corrected_at: datetime | None) -> datetime | None:
    """Return a corrected time; None if it is years in the future or before any release.

    A GPS receiver after a week-number rollover reports a year that is decades off, and a clock that is decades off may
    have an offset of 0. One such anchor would move a whole boot. The probe's own time is stored separately, so nothing
    is lost.
    """
    return corrected_at if corrected_at is not None and _FIRST_RELEASE <= corrected_at <= _latest() else None


def _latest() -> datetime:
    # the collector's clock may be reset to 1970; no true time is before this program's release
    return min(max(datetime.now(UTC), RELEASED) + _SPREAD, LATEST)


def read_clock(record: Mapping[str, Any], started_at: datetime) -> ClockReading:
    """Read the clock's tags of a record; what is missing or absurd counts as not known."""
    tags = record.get("tags")
    clock = tags.get("clock") if isinstance(tags, dict) else None
    values = clock if isinstance(clock, dict) else {}
    boot = record.get("boot_id")
    nanoseconds = _number(values.get("boottime_ns"))
    offset = _number(values.get("offset_est_ms"))
    error = _number(values.get("offset_err_ms"))
    own = None
    if offset is not None and abs(offset) / 1000 <= _MOST_S:
        own = plausible(_calendar(started_at.timestamp() + offset / 1000))
    return ClockReading(
        boot if isinstance(boot, str) and _is_name(boot) else None,
        nanoseconds / 1e9 if nanoseconds is not None and 0 <= nanoseconds / 1e9 <= _MOST_S else None,
        own,
        None if error is None else abs(error) / 1000,
    )


def anchor_of(corrected_at: datetime, since_boot_s: float, error_s: float | None) -> Anchor:
    """Return the anchor from a record with its own offset."""
    return Anchor(error_s, corrected_at.timestamp() - since_boot_s)


def _is_name(boot: str) -> bool:
    # what a column cannot hold as it is could be confused with another's
    return 0 < len(boot) <= _MOST_BOOT_CHARS and boot.isprintable()


def _calendar(seconds: float) -> datetime | None:
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
