"""The books behind the endpoints stay small whatever comes in."""

from __future__ import annotations

import pytest

from sigprobe.collector.speedtest.limits import DAY_S, Limits, RefusedError
from sigprobe.collector.speedtest.upload_sessions import MAX_SAMPLES, Arrivals, Series, Sessions, merged_report
from sigprobe.collector.web.client_address import group_of


class Clock:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_sessions_are_bounded_in_number_and_time() -> None:
    """A million made-up sessions leave no more than the limit, and a silent one is forgotten."""
    clock = Clock()
    sessions = Sessions(clock=clock, max_sessions=10, keep_s=60)
    for number in range(1000):
        count = sessions.counter(f"s{number}")
        assert count is not None
        count(5)
        assert len(sessions) <= 10
    assert sessions.report("s999")["bytes"] == 5
    assert sessions.report("s0")["bytes"] == 0
    clock.now += 61
    sessions.counter("new")
    assert len(sessions) == 1


def test_a_long_upload_keeps_a_bounded_and_true_timeline() -> None:
    """However long it lasts: samples are bounded, in order, begin at the first byte and end at the last."""
    arrivals = Arrivals()
    for step in range(50_000):
        arrivals.add(100, 5.0 + step * 0.003)
    report = arrivals.report()
    samples = report["samples"]
    assert len(samples) <= MAX_SAMPLES
    assert samples == sorted(samples)
    assert samples[0] == [0.0, 100]
    assert samples[-1] == [pytest.approx(49_999 * 0.003), 5_000_000]
    # each sample lies on the true line: 100 bytes every 3 ms, counted at its arrival
    assert all(total == pytest.approx(100 + at_s / 0.003 * 100, abs=1) for at_s, total in samples)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_that_share_an_upload_tell_one_rate(processes: int) -> None:
    """Streams that begin one after the other, over any number of processes: bytes are whole, and the rate is true."""
    parts = [Arrivals() for _ in range(processes)]
    for step in range(20_000):
        for stream in range(8):
            # 1 kB every ms and stream; the streams begin 50 ms apart
            if step >= 50 * stream:
                parts[stream % processes].add(1000, 7.0 + step * 0.001 + stream * 1e-5, 7.0)
    # another process's times come over the database's clock, through JSON
    moved = [Series.from_json(part.series().moved(1_860_000_000.25).to_json()) for part in parts]
    report = merged_report(moved)
    samples = report["samples"]
    assert report["bytes"] == samples[-1][1] == sum(1000 * (20_000 - 50 * stream) for stream in range(8))
    assert len(samples) <= MAX_SAMPLES and samples[0][0] == 0
    assert samples == sorted(samples) and [n for _, n in samples] == sorted(n for _, n in samples)
    assert report["elapsed_s"] == pytest.approx(19.999, abs=0.001)
    assert not report["buffered"]
    middle = [sample for sample in samples if 2 <= sample[0] <= 18]
    (from_s, low), (to_s, high) = middle[0], middle[-1]
    assert 8 * (high - low) / (to_s - from_s) == pytest.approx(64_000_000, rel=0.01)
    # the control: what one of several processes would tell alone is its part of the rate
    assert parts[0].report()["bytes"] <= report["bytes"] / processes * 1.05


def test_bodies_that_came_whole_are_known_over_processes() -> None:
    """A proxy that keeps bodies passes each on at once, to whichever process; bodies in turns are open all the time."""
    whole, turns = [Arrivals(), Arrivals()], [Arrivals(), Arrivals()]
    for body in range(10):
        for step in range(10):
            whole[body % 2].add(65_536, body + step * 0.001, body * 1.0)
            turns[body % 2].add(65_536, body + step * 0.1, body * 1.0)
    assert merged_report([one.series() for one in whole])["buffered"]
    assert not merged_report([one.series() for one in turns])["buffered"]


def test_a_day_ends() -> None:
    """The allowance comes back a day after the first byte, and Retry-After says when."""
    clock = Clock()
    limits = Limits(daily_bytes=1000, clock=clock)
    place = limits.enter("192.0.2.1", free=False)
    with pytest.raises(RefusedError):
        place.spend(1000)
    place.leave()
    place.leave()
    clock.now += 1000
    with pytest.raises(RefusedError) as refused:
        limits.enter("192.0.2.1", free=False)
    assert (refused.value.status, refused.value.retry_after_s) == (429, DAY_S - 1000)
    clock.now += DAY_S
    limits.enter("192.0.2.1", free=False).leave()


def test_one_ipv6_network_is_one_client_and_addresses_are_bounded() -> None:
    """A client with a /64 gets one allowance, not 2^64; a flood of addresses does not grow the books."""
    limits = Limits(daily_bytes=1000, clock=Clock(), max_per_address=1, max_addresses=5)
    first = limits.enter(group_of("2001:db8:1:2::1"), free=False)
    with pytest.raises(RefusedError):
        limits.enter(group_of("2001:db8:1:2:ffff::9"), free=False)
    first.leave()
    for number in range(200):
        limits.enter(f"192.0.2.{number}", free=False).leave()
    assert len(limits._accounts) <= 5


def test_everybody_together_has_a_limit_too() -> None:
    """Over the global cap comes 503, for loopback as well: results must still get in."""
    limits = Limits(daily_bytes=1000, clock=Clock(), max_streams=3)
    places = [limits.enter("127.0.0.1", free=True) for _ in range(3)]
    with pytest.raises(RefusedError) as refused:
        limits.enter("127.0.0.1", free=True)
    assert refused.value.status == 503
    places[0].leave()
    limits.enter("127.0.0.1", free=True)
