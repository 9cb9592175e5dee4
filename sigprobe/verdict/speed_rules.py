"""Slow, lossy or full: where, and by whom.

A queue makes every packet wait, whoever fills it; loss without waiting is a bad link; a small rate shows only under
load. The device's own counters tell its own traffic from that of others.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

from sigprobe.record.kinds import Way, is_number, measures_rate, way
from sigprobe.record.result import Result, is_at_least
from sigprobe.verdict import candidates
from sigprobe.verdict.evidence import HEAVY_LOSS, PAGE_TIMES, Facts, WalkEntry, code, host_of
from sigprobe.verdict.verdict import LOCAL, OPERATOR, UNCERTAIN, Candidate, Verdict, say

OWN_TRAFFIC_BPS: Final = 300_000.0
QUEUE_MS: Final = 100.0
"""Waiting beyond the gateway from which on a queue is suspected; a long way alone has no such spread."""
QUEUE_SPREAD_MS: Final = 40.0
LONG_WAY_MS: Final = 150.0
"""From here on, loss may also be caused by a full queue, so no owner is named for it."""
OWN_SHARE: Final = 0.65
"""The share of the link's capacity from which on this device's own traffic explains waiting. Capacities err by 20 %."""
MOST_SHARE: Final = 1.6
"""More than this does not fit: the capacity that was measured is that of the other direction, or packets are lost."""
SMALL_SHARE: Final = 0.2
"""Below this share of the capacity, a device's own traffic explains nothing."""
NEAR_LOSS: Final = 0.03
NEAR_HEAVY: Final = 0.1
LEAST_NEAR: Final = 10
SMALL_BPS: Final = 1_000_000.0
SLOW_LINK_BPS: Final = 250_000.0
NEAR_TIMES: Final = 8.0
"""How many times faster the way to the gateway must be for the bottleneck to lie beyond it."""


def own_traffic(facts: Facts) -> Verdict | None:
    """This device moves most of what the link carries while packets wait, at two moments."""
    rates = [facts.path.get("other_rx_bps"), facts.path.get("other_tx_bps")]
    busiest = max((float(rate) for rate in rates if is_number(rate)), default=0.0)
    if busiest < OWN_TRAFFIC_BPS or (facts.failed and facts.beyond is False):
        return None
    if (facts.excess_ms or 0.0) < QUEUE_MS and _spread(facts) < QUEUE_SPREAD_MS:
        return None  # loss without waiting is not explained by traffic of one's own
    again = facts.own_traffic_again
    capacity = again.get("capacity_bps")
    if is_number(capacity) and capacity:
        if _fills(facts, again, float(capacity)) and _still_waits(facts, again):
            return say(LOCAL, "own_traffic", 0.9, facts.walks, [s.result for s in facts.short])
        if busiest < SMALL_SHARE * float(capacity):
            return None  # a call on a fast link
    return say(
        UNCERTAIN,
        "queue_by_others",
        0.4,
        facts.walks,
        _pings(facts),
        candidates=_device_first(facts, candidates.first([candidates.OWN_TRAFFIC], candidates.QUEUE)),
    )


def _fills(facts: Facts, again: WalkEntry, capacity: float) -> bool:
    """Return whether this device alone fills one direction of the link, at both moments.

    The capacity is that of the narrower direction. A rate far above it belongs to the other direction, which may have
    room, unless as much is lost as does not fit.
    """
    for first, second in (("other_tx_bps", "tx_bps"), ("other_rx_bps", "rx_bps")):
        rates = [facts.path.get(first), again.get(second)]
        known = [float(rate) for rate in rates if is_number(rate)]
        if len(known) < 2 or min(known) < max(OWN_TRAFFIC_BPS, OWN_SHARE * capacity):
            continue
        if max(known) <= MOST_SHARE * capacity:
            return True
        if first == "other_tx_bps" and _loss(facts) >= 0.5 * (1 - capacity / max(known)):
            return True
    return False


def _still_waits(facts: Facts, again: WalkEntry) -> bool:
    seen = sorted(float(ms) for ms in again.get("rtts_ms") or () if is_number(ms))
    if not seen:
        return False
    near = statistics.median(facts.near_rtts.seen_ms) if facts.near_rtts.seen_ms else 0.0
    return seen[len(seen) // 2] - near >= QUEUE_MS or seen[-1] - seen[0] >= QUEUE_SPREAD_MS


def queue_by_others(facts: Facts) -> Verdict | None:
    """Packets wait beyond the gateway, the gateway itself is quick, and it is not this device's doing."""
    if not _near_is_fine(facts) or facts.excess_ms is None or facts.excess_ms < QUEUE_MS:
        return None
    if _spread(facts) < max(QUEUE_SPREAD_MS, 0.2 * facts.excess_ms):
        return None  # an even delay is a long way, a satellite for example
    far = facts.part("whole").get("far_bps")
    if not is_number(far) or float(far or 0) < SLOW_LINK_BPS:
        # on a link this slow, and where no train of packets arrived in time, the walk's own packets make the queue
        return say(
            UNCERTAIN, "slow_here", 0.5, facts.walks, _pings(facts), candidates=_device_first(facts, candidates.SLOW)
        )
    return say(
        UNCERTAIN, "queue_by_others", 0.5, facts.walks, _pings(facts), candidates=_device_first(facts, candidates.QUEUE)
    )


def near_loss(facts: Facts) -> Verdict | None:
    """Many packets are lost already on the way to the gateway, and beyond it as well."""
    near = facts.near_rtts
    if near.sent < LEAST_NEAR or near.lost < max(2, HEAVY_LOSS * near.sent) or not near.seen_ms:
        return None
    if not facts.lossy and (near.lost < NEAR_HEAVY * near.sent or facts.opened_late_in_all < 2):
        return None  # a gateway may limit echoes to itself
    return say(
        UNCERTAIN,
        "packets_lost",
        0.5,
        facts.walks,
        _pings(facts),
        facts.failed,
        candidates=_device_first(facts, candidates.NEAR_LOSS),
    )


def loss(facts: Facts) -> Verdict | None:
    """Many packets are lost on the way to several points beyond the gateway, and none on the way to it."""
    far = [row for row in facts.far_rtts if row.sent >= 5]
    lost, sent = sum(row.lost for row in far), sum(row.sent for row in far)
    if not _near_is_fine(facts) or len(far) < 2 or sum(1 for row in far if row.lost) < 2:
        return None
    if lost < 4 or lost < HEAVY_LOSS * sent or (facts.excess_ms or 0.0) >= LONG_WAY_MS:
        return None
    if facts.echoes_limited:
        return None  # what people use passes
    if facts.missed_questions is not None and facts.own_modem and not facts.device_freezes:
        return say(OPERATOR, "loss_beyond", 0.9, facts.walks, _pings(facts), facts.failed)
    return say(
        UNCERTAIN,
        "packets_lost",
        0.5,
        facts.walks,
        _pings(facts),
        facts.failed,
        candidates=_device_first(facts, candidates.LOSS),
    )


def small_rate(facts: Facts) -> Verdict | None:
    """Little passes beyond the gateway while the way to it is many times faster, and no queue stood there before."""
    whole = facts.part("whole")
    near, far = whole.get("gateway_bps"), whole.get("far_bps")
    if not _near_is_fine(facts) or (facts.excess_ms or 0.0) >= LONG_WAY_MS or not is_number(near):
        return None
    assert near is not None
    slow = [r for r in facts.answered if measures_rate(r.kind) and _small(r)]
    slow += [r for r in facts.failed if measures_rate(r.kind) or code(r) == "too_slow"]
    dragging = [s.result for s in facts.short if s.metric in PAGE_TIMES]
    dragging += [r for r in facts.failed if way(r.kind) is Way.PAGE and code(r) in ("timeout", "http_truncated")]
    narrow = is_number(far) and float(far or 0) < SMALL_BPS and float(near) >= NEAR_TIMES * float(far or 0)
    # one slow page alone is its service's
    if narrow and (slow or len({host_of(r) for r in dragging}) > 1):
        return say(
            UNCERTAIN,
            "slow_here",
            0.5,
            [*slow, *dragging],
            facts.walks,
            candidates=_device_first(facts, candidates.SLOW),
        )
    queued = [r for r in slow if queues_under_load(r)]
    if queued and float(near) >= NEAR_TIMES * SMALL_BPS and facts.network.access != "wifi":
        return say(UNCERTAIN, "slow_here", 0.5, queued, facts.walks, candidates=_device_first(facts, candidates.SLOW))
    return None


def _device_first(facts: Facts, others: Sequence[Candidate]) -> Sequence[Candidate]:
    """Put this device before the others where it froze."""
    return candidates.first([candidates.DEVICE_BUSY] if facts.device_freezes else [], others)


def _small(result: Result) -> bool:
    rates = [result.data.get(name) for name in ("download_bps", "upload_bps") if not is_at_least(result.data, name)]
    known = [float(rate) for rate in rates if is_number(rate)]
    return bool(known) and min(known) < SMALL_BPS


def queues_under_load(result: Result) -> bool:
    """Return whether a link and not a server is the bottleneck: its queue fills while the test runs."""
    idle, loaded = result.data.get("idle_rtt_ms"), result.data.get("loaded_rtt_ms")
    return is_number(idle) and is_number(loaded) and float(loaded or 0) - float(idle or 0) >= QUEUE_MS


def stays_empty(result: Result) -> bool:
    """Return whether round trips under load are known, and no queue filled."""
    known = all(is_number(result.data.get(name)) for name in ("idle_rtt_ms", "loaded_rtt_ms"))
    return known and not queues_under_load(result)


def _near_is_fine(facts: Facts) -> bool:
    """Return whether the path to the gateway is fast and without loss, or there is no gateway."""
    near = facts.near_rtts
    if not near.sent:
        return False
    return (
        bool(near.seen_ms)
        and near.lost <= max(1, NEAR_LOSS * near.sent)
        and sorted(near.seen_ms)[len(near.seen_ms) // 2] < 40.0
    )


def _spread(facts: Facts) -> float:
    """Return the largest spread within one moment: a link that changed between two checks is no queue."""
    return max((row.spread_ms for row in facts.far_moments), default=0.0)


def _loss(facts: Facts) -> float:
    sent = sum(row.sent for row in facts.far_rtts)
    return sum(row.lost for row in facts.far_rtts) / sent if sent else 0.0


def _pings(facts: Facts) -> list[Result]:
    return [r for r in facts.seen if way(r.kind) is Way.ECHO]
