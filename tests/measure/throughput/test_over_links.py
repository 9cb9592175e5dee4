"""Engine `http` over emulated links: the rate as set, with and without losses, for few bytes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput import kind
from sigprobe.net.limits import Context, Deadline
from sigprobe.record.result import Outcome, is_at_least
from tests.support.link_emulator import Link, Way, link
from tests.support.netns import MARKS

pytestmark = MARKS


def check(wire: Link, url: str, **options: object) -> Measured:
    """One check from the near end."""

    def run() -> Measured:
        chosen = kind.Options.model_validate({"kind": "throughput", "name": "x", "url": url, **options})
        return kind.measure(chosen, Context(Deadline.after(chosen.timeout_s())))

    return wire.near.call(run)


@pytest.mark.parametrize("loss", [0, 0.01])
def test_the_rate_of_a_link_is_read_with_and_without_losses(loss: float, collector: Callable[[Link], str]) -> None:
    """4 Mbit/s down and 2 up at 40 ms are read within eight percent (headers take four) for 4 MB at most."""
    way = Way(delay_ms=20, rate_bps=4e6, queue_bytes=60_000, loss=loss)
    up = Way(delay_ms=20, rate_bps=2e6, queue_bytes=40_000, loss=loss)
    with link(up=up, down=way, congestion="bbr") as wire:
        measured = check(wire, collector(wire))
        counts = wire.counts()
    data = measured.data
    assert measured.outcome is Outcome.OK, measured.failure
    assert data["download_bps"] == pytest.approx(4e6 * 0.96, rel=0.08)
    assert data["upload_bps"] == pytest.approx(2e6 * 0.96, rel=0.1)
    assert data["ended_download"] == "converged" and data["download_s"] < 6
    assert data["bytes_received"] + data["bytes_sent"] < 4_000_000
    assert (counts["up"]["tcp"]["lost"] > 0) == bool(loss)


@pytest.mark.parametrize("congestion", ["bbr", "cubic"])
def test_a_long_way_is_read_for_a_fraction_of_what_fills_it(congestion: str, collector: Callable[[Link], str]) -> None:
    """40 Mbit/s over 200 ms are read within eight percent, each way for less than two seconds of the link's bytes."""
    way = Way(delay_ms=100, rate_bps=40e6, queue_bytes=1_000_000)
    with link(up=way, down=way, congestion=congestion) as wire:
        measured = check(wire, collector(wire))
    data = measured.data
    assert measured.outcome is Outcome.OK, measured.failure
    assert data["ended"] == "converged"
    for name, count in (("download", data["bytes_received"]), ("upload", data["bytes_sent"])):
        assert data[f"{name}_bps"] == pytest.approx(40e6 * 0.965, rel=0.08)
        assert count < 10_000_000


@pytest.mark.beside
def test_a_slow_long_way_is_not_flooded_by_many_streams(collector: Callable[[Link], str]) -> None:
    """1 Mbit/s over 300 ms with a small queue is read by the two streams it can bear."""
    way = Way(delay_ms=150, rate_bps=1e6, queue_bytes=40_000)
    with link(up=way, down=way, congestion="cubic") as wire:
        measured = check(wire, collector(wire))
    data = measured.data
    assert data["streams"] == 2
    for name in ("download", "upload"):
        assert data[f"{name}_bps"] == pytest.approx(0.96e6, rel=0.1)


def test_a_data_cap_below_what_a_long_way_holds(collector: Callable[[Link], str]) -> None:
    """100 Mbit/s over 300 ms with 6 MB for each direction: less than the way shows itself for, and not a packet more.

    What is stated then is what was seen at least, without an interval.
    """
    way = Way(delay_ms=150, rate_bps=100e6, queue_bytes=4_000_000)
    with link(up=way, down=way, congestion="bbr") as wire:
        measured = check(wire, collector(wire), max_mb=12, streams=8)
        counts = wire.counts()
    data = measured.data
    assert measured.outcome is Outcome.OK, measured.failure
    for name, far in (("download", "down"), ("upload", "up")):
        assert data[f"ended_{name}"] == "data_cap"
        assert data[f"{name}_ci_bps"] is None and is_at_least(data, f"{name}_bps")
        assert 20e6 < data[f"{name}_bps"] < 100e6
        assert counts[far]["tcp"]["passed_bytes"] < 6_000_000 * 1.12  # headers, requests, the acknowledgements


@pytest.mark.beside
def test_an_outage_in_the_middle_is_no_speed_of_its_own(collector: Callable[[Link], str]) -> None:
    """A link that goes away for good gives no rate from nothing: null or what was seen, never zero, and in time."""
    with link(up=Way(delay_ms=10, rate_bps=3e6), down=Way(delay_ms=10, rate_bps=3e6)) as wire:
        url = collector(wire)
        wire.set(down=Way(delay_ms=10, rate_bps=3e6, outages=((0.25, 1000),)))
        start = time.monotonic()
        measured = check(wire, url, max_s=2, direction="download", timeout_ms=4000)
        assert time.monotonic() - start < 7
    assert measured.data["download_bps"] is None or measured.data["download_bps"] > 100_000
    if measured.outcome is Outcome.FAILED:
        assert measured.failure is not None and measured.failure.code in ("timeout", "too_slow", "reset")
