"""From arrivals over time to a rate: leave slow start out, say how sure the number is, and when that is enough.

The level is found as FastBTS does (NSDI 2021): the crucial interval is the range of rates that is both narrow and
rich in samples. What came before the rate first reached that level was slow start. The rate itself is the mean from
there on, so that it is what a long transfer would see, and its 95 % interval comes from the means of equal
batches, each at least a round trip long, widened where neighbouring batches resemble each other.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from sigprobe.measure.throughput import bursts
from sigprobe.measure.throughput.data import AtLeast, IntervalKind
from sigprobe.measure.throughput.statistics import FLOOR, crucial_interval, half_width

MIN_BATCHES: Final = 6
MAX_BATCHES: Final = 80
MIN_STEADY_S: Final = 0.35
LEAST_STEADY_S: Final = 0.1
PLAIN_BPS: Final = 20e6
"""Up to this rate a level has to be seen for the first; above it less and less, down to the second: each look there
costs megabytes, and shows as many packets in less time."""

MIN_BATCH_S: Final = 0.02
PACKETS_PER_BATCH: Final = 12
PACKET_BYTES: Final = 1460
MIN_BYTES: Final = 15_000
"""Ten packets: with fewer a speed would be a guess."""

SHORT_FLOOR: Final = 0.005
"""The same for what a second's look cannot show; over the root of the seconds looked at."""

BURST_FLOOR: Final = 0.02
BURST_TOLERANCE: Final = 0.05
"""And for a pace that was read from bursts; what is good enough there."""

CLIMBED: Final = 0.7
"""A level lies no lower than this share of what came last."""

STEADY_RTTS: Final = 1.3
"""Short batches have to agree for so many round trips: a window that still grows does so within one."""

APART_RTTS: Final = 2
LOSSY: Final = 2
LOSSY_SHARE: Final = 0.003
LOSSY_RTTS: Final = 4
LOSSY_PACKETS: Final = 400
LEAST_RECENT_S: Final = 0.3
"""So many losses, and such a share of the packets, in the last round trips, and it is they that govern the rate."""

FEW_LOSSES: Final = 3
ENOUGH_LOSSES: Final = 8
"""Losses a stream has to have met before its rate counts, and before it may be believed."""

LOSSY_S: Final = 3.0
"""With losses so rare, this long is long enough."""

LOSS_FLOOR: Final = 0.8
LOSS_TOLERANCE: Final = 0.2
"""The least half-width is the first over the root of the losses seen; up to the second it is good enough."""


MATHIS: Final = 1.22
CAUTIOUS: Final = 0.94
"""What losses leave of a stream, in packets a round trip times the root of their share (Mathis and others, 1997);
the second where acknowledgements are delayed."""

UNSEEN_LOSS: Final = 0.01
UNSEEN_PACKETS: Final = 400
"""So many packets have to get through before such a loss, none of it seen, can be left out of account."""

BEYOND: Final = 1.5
"""Losses that allow so many times the rate do not govern it."""

CLIMBING: Final = 1.2
CLIMB_LOOKS: Final = 8
LEAST_CLIMB_S: Final = 0.1
MOST_LOOKS: Final = 1000
"""A transfer grows that carries so many times more from span to span, each a round trip and at least so long."""

TREND: Final = 1.4
"""How far the older half of a level may lie from the newer, in half-widths that are good enough."""


def loss_bound(rtt_s: float, streams: int, share: float, factor: float = MATHIS) -> float:
    """Bit/s that a share of lost packets leaves to so many streams that give way to losses."""
    return streams * factor * PACKET_BYTES * 8 / (rtt_s * math.sqrt(share))


@dataclass(frozen=True, slots=True)
class Speed:
    """A rate in bit/s of payload with its 95 % interval (None when there are too few batches to give one).

    `from_s` is where slow start ended; `settled` says that all tests for stopping are passed, `sure` that no second
    look is needed. `kind` is what the interval holds, `at_least` why the rate is a lower bound: see `ThroughputData`.
    """

    bps: float
    ci_bps: tuple[float, float] | None
    from_s: float
    settled: bool
    sure: bool = False
    kind: IntervalKind = "link"
    at_least: AtLeast | None = None


class Series:
    """Bytes so far over time, in seconds since the start; only ever appended to."""

    __slots__ = ("times_s", "totals")

    def __init__(self, samples: Sequence[tuple[float, int]] = ()) -> None:
        self.times_s = [at_s for at_s, _ in samples]
        self.totals: list[float] = [total for _, total in samples]

    def add(self, at_s: float, total: float) -> None:
        """Append a sample; one that is older than the last, or lower, counts as the last."""
        if self.times_s:
            at_s, total = max(at_s, self.times_s[-1]), max(total, self.totals[-1])
        self.times_s.append(at_s)
        self.totals.append(total)

    def at(self, at_s: float) -> float:
        """Return bytes at a moment, between samples on the straight line."""
        right = bisect_right(self.times_s, at_s)
        if right == 0:
            return 0.0
        left_t, left_n = self.times_s[right - 1], self.totals[right - 1]
        if right == len(self.times_s):
            return left_n
        share = (at_s - left_t) / (self.times_s[right] - left_t)
        return left_n + (self.totals[right] - left_n) * share

    def end_s(self) -> float:
        """Return the moment of the last sample."""
        return self.times_s[-1] if self.times_s else 0.0

    def total(self) -> float:
        """Return bytes in all."""
        return self.totals[-1] if self.totals else 0.0

    def first_s(self) -> float:
        """Return the last moment before anything arrived."""
        return self.times_s[max(0, bisect_right(self.totals, 0) - 1)] if self.totals else 0.0

    def last_s(self) -> float:
        """Return the moment of the last arrival."""
        return self.times_s[bisect_left(self.totals, self.totals[-1])] if self.totals else 0.0

    def rate(self, span_s: float) -> float:
        """Bit/s over the last `span_s`; 0 where nothing is known yet."""
        end_s = self.end_s()
        span_s = min(span_s, end_s)
        return (self.total() - self.at(end_s - span_s)) * 8 / span_s if span_s > 0 else 0.0


def tolerance(at_s: float, total: float) -> float:
    """The half-width, as a share of the rate, that is good enough to stop: giving way with seconds and megabytes."""
    return min(0.06, 0.03 + max(0.0, at_s - 1.5) * 0.0115 + total / 1e6 * 0.001)


def least_steady_s(bps: float) -> float:
    """Return how long a level has to be seen."""
    return MIN_STEADY_S * min(1.0, max(LEAST_STEADY_S / MIN_STEADY_S, math.sqrt(PLAIN_BPS / bps)))


@dataclass(frozen=True, slots=True)
class _Terms:
    """How to judge: from when on, in batches how long, and what is asked of them."""

    begin_s: float
    batch_s: float
    steady_s: float
    allowed: float
    floor: float = FLOOR


def judge(
    series: Series,
    rtt_s: float,
    losses_s: Sequence[float] = (),
    streams: int = 1,
    standing_s: float | None = None,
) -> Speed | None:
    """Return the rate as far as it can be told now; None when no level is to be seen yet.

    `rtt_s` is the idle round trip. Batches as long as that are always fair, since a window's bursts fill it; where
    shorter ones already agree over more than a round trip, there are no such bursts, and no need to wait for more.
    `losses_s` are the moments at which packets were lost on any of `streams`. Since `standing_s` packets have waited
    in a queue all the time: what arrives then comes at the link's own pace, whatever the window still does.
    """
    speed = _judge_level(series, rtt_s, losses_s, streams, standing_s)
    looked = series.total() >= UNSEEN_PACKETS * PACKET_BYTES or series.end_s() >= LOSSY_S
    if speed is None or not speed.settled or looked:
        return speed
    return replace(speed, settled=loss_bound(rtt_s, streams, UNSEEN_LOSS) >= BEYOND * speed.bps)


def _judge_level(
    series: Series, rtt_s: float, losses_s: Sequence[float], streams: int, standing_s: float | None
) -> Speed | None:
    begin_s, end_s = series.first_s(), series.end_s()
    span_s = end_s - begin_s
    recent_bps = series.rate(span_s / 2) if span_s > 0 else 0.0
    if recent_bps <= 0:
        return None
    packets_s = PACKETS_PER_BATCH * PACKET_BYTES * 8 / recent_bps
    short_s = max(MIN_BATCH_S, packets_s, span_s / MAX_BATCHES)
    # losses that were the climb's own end with it; those that govern a rate go on
    recent_s = min(span_s, max(LOSSY_RTTS * rtt_s, LEAST_RECENT_S, LOSSY_PACKETS * PACKET_BYTES * 8 / recent_bps))
    packets = recent_bps * recent_s / 8 / PACKET_BYTES
    recent = len(losses_s) - bisect_right(losses_s, end_s - recent_s)
    if recent >= max(LOSSY, LOSSY_SHARE * packets) or _go_on(series, rtt_s, losses_s, streams):
        return _judge_lossy(series, rtt_s, max(short_s, rtt_s), losses_s, streams)
    allowed, steady_s = tolerance(span_s, series.total()), least_steady_s(recent_bps)
    if rtt_s > short_s:
        quick = _judge(series, _Terms(begin_s, short_s, max(steady_s, STEADY_RTTS * rtt_s), allowed))
        if quick is not None and quick.settled:
            return quick
        queue = None if standing_s is None else (standing_s, steady_s)
        burst = _judge_bursts(series, rtt_s, allowed, queue)
        if burst is not None and burst.settled:
            return burst
    return _judge(series, _Terms(begin_s, max(short_s, rtt_s), steady_s, allowed))


def _go_on(series: Series, rtt_s: float, losses_s: Sequence[float], streams: int) -> bool:
    """Whether losses have been seen over more round trips than the end of a climb takes, and would govern the rate."""
    if not losses_s or series.end_s() >= LOSSY_S or losses_s[-1] - losses_s[0] < APART_RTTS * rtt_s:
        return False
    share = len(losses_s) * PACKET_BYTES / series.total()
    return loss_bound(rtt_s, streams, share) < BEYOND * series.rate(LEAST_RECENT_S)


def _judge_bursts(series: Series, rtt_s: float, allowed: float, queue: tuple[float, float] | None) -> Speed | None:
    rates = bursts.paces(series.times_s, series.totals, series.at, rtt_s, queue)
    half = half_width(rates) if rates else None
    if not rates or half is None:
        return None
    mean = sum(rates) / len(rates)
    half = max(half, mean * BURST_FLOOR)
    settled = half <= max(allowed, BURST_TOLERANCE) * mean
    return Speed(mean, (mean - half, mean + half), series.end_s() - 2 * rtt_s, settled, sure=True)


def _judge_lossy(series: Series, rtt_s: float, batch_s: float, losses_s: Sequence[float], streams: int) -> Speed | None:
    """Judge a rate that losses govern: each stream has to have met a few before its mean shows.

    The climb fills a link that losses then keep from being filled, and that looks steady for seconds.
    """
    begin_s, end_s = series.first_s(), series.end_s()
    met = min(FEW_LOSSES * streams, len(losses_s)) - 1
    begin_s = max(begin_s, min(losses_s[met], begin_s + (end_s - begin_s) / 2))
    since = len(losses_s) - bisect_right(losses_s, begin_s)
    floor = LOSS_FLOOR / math.sqrt(max(1, since))
    speed = _judge(series, _Terms(begin_s, batch_s, MIN_STEADY_S, LOSS_TOLERANCE, floor))
    if speed is None:
        return None
    enough = len(losses_s) >= ENOUGH_LOSSES * streams or end_s >= LOSSY_S
    interval = speed.ci_bps
    if interval is not None:
        # windows from the climb give way to losses for longer than a test lasts: this is where they are going
        share = len(losses_s) * PACKET_BYTES / series.total()
        least = min(interval[0], loss_bound(rtt_s, streams, share, CAUTIOUS))
        interval = (max(0.0, least), interval[1])
    return replace(speed, ci_bps=interval, settled=speed.settled and enough, kind="mean_under_loss")


def _judge(series: Series, terms: _Terms) -> Speed | None:
    end_s, batch_s = series.end_s(), terms.batch_s
    count = int((end_s - terms.begin_s) / batch_s)
    if count < 3:
        return None
    edges = [series.at(end_s - batch_s * k) for k in range(count, -1, -1)]
    rates = [(b - a) * 8 / batch_s for a, b in pairwise(edges)]
    low, high = crucial_interval(rates)
    recent = rates[-max(2, count // 4) :]
    climbed = CLIMBED * sum(recent) / len(recent)
    if high < climbed:
        # a long climb has many slow batches close together: they are no level
        low, high = crucial_interval([rate for rate in rates if rate >= climbed])
    start = next(i for i, rate in enumerate(rates) if low * 0.9 <= rate <= high * 1.1)
    # the batch in which the level was reached still holds a piece of the climb
    if rates[start] < low * 0.98 and count - start > 1:
        start += 1
    steady = rates[start:]
    mean = sum(steady) / len(steady)
    if mean <= 0:
        return None
    half = half_width(steady)
    interval = None
    settled = False
    if half is not None:
        half = max(half, mean * max(terms.floor, SHORT_FLOOR / math.sqrt(len(steady) * batch_s)))
        interval = (max(0.0, mean - half), mean + half)
        middle = len(steady) // 2
        older, newer = sum(steady[:middle]) / middle, sum(steady[-middle:]) / middle
        allowed = terms.allowed * mean
        settled = (
            len(steady) >= MIN_BATCHES
            and len(steady) * batch_s >= terms.steady_s
            and half <= allowed
            and abs(newer - older) <= TREND * allowed
        )
    return Speed(mean, interval, end_s - batch_s * len(steady), settled)


def _climb(series: Series, span_s: float) -> Speed | None:
    """Return the fastest span of a transfer that was cut off while it grew and grew; None for any other.

    What was under way then still arrives, but streams do not end together: the fastest span is the last but for less
    than another, has carried clearly more than every one before it, and so has the one before.
    """
    begin_s, last_s = series.first_s(), series.last_s()
    step_s = span_s / CLIMB_LOOKS
    looks = min(MOST_LOOKS, int((last_s - begin_s) / step_s) - 2 * CLIMB_LOOKS)
    ends = [last_s - step_s * back for back in range(looks)]
    if not ends:
        return None
    end_s = max(ends, key=lambda at_s: series.at(at_s) - series.at(at_s - span_s))
    spans = int((end_s - begin_s) / span_s) + 1
    edges = [series.at(end_s - span_s * back) for back in range(spans + 1)]
    counts = [later - earlier for later, earlier in pairwise(edges)]
    grown = all(later >= CLIMBING * earlier for later, earlier in pairwise(counts[:3]))
    record = all(counts[0] >= CLIMBING * earlier for earlier in counts[1:])
    if not (grown and record and series.total() - edges[0] <= counts[0]):
        return None
    return Speed(counts[0] * 8 / span_s, None, end_s - span_s, settled=False, at_least="time_cap")


class Judge:
    """Watches a series and says when to stop: two judgements in a row that are settled and agree."""

    __slots__ = ("_rtt_s", "speed")

    def __init__(self, rtt_s: float) -> None:
        self._rtt_s = rtt_s
        self.speed: Speed | None = None

    def converged(
        self, series: Series, losses_s: Sequence[float] = (), streams: int = 1, standing_s: float | None = None
    ) -> bool:
        """Judge the series as it is now."""
        before, self.speed = self.speed, judge(series, self._rtt_s, losses_s, streams, standing_s)
        now = self.speed
        if now is not None and now.settled and now.sure:
            return True
        if now is None or before is None or not (now.settled and before.settled):
            return False
        return abs(now.bps - before.bps) <= 0.02 * now.bps


def conclude(
    series: Series,
    rtt_s: float,
    losses_s: Sequence[float] = (),
    streams: int = 1,
    standing_s: float | None = None,
    *,
    cut: bool = False,
) -> Speed | None:
    """Return the best statement about a finished transfer; None when too little arrived to make one.

    Of one that still grew when it was `cut` off only the last round trip is stated, without an interval: how far it
    would have gone is not known.
    """
    if series.total() < MIN_BYTES:
        return None
    speed = judge(series, rtt_s, losses_s, streams, standing_s)
    if cut and (speed is None or not speed.settled):
        climb = _climb(series, max(rtt_s, LEAST_CLIMB_S))
        speed = speed if climb is None else climb
    if speed is not None:
        return speed
    begin_s, end_s = series.first_s(), series.last_s()
    arrived = series.total() - series.at(begin_s)
    if end_s <= begin_s or arrived <= 0:
        return None
    return Speed(arrived * 8 / (end_s - begin_s), None, begin_s, False)
