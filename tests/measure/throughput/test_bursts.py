"""The link's pace from bursts and queues, and which losses count: pure arithmetic on arrivals whose rate is known."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from sigprobe.measure.throughput.arrivals import Arrivals
from sigprobe.measure.throughput.convergence import Judge, Series, Speed, judge
from sigprobe.measure.throughput.stream_ramp import FIRST_STREAMS, MOST_STREAMS, Ramp, first_streams

TICK_S = 0.005


def arrivals(rate_bps: Callable[[float], float], seconds: float) -> Series:
    """Samples of a transfer whose rate at each moment is given."""
    series, total = Series(), 0.0
    series.add(0.0, 0)
    for number in range(round(seconds / TICK_S)):
        total += rate_bps(number * TICK_S) * TICK_S / 8
        series.add((number + 1) * TICK_S, total)
    return series


def slow_start(link_bps: float, rtt_s: float, first_bytes: float, growth: float = 2.0) -> Callable[[float], float]:
    """Windows that are not paced: each comes at the link's pace for as long as it takes, and then there is silence."""

    def rate(at_s: float) -> float:
        number, within_s = divmod(at_s, rtt_s)
        return link_bps if within_s < first_bytes * growth**number * 8 / link_bps else 0.0

    return rate


def paced(link_bps: float, rtt_s: float, first_bps: float) -> Callable[[float], float]:
    """Windows that are paced: even within a round trip, and twice as fast in the next, up to the link's pace."""
    return lambda at_s: min(link_bps, first_bps * 2 ** (at_s // rtt_s))


def stopped(series: Series, rtt_s: float) -> tuple[float, Speed] | None:
    """When a judge that looks every 30 ms stops, and what it says then."""
    watch = Judge(rtt_s)
    for count in range(20, len(series.times_s), 6):
        seen = Series(list(zip(series.times_s[:count], series.totals[:count], strict=True)))
        if watch.converged(seen, (), 8) and watch.speed is not None:
            return seen.end_s(), watch.speed
    return None


@pytest.mark.parametrize("link_bps", [50e6, 300e6, 1e9])
@pytest.mark.parametrize("growth", [2.0, 1.4])
def test_growing_bursts_of_one_pace_are_the_link_s(link_bps: float, growth: float) -> None:
    """Over 300 ms the pace is told from the bursts, before their windows fill the way, within its interval."""
    rtt_s, first = 0.3, 100_000.0
    series = arrivals(slow_start(link_bps, rtt_s, first, growth), 6)
    found = stopped(series, rtt_s)
    assert found is not None
    at_s, speed = found
    assert speed.bps == pytest.approx(link_bps, rel=0.03)
    assert speed.ci_bps is not None and speed.ci_bps[0] <= link_bps <= speed.ci_bps[1]
    assert series.at(at_s) * 8 < link_bps * at_s / 2


@pytest.mark.parametrize("rtt_s", [0.1, 0.3])
def test_a_paced_climb_is_not_taken_for_the_link(rtt_s: float) -> None:
    """Where the pace doubles with the window, nothing is said before it has stopped doubling."""
    series = arrivals(paced(300e6, rtt_s, 5e6), 12 * rtt_s)
    found = stopped(series, rtt_s)
    assert found is not None
    at_s, speed = found
    assert speed.bps == pytest.approx(300e6, rel=0.03)
    assert at_s > 6 * rtt_s


def test_a_window_that_does_not_grow_is_no_link() -> None:
    """Bursts of the same size each round trip may be all that the sender is allowed: their mean is the answer."""
    series = arrivals(slow_start(100e6, 0.3, 500_000, growth=1.0), 4)
    speed = judge(series, 0.3, (), 8)
    assert speed is not None
    assert speed.bps == pytest.approx(500_000 * 8 / 0.3, rel=0.1)


def test_what_comes_behind_a_queue_comes_at_the_link_s_pace() -> None:
    """Once packets wait, a moment is enough; without a queue the same arrivals have to be watched for longer."""
    series = arrivals(paced(100e6, 0.3, 7e6), 1.2 + 0.25)
    assert judge(series, 0.3, (), 8, standing_s=1.25).settled  # type: ignore[union-attr]
    speed = judge(series, 0.3, (), 8)
    assert speed is None or not speed.settled


def test_a_short_look_at_a_fast_link_is_less_sure_than_a_long_one() -> None:
    """The interval is wider the shorter the level was seen, however even it was."""
    widths = []
    for seconds in (0.3, 1.0, 4.0):
        speed = judge(arrivals(lambda at_s: 300e6 if at_s > 0.1 else 30e6, seconds), 0.02, (), 8)
        assert speed is not None and speed.ci_bps is not None
        widths.append((speed.ci_bps[1] - speed.ci_bps[0]) / speed.bps)
    assert all(a > b for a, b in pairwise(widths))
    assert widths[0] > 0.02


def test_a_wandering_rate_is_watched_for_longer() -> None:
    """Where the rate wanders as on a radio link, stopping takes seconds, and the interval is wide and mostly right."""
    seed = 20261122
    print("seed", seed)
    rng, held, took_s, widths = random.Random(seed), 0, [], []
    for _ in range(15):
        state, values = 0.0, []
        for _ in range(1600):
            state = 0.8 * state + 0.6 * rng.gauss(0, 1)
            values.append(100e6 * max(0.05, 1 + 0.2 * state))
        series = arrivals(lambda at_s, values=values: values[round(at_s / TICK_S)], 8)  # type: ignore[misc]
        at_s, speed = stopped(series, 0.03) or (8.0, judge(series, 0.03, (), 8))
        assert speed is not None and speed.ci_bps is not None
        held += speed.ci_bps[0] <= 100e6 <= speed.ci_bps[1]
        took_s.append(at_s)
        widths.append((speed.ci_bps[1] - speed.ci_bps[0]) / speed.bps)
    assert held >= 12
    assert sorted(took_s)[7] > 1
    assert sorted(widths)[7] > 0.06


def test_too_few_packets_cannot_exclude_losses_that_govern() -> None:
    """A level that one lost packet in a hundred would not allow is not believed before such a loss could show."""
    even = arrivals(lambda _: 20e6, 0.2)
    speed = judge(even, 0.02, (), 1)
    assert speed is None or not speed.settled
    longer = judge(arrivals(lambda _: 20e6, 0.6), 0.02, (), 1)
    assert longer is not None and longer.settled


def test_a_queue_stands_from_the_first_round_trip_that_waited() -> None:
    """Round trips above the longest at rest mark a queue; one that is not ends it."""
    seen = Arrivals()
    seen.rest_s = 0.1
    for at_s, rtt_s in ((0.5, 0.1), (0.6, 0.12), (0.7, 0.2)):
        seen.trip(at_s, rtt_s)
    assert seen.standing_s == 0.6
    assert seen.just_standing(0.65, 0.1) and not seen.just_standing(0.75, 0.1)
    seen.trip(0.8, 0.104)
    assert seen.standing_s is None


def test_losses_of_a_full_queue_do_not_govern_and_others_do() -> None:
    """Over a long way a loss behind a queue tells that the link is full; one without a queue counts, and all do."""
    full, free = Arrivals(), Arrivals()
    for seen in (full, free):
        seen.rest_s = 0.3
        seen.add(1.0, 1_000_000, 1_000_000)
    free.lose(0.4)
    for seen in (full, free):
        seen.trip(0.5, 0.6)
        seen.lose(0.7)
        seen.trip(0.72, 0.6)
        seen.trip(0.9, 0.6)
    assert full.governing(0.9) == []
    assert free.governing(0.9) == [0.4, 0.7]
    full.trip(1.0, 0.3)
    assert full.governing(1.0) == [0.7]


def test_a_slow_long_way_is_not_flooded() -> None:
    """Far away, six of eight connections ask only once the first windows have come fast."""
    assert first_streams(0.02) == (1, 1)
    assert first_streams(0.3) == (1, MOST_STREAMS - 1)
    begun = Ramp(0.02)
    assert begun.more(0.1, 3_000, 1) == 0
    assert begun.more(0.2, 12_000, 1) == FIRST_STREAMS - 1, "the first window came within a moment"
    late = Ramp(0.02)
    assert [late.more(0.1 + number * 0.1, 1_500 * number, 1) for number in range(40)] == [0] * 40, "120 kbit/s"
    quick, slow = Ramp(0.3), Ramp(0.3)
    assert quick.more(0.6, 3_000, 2) == 0
    assert quick.more(0.61, 14_480, 2) == MOST_STREAMS - 2
    total = 0
    for number in range(200):
        total += 600  # 480 kbit/s
        assert slow.more(0.6 + number * 0.01, total, 2) == 0
