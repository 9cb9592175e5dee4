"""The collector's own idea of when a record began, kept beside the probe's and never over it.

A record says how far its probe's clock was off, once the probe had learnt it from a receipt or from GPS. Records of the
same boot that were made before that carry only the time since boot; one record of that boot that knows its offset
tells the true time of all of them, whatever the wall clock was set to in between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

_MOST_S: Final = 200 * 366 * 86_400.0
"""No clock is off by more than two hundred years."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What a record tells of its clock. `boot` names one boot of one probe; seconds."""

    started_at: datetime
    boot: tuple[str, str] | None
    since_boot_s: float | None
    offset_s: float | None
    error_s: float


def read_clock(record: Mapping[str, Any], started_at: datetime) -> ClockReading:
    """Read the clock's tags of a record; what is missing or absurd counts as not known."""
    tags = record.get("tags")
    clock = tags.get("clock") if isinstance(tags, dict) else None
    values = clock if isinstance(clock, dict) else {}
    boot = record.get("boot_id")
    nanoseconds = _number(values.get("boottime_ns"))
    offset = _number(values.get("offset_est_ms"))
    error = _number(values.get("offset_err_ms"))
    return ClockReading(
        started_at,
        (str(record.get("probe_id")), boot) if isinstance(boot, str) and boot else None,
        None if nanoseconds is None or nanoseconds < 0 else nanoseconds / 1e9,
        None if offset is None or abs(offset) / 1000 > _MOST_S else offset / 1000,
        math.inf if error is None else abs(error) / 1000,
    )


def corrected_times(readings: Mapping[str, ClockReading]) -> dict[str, datetime]:
    """The corrected start of every record for which one can be told, by id."""
    anchors: dict[tuple[str, str], tuple[float, float]] = {}
    for reading in readings.values():
        if reading.boot is None or reading.since_boot_s is None or reading.offset_s is None:
            continue
        known = anchors.get(reading.boot)
        if known is None or reading.error_s < known[0]:
            true_at_boot = reading.started_at.timestamp() + reading.offset_s - reading.since_boot_s
            anchors[reading.boot] = (reading.error_s, true_at_boot)
    found: dict[str, datetime] = {}
    for name, reading in readings.items():
        anchor = None if reading.boot is None else anchors.get(reading.boot)
        if reading.offset_s is not None:
            seconds = reading.started_at.timestamp() + reading.offset_s
        elif anchor is not None and reading.since_boot_s is not None:
            seconds = anchor[1] + reading.since_boot_s
        else:
            continue
        try:
            found[name] = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        except OverflowError:
            continue
    return found


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
