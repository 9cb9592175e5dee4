"""Correct a rate that lost packets limit: a short test sees windows that have not come to rest yet."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from sigprobe.measure.throughput.arrivals import Arrivals
from sigprobe.measure.throughput.convergence import CAUTIOUS, PACKET_BYTES, Speed, loss_bound

HELD_BACK: Final = 1.3
"""Losses that allow so many times the rate have not caused it: the windows are still growing."""


def settle(arrivals: Arrivals, speed: Speed | None, end_s: float, rtt_s: float) -> Speed | None:
    """Return the rate between what was seen and what the losses leave to a long transfer; others unchanged.

    Where the sender is known to give way to losses, a rate above that goes down; the geometric mean of the two was
    nearest on emulated links. A rate far below is marked as a lower bound.
    """
    losses = len(arrivals.governing(end_s))
    if speed is None or speed.kind != "mean_under_loss" or not losses or arrivals.ordered.total() <= 0:
        return speed
    share = losses * PACKET_BYTES / arrivals.ordered.total()
    left_bps = loss_bound(rtt_s, arrivals.streams, share)
    if speed.bps > left_bps:
        return replace(speed, bps=math.sqrt(speed.bps * left_bps)) if arrivals.yields else speed
    if loss_bound(rtt_s, arrivals.streams, share, CAUTIOUS) > HELD_BACK * speed.bps:
        return replace(speed, at_least="loss")
    return speed
