"""State the mean rate of a link that varies: over all the time in which the transfer kept it busy.

A level that has just been steady says little about such a link. Where packets waited in a queue, or nothing came
through at all, what arrived is what the link carried; the mean over those times is the mean of the link.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from sigprobe.measure.throughput.arrivals import Arrivals
from sigprobe.measure.throughput.convergence import MIN_BYTES, Series, Speed
from sigprobe.measure.throughput.queue_time import Span, total_s
from sigprobe.measure.throughput.statistics import half_width
from sigprobe.record import window

LEAST_S: Final = 1.0
LEAST_RTTS: Final = 5
LEAST_SHARE: Final = 0.4
"""A mean needs at least so many seconds and round trips, and such a share of the time since the first queue."""

APART: Final = 0.1
"""Level and mean differ by more than this share where the link varies."""

BATCHES: Final = 24
LEAST_BATCH_S: Final = 0.1
STALL_S: Final = 1.0


def over_busy_time(arrivals: Arrivals, speed: Speed | None, end_s: float, rtt_s: float) -> Speed | None:
    """Return the mean rate of the busy time where it differs from the level that was found, else that level."""
    # what arrives in the first round trip of a queue was sent before it stood
    spans = [(begin + min(rtt_s, (end - begin) / 2), end) for begin, end in arrivals.queues.spans(end_s)]
    busy_s = total_s(spans)
    if busy_s < max(LEAST_S, LEAST_RTTS * rtt_s) or arrivals.ordered.total() < MIN_BYTES:
        return speed
    since_s = end_s - spans[0][0]
    if busy_s < LEAST_SHARE * since_s:
        return speed
    series = arrivals.best()
    busy = sum(series.at(end) - series.at(begin) for begin, end in spans) * 8 / busy_s
    # between two queues the link carried at least what arrived
    whole = (series.total() - series.at(spans[0][0])) * 8 / since_s
    mean = max(busy, whole)
    if mean <= 0 or (speed is not None and abs(mean - speed.bps) <= APART * speed.bps):
        return speed
    half = half_width(_rates(series, spans, max(LEAST_BATCH_S, rtt_s, busy_s / BATCHES)))
    interval = None if half is None else (max(0.0, mean - half), mean + half)
    return Speed(mean, interval, spans[0][0], settled=False, kind="mean")


def _rates(series: Series, spans: Sequence[Span], batch_s: float) -> list[float]:
    """Return the rates of batches that lie within one of the spans."""
    found = []
    for begin_s, end_s in spans:
        count = int((end_s - begin_s) / batch_s)
        edges = [series.at(end_s - batch_s * back) for back in range(count, -1, -1)]
        found += [(later - earlier) * 8 / batch_s for earlier, later in pairwise(edges)]
    return found


def window_of(arrivals: Arrivals, speed: Speed | None, end_s: float) -> window.Window | None:
    """Return the statistics of the whole seconds since the climb; where nothing came at first, since that began."""
    if speed is None:
        return None
    spans = arrivals.queues.spans(end_s)
    begin_s = min(speed.from_s, spans[0][0]) if spans and spans[0][0] >= 0 else speed.from_s
    return seconds(arrivals.ordered, begin_s, end_s)


def seconds(series: Series, begin_s: float, end_s: float) -> window.Window | None:
    """Return the statistics of the whole seconds between two moments; None without one."""
    edges = [series.at(end_s - back) for back in range(int(end_s - begin_s), -1, -1)]
    return window.describe(
        [(later - earlier) * 8 for earlier, later in pairwise(edges)], stalls(series, begin_s, end_s)
    )


def stalls(series: Series, begin_s: float, end_s: float) -> int:
    """Count the pauses of a second and more between two moments."""
    count, since_s, before = 0, begin_s, series.at(begin_s)
    for at_s, total in zip(series.times_s, series.totals, strict=True):
        if begin_s < at_s <= end_s and total > before:
            count += at_s - since_s >= STALL_S
            since_s, before = at_s, total
    return count + (end_s - since_s >= STALL_S)
