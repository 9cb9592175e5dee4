"""Compute how many bytes a run may use: per run, day and month, for all interfaces and for the one in use.

Limits are bytes on the interface, headers included. The counters are stored in the queue's database; this module works
on plain numbers. A limit of None means no limit, 0 allows nothing.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sigprobe.net.limits import OVERHEAD

MB: Final = 1_000_000
LARGE_BYTES: Final = 5 * MB
"""A check that may use more than this is large: scheduled runs leave it out while the day's share is used up."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits in megabytes (10⁶ bytes) per run, day and month."""

    per_run_mb: int | None = None
    per_day_mb: int | None = None
    per_month_mb: int | None = None


def day_of(now: datetime) -> str:
    """Return the local date as `YYYY-MM-DD`: data packages count by the device's own day."""
    return now.astimezone().date().isoformat()


def month_of(day: str) -> str:
    """Return the month of a day, as `YYYY-MM`."""
    return day[:7]


def allowance(
    day: str,
    used: Callable[[str, str | None], int],
    everywhere: Limits,
    interface: str | None = None,
    here: Limits | None = None,
    asked_bytes: int | None = None,
) -> int | None:
    """Return the bytes that a run may still use; None means no limit.

    `used(prefix, interface)` returns the bytes used on days that begin with the prefix (interface `None`: on all
    interfaces). `asked_bytes` is the user's `--max-data` for this run. It replaces the limit per run, up or down, but
    not those of day and month.
    """
    left = [*_left(day, used, everywhere, None, per_run=asked_bytes is None)]
    if interface is not None and here is not None:
        left += _left(day, used, here, interface, per_run=asked_bytes is None)
    if asked_bytes is not None:
        left.append(asked_bytes)
    return min(left, default=None)


def payload_of(wire_bytes: int | None) -> int | None:
    """Return the payload that fits into so many bytes on the interface, headers included; None for no limit."""
    return None if wire_bytes is None else int(wire_bytes / OVERHEAD)


def on_the_wire(payload_bytes: int) -> int:
    """Return how many bytes on the interface a payload takes."""
    return round(payload_bytes * OVERHEAD)


def day_share(
    now: datetime, used: Callable[[str, str | None], int], limits: Sequence[tuple[Limits, str | None]]
) -> int | None:
    """Return the bytes that scheduled runs may use today; None means no limit.

    It is the smaller of the day's limit and an equal share of what the month has left. `limits` holds those of all
    interfaces (with None) and of the one in use.
    """
    day = day_of(now)
    local = now.astimezone()
    days_left = monthrange(local.year, local.month)[1] - local.day + 1
    shares: list[int] = []
    for limit, interface in limits:
        if limit.per_day_mb is not None:
            shares.append(limit.per_day_mb * MB)
        if limit.per_month_mb is not None:
            before = used(month_of(day), interface) - used(day, interface)
            shares.append(max(0, limit.per_month_mb * MB - before) // days_left)
    return min(shares, default=None)


def is_due(share_bytes: int | None, used_bytes: int, now: datetime) -> bool:
    """Return whether a large check may run now, so that the day's share lasts until the day ends."""
    if share_bytes is None:
        return True
    local = now.astimezone()
    passed = (local.hour * 3600 + local.minute * 60 + local.second) / 86_400
    return used_bytes <= share_bytes * passed


@dataclass(frozen=True, slots=True)
class DataPlan:
    """Data cost of a schedule. Bytes on the interface; `day_bytes` is the maximum per day, None without a limit.

    `large_per_day` is how often the large checks fit into a day, None if they run in every test.
    """

    runs_per_day: int
    day_bytes: int | None
    run_bytes: int
    large_bytes: int
    large_per_day: int | None


def plan_day(every_min: int, check_bytes: Sequence[int], day_bytes: int | None) -> DataPlan:
    """Return the daily cost of runs at an interval in minutes, by the upper limits of the checks in payload bytes."""
    runs = max(1, 1440 // every_min)
    large = on_the_wire(sum(size for size in check_bytes if size > LARGE_BYTES))
    run = on_the_wire(sum(check_bytes))
    fits = day_bytes is None or runs * run <= day_bytes
    if fits or not large:
        return DataPlan(runs, runs * run if fits else day_bytes, run, large, None)
    return DataPlan(runs, day_bytes, run, large, min(runs, (day_bytes or 0) // large))


def _left(
    day: str, used: Callable[[str, str | None], int], limits: Limits, interface: str | None, *, per_run: bool
) -> Iterable[int]:
    if per_run and limits.per_run_mb is not None:
        yield limits.per_run_mb * MB
    for limit, prefix in ((limits.per_day_mb, day), (limits.per_month_mb, month_of(day))):
        if limit is not None:
            yield max(0, limit * MB - used(prefix, interface))
