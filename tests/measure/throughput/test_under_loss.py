"""Rates that lost packets limit: pure arithmetic on arrivals with a known share of losses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sigprobe.measure.throughput.arrivals import Arrivals
from sigprobe.measure.throughput.convergence import PACKET_BYTES, Speed, loss_bound
from sigprobe.measure.throughput.under_loss import settle

RTT_S = 0.06
SHARE = 0.01
LEFT_BPS = loss_bound(RTT_S, 8, SHARE)


def lossy(yields: bool = True) -> Arrivals:
    """Ten thousand packets in two seconds, one in a hundred lost, without a queue."""
    made = Arrivals()
    made.rest_s, made.streams, made.yields = RTT_S, 8, yields
    made.add(0.0, 0, 0)
    made.add(2.0, 10_000 * PACKET_BYTES, 10_000 * PACKET_BYTES)
    for number in range(100):
        made.lose(number / 50)
    return made


def seen(bps: float) -> Speed:
    return Speed(bps, (bps * 0.8, bps * 1.1), 0.5, settled=True, kind="mean_under_loss")


def test_a_rate_above_what_losses_leave_goes_down() -> None:
    """Windows of the climb carry four times as much for a while: the statement lies between."""
    speed = settle(lossy(), seen(LEFT_BPS * 4), 2.0, RTT_S)
    assert speed is not None and speed.bps == pytest.approx(LEFT_BPS * 2)
    assert speed.ci_bps == seen(LEFT_BPS * 4).ci_bps and speed.at_least is None


def test_a_sender_that_may_not_yield_is_believed() -> None:
    """BBR keeps its rate under such losses, and of a server's congestion control nothing is known."""
    assert settle(lossy(yields=False), seen(LEFT_BPS * 4), 2.0, RTT_S) == seen(LEFT_BPS * 4)


def test_a_rate_far_below_what_losses_leave_is_a_lower_bound() -> None:
    """Losses in a row have halved the windows, and they were still growing when the test ended."""
    low = settle(lossy(), seen(LEFT_BPS / 2), 2.0, RTT_S)
    assert low is not None and (low.bps, low.at_least) == (LEFT_BPS / 2, "loss")
    near = settle(lossy(), seen(LEFT_BPS * 0.9), 2.0, RTT_S)
    assert near is not None and near.at_least is None


def test_other_rates_are_left_alone() -> None:
    """A rate that losses do not limit, none at all, and a transfer without losses stay as they are."""
    link = replace(seen(LEFT_BPS * 4), kind="link")
    assert settle(lossy(), link, 2.0, RTT_S) is link
    assert settle(lossy(), None, 2.0, RTT_S) is None
    assert settle(Arrivals(), seen(1e6), 2.0, RTT_S) == seen(1e6)
