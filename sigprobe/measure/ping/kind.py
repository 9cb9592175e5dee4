"""Measure round-trip times, loss and jitter to a host, by ICMP echo or, if that is not allowed, by TCP handshakes."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sigprobe.measure.kind import Kind, Measured
from sigprobe.measure.ping.data import PingData
from sigprobe.measure.ping.family import FamilyChoice, one_of_each
from sigprobe.measure.ping.mtu import find_mtu
from sigprobe.measure.ping.options import Options
from sigprobe.net import routes, sockets
from sigprobe.net.icmp import (
    Arrival,
    Echo,
    IcmpEcho,
    Method,
    NotPermittedError,
    cause_of,
)
from sigprobe.net.limits import Context, Deadline, Progress
from sigprobe.net.rtt_stats import summarise
from sigprobe.net.tcp_echo import TcpEcho, choose_port
from sigprobe.record.result import Failure, Outcome

DEFAULT_GATEWAY: Final = "default-gateway"
REPLY_WAIT_S: Final = 2.0

METHODS: Final[tuple[Method, ...]] = ("icmp-dgram", "icmp-raw", "tcp")
TCP_PORTS: Final = (443, 80)

_STOP_CHECK_S: Final = 0.1
_PORT_CHOICE_S: Final = 0.8
_FAMILIES: Final = {None: socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


@dataclass(slots=True)
class _Train:
    """State of the packets of one check, by sequence number."""

    sent: dict[int, float] = field(default_factory=dict)
    rtts: dict[int, float] = field(default_factory=dict)
    lost: dict[int, tuple[str, str | None]] = field(default_factory=dict)  # cause, detail
    duplicates: int = 0
    reordered: int = 0
    late: int = 0
    ttl: int | None = None
    bytes_sent: int = 0
    bytes_received: int = 0

    def waiting(self) -> list[int]:
        """Return packets that are neither answered nor lost, oldest first."""
        return [seq for seq in self.sent if seq not in self.rtts and seq not in self.lost]

    def take(self, arrival: Arrival) -> float | None:
        """Record an arrival; returns the round trip in ms if it is the first answer to a packet still waited for."""
        seq = arrival.seq
        if seq not in self.sent:
            return None
        if arrival.cause is not None:
            if seq not in self.rtts:
                self.lost.setdefault(seq, (arrival.cause, arrival.detail))
            return None
        if seq in self.rtts:
            self.duplicates += 1
            return None
        rtt = arrival.at_s - self.sent[seq]
        if seq in self.lost or rtt > REPLY_WAIT_S:
            self.late += 1
            self.lost.setdefault(seq, ("no_reply", None))
            return None
        if self.rtts and seq < max(self.rtts):
            self.reordered += 1
        self.rtts[seq] = rtt * 1000
        self.ttl = arrival.ttl if self.ttl is None else self.ttl
        return self.rtts[seq]

    def give_up(self, now: float, wait_s: float) -> None:
        """Count packets as lost after their waiting time."""
        for seq in self.waiting():
            if now - self.sent[seq] >= wait_s:
                self.lost[seq] = ("no_reply", None)


def _run(
    echo: Echo, options: Options, context: Context, deadline: Deadline, clock: Callable[[], float]
) -> tuple[_Train, str | None]:
    """Send and receive until every packet is decided; the second value is the reason for an early end."""
    train = _Train()
    # with less time than usual, sending ends early enough for the last packet to get its wait too
    wait_s = min(REPLY_WAIT_S, deadline.remaining() / 2)
    next_s = clock()
    ended: str | None = None
    while True:
        now = clock()
        train.give_up(now, wait_s)
        if context.stop.is_set():
            return train, "interrupted"
        if ended is None and len(train.sent) < options.count:
            ended = (
                "time_up" if deadline.remaining() < wait_s else "data_budget" if context.budget.exhausted() else None
            )
        sending = ended is None and len(train.sent) < options.count
        if sending and now >= next_s:
            _send_one(echo, train, context, len(train.sent) + 1, now)
            next_s = max(next_s + options.interval_ms / 1000, now)
            continue
        waiting = train.waiting()
        if not sending and not waiting:
            return train, ended
        until = [now + _STOP_CHECK_S]
        if sending:
            until.append(next_s)
        if waiting:
            until.append(train.sent[waiting[0]] + wait_s)
        for arrival in echo.receive(min(until) - now):
            train.bytes_received += arrival.bytes
            context.budget.spend(arrival.bytes)
            rtt = train.take(arrival)
            if rtt is not None:
                done = len(train.rtts) + len(train.lost)
                context.progress(Progress("ping", round(rtt, 3), "ms", done / options.count))


def _send_one(echo: Echo, train: _Train, context: Context, seq: int, now: float) -> None:
    train.sent[seq] = now  # counted before it is sent, so that what cannot even leave is lost and not forgotten
    try:
        train.sent[seq] = echo.send(seq)
    except OSError as error:
        train.lost[seq] = (cause_of(error), error.strerror or str(error))
        return
    train.bytes_sent += echo.request_bytes
    context.budget.spend(echo.request_bytes)


def resolve(
    address: str,
    family: str | None,
    context: Context,
    lookup: sockets.GetAddrInfo = socket.getaddrinfo,
) -> list[sockets.Address]:
    """Return the first address of each family that a name has, or the IP address itself, in the family asked for.

    Raises OSError when there is none by the deadline, sockets.StoppedError when the run is stopped.
    """
    found = sockets.look_up(address, 0, context.deadline, context.stop, getaddrinfo=lookup)
    if found.error is not None:
        raise OSError(found.error)
    wanted = _FAMILIES[family]
    fitting = [a for a in found.addresses if wanted in (socket.AF_UNSPEC, a.family)]
    if not fitting:
        raise OSError(f"no {family} address")
    return one_of_each(fitting)


def _open(
    family: int,
    sockaddr: tuple[Any, ...],
    options: Options,
    context: Context,
    *,
    methods: Sequence[Method],
    ports: Sequence[int],
    clock: Callable[[], float],
    wall: Callable[[], float],
) -> tuple[Echo, str | None]:
    """Open the first method that this system permits, with a note if ICMP was requested and refused."""
    refused: list[str] = []
    for method in methods:
        if method == "tcp":
            wait_s = min(_PORT_CHOICE_S, context.deadline.remaining() / 4)
            port, used = choose_port(sockaddr, family, ports, wait_s, clock=clock)
            context.budget.spend(used)
            note = f"ICMP is not permitted here ({'; '.join(refused)})" if refused else None
            return TcpEcho(sockaddr, family, port, clock=clock), note
        try:
            raw = method == "icmp-raw"
            return IcmpEcho(sockaddr, family, options.size, raw=raw, df=options.df, clock=clock, wall=wall), None
        except NotPermittedError:
            refused.append(f"{method}: no permission")
        except OSError as error:
            refused.append(f"{method}: {error.strerror or error}")
    raise PermissionError("; ".join(refused))


def _open_probe(
    at: sockets.Address,
    options: Options,
    *,
    methods: Sequence[Method],
    ports: Sequence[int],
    clock: Callable[[], float],
    wall: Callable[[], float],
) -> Echo:
    """Open the first method that this system permits, for a single echo. Raises OSError."""
    error: OSError = PermissionError("no way to ask for an echo")
    for method in methods:
        if method == "tcp":
            return TcpEcho(at.sockaddr, at.family, ports[0], clock=clock)
        try:
            raw = method == "icmp-raw"
            return IcmpEcho(at.sockaddr, at.family, options.size, raw=raw, df=options.df, clock=clock, wall=wall)
        except NotPermittedError:
            continue
        except OSError as failed:
            error = failed
    raise error


def measure(
    options: Options,
    context: Context,
    *,
    methods: Sequence[Method] = METHODS,
    tcp_ports: Sequence[int] = TCP_PORTS,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    lookup: sockets.GetAddrInfo = socket.getaddrinfo,
    gateway: Callable[[routes.Family | None], str | None] = routes.default_gateway,
    route: Callable[[], routes.Route | None] = routes.main_route,
) -> Measured:
    """Ping one host and return the results; every failure of the target is a Measured.

    `wall` only serves to read the kernel's receive stamps; setting the clock changes no number.
    """
    address = options.address
    if address == DEFAULT_GATEWAY:
        found = gateway(options.family)
        if found is None:
            if route() is not None:
                # a modem's own link (QMI, PPP) leads out without a gateway: nothing to ping, and nothing is wrong
                detail = "the default route needs no gateway"
                return Measured(Outcome.SKIPPED, _data(options, _Train()), Failure("no_gateway", detail))
            return _nothing(options, "no_gateway", "no default route with a gateway")
        address = found
    try:
        candidates = resolve(address, options.family, context, lookup)
    except sockets.StoppedError:
        return _nothing(options, "interrupted", f"stopped while looking {address} up")
    except OSError as error:
        return _nothing(options, "name_not_found", f"{address}: {error}")
    at, choice = candidates[0], None
    if len(candidates) > 1:
        choice = FamilyChoice(
            lambda one: _open_probe(one, options, methods=methods, ports=tcp_ports, clock=clock, wall=wall),
            context,
            clock=clock,
        )
        at = choice.choose(candidates)
    family, sockaddr, used = at.family, at.sockaddr, str(at.sockaddr[0])
    try:
        echo, note = _open(
            family,
            sockaddr,
            options,
            context,
            methods=methods,
            ports=tcp_ports,
            clock=clock,
            wall=wall,
        )
    except PermissionError as error:
        return _nothing(options, "permission", str(error), used)
    try:
        train, ended = _run(echo, options, context, context.deadline, clock)
    finally:
        echo.close()
    data = _data(options, train)
    data["method"], data["method_note"] = echo.method, note
    data["family"] = "ipv6" if family == socket.AF_INET6 else "ipv4"
    data["tcp_port"] = echo.port if isinstance(echo, TcpEcho) else None
    if choice is not None:
        data["addresses_tried"] = choice.tried
        data["bytes_sent"] += choice.bytes_sent
        data["bytes_received"] += choice.bytes_received
    if options.find_mtu and isinstance(echo, IcmpEcho) and train.rtts:
        raw, wait_s = echo.method == "icmp-raw", min(REPLY_WAIT_S, 0.3 + 3 * max(train.rtts.values()) / 1000)
        data["path_mtu"] = find_mtu(
            sockaddr,
            family,
            context,
            raw=raw,
            wait_s=wait_s,
            known=echo.request_bytes if options.df else None,
            clock=clock,
        )
    outcome, failure = _judge(options, train, ended)
    return Measured(outcome, data, failure, used)


def _data(options: Options, train: _Train) -> PingData:
    order = sorted(train.sent)
    decided = len(train.rtts) + len(train.lost)
    rtts = [train.rtts.get(seq) for seq in order]
    causes = Counter(cause for cause, _ in train.lost.values())
    numbers = summarise(rtts)
    return PingData(
        method=None,
        method_note=None,
        family=None,
        size=options.size,
        df=options.df,
        path_mtu=None,
        sent=len(train.sent),
        received=len(train.rtts),
        in_flight=len(train.sent) - decided,
        duplicates=train.duplicates,
        reordered=train.reordered,
        late=train.late,
        loss_ratio=round(len(train.lost) / decided, 6) if decided else None,
        loss_cause=causes.most_common(1)[0][0] if causes else None,
        rtt_min_ms=numbers["rtt_min_ms"],
        rtt_avg_ms=numbers["rtt_avg_ms"],
        rtt_median_ms=numbers["rtt_median_ms"],
        rtt_max_ms=numbers["rtt_max_ms"],
        rtt_stddev_ms=numbers["rtt_stddev_ms"],
        jitter_ms=numbers["jitter_ms"],
        jitter_method="rfc3550",
        rtts_ms=[None if rtt is None else round(rtt, 3) for rtt in rtts],
        ttl=train.ttl,
        tcp_port=None,
        addresses_tried=[],
        bytes_sent=train.bytes_sent,
        bytes_received=train.bytes_received,
    )


def _judge(options: Options, train: _Train, ended: str | None) -> tuple[Outcome, Failure | None]:
    """Return the outcome of a train: facts only, no thresholds."""
    lost, sent = len(train.lost), len(train.sent)
    if not train.rtts:
        if not sent:
            return Outcome.SKIPPED, Failure(ended or "interrupted", "ended before the first packet")
        if not lost:  # stopped while the first answers were still awaited
            return Outcome.FAILED, Failure("interrupted", f"stopped after {sent} of {options.count} packets")
        cause = Counter(cause for cause, _ in train.lost.values()).most_common(1)[0][0]
        detail = next((text for word, text in train.lost.values() if word == cause and text), None)
        return Outcome.FAILED, Failure(cause, detail or f"{lost} of {sent} packets unanswered")
    if lost:
        causes = ", ".join(sorted({cause for cause, _ in train.lost.values()}))
        return Outcome.DEGRADED, Failure("packet_loss", f"{lost} of {sent} packets lost ({causes})")
    if ended is not None:
        code = "interrupted" if ended == "time_up" else ended
        return Outcome.DEGRADED, Failure(code, f"{ended} after {sent} of {options.count} packets")
    return Outcome.OK, None


def _nothing(options: Options, code: str, detail: str, used: str | None = None) -> Measured:
    """Return a check that could send no packet at all: no loss is claimed, since nothing was sent."""
    return Measured(Outcome.FAILED, _data(options, _Train()), Failure(code, detail), used)


KIND: Final = Kind("ping", 1, Options, PingData, measure)
