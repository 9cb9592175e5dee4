"""How many bytes a run may use: per run, day and month, for all interfaces and for the one in use.

The counters lie in the queue's database; here they are plain numbers. A limit of None is none, 0 allows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

MB: Final = 1_000_000
OVERHEAD: Final = 1.05
"""Bytes on the interface for each byte of payload, where the interface has no counters: headers and acks."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Megabytes (10⁶ bytes) a run, a day, a month."""

    per_run_mb: int | None = None
    per_day_mb: int | None = None
    per_month_mb: int | None = None


def day_of(now: datetime) -> str:
    """The day that counts, as `YYYY-MM-DD`: the device's own, since that is how data packages are sold."""
    return now.astimezone().date().isoformat()


def month_of(day: str) -> str:
    """The month of a day, as `YYYY-MM`."""
    return day[:7]


def allowance(
    day: str,
    used: Callable[[str, str | None], int],
    everywhere: Limits,
    interface: str | None = None,
    here: Limits | None = None,
    asked_bytes: int | None = None,
) -> int | None:
    """Bytes that a run may still use; None means no limit.

    `used(prefix, interface)` tells the bytes used on days that begin so (`None`: on all interfaces).
    `asked_bytes` is what the user allowed for this run (`--max-data`): it replaces the limit per run, up or down, but
    not those of day and month.
    """
    left = [*_left(day, used, everywhere, None, per_run=asked_bytes is None)]
    if interface is not None and here is not None:
        left += _left(day, used, here, interface, per_run=asked_bytes is None)
    if asked_bytes is not None:
        left.append(asked_bytes)
    return min(left, default=None)


def _left(
    day: str, used: Callable[[str, str | None], int], limits: Limits, interface: str | None, *, per_run: bool
) -> Iterable[int]:
    if per_run and limits.per_run_mb is not None:
        yield limits.per_run_mb * MB
    for limit, prefix in ((limits.per_day_mb, day), (limits.per_month_mb, month_of(day))):
        if limit is not None:
            yield max(0, limit * MB - used(prefix, interface))
