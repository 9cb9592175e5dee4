"""Test whether a point answers, by ICMP echoes and TCP handshakes, and find the hops to it.

Everything here works without privileges where the kernel allows it: ICMP over a datagram socket, hops by the errors
that UDP packets with a small TTL bring back (`IP_RECVERR`).
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Event
from typing import Any, Final

from sigprobe.net import sockets
from sigprobe.net.icmp import IcmpEcho, NotPermittedError, cause_of, ip_header_bytes
from sigprobe.net.limits import Deadline

IP_RECVERR: Final = 11
IPV6_RECVERR: Final = 25
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
_TRACE_PORT: Final = 33434
_TRACE_BYTES: Final = 32


@dataclass(slots=True)
class Burst:
    """Echoes sent and answered. `rtts_ms` stands in sending order, None for a lost one; `sent_s` and `arrived_s` are by
    number."""

    method: str | None = None
    sent: int = 0
    rtts_ms: list[float | None] = field(default_factory=list)
    arrivals_s: list[float] = field(default_factory=list)
    sent_s: dict[int, float] = field(default_factory=dict)
    arrived_s: dict[int, float] = field(default_factory=dict)
    failure: str | None = None
    told_by: str | None = None
    bytes: int = 0

    @property
    def received(self) -> int:
        """Return how many were answered."""
        return sum(1 for rtt in self.rtts_ms if rtt is not None)


def burst(
    address: sockets.Address,
    count: int,
    interval_s: float,
    wait_s: float,
    deadline: Deadline,
    stop: Event,
    *,
    size: int = 56,
    whole: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Burst:
    """Send `count` echoes and wait `wait_s` after the last. With `whole` no router may fragment them.

    Without the right to send ICMP `method` is None and nothing was sent.
    """
    result = Burst()
    way = _open(address, size, result)
    if way is None:
        return result
    result.failure = None
    if whole:
        way.never_fragment()
    result.method = way.method
    started: dict[int, float] = {}
    pending: set[int] = set()
    try:
        next_s = clock()
        until = next_s + count * interval_s + wait_s
        while not stop.is_set() and not deadline.expired() and clock() < until:
            if result.sent < count and clock() >= next_s:
                seq = result.sent
                result.sent += 1
                result.rtts_ms.append(None)
                next_s += interval_s
                try:
                    started[seq] = result.sent_s[seq] = way.send(seq)
                    pending.add(seq)
                    result.bytes += way.request_bytes
                except OSError as error:
                    result.failure = cause_of(error)
            if result.sent == count and not pending:
                break
            pause = min(0.05, deadline.remaining(), max(0.0, next_s - clock()) if result.sent < count else 0.05)
            for arrival in way.receive(pause):
                if arrival.seq not in pending:
                    continue
                pending.discard(arrival.seq)
                if arrival.cause is not None:
                    result.failure = arrival.cause
                    result.told_by = arrival.told_by or result.told_by
                    continue
                result.bytes += arrival.bytes
                result.rtts_ms[arrival.seq] = round((arrival.at_s - started[arrival.seq]) * 1000, 3)
                result.arrivals_s.append(arrival.at_s)
                result.arrived_s[arrival.seq] = arrival.at_s
    finally:
        way.close()
    if result.received:
        result.failure = None
    elif result.failure is None:
        result.failure = "no_reply"
    return result


def _open(address: sockets.Address, size: int, result: Burst) -> IcmpEcho | None:
    for raw in (False, True):
        try:
            return IcmpEcho(address.sockaddr, address.family, size, raw=raw)
        except NotPermittedError:
            result.failure = "permission"
        except OSError as error:
            result.failure = cause_of(error)
    return None


@dataclass(frozen=True, slots=True)
class Knock:
    """One TCP handshake. `state` is `open`, `refused`, or the failure code of its silence."""

    port: int
    state: str
    ms: float | None
    bytes: int

    @property
    def answered(self) -> bool:
        """Return True if the other end replied in any form."""
        return self.state in ("open", "refused", "reset")


def knock(
    address: sockets.Address, deadline: Deadline, stop: Event, *, clock: Callable[[], float] = time.monotonic
) -> Knock:
    """Open a TCP connection and leave at once with a reset. Raises StoppedError."""
    header = ip_header_bytes(address.family)
    port = int(address.sockaddr[1])
    used = header + 40
    try:
        with socket.socket(address.family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            start = clock()
            sockets.connect(sock, address.sockaddr, deadline, stop)
            return Knock(port, "open", round((clock() - start) * 1000, 3), used + 3 * header + 80)
    except OSError as error:
        state = sockets.code_of(error) or "host_unreachable"
        ms = round((clock() - start) * 1000, 3) if state == "refused" else None
        return Knock(port, state, ms, used + (header + 20 if state == "refused" else 0))


def numeric(host: str, port: int) -> sockets.Address | None:
    """Return the socket address of an IP address; None when this system has no such family or scope."""
    try:
        row = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
    except (socket.gaierror, OSError):
        return None
    return sockets.Address(row[0], row[4])


@dataclass(frozen=True, slots=True)
class Hop:
    """The reply to packets of one TTL: a router's `ttl_exceeded`, or the end (`reached`, or a failure code)."""

    ttl: int
    address: str
    rtt_ms: float
    said: str


def trace(
    address: sockets.Address,
    max_ttl: int,
    tries: int,
    wait_s: float,
    deadline: Deadline,
    stop: Event,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Hop], int]:
    """Send small UDP packets with TTL 1 … `max_ttl`; return the hops that replied, in order, and the bytes used.

    Empty where the system has no error queue (it is Linux's).
    """
    if not sys.platform.startswith("linux"):
        return [], 0
    six = address.family == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    hops: dict[int, Hop] = {}
    used = 0
    with selectors.DefaultSelector() as selector:
        try:
            for attempt in range(tries):
                for ttl in range(1, max_ttl + 1):
                    if ttl in hops or any(hop.said == "reached" and hop.ttl < ttl for hop in hops.values()):
                        continue
                    used += _send_probe(selector, address, level, ttl, attempt, clock)
                until = clock() + wait_s / tries
                while clock() < until and not stop.is_set() and not deadline.expired() and len(hops) < max_ttl:
                    for key, _events in selector.select(min(0.05, max(0.0, until - clock()))):
                        hop = _read_error(key.fileobj, key.data, six, clock())
                        if hop is not None:
                            used += ip_header_bytes(address.family) * 2 + 16
                            hops.setdefault(hop.ttl, hop)
                    if all(t in hops for t in range(1, 1 + min((h.ttl for h in hops.values() if _end(h)), default=99))):
                        until = clock()
                if any(_end(hop) for hop in hops.values()):
                    break
        finally:
            for key in list(selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
    last = min((hop.ttl for hop in hops.values() if _end(hop)), default=max_ttl)
    return [hops[ttl] for ttl in sorted(hops) if ttl <= last], used


def _end(hop: Hop) -> bool:
    return hop.said != "ttl_exceeded"


def _send_probe(
    selector: selectors.BaseSelector,
    address: sockets.Address,
    level: int,
    ttl: int,
    attempt: int,
    clock: Callable[[], float],
) -> int:
    six = address.family == socket.AF_INET6
    sock = socket.socket(address.family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(level, IPV6_RECVERR if six else IP_RECVERR, 1)
        sock.setsockopt(level, socket.IPV6_UNICAST_HOPS if six else socket.IP_TTL, ttl)
        sock.connect((address.sockaddr[0], _TRACE_PORT + 32 * attempt + ttl, *address.sockaddr[2:]))
        at_s = clock()
        sock.send(bytes(_TRACE_BYTES))
    except OSError:
        sock.close()
        return 0
    selector.register(sock, selectors.EVENT_READ, (ttl, at_s))
    return ip_header_bytes(address.family) + 8 + _TRACE_BYTES


def _read_error(sock: Any, sent: tuple[int, float], six: bool, now: float) -> Hop | None:
    ttl, at_s = sent
    told = read_icmp(sock, six)
    if told is None:
        with suppress(OSError):
            sock.recv(512)  # an answer, from a port that was open after all
        return None
    icmp, code, offender = told
    return Hop(ttl, offender, round((now - at_s) * 1000, 3), icmp_word(six, icmp, code))


def read_icmp(sock: socket.socket, six: bool) -> tuple[int, int, str] | None:
    """Return an ICMP message from a socket's error queue: type, code and the router that sent it; None without one."""
    try:
        _packet, notes, _flags, _source = sock.recvmsg(512, 1024, socket.MSG_ERRQUEUE)
    except OSError:
        return None
    for _level, kind, data in notes:
        if kind not in (IP_RECVERR, IPV6_RECVERR) or len(data) < _EXTENDED_ERROR.size + 8:
            continue
        _number, origin, icmp, code, *_rest = _EXTENDED_ERROR.unpack_from(data)
        if origin not in (2, 3):
            continue
        place = data[_EXTENDED_ERROR.size :]
        offender = socket.inet_ntop(socket.AF_INET6, place[8:24]) if six else socket.inet_ntoa(place[4:8])
        return icmp, code, offender
    return None


def icmp_word(six: bool, icmp: int, code: int) -> str:
    """Return an ICMP message as a word: `reached`, `ttl_exceeded`, `filtered`, or a code for an unreachable host."""
    if (icmp, code) == ((1, 4) if six else (3, 3)):
        return "reached"
    if icmp == (3 if six else 11):
        return "ttl_exceeded"
    if (icmp, code) in (((1, 1),) if six else ((3, 9), (3, 10), (3, 13))):
        return "filtered"
    return "host_unreachable" if icmp in (1, 3) else os.strerror(errno.EPROTO)


def spread_rate_bps(arrivals_s: Sequence[float], packet_bytes: int) -> int | None:
    """Return the rate of the narrowest link that a train of packets came through; None without two arrivals apart.

    The middle gap counts: a moment's stall of this or another machine widens one of them.
    """
    gaps = [after - before for before, after in pairwise(sorted(arrivals_s))]
    seconds = statistics.median_low(gaps) if gaps else 0.0
    return None if seconds <= 0 else round(packet_bytes * 8 / seconds)
