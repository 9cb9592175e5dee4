"""The mean of a link that varies: pure arithmetic on arrivals and round trips that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from sigprobe.measure.throughput.arrivals import Arrivals
from sigprobe.measure.throughput.convergence import Speed
from sigprobe.measure.throughput.link_time import needs_longer, over_busy_time, seconds, stalls, window_of
from sigprobe.measure.throughput.queue_time import QueueTime, total_s

RTT_S = 0.05
LEVEL = Speed(8e6, (7.8e6, 8.2e6), 3.0, settled=True)


def link(rates_bps: Sequence[float], waits_s: Sequence[float] | None = None) -> Arrivals:
    """Arrivals over seconds of these rates, and ten round trips a second that waited so long."""
    made = Arrivals()
    made.rest_s = made.queues.rest_s = RTT_S
    made.add(0.0, 0, 0)
    total = 0.0
    for second, rate in enumerate(rates_bps):
        for step in range(100):
            total += rate / 800
            made.add(second + (step + 1) / 100, round(total), round(total))
        for step in range(10):
            begin_s = second + step / 10
            made.queues.begin(begin_s)
            made.queues.end(begin_s, begin_s + RTT_S + (waits_s[second] if waits_s else 0.2))
    return made


def test_a_steady_link_keeps_its_level() -> None:
    """Where the mean of the busy time agrees with the level, the level and its narrow interval are stated."""
    assert over_busy_time(link([8e6] * 4), LEVEL, 4.0, RTT_S) is LEVEL


def test_a_link_that_varies_states_its_mean() -> None:
    """A last steady second of 8 Mbit/s behind three of 2 is no link of 8."""
    speed = over_busy_time(link([2e6, 2e6, 2e6, 8e6]), LEVEL, 4.0, RTT_S)
    assert speed is not None and speed.kind == "mean"
    assert speed.bps == pytest.approx(3.5e6, rel=0.05)
    assert speed.ci_bps is not None and speed.ci_bps[0] < 3.5e6 < speed.ci_bps[1]


def steps(*parts: tuple[float, float]) -> Arrivals:
    """Arrivals of so many seconds at each rate, over a link with a queue all the time."""
    made = Arrivals()
    made.rest_s = made.queues.rest_s = RTT_S
    made.add(0.0, 0, 0)
    total, at_s = 0.0, 0.0
    for seconds_, rate in parts:
        for _ in range(round(seconds_ * 100)):
            total += rate / 800
            at_s += 0.01
            made.add(at_s, round(total), round(total))
    for number in range(round(at_s * 10)):
        made.queues.begin(number / 10)
        made.queues.end(number / 10, number / 10 + RTT_S + 0.2)
    return made


def test_a_second_of_a_burst_is_looked_at_for_longer() -> None:
    """Half a second of 1 Mbit/s and then of 8: the newest level is one of several, until three seconds were seen."""
    level = Speed(8e6, (7.8e6, 8.2e6), 0.5, settled=True)
    short = steps((0.5, 1e6), (0.5, 8e6))
    assert needs_longer(short, level, 1.0, RTT_S)
    assert not needs_longer(steps((0.5, 8e6), (0.5, 8e6)), level, 1.0, RTT_S), "a steady link"
    assert not needs_longer(short, Speed(8e6, None, 0.0, settled=True), 1.0, RTT_S), "nothing before the level"
    assert not needs_longer(steps((0.1, 1e6), (0.9, 8e6)), replace(level, from_s=0.1), 1.0, RTT_S), "too short a past"
    assert not needs_longer(steps((0.5, 1e6), (3.0, 8e6)), level, 3.5, RTT_S), "long enough for a mean"


def test_a_transfer_cut_off_in_a_burst_states_its_mean() -> None:
    """Where the data ran out within the first second the mean is stated, with the rates that were seen as bounds."""
    level = Speed(8e6, (7.8e6, 8.2e6), 0.4, settled=False)
    speed = over_busy_time(steps((0.4, 1e6), (0.4, 8e6)), level, 0.8, RTT_S)
    assert speed is not None and speed.kind == "mean"
    assert speed.bps == pytest.approx(4.7e6, rel=0.1)
    assert speed.ci_bps is not None and speed.ci_bps[0] <= 1.1e6 and speed.ci_bps[1] >= 7.9e6


def test_no_level_lies_below_what_was_carried() -> None:
    """Without a queue to go by the mean of the whole transfer is stated where the last level lies below it."""
    falling = link([8e6, 8e6, 8e6, 2e6], waits_s=[0, 0, 0, 0])
    low = Speed(2e6, (1.9e6, 2.1e6), 3.0, settled=False)
    speed = over_busy_time(falling, low, 4.0, RTT_S)
    assert speed is not None and speed.kind == "mean"
    assert speed.bps == pytest.approx(6.5e6, rel=0.01)
    assert speed.ci_bps is not None and speed.ci_bps[0] == 1.9e6
    lossy = replace(low, kind="mean_under_loss")
    assert over_busy_time(falling, lossy, 4.0, RTT_S) is lossy, "losses have a correction of their own"


def test_a_climb_without_a_queue_is_no_part_of_the_mean() -> None:
    """As long as no packet waits the sender holds the rate back, and not the link."""
    climbing = link([1e6, 2e6, 4e6, 8e6], waits_s=[0, 0, 0, 0.2])
    assert over_busy_time(climbing, LEVEL, 4.0, RTT_S) is LEVEL


def test_dead_seconds_count() -> None:
    """A round trip that no answer ends shows that the link is busy: two of four dead seconds halve the mean."""
    made = link([8e6, 8e6])
    for begin_s in (2.0, 2.1):
        made.queues.begin(begin_s)
    made.add(4.0, 2_000_000, 2_000_000)
    speed = over_busy_time(made, LEVEL, 4.0, RTT_S)
    assert speed is not None and speed.bps == pytest.approx(4e6, rel=0.05)
    found = window_of(made, speed, 4.0)
    assert found is not None and (found["seconds"], found["stalls"], found["p10_bps"]) == (4, 1, 0)


def test_a_packet_sent_twice_is_no_queue() -> None:
    """One round trip of a second beside quick ones was lost and repeated; all slow ones are a queue."""
    times = QueueTime(RTT_S)
    for begin_s in (0.0, 0.1, 0.9):
        times.begin(begin_s)
    times.end(0.1, 0.15)
    times.end(0.9, 0.95)
    times.end(0.0, 1.05)
    assert total_s(times.spans(2.0)) == pytest.approx(0.1)
    times.begin(1.5)
    times.end(1.5, None)
    assert total_s(times.spans(9.0)) == pytest.approx(0.1), "a failed one shows nothing"


def test_spans_are_joined() -> None:
    """Overlapping round trips are one time of a queue; an awaited one reaches to the end."""
    times = QueueTime(RTT_S)
    for begin_s, end_s in ((0.1, 0.5), (0.2, 0.6), (1.0, 1.4)):
        times.begin(begin_s)
        times.end(begin_s, end_s)
    times.begin(1.3)
    assert times.spans(2.0) == [(0.1, 0.6), (1.0, 2.0)]


def test_whole_seconds_count_back_from_the_end() -> None:
    """The second in which the climb ended is left out where it is not whole; pauses of a second and more count."""
    made = link([4e6, 4e6, 0, 0, 4e6]).ordered
    found = seconds(made, 0.5, 5.0)
    assert found is not None
    assert (found["seconds"], found["stalls"]) == (4, 1)
    assert found["mean_bps"] == pytest.approx(2e6, rel=0.01)
    assert stalls(made, 0.0, 2.0) == 0
    assert seconds(made, 4.5, 5.0) is None
