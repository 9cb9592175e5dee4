"""Measure what this device itself moves, and what the link carries, at a second moment.

Packets that leave back to back reach the queue of the narrowest link together. They come out of it at the rate of that
link, whatever else waits there. A full queue drops packets, so there are several trains, some time apart.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final

from sigprobe.measure.path import probes
from sigprobe.measure.path.data import OwnTrafficData, PathData
from sigprobe.net import interfaces
from sigprobe.net.icmp import ip_header_bytes
from sigprobe.net.limits import Context, Deadline

LEAST_BPS: Final = 300_000
"""Below this rate a device's own traffic is no cause of waiting on any link worth the name."""
WAITING_MS: Final = 100.0
SPREAD_MS: Final = 40.0

_ECHOES: Final = 15
_INTERVAL_S: Final = 0.1
_ECHO_WAIT_S: Final = 1.0
_TRAINS: Final = 3
_TRAIN: Final = 4
_PACKET_BYTES: Final = 1200
BYTES: Final = 2 * (_TRAINS * _TRAIN * _PACKET_BYTES + _ECHOES * 84)
"""What this measurement costs, both directions together."""
_TRAIN_EVERY_S: Final = 0.45
_TRAIN_WAIT_S: Final = 1.2


def is_suspect(data: PathData) -> bool:
    """Return whether this device moved much while packets waited: then its share of the link is worth measuring."""
    moved = max(data["other_rx_bps"] or 0, data["other_tx_bps"] or 0)
    return moved >= LEAST_BPS and data["interface"] is not None and _waits(data)


def _waits(data: PathData) -> bool:
    gateway = data["gateway"]
    near = (gateway["rtt_median_ms"] or 0.0) if gateway is not None else 0.0
    for point in (*data["references"], *data["targets"]):
        seen = sorted(ms for ms in point["rtts_ms"] if ms is not None)
        if seen and (statistics.median(seen) - near >= WAITING_MS or seen[-1] - seen[0] >= SPREAD_MS):
            return True
    return False


def look(
    data: PathData,
    deadline: Deadline,
    context: Context,
    spend: Callable[[int], None],
    used: Callable[[], int],
    clock: Callable[[], float],
) -> OwnTrafficData | None:
    """Send echoes and trains to a point that answered, and read the counters of the interface before and after."""
    interface = data["interface"]
    points = [p for p in (*data["references"], *data["targets"]) if p["received"]]
    at = probes.numeric(points[0]["address"], 0) if points else None
    if at is None or interface is None:
        return None
    size = _PACKET_BYTES - ip_header_bytes(at.family) - 8
    before, used_before, started_s = interfaces.traffic(interface), used(), clock()
    with ThreadPoolExecutor(_TRAINS + 1) as pool:
        echoes = pool.submit(probes.burst, at, _ECHOES, _INTERVAL_S, _ECHO_WAIT_S, deadline, context.stop, clock=clock)
        tasks = []
        for _ in range(_TRAINS):
            tasks.append(
                pool.submit(
                    probes.burst, at, _TRAIN, 0.0, _TRAIN_WAIT_S, deadline, context.stop, size=size, clock=clock
                )
            )
            context.stop.wait(min(_TRAIN_EVERY_S, max(0.0, deadline.remaining())))
        trains, seen = [task.result() for task in tasks], echoes.result()
    after, seconds = interfaces.traffic(interface), clock() - started_s
    spend(seen.bytes + sum(train.bytes for train in trains))
    ours = used() - used_before
    moved: dict[str, int | None] = {"rx": None, "tx": None}
    if before is not None and after is not None and seconds > 0:
        # ours is the sum of both directions, and about the same went each way
        moved["rx"] = round(max(0.0, after.rx_bytes - before.rx_bytes - ours / 2) * 8 / seconds)
        moved["tx"] = round(max(0.0, after.tx_bytes - before.tx_bytes - ours / 2) * 8 / seconds)
    return {
        "toward": points[0]["address"],
        "rx_bps": moved["rx"],
        "tx_bps": moved["tx"],
        "sent": seen.sent,
        "rtts_ms": seen.rtts_ms,
        "trains": len(trains),
        "train_packets_sent": sum(train.sent for train in trains),
        "train_packets_received": sum(train.received for train in trains),
        "capacity_bps": capacity_bps([train.arrivals_s for train in trains], _PACKET_BYTES),
    }


def capacity_bps(trains: list[list[float]], packet_bytes: int) -> int | None:
    """Return the rate by the middle of all gaps; None with fewer than three gaps.

    A stall of this device, or of the link, makes one gap wider and the next one narrower; the middle one stays.
    """
    gaps = [after - before for arrivals in trains for before, after in pairwise(sorted(arrivals))]
    if len(gaps) < 3:
        return None
    seconds = statistics.median(gaps)
    return None if seconds <= 0 else round(packet_bytes * 8 / seconds)
