"""Store this device's clock offset from authenticated receipts, in a small file beside the queue.

The file holds the collector's time minus the time since boot. Setting the wall clock does not change it; a reboot
invalidates it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sigprobe.files.atomic import note_state, read_state
from sigprobe.record.plausible_time import is_plausible_timestamp
from sigprobe.upload.report import Report

DRIFT: Final = 50e-6
"""How fast an undisciplined clock may run away, as a share: 50 ppm, 4.3 s a day."""


def boottime() -> float | None:
    """Return seconds since boot, suspend included; None if the system has no such clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return None if clock is None else time.clock_gettime(clock)


def offset_file(queue: Path) -> Path:
    """Return the path of the file, beside the queue."""
    return queue.with_name(queue.name + ".clock.json")


def keep(path: Path, report: Report, boot_id: str | None, *, since_boot: Callable[[], float | None] = boottime) -> None:
    """Store the offset of an upload, unless the stored one is more accurate."""
    now = since_boot()
    if report.true_at_boot_s is None or report.clock_error_ms is None or boot_id is None or now is None:
        return
    known = _read(path, boot_id, now)
    if known is not None and known[1] <= report.clock_error_ms:
        return
    document = {
        "boot_id": boot_id,
        "learnt_at_boottime_s": now,
        "true_at_boot_s": report.true_at_boot_s,
        "error_ms": report.clock_error_ms,
    }
    note_state(path, document)


def estimate(
    path: Path,
    boot_id: str | None,
    *,
    since_boot: Callable[[], float | None] = boottime,
    now: Callable[[], float] = time.time,
) -> tuple[float, float] | None:
    """Return true time minus the wall clock in ms, and its uncertainty; None when it is unknown.

    The uncertainty grows with the age of the measurement.
    """
    boot = since_boot()
    known = None if boot is None or boot_id is None else _read(path, boot_id, boot)
    if known is None or boot is None:
        return None
    return round((known[0] + boot - now()) * 1000, 3), round(known[1], 3)


def last_known_time_s(path: Path) -> float | None:
    """Return the latest true time from a receipt, in this boot or an earlier one; None without one."""
    document = read_state(path)
    try:
        told = float(document["true_at_boot_s"]) + float(document["learnt_at_boottime_s"])
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    return told if is_plausible_timestamp(told) else None


def _read(path: Path, boot_id: str, boot: float) -> tuple[float, float] | None:
    """Return (true time at boot in s, its present error in ms), if measured in this boot."""
    document = read_state(path)
    try:
        true_at_boot, error, learnt = (
            float(document[name]) for name in ("true_at_boot_s", "error_ms", "learnt_at_boottime_s")
        )
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    usable = all(map(math.isfinite, (true_at_boot, error, learnt))) and error >= 0.0 and learnt <= boot
    usable = usable and is_plausible_timestamp(true_at_boot + learnt)
    if not usable or document.get("boot_id") != boot_id:
        return None
    return true_at_boot, error + (boot - learnt) * DRIFT * 1000
