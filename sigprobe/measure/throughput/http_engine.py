"""Engine `http`: a LibreSpeed-compatible server, each direction until its rate is known."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from statistics import median
from typing import Any, Final, Literal

from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput.connection import FaultError
from sigprobe.measure.throughput.convergence import MIN_BYTES, Series, conclude
from sigprobe.measure.throughput.discovery import Found, Received, find, origin, race, received
from sigprobe.measure.throughput.link_time import seconds
from sigprobe.measure.throughput.plan import Ended, Transfer, TransferPlan
from sigprobe.measure.throughput.server import Server
from sigprobe.measure.throughput.transfer import Direction
from sigprobe.net.limits import OVERHEAD, Context, Progress
from sigprobe.net.sockets import GetAddrInfo, StoppedError
from sigprobe.record.result import Failure, Outcome

Way = Literal["download", "upload"]
AGREEING: Final = 0.1
UNDER_WAY: Final = 256 * 1024
"""How far the server's count may lie beside what was acknowledged and sent, for it to be the same transfer."""

LEAST_TIME_S: Final = 0.1
BURST_S: Final = 0.02
"""A whole upload over loopback or a local network may be as short as a burst."""

LEAST_PART: Final = 0.5
"""What arrived within a smaller part of the time it was sent in did not arrive as it was sent."""

REPORT_S: Final = 3.0
"""Time left for the server's count of an upload."""

COUNTED: Final = 0.96
"""The rest is kept for packets that this end does not see: lost on the way here, or answers after the end."""

REPORT_BYTES: Final = 15_000
"""Kept for asking the server what has arrived."""

DRAIN_S: Final = 5.0
"""The wait for a queue of the direction before, even where that shortens the next one."""
DRAINED_S: Final = 0.05
"""A queue that delays packets by less is not waited for."""

_WORST: Final[tuple[Ended, ...]] = ("converged", "data_cap", "time_cap")


def measure(
    data: dict[str, Any],
    context: Context,
    *,
    url: str,
    direction: Literal["both", "download", "upload"],
    streams: int | None,
    max_bytes: int,
    max_s: float,
    clock: Callable[[], float] = time.monotonic,
    getaddrinfo: GetAddrInfo | None = None,
) -> Measured:
    """Measure and fill `data`, a dict that has every key; return the outcome.

    `max_bytes` bounds both directions together, in bytes on the wire; when both are asked for, each may take half.
    """
    begun = context.budget.used_bytes
    session = str(uuid.uuid4())
    data.update(server=origin(url), bytes_received=0, bytes_sent=0)
    context.progress(Progress("idle", None, None, 0.0))
    try:
        found = find(url, session, context, getaddrinfo=getaddrinfo, clock=clock)
    except StoppedError:
        return Measured(Outcome.SKIPPED, data, Failure("interrupted"))
    except FaultError as fault:
        return Measured(Outcome.FAILED, data, Failure(fault.code, fault.detail))
    server = found.server
    address = str(server.address)
    rtt_s = min(found.idle_rtts_s)
    data["idle_rtt_ms"] = round(median(found.idle_rtts_s) * 1000, 3)
    ways: tuple[Way, ...] = ("download", "upload") if direction == "both" else (direction,)
    done: dict[Way, Transfer] = {}
    for number, way in enumerate(ways):
        if done:
            most_s = context.deadline.remaining() - max_s * (len(ways) - number) - REPORT_S
            _let_queue_drain(done[ways[number - 1]], found, context, max(DRAIN_S, most_s))
        left = max_bytes - round((context.budget.used_bytes - begun) * OVERHEAD)
        of_run = context.budget.left_wire_bytes()
        if of_run is not None:
            left = min(left, of_run)
        left = int(left * COUNTED) - REPORT_BYTES
        plan = TransferPlan(
            cap_bytes=max(0, min(left // (len(ways) - number), max_bytes // len(ways))),
            max_s=max_s,
            rtt_s=rtt_s,
            rest_s=max(found.idle_rtts_s),
            streams=streams,
            session=session,
            fraction=(number / len(ways), (number + 1) / len(ways)),
            most_s=_most_s(max_s, len(ways) - number, context),
        )
        if context.deadline.expired():
            done[way] = Transfer(fault=FaultError("timeout", "no time was left"))
        elif context.budget.exhausted():
            done[way] = Transfer(fault=FaultError("data_budget", "no data was left"))
        else:
            done[way] = Direction(way, server, plan, context, clock).run()
        if way == "upload" and done[way].fault is None:
            _ask_server(done[way], server, session, rtt_s, context)
        _fill(data, way, done[way])
        if context.stop.is_set():
            break
    loaded = [rtt for transfer in done.values() for rtt in transfer.loaded_rtts_s]
    data["loaded_rtt_ms"] = round(median(loaded) * 1000, 3) if loaded else None
    data["streams"] = max((transfer.streams for transfer in done.values()), default=0) or None
    reasons = [transfer.ended for transfer in done.values() if transfer.ended is not None]
    data["ended"] = max(reasons, key=_WORST.index, default=None)
    return replace(_outcome(ways, done, data), address_used=address)


def _most_s(max_s: float, ways: int, context: Context) -> float:
    """Return how long a slow link may take: with a share of the time that the directions to come leave unused."""
    spare_s = context.deadline.remaining() - ways * max_s - REPORT_S
    return max_s + min(max_s, max(0.0, spare_s) / ways)


def _let_queue_drain(before: Transfer, found: Found, context: Context, most_s: float) -> None:
    """Wait until the queue that the previous direction left is empty; no longer than `most_s`.

    The next direction's acknowledgements, and its own beginning, would wait behind it. A connection opened now is
    answered when that is over.
    """
    rest_s = max(found.idle_rtts_s)
    if max(before.loaded_rtts_s[-3:], default=0.0) < rest_s + DRAINED_S:
        return
    with suppress(FaultError, StoppedError):
        race((found.server.address,), found.server.host, context.deadline.within(most_s), context)


def _ask_server(transfer: Transfer, server: Server, session: str, rtt_s: float, context: Context) -> None:
    """Use the server's clock and byte count for an upload, if it reports them.

    Acknowledgements may come from a box on the way; what has arrived can only be said at the other end.
    """
    if not server.ours or transfer.bytes == 0:
        return
    try:
        report = received(server, session, context)
    except StoppedError:
        return
    if report is None:
        return
    total, samples, _ = report
    if _is_held_back(report, transfer, rtt_s):
        _count_at_proxy(transfer)
        return
    # at least what was acknowledged, give or take; at most what had been sent when the connections were cut
    least, most = (1 - AGREEING) * transfer.series.ordered.total(), (1 + AGREEING) * transfer.bytes + UNDER_WAY
    if transfer.speed is not None and least <= total <= most:
        # it vouches for the sum, and so for the acknowledgements; these show the pace without what losses held back
        transfer.counted_by = "server"
    else:
        speed = conclude(Series(samples), rtt_s)
        if speed is None:
            return
        transfer.speed = speed
        transfer.window = seconds(Series(samples), speed.from_s, samples[-1][0])
        transfer.counted_by = "server"
    transfer.bytes = max(transfer.bytes, total)


def _is_held_back(report: Received, transfer: Transfer, rtt_s: float) -> bool:
    """Return whether a proxy before the server holds bodies until they are complete: its times are not the link's."""
    if report.bytes == 0:
        return transfer.bytes > UNDER_WAY
    if transfer.elapsed_s < LEAST_TIME_S or not report.samples:
        return False
    span_s = report.samples[-1][0]
    # the first and the last bytes were each on their way for a while
    in_a_burst = span_s + 2 * rtt_s < LEAST_PART * transfer.elapsed_s
    return in_a_burst or (report.buffered and span_s > BURST_S)


def _count_at_proxy(transfer: Transfer) -> None:
    """Record that the bytes were counted at a proxy, which passes each body on once it is complete.

    What it acknowledged still shows the pace of the way to it. Without acknowledgements there is no rate to state.
    """
    known = transfer.counted_by == "tcp_info"
    transfer.counted_by = "proxy"
    if not known:
        transfer.speed = None
        transfer.fault = transfer.fault or FaultError(
            "bad_response", "a proxy before the server keeps uploads until they are whole"
        )


def _fill(data: dict[str, Any], way: Way, transfer: Transfer) -> None:
    data["bytes_received" if way == "download" else "bytes_sent"] = transfer.bytes
    data[f"{way}_s"] = round(transfer.elapsed_s, 3)
    data[f"ended_{way}"] = transfer.ended
    if way == "upload":
        data["upload_counted_by"] = transfer.counted_by
        data["retransmits"] = transfer.retransmits
    speed = transfer.speed
    if speed is not None and transfer.fault is None:
        data[f"{way}_bps"] = round(speed.bps)
        data[f"{way}_ci_bps"] = None if speed.ci_bps is None else [round(edge) for edge in speed.ci_bps]
        data[f"{way}_interval_kind"] = None if speed.ci_bps is None else speed.kind
        data[f"{way}_window"] = transfer.window
        cut = transfer.ended == "data_cap" and speed.ci_bps is None
        data[f"{way}_at_least"] = "data_cap" if cut else speed.at_least
    elif transfer.fault is None:
        code = "data_budget" if transfer.ended == "data_cap" else "too_slow"
        if transfer.bytes >= MIN_BYTES:
            code = "too_short"  # all of it came at one moment of the clock
        transfer.fault = FaultError(code, f"{transfer.bytes} bytes in {transfer.elapsed_s:.3f} s")
    data[f"{way}_failure"] = None if transfer.fault is None else transfer.fault.code


def _outcome(ways: tuple[Way, ...], done: dict[Way, Transfer], data: dict[str, Any]) -> Measured:
    faults = {way: transfer.fault for way, transfer in done.items() if transfer.fault is not None}
    missing = [way for way in ways if way not in done or way in faults]
    if not missing:
        return Measured(Outcome.OK, data)
    texts = [f"{way}: {fault.code}, {fault.detail}" for way, fault in faults.items()]
    if len(missing) < len(ways):
        detail = "; ".join(texts) or f"{missing[0]}: interrupted"
        return Measured(Outcome.DEGRADED, data, Failure("one_direction", detail))
    first = next(iter(faults.values()))
    outcome = Outcome.SKIPPED if first.code == "interrupted" else Outcome.FAILED
    return Measured(outcome, data, Failure(first.code, "; ".join(texts)))
