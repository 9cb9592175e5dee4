"""When a test of a link that varies may end: simulated links on a simulated clock, begun every tenth of a second."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from sigprobe.measure.throughput import link_time
from sigprobe.measure.throughput.arrivals import Arrivals
from sigprobe.measure.throughput.convergence import Judge, Speed, conclude
from sigprobe.record.window import percentile

PAYLOAD = 1448
SHARE = PAYLOAD / 1500
LONGEST_S = 8.0
QUEUE_BYTES = 100_000
Longer = Callable[[Arrivals, Speed | None, float, float], bool]


def ends_at_the_first_level(*_: object) -> bool:
    """The control: a test that ends as soon as a level is steady."""
    return False


def error(
    mbps: Sequence[float], rtt_s: float, begin_s: float, longer: Longer = link_time.needs_longer
) -> tuple[float, float]:
    """Return stated rate ÷ mean of the link in the same time − 1, and the seconds it took.

    The sender doubles its window each round trip until a queue of 100 kB is full; a round trip is looked at ten times a
    second, as the engine does.
    """
    chance = random.Random(round(begin_s * 10))
    made = Arrivals()
    made.rest_s = made.queues.rest_s = rtt_s
    made.add(0.0, 0, 0)

    def bytes_s(at_s: float) -> float:
        return mbps[int(at_s + begin_s) % len(mbps)] * 1e6 * SHARE / 8

    judge = Judge(rtt_s)
    first_s, window = 2 * rtt_s + 0.02, 30_000 * chance.uniform(0.8, 1.3)
    now = queued = carried = room = 0.0
    next_judge, next_trip = 0.1, 0.1
    trips: list[tuple[float, float]] = []
    speed: Speed | None = None
    while now < LONGEST_S:
        step_s = 0.005 * chance.uniform(0.8, 1.6)
        now += step_s
        room += bytes_s(now) * step_s
        if now > first_s:
            queued = min(QUEUE_BYTES, queued + min(window * 2 ** ((now - first_s) / rtt_s), 3e6) / rtt_s * step_s)
            left = min(queued, bytes_s(now) * step_s)
            queued, carried = queued - left, carried + left
            whole = int(carried / PAYLOAD) * PAYLOAD
            made.add(now, whole, whole)
        if now >= next_trip:
            next_trip = now + 0.1
            trips.append((now, now + rtt_s + queued / bytes_s(now)))
            made.queues.begin(now)
        for trip in [trip for trip in trips if trip[1] <= now]:
            trips.remove(trip)
            made.queues.end(*trip)
            made.trip(now, trip[1] - trip[0])
        if now >= next_judge:
            next_judge = now + 0.03
            if judge.converged(made.best(), [], 2, made.standing_s) and not longer(made, judge.speed, now, rtt_s):
                speed = judge.speed
                break
    else:
        speed = conclude(made.best(), rtt_s, [], 2, made.standing_s, cut=True)
    stated = link_time.over_busy_time(made, speed, now, rtt_s)
    assert stated is not None
    return stated.bps * now / (room * 8) - 1, now


BURSTS = [1.0, 1.2, 8.0, 1.0, 0.8, 1.1]
FAR = [3.0, 1.5, 4.0, 2.0]


@pytest.mark.parametrize(("mbps", "rtt_s"), [(BURSTS, 0.06), (FAR, 0.3)], ids=["bursts", "far"])
def test_a_level_within_a_burst_does_not_end_the_test(mbps: list[float], rtt_s: float) -> None:
    """Begun at any moment, nine of ten tests state the link within 20 %; ended at the first level, they do not."""
    begins = [number / 10 for number in range(len(mbps) * 10)]
    goes_on, stops = (
        percentile([abs(error(mbps, rtt_s, begin_s, longer)[0]) for begin_s in begins], 0.9)
        for longer in (link_time.needs_longer, ends_at_the_first_level)
    )
    assert goes_on <= 0.2
    assert stops > 0.2, "the control"


@pytest.mark.parametrize(("mbps", "rtt_s"), [(5.0, 0.06), (20.0, 0.04), (5.0, 0.3)])
def test_a_steady_link_takes_no_longer(mbps: float, rtt_s: float) -> None:
    """A link of one rate ends its test as soon as without the second look."""
    for begin_s in (0.0, 0.1, 0.2, 0.3):
        off, took_s = error([mbps], rtt_s, begin_s)
        assert abs(off) <= 0.05
        assert took_s == error([mbps], rtt_s, begin_s, ends_at_the_first_level)[1]
