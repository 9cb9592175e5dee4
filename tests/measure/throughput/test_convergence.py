"""From arrivals to a rate: pure arithmetic on arrivals whose true rate is known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from sigprobe.measure.throughput.convergence import Judge, Series, conclude, judge
from sigprobe.measure.throughput.statistics import crucial_interval


def arrivals(rate_bps: Callable[[float], float], seconds: float, step_s: float = 0.01) -> Series:
    """Samples of a transfer whose rate at each moment is given."""
    series, total = Series(), 0.0
    for number in range(round(seconds / step_s)):
        at_s = number * step_s
        total += rate_bps(at_s) * step_s / 8
        series.add(at_s + step_s, total)
    return series


def climb(level: float, rtt_s: float, from_bps: float) -> Callable[[float], float]:
    """Slow start: doubling each round trip up to the level."""
    return lambda at_s: min(level, from_bps * 2 ** (at_s / rtt_s))


@pytest.mark.parametrize("rtt_s", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("level", [1e6, 20e6, 300e6])
def test_slow_start_is_left_out(level: float, rtt_s: float) -> None:
    """The rate is the link's, not the mean with the climb in it, at any rate and round trip."""
    series = arrivals(climb(level, rtt_s, 2e5), 6)
    speed = judge(series, rtt_s)
    assert speed is not None and speed.settled
    assert speed.bps == pytest.approx(level, rel=0.01)
    assert series.total() * 8 / series.end_s() < level
    assert speed.ci_bps is not None and speed.ci_bps[0] <= level <= speed.ci_bps[1] * 1.001


def test_it_does_not_stop_while_the_rate_still_climbs() -> None:
    """In slow start, and on a rate that creeps up, there is no convergence; on a plateau there is, soon."""
    watch, series, total = Judge(0.05), Series(), 0.0
    shape = climb(100e6, 0.05, 2e5)
    stopped = None
    for number in range(300):
        at_s = number * 0.01
        total += shape(at_s) * 0.01 / 8
        series.add(at_s + 0.01, total)
        if number % 5 == 4 and watch.converged(series):
            stopped = at_s
            break
    assert stopped is not None and 0.45 < stopped < 1.2
    creeping = arrivals(lambda at_s: 5e6 * (1 + at_s), 2)
    assert not Judge(0.05).converged(creeping)
    speed = judge(creeping, 0.05)
    assert speed is None or not speed.settled


def test_the_interval_holds_the_truth() -> None:
    """On a rate that wanders (each tenth of a second like the one before) the 95 % interval holds its mean."""
    seed = 20261122
    print("seed", seed)
    rng = random.Random(seed)
    held = 0
    for _ in range(200):
        state, series, total = 0.0, Series(), 0.0
        for number in range(500):
            state = 0.8 * state + rng.gauss(0, 1)
            total += max(0.0, 20e6 + 3e6 * state) * 0.01 / 8
            series.add((number + 1) * 0.01, total)
        speed = judge(series, 0.05)
        assert speed is not None and speed.ci_bps is not None
        held += speed.ci_bps[0] <= 20e6 <= speed.ci_bps[1]
    assert held >= 0.9 * 200


def test_the_crucial_interval_is_where_the_samples_are() -> None:
    """A few low samples of the climb and one burst do not move it."""
    low, high = crucial_interval([1, 2, 5, 9.8, 9.9, 10, 10, 10.1, 10.2, 30])
    assert 9.5 <= low <= 10 <= high <= 10.5


def test_too_little_is_no_speed() -> None:
    """Nothing, and less than ten packets, give None; a short burst gives a rate without an interval."""
    assert conclude(Series(), 0.05) is None
    assert conclude(Series([(1.0, 0), (2.0, 9_000)]), 0.05) is None
    burst = conclude(Series([(0.0, 0), (0.010, 1_000_000)]), 0.001)
    assert burst is not None and burst.ci_bps is None
    assert burst.bps == pytest.approx(800e6)


def test_a_rate_that_losses_govern_is_not_read_from_its_first_moments() -> None:
    """A link that the climb has filled looks steady until losses have had their say: their mean is the answer."""
    series = arrivals(lambda at_s: 20e6 if at_s < 0.8 else 14e6 + 1e6 * ((at_s * 10) % 2 - 1), 4)
    losses = [0.1 * number for number in range(1, 40)]
    early = Series(list(zip(series.times_s, series.totals, strict=True))[:70])
    assert judge(early, 0.05, [], 2).settled  # type: ignore[union-attr]
    assert not judge(early, 0.05, losses[:6], 4).settled  # type: ignore[union-attr]
    speed = judge(series, 0.05, losses, 4)
    assert speed is not None and speed.settled and speed.ci_bps is not None
    assert speed.bps == pytest.approx(14e6, rel=0.03)
    assert speed.ci_bps[1] - speed.ci_bps[0] > 0.1 * speed.bps


@pytest.mark.parametrize("rtt_s", [0.1, 0.3])
def test_a_long_way_does_not_ask_for_many_round_trips(rtt_s: float) -> None:
    """Once the pace is even over a round trip and a bit, it is known; bursts once a round trip are waited out."""
    series, watch, total, stopped = Series(), Judge(rtt_s), 0.0, None
    for number in range(1000):
        at_s = number * 0.01
        total += climb(300e6, rtt_s, 2e6)(at_s) * 0.01 / 8
        series.add(at_s + 0.01, total)
        if number % 5 == 4 and watch.converged(series):
            stopped = at_s
            break
    climbed_s = 7.3 * rtt_s
    assert stopped is not None and climbed_s + rtt_s < stopped < climbed_s + max(2 * rtt_s, 0.6)
    bursts = arrivals(lambda at_s: 30e6 if at_s % rtt_s < rtt_s / 3 else 0.0, 2.2 * rtt_s)
    speed = judge(bursts, rtt_s)
    assert speed is None or not speed.settled


@pytest.mark.parametrize("rtt_s", [0.1, 0.3])
def test_a_climb_cut_off_is_stated_without_an_interval(rtt_s: float) -> None:
    """Of a rate that doubled to the end the last round trip is known, and that there may be more: no interval."""
    cut = conclude(arrivals(climb(1e9, rtt_s, 1e6), 7 * rtt_s), rtt_s, cut=True)
    assert cut is not None
    last_bps = 128e6 * 0.5 / math.log(2)  # the mean of the last doubling
    assert cut.bps == pytest.approx(last_bps, rel=0.05)
    assert cut.ci_bps is None and not cut.settled
    # streams that end one after the other leave a tail, which is no slower link
    tail = arrivals(lambda at_s: climb(1e9, rtt_s, 1e6)(at_s) if at_s < 7 * rtt_s else 20e6, 7.5 * rtt_s)
    spent = conclude(tail, rtt_s, cut=True)
    assert spent is not None and spent.ci_bps is None
    assert spent.bps == pytest.approx(last_bps, rel=0.1)


@pytest.mark.parametrize("rtt_s", [0.05, 0.15])
def test_a_rate_that_wanders_is_no_climb(rtt_s: float) -> None:
    """A radio link's ups are no growth: cut off or not, what is stated is its mean, with an interval."""
    kept = 0
    for seed in range(60):
        chance = random.Random(seed)
        tenths = [20e6 * math.exp(chance.gauss(-0.08, 0.4)) for _ in range(60)]
        series = arrivals(lambda at_s, tenths=tenths: tenths[min(59, int(at_s * 10))], 6)  # type: ignore[misc]
        speed = conclude(series, rtt_s, cut=True)
        kept += speed is not None and speed.ci_bps is not None
    assert kept >= 57


def test_a_level_that_is_seen_is_no_climb() -> None:
    """The same climb with a level behind it has that level, and its interval."""
    level = conclude(arrivals(climb(100e6, 0.1, 1e6), 2.0), 0.1, cut=True)
    assert level is not None and level.ci_bps is not None
    assert level.bps == pytest.approx(100e6, rel=0.01)


CLIMB_MBIT = [0, 0.1, 4.1, 0, 0.2, 4.5, 4.6, 0, 4.7, 4.5, 6.5, 11.3, 8.9, 10.5, 18.7, 23.4, 23.4, 32.7, 40.5, 52.2]
CLIMB_MBIT += [67.4, 81.9, 95.2, 96.8, 97.1, 96.2, 96.4]
"""Tenths of a second of a real climb to 96 Mbit/s over 300 ms, several streams starting one after the other."""


@pytest.mark.parametrize("tenths", [25, 26, 27])
def test_a_long_climb_is_not_the_level(tenths: int) -> None:
    """Seconds of slow start, cut off soon after its end: near the rate reached, not near the many slow batches."""
    series = arrivals(lambda at_s: CLIMB_MBIT[min(tenths - 1, int(at_s * 10))] * 1e6, tenths / 10)
    speed = conclude(series, 0.3)
    assert speed is not None
    assert speed.bps == pytest.approx(96e6, rel=0.2)
