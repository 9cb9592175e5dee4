"""Find the rate of the link from the bursts of slow start, before a window fills a long path.

A window that is not paced crosses a long way as bursts with silence between them: what is sent for two
acknowledgements at a time arrives at the link's own pace. From round trip to round trip there is more of it, and its
pace stays: that pace is the link's. Where the pace grows with the window the sender paces, and nothing is known yet.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from sigprobe.measure.throughput.statistics import crucial_interval

GROWN: Final = 1.2
"""The second of two round trips has carried so much more, at the same pace."""

FULL: Final = 0.85
"""A round trip that is busy for a larger share is no burst any more."""

ALIKE: Final = 0.08
MOST: Final = 0.5
"""How narrow the range of paces is in which most batches of both lie, and what share of them is most."""

BATCHES_S: Final = (0.0095, 0.0195, 0.0395)
LEAST: Final = 2
TOGETHER: Final = 6
"""How many batches each of the two round trips has, and both together. Acknowledgements come in larger lumps than
packets: where short batches do not agree, longer ones may."""

STEP_BYTES: Final = 8_000
"""Fewer bytes between two samples, and a moment without any is no silence."""

Step = tuple[float, float]
"""Seconds and bytes between two samples."""


def paces(
    times_s: Sequence[float],
    totals: Sequence[float],
    at: Callable[[float], float],
    rtt_s: float,
    queue: tuple[float, float] | None = None,
) -> list[float] | None:
    """Return bit/s of batches within the bursts of the last two round trips; None unless they show the link's rate.

    `at` gives the bytes at a moment between samples, too. `queue` is the moment since which packets wait in one, and
    for how many seconds that has to be seen: what arrives behind a queue comes at the link's pace, were it only once.
    """
    end_s = times_s[-1] if times_s else 0.0
    edges = [bisect_left(times_s, end_s - rtt_s * back) for back in (2, 1)]
    if edges[0] < 1:
        return None
    edges.append(len(times_s))
    former, latter = (_inside(times_s, totals, first, past) for first, past in pairwise(edges))
    if queue is not None:
        behind = _inside(times_s, totals, max(edges[1], bisect_left(times_s, queue[0])), edges[2])
        if sum(span_s for span_s, _ in behind) >= queue[1]:
            found = _first(_agreeing(_batches(behind, batch_s)) for batch_s in BATCHES_S)
            if found is not None:
                return found
    middle = at(end_s - rtt_s)
    grown = totals[-1] - middle >= GROWN * (middle - at(end_s - 2 * rtt_s))
    if not grown or sum(span_s for span_s, _ in former) > FULL * rtt_s:
        return None
    return _first(_agreeing(_batches(former, batch_s), _batches(latter, batch_s)) for batch_s in BATCHES_S)


def _first(found: Iterator[list[float] | None]) -> list[float] | None:
    rates = next((one for one in found if one is not None), None)
    return rates if rates and rates[0] * BATCHES_S[0] / 8 >= 2 * STEP_BYTES else None


def _agreeing(*rounds: list[float]) -> list[float] | None:
    """Return the batches of the range where most lie, in time order; None unless it is narrow with some of each."""
    if min(map(len, rounds)) < LEAST:
        return None
    low, high = crucial_interval([rate for rates in rounds for rate in rates])
    alike = [[rate for rate in rates if low <= rate <= high] for rates in rounds]
    enough = max(TOGETHER, MOST * sum(map(len, rounds)))
    if high - low > ALIKE * high or min(map(len, alike)) < LEAST or sum(map(len, alike)) < enough:
        return None
    return [rate for rates in alike for rate in rates]


def _inside(times_s: Sequence[float], totals: Sequence[float], first: int, past: int) -> list[Step]:
    """Return the steps that lie within a burst: not the one in which it began, nor the one in which it ended."""
    return [
        (times_s[at] - times_s[at - 1], totals[at] - totals[at - 1])
        for at in range(max(2, first), min(past, len(totals) - 1))
        if totals[at - 2] < totals[at - 1] < totals[at] < totals[at + 1]
    ]


def _batches(steps: Sequence[Step], batch_s: float) -> list[float]:
    rates, seconds, size = [], 0.0, 0.0
    for span_s, count in steps:
        seconds, size = seconds + span_s, size + count
        if seconds >= batch_s:
            rates.append(size * 8 / seconds)
            seconds, size = 0.0, 0.0
    return rates
