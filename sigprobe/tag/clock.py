"""Read the accuracy of this device's clock, and the boot id."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sigprobe.record.result import Clock

TIMESYNC: Final = Path("/run/systemd/timesync/synchronized")

_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5


class _Timex(ctypes.Structure):
    """Head of the kernel's `struct timex`, with space for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 40),
    )


def kernel_sync() -> tuple[bool, float | None] | None:
    """Ask the kernel whether a time service disciplines its clock: (synced, largest error in ms), or None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        call = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    answer = _Timex()  # modes 0: read only, so no privilege is needed
    state = call(ctypes.byref(answer))
    if state < 0:
        return None
    synced = state != _TIME_ERROR and not answer.status & _STA_UNSYNC
    return synced, round(answer.maxerror / 1000, 3) if synced else None


def read_clock(
    *, ask: Callable[[], tuple[bool, float | None] | None] = kernel_sync, timesync: Path = TIMESYNC
) -> Clock:
    """Return the clock tag: CLOCK_BOOTTIME in nanoseconds, and whether a time service syncs the wall clock.

    `synced` is None if it is unknown. An offset needs a second clock, so it stays None here.
    """
    answer = ask()
    if answer is None:
        return Clock(boottime_ns=boottime_ns(), synced=True if timesync.exists() else None)
    synced, error_ms = answer
    return Clock(boottime_ns=boottime_ns(), synced=synced, offset_err_ms=error_ms)


def boottime_ns() -> int | None:
    """Return nanoseconds since boot, suspend included; None if the system has no such clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return None if clock is None else time.clock_gettime_ns(clock)
