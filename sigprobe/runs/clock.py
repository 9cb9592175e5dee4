"""Compare this device's clock with the collector's, with GPS time and with the program's release date."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sigprobe.buffer import Buffer
from sigprobe.record.clock_limits import CLOCK_WRONG_S
from sigprobe.record.plausible_time import is_plausible, is_plausible_timestamp
from sigprobe.record.result import parse_time
from sigprobe.tag.clock import kernel_sync
from sigprobe.upload import Report
from sigprobe.upload.clock_offset import estimate, last_known_time_s, offset_file

if TYPE_CHECKING:
    from sigprobe.tag.gps import GpsReader

GPS_TIME_ERROR_MS: Final = 6_000.0
"""How late the report of a fix may arrive and still count as fresh, plus one second."""

_SLACK_MS: Final = 60_000.0
"""How far two clocks may differ beyond their uncertainties and still agree."""
_DAY_S: Final = 86_400.0

Offset = tuple[float, float]
"""True time minus this device's clock, and its uncertainty, in ms."""


def clock_offset(
    buffer: Buffer,
    gps: GpsReader | None = None,
    *,
    now: Callable[[], float] = time.time,
    sync: Callable[[], tuple[bool, float | None] | None] = kernel_sync,
) -> Offset | None:
    """Return true time minus this device's clock and its uncertainty, in ms; None when it is unknown.

    The source with the smaller uncertainty wins: receipts or GPS. GPS time is ignored if it contradicts a receipt, a
    clock set by a time service, or the last known time. Receivers shift by 1024 weeks when their week number overflows.
    """
    path = offset_file(buffer.configured_path)
    learnt = estimate(path, buffer.boot_id)
    told = None if gps is None else gps_offset(gps, now=now)
    if told is not None and not agrees(told, learnt, sync(), last_known_time_s(path), now()):
        told = None
    return min((found for found in (learnt, told) if found is not None), key=lambda found: found[1], default=None)


def agrees(
    told: Offset,
    learnt: Offset | None,
    sync: tuple[bool, float | None] | None,
    last_known_s: float | None,
    now_s: float,
) -> bool:
    """Return whether GPS time agrees with all other known times.

    `learnt` is the offset by receipts, `sync` the kernel's report on its time service. `last_known_s` is the latest
    time from a receipt, `now_s` this device's clock.
    """
    offset, error = told
    if not is_plausible_timestamp(now_s + offset / 1000):
        return False
    if learnt is not None and abs(offset - learnt[0]) > error + learnt[1] + _SLACK_MS:
        return False
    if sync is not None and sync[0] and is_plausible_timestamp(now_s) and abs(offset) > error + _SLACK_MS:
        return False
    return last_known_s is None or now_s + offset / 1000 > last_known_s - _DAY_S


def gps_offset(gps: GpsReader, *, now: Callable[[], float] = time.time) -> Offset | None:
    """Return the receiver's time minus this device's clock, in ms; None without a measured fix at a plausible time."""
    fix = gps.newest()
    if fix is None or fix.at_s is None or fix.time is None or fix.oddity is not None:
        return None
    when = parse_time(fix.time)
    if when is None or not is_plausible(when):
        return None
    wall_then = now() - (time.monotonic() - fix.at_s)
    return round((when.timestamp() - wall_then) * 1000, 3), GPS_TIME_ERROR_MS


def clock_is_wrong(report: Report) -> bool:
    """Return True when the collector's clock and this device's differ by more than a minute."""
    return (
        report.clock_offset_ms is not None
        and abs(report.clock_offset_ms) - (report.clock_error_ms or 0.0) > CLOCK_WRONG_S * 1000
    )
