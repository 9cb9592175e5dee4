"""Compare this device's clock with the collector's and with GPS time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sigprobe.buffer import Buffer
from sigprobe.upload import Report
from sigprobe.upload.clock_offset import estimate, offset_file

if TYPE_CHECKING:
    from sigprobe.tag.gps import GpsReader


GPS_TIME_ERROR_MS: Final = 6_000.0
"""How late the report of a fix may reach us and still be taken for fresh, and a second more."""


GPS_TIME_FROM: Final = datetime(2026, 1, 1, tzinfo=UTC)


CLOCK_WRONG_S: Final = 60.0
"""From here on a wrong clock is said on the screen."""


def clock_offset(buffer: Buffer, gps: GpsReader | None = None) -> tuple[float, float] | None:
    """True time minus this device's clock and its uncertainty, in ms: from receipts or GPS, whichever is surer."""
    learnt = estimate(offset_file(buffer.configured_path), buffer.boot_id)
    told = None if gps is None else gps_offset(gps)
    return min((found for found in (learnt, told) if found is not None), key=lambda found: found[1], default=None)


def gps_offset(gps: GpsReader) -> tuple[float, float] | None:
    """The receiver's time minus this device's clock, in ms; None without a measured fix."""
    import time

    from sigprobe.record.result import parse_time

    fix = gps.newest()
    if fix is None or fix.at_s is None or fix.time is None or fix.oddity is not None:
        return None
    when = parse_time(fix.time)
    # a receiver whose count of weeks has run over is 19.6 years behind
    if when is None or when < GPS_TIME_FROM:
        return None
    wall_then = time.time() - (time.monotonic() - fix.at_s)
    return round((when.timestamp() - wall_then) * 1000, 3), GPS_TIME_ERROR_MS


def clock_is_wrong(report: Report) -> bool:
    """True when the collector's clock and ours differ so much that a person should know."""
    return (
        report.clock_offset_ms is not None
        and abs(report.clock_offset_ms) - (report.clock_error_ms or 0.0) > CLOCK_WRONG_S * 1000
    )
