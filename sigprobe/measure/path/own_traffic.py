"""Measure what this device itself moves, and what the link carries, at a second moment.

Packets that leave back to back reach the queue of the narrowest link together. They come out of it at the rate of that
link, whatever else waits there. A full queue drops packets, and between two packets of which a third was lost stands
traffic of others: so only neighbours count, and trains go on until there are enough of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
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
_MOST_TRAINS: Final = 5
_TRAIN: Final = 8
_PACKET_BYTES: Final = 700
_GAPS_WANTED: Final = 12
_GAPS_NEEDED: Final = 6
_ALIKE: Final = 1.6
_RUN: Final = 3
"""A run of fewer gaps than these is shorter than the jitter of a radio link."""
_TRAIN_BYTES: Final = 2 * _TRAIN * _PACKET_BYTES
BYTES: Final = 34_000 + 2 * _ECHOES * 84
"""What this measurement costs at most, both directions together."""
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
    with ThreadPoolExecutor(_MOST_TRAINS + 1) as pool:
        echoes = pool.submit(probes.burst, at, _ECHOES, _INTERVAL_S, _ECHO_WAIT_S, deadline, context.stop, clock=clock)
        tasks: list[Future[probes.Burst]] = []
        while len(tasks) < _MOST_TRAINS and _may_go_on(tasks):
            wait_s = _TRAIN_WAIT_S
            tasks.append(
                pool.submit(probes.burst, at, _TRAIN, 0.0, wait_s, deadline, context.stop, size=size, clock=clock)
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
        "capacity_bps": capacity_bps(trains, _PACKET_BYTES, float(moved["tx"] or 0)),
    }


def _may_go_on(tasks: Sequence[Future[probes.Burst]]) -> bool:
    """Return whether more neighbours are wanted, and data is left for one more train."""
    over = [task.result() for task in tasks if task.done()]
    used = sum(train.bytes for train in over) + _TRAIN_BYTES * (len(tasks) - len(over) + 1)
    found = runs(over)
    return used <= BYTES and (sum(run.steps for run in found) < _GAPS_WANTED or not _agree(found))


@dataclass(frozen=True, slots=True)
class Run:
    """Packets of a train that followed each other and all came back: how long they left, and how long they arrived."""

    steps: int
    leaving_s: float
    arriving_s: float


def runs(trains: Sequence[probes.Burst]) -> list[Run]:
    """Return the runs of neighbours that all came back."""
    found = []
    for train in trains:
        arrived, sent = train.arrived_s, train.sent_s
        for first in arrived:
            if first - 1 in arrived:
                continue
            last = first
            while last + 1 in arrived:
                last += 1
            if last - first >= _RUN and arrived[last] > arrived[first]:
                found.append(Run(last - first, sent[last] - sent[first], arrived[last] - arrived[first]))
    return found


def _rate_bps(run: Run, packet_bytes: int, own_bps: float) -> float:
    """Return the rate of one run. What this device sent between two of its packets came through as well."""
    return (run.steps * packet_bytes * 8 + own_bps * run.leaving_s) / run.arriving_s


def _agree(found: Sequence[Run]) -> bool:
    rates = [run.steps / run.arriving_s for run in found]
    return bool(rates) and max(rates) <= _ALIKE * min(rates)


def capacity_bps(trains: Sequence[probes.Burst], packet_bytes: int, own_bps: float) -> int | None:
    """Return the rate of the middle run; None with few gaps, or where the only two runs disagree.

    Jitter of the link moves packets within a run and leaves its length as it is; a stall spoils one run.
    """
    found = runs(trains)
    if sum(run.steps for run in found) < _GAPS_NEEDED:
        return None
    rates = sorted(_rate_bps(run, packet_bytes, own_bps) for run in found)
    if len(rates) == 2 and rates[1] > _ALIKE * rates[0]:
        return None
    return round(statistics.median(rates))
