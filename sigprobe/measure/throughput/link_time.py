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

BEFORE_S: Final = 0.1
BEFORE_RTTS: Final = 0.5
UNLIKE: Final = 0.25
"""A level is contradicted by a busy time before it, so long at least, whose rate differs by more than this share."""

VARYING_S: Final = 3.2
"""A link that varies is measured for so long from its first queue on: three whole seconds show how it varies."""

BATCHES: Final = 24
LEAST_BATCH_S: Final = 0.1
STALL_S: Final = 1.0


def needs_longer(arrivals: Arrivals, speed: Speed | None, end_s: float, rtt_s: float) -> bool:
    """Return whether a steady level is only the newest of several rates, and the link was seen too shortly for a mean.

    A link that changes every second is steady for most of each second.
    """
    spans = _busy_spans(arrivals, end_s, rtt_s)
    if not spans or end_s - spans[0][0] >= VARYING_S:
        return False
    return _contradicts(arrivals, speed, spans, rtt_s)


def over_busy_time(arrivals: Arrivals, speed: Speed | None, end_s: float, rtt_s: float) -> Speed | None:
    """Return the mean rate of the busy time where it differs from the level that was found, else that level.

    A level below what all of the transfer has carried is none: that is stated then.
    """
    found = _of_busy_time(arrivals, speed, end_s, rtt_s)
    begin_s = arrivals.ordered.first_s()
    if found is None or found.kind == "mean_under_loss" or end_s - begin_s < max(LEAST_S, LEAST_RTTS * rtt_s):
        return found
    carried = (arrivals.ordered.total() - arrivals.ordered.at(begin_s)) * 8 / (end_s - begin_s)
    if carried <= (1 + APART) * found.bps:
        return found
    low, high = found.ci_bps or (found.bps, found.bps)
    return Speed(carried, (min(low, carried), max(high, carried)), begin_s, settled=False, kind="mean")


def _of_busy_time(arrivals: Arrivals, speed: Speed | None, end_s: float, rtt_s: float) -> Speed | None:
    spans = _busy_spans(arrivals, end_s, rtt_s)
    busy_s = total_s(spans)
    if not spans or arrivals.ordered.total() < MIN_BYTES:
        return speed
    long = busy_s >= max(LEAST_S, LEAST_RTTS * rtt_s)
    if not long and not _contradicts(arrivals, speed, spans, rtt_s):
        return speed
    since_s = end_s - spans[0][0]
    if busy_s < LEAST_SHARE * since_s:
        return speed
    series = arrivals.best()
    busy = _moved(series, spans) * 8 / busy_s
    # between two queues the link carried at least what arrived
    whole = (series.total() - series.at(spans[0][0])) * 8 / since_s
    mean = max(busy, whole)
    if mean <= 0 or (speed is not None and abs(mean - speed.bps) <= APART * speed.bps):
        return speed
    rates = _rates(series, spans, max(LEAST_BATCH_S, rtt_s, busy_s / BATCHES))
    half = half_width(rates)
    interval = None if half is None else (max(0.0, mean - half), mean + half)
    if interval is None and speed is not None:
        # too few batches for an interval of the mean: the rates that were seen bound it
        interval = min(mean, speed.bps, *rates), max(mean, speed.bps, *rates)
    return Speed(mean, interval, spans[0][0], settled=False, kind="mean")


def _busy_spans(arrivals: Arrivals, end_s: float, rtt_s: float) -> list[Span]:
    """Return the times of a queue, each without its first round trip: what arrives then was sent before it stood."""
    return [(begin + min(rtt_s, (end - begin) / 2), end) for begin, end in arrivals.queues.spans(end_s)]


def _contradicts(arrivals: Arrivals, speed: Speed | None, spans: Sequence[Span], rtt_s: float) -> bool:
    """Return whether the busy link carried another rate before the level began."""
    if speed is None or speed.bps <= 0:
        return False
    before = [(begin, min(end, speed.from_s)) for begin, end in spans if begin < speed.from_s]
    before_s = total_s(before)
    if before_s < max(BEFORE_S, BEFORE_RTTS * rtt_s):
        return False
    rate = _moved(arrivals.best(), before) * 8 / before_s
    return abs(rate - speed.bps) > UNLIKE * speed.bps


def _moved(series: Series, spans: Sequence[Span]) -> float:
    return sum(series.at(end_s) - series.at(begin_s) for begin_s, end_s in spans)


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
