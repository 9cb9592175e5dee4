"""Find the distance of the answer to a connection, with first packets and TLS hellos of a small TTL.

A packet with TTL n dies at the n-th router, which says so. What refuses, resets or prohibits a connection at a smaller
TTL than the host's own is not the host. Ordinary sockets do it without privileges on Linux (`IP_TTL`, `IP_RECVERR`).
"""

from __future__ import annotations

import errno
import selectors
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Final

from sigprobe.measure.path.data import StepData, StepsData
from sigprobe.measure.path.probes import IP_RECVERR, IPV6_RECVERR, icmp_word, read_icmp, trace
from sigprobe.net import sockets
from sigprobe.net.icmp import ip_header_bytes
from sigprobe.net.limits import Deadline

MAX_TTL: Final = 8
HELLO_TTL: Final = 5
WAIT_S: Final = 1.4
"""Longer than the second after which a first packet is repeated."""

_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Try:
    sock: socket.socket
    ttl: int
    six: bool
    sent_s: float = 0.0
    state: str = "connecting"
    found: StepData | None = field(default=None)


def first_packets(
    host: str,
    address: sockets.Address,
    deadline: Deadline,
    stop: Event,
    *,
    control: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[StepsData | None, int]:
    """Open a connection with each TTL from 1 to `MAX_TTL`, side by side; return the replies and the bytes used.

    None where the system has no error queue.
    """
    row, used = _steps(host, address, b"", deadline, stop, clock)
    return (None if row is None else {**row, "control": control}), used


def hellos(
    host: str,
    address: sockets.Address,
    deadline: Deadline,
    stop: Event,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[StepsData | None, int]:
    """Send a TLS hello for `host` with each small TTL over connections that were opened with the usual one."""
    return _steps(host, address, client_hello(host), deadline, stop, clock)


def distance(
    host: str,
    address: sockets.Address,
    deadline: Deadline,
    stop: Event,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[StepsData | None, int]:
    """Send small UDP packets with each TTL; return the TTL at which the host answers, and the routers before it."""
    hops, used = trace(address, MAX_TTL, 1, WAIT_S, deadline, stop, clock=clock)
    answers: list[StepData] = [{"ttl": h.ttl, "said": h.said, "address": h.address, "ms": h.rtt_ms} for h in hops]
    return {
        "what": "udp",
        "host": host,
        "address": str(address.sockaddr[0]),
        "port": 0,
        "control": False,
        "tried": MAX_TTL,
        "answers": answers,
    }, used


def client_hello(host: str) -> bytes:
    """Return the first bytes that a TLS client sends for a name."""
    context = ssl.create_default_context()
    written = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), written, server_hostname=host).do_handshake()
    return written.read()


def _steps(
    host: str,
    address: sockets.Address,
    hello: bytes,
    deadline: Deadline,
    stop: Event,
    clock: Callable[[], float],
) -> tuple[StepsData | None, int]:
    if not sys.platform.startswith("linux"):
        return None, 0
    used, tries = 0, []
    header = ip_header_bytes(address.family)
    with selectors.DefaultSelector() as selector:
        try:
            for ttl in range(1, (HELLO_TTL if hello else MAX_TTL) + 1):
                one = _start(address, ttl, small=not hello, clock=clock)
                if one is not None:
                    tries.append(one)
                    selector.register(one.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, one)
                    used += 2 * (header + 40)
            until = clock() + WAIT_S * (2 if hello else 1)
            while clock() < until and not stop.is_set() and not deadline.expired():
                if all(one.found is not None for one in tries):
                    break
                for key, _events in selector.select(min(0.05, max(0.0, until - clock()))):
                    one = key.data
                    _advance(one, hello, clock)
                    if one.found is not None:
                        selector.unregister(one.sock)
                    elif one.state == "waiting":
                        selector.modify(one.sock, selectors.EVENT_READ, one)
        finally:
            for one in tries:
                with suppress(OSError):
                    one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                one.sock.close()
    used += len(hello) * sum(1 for one in tries if one.state == "waiting")
    answers = [one.found for one in tries if one.found is not None]
    return {
        "what": "hello" if hello else "syn",
        "host": host,
        "address": str(address.sockaddr[0]),
        "port": int(address.sockaddr[1]),
        "control": False,
        "tried": len(tries),
        "answers": sorted(answers, key=lambda row: row["ttl"]),
    }, used


def _start(address: sockets.Address, ttl: int, *, small: bool, clock: Callable[[], float]) -> _Try | None:
    six = address.family == socket.AF_INET6
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    one = _Try(sock, ttl, six)
    try:
        sock.setblocking(False)
        level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
        sock.setsockopt(level, IPV6_RECVERR if six else IP_RECVERR, 1)
        if small:
            _live_for(one)
        one.sent_s = clock()
        code = sock.connect_ex(address.sockaddr)
    except OSError as error:
        code = error.errno or errno.EIO
    if code not in (0, errno.EINPROGRESS):
        sock.close()
        return None
    return one


def _live_for(one: _Try) -> None:
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if one.six else (socket.IPPROTO_IP, socket.IP_TTL)
    one.sock.setsockopt(level, option, one.ttl)


def _advance(one: _Try, hello: bytes, clock: Callable[[], float]) -> None:
    """Read the state of one connection, and send the hello once it is open."""
    told = read_icmp(one.sock, one.six)
    code = one.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if told is not None:
        said, address = icmp_word(one.six, *told[:2]), told[2]
        _found(one, said, address, clock)
    elif code:
        _found(one, _WORDS.get(code, "host_unreachable"), None, clock)
    elif one.state == "connecting":
        if not _is_open(one.sock):
            return
        if not hello:
            _found(one, "open", None, clock)
            return
        try:
            _live_for(one)
            one.sent_s = clock()
            one.sock.send(hello)
            one.state = "waiting"
        except OSError as error:
            _found(one, _WORDS.get(error.errno or 0, "reset"), None, clock)
    else:
        try:
            _found(one, "answered" if one.sock.recv(512) else "reset", None, clock)
        except BlockingIOError:
            return
        except OSError as error:
            _found(one, _WORDS.get(error.errno or 0, "reset"), None, clock)


_WORDS: Final = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EHOSTUNREACH: "ttl_exceeded",  # in an open connection the kernel keeps no more of it
    errno.ETIMEDOUT: "timeout",
}


def _is_open(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _found(one: _Try, said: str, address: str | None, clock: Callable[[], float]) -> None:
    one.found = {"ttl": one.ttl, "said": said, "address": address, "ms": round((clock() - one.sent_s) * 1000, 3)}
