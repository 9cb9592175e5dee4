"""This device's own traffic: when it is measured again, and the capacity of a link by trains of packets."""

from __future__ import annotations

import pytest

from sigprobe.measure.path import own_traffic
from sigprobe.measure.path.data import PathData, PointData, empty_data
from sigprobe.measure.path.points import told
from sigprobe.measure.path.probes import Burst


def point(*rtts_ms: float | None) -> PointData:
    """Return a point that answered these echoes."""
    return {**told("192.0.2.1"), "sent": len(rtts_ms), "rtts_ms": list(rtts_ms)}


def seen(tx_bps: int | None, *rtts_ms: float | None) -> PathData:
    """Return what a walk saw: this device's own traffic, and round trips to a reference."""
    data = empty_data()
    data["interface"], data["other_tx_bps"], data["references"] = "eth0", tx_bps, [point(*rtts_ms)]
    return data


@pytest.mark.parametrize(
    ("data", "suspect"),
    [
        (seen(2_000_000, 20.0, 21.0, 180.0), True),
        (seen(2_000_000, 140.0, 141.0, 142.0), True),
        (seen(2_000_000, 20.0, 21.0, 22.0), False),
        (seen(2_000_000, None, None), False),
        (seen(100_000, 20.0, 21.0, 180.0), False),
        (seen(None, 20.0, 21.0, 180.0), False),
    ],
)
def test_it_is_measured_again_only_where_much_moves_and_packets_wait(data: PathData, suspect: bool) -> None:
    """A test on a quiet link, or of a quiet device, takes no second longer."""
    assert own_traffic.is_suspect(data) is suspect


def train(rate_bps: float, *lost: int, late: dict[int, float] | None = None, leaving_s: float = 0.0) -> Burst:
    """Return eight packets of 1,000 bytes that came back over a link of this rate."""
    sent = {seq: seq * leaving_s for seq in range(8)}
    arrived = {seq: 1.0 + seq * 8000 / rate_bps for seq in range(8) if seq not in lost}
    return Burst(sent=8, sent_s=sent, arrived_s={**arrived, **(late or {})})


def capacity(*trains: Burst, own_bps: float = 0.0) -> int | None:
    """Return the capacity that these trains tell."""
    return own_traffic.capacity_bps(trains, 1000, own_bps)


def test_the_capacity_is_the_rate_of_neighbours() -> None:
    """A stall moves one packet; what comes behind a lost packet has others' traffic before it and does not count."""
    assert capacity(train(4e6), train(4e6, late={3: 1.0075})) == pytest.approx(4e6, rel=0.01)
    assert capacity(train(4e6), train(4e6, late={7: 1.2}), train(4e6)) == pytest.approx(4e6, rel=0.01)
    behind = train(4e6, 4, 5, late={6: 1.5, 7: 1.9})
    assert capacity(behind, behind) == pytest.approx(4e6, rel=0.01)


def test_what_this_device_sent_between_two_packets_came_through_as_well() -> None:
    """A device that is held up between two packets sends other traffic meanwhile, at the rate of its counters."""
    apart = train(2e6, leaving_s=0.002)  # 4 ms a packet: 1,000 bytes of the train, and 1,000 of others
    assert capacity(apart, apart, own_bps=4e6) == pytest.approx(4e6, rel=0.01)


def test_without_neighbours_the_capacity_is_not_known() -> None:
    """Missing is None, never 0."""
    assert capacity() is None
    assert capacity(*[train(4e6, 1, 3, 5)] * 5) is None
    assert capacity(train(4e6), train(1e6)) is None, "one of two is spoilt"
    assert capacity(train(4e6, 4, 5, 6, 7)) is None, "three gaps are too few"
