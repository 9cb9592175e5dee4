"""Use a TCP handshake as an echo, for hosts or users without ICMP."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from sigprobe.net.icmp import Arrival, Method, cause_of, ip_header_bytes

_TOTAL_RETRANS_OFFSET: Final = 100  # tcpi_total_retrans in Linux's struct tcp_info


class TcpEcho:
    """A TCP handshake as an echo: an open and a refused port both prove that the host answers.

    An answer to a repeated SYN counts as the loss of the first one, as it would with ICMP.
    """

    def __init__(
        self, address: tuple[Any, ...], family: int, port: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.method: Method = "tcp"
        self.port = port
        self._family, self._address, self._clock = family, (address[0], port, *address[2:]), clock
        header = ip_header_bytes(family)
        self.request_bytes = header + 40 + 2 * (header + 20)  # SYN, ACK, RST
        self._answer_bytes = header + 40
        self._selector = selectors.DefaultSelector()
        self._waiting: dict[socket.socket, int] = {}

    def send(self, seq: int) -> float:
        """See Echo."""
        handle = socket.socket(self._family, socket.SOCK_STREAM)
        handle.setblocking(False)
        # leave with a RST: no half-closed connection is left on the target
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        at_s = self._clock()
        number = handle.connect_ex(self._address)
        if number not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.ECONNREFUSED):
            handle.close()
            raise OSError(number, os.strerror(number))
        self._waiting[handle] = seq
        self._selector.register(handle, selectors.EVENT_WRITE)
        return at_s

    def receive(self, timeout_s: float) -> Sequence[Arrival]:
        """See Echo."""
        if not self._waiting:
            time.sleep(max(0.0, timeout_s))  # nothing is under way: this is only the pause until the next one
            return ()
        events = self._selector.select(max(0.0, timeout_s))
        now = self._clock()
        ready = {key.fd for key, _ in events}
        return [self._finish(handle, now) for handle in list(self._waiting) if handle.fileno() in ready]

    def _finish(self, handle: socket.socket, now: float) -> Arrival:
        seq = self._waiting.pop(handle)
        number = handle.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        repeated = _retransmitted(handle)
        self._selector.unregister(handle)
        handle.close()
        if number not in (0, errno.ECONNREFUSED):
            return Arrival(seq, now, 0, cause_of(OSError(number, "")), os.strerror(number))
        if repeated:
            return Arrival(seq, now, self._answer_bytes, "no_reply", "only a repeated SYN was answered")
        return Arrival(seq, now, self._answer_bytes)

    def close(self) -> None:
        """See Echo."""
        self._selector.close()
        for handle in self._waiting:
            handle.close()
        self._waiting.clear()


def _retransmitted(handle: socket.socket) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    with suppress(OSError):
        info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        if len(info) >= _TOTAL_RETRANS_OFFSET + 4:
            return bool(struct.unpack_from("=I", info, _TOTAL_RETRANS_OFFSET)[0])
    return False


def choose_port(
    address: tuple[Any, ...],
    family: int,
    ports: Sequence[int],
    timeout_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[int, int]:
    """Find the TCP port that answers: (port, bytes used). The earlier in `ports` wins; none answering: the first.

    All are asked at once; a later one's answer waits 0.3 s for an earlier one's.
    """
    ways = [TcpEcho(address, family, port, clock=clock) for port in ports]
    used = 0
    best: int | None = None
    until = clock() + timeout_s
    try:
        waiting = []
        for rank, way in enumerate(ways):
            used += way.request_bytes
            with suppress(OSError):
                way.send(0)
                waiting.append((rank, way))
        while waiting and clock() < until:
            for rank, way in list(waiting):
                for arrival in way.receive(0.005):
                    waiting.remove((rank, way))
                    used += arrival.bytes
                    if arrival.cause is None and (best is None or rank < best):
                        until = until if best is not None else min(until, clock() + 0.3)
                        best = rank
            waiting = [(rank, way) for rank, way in waiting if best is None or rank < best]
    finally:
        for way in ways:
            way.close()
    return ports[best or 0], used
