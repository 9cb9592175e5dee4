"""Connect to the first of several addresses that answers (Happy Eyeballs, RFC 8305)."""

from __future__ import annotations

import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sigprobe.net.limits import Deadline
from sigprobe.net.sockets import STARTED, Address, code_of, wait_slice

STAGGER_S: Final = 0.25
"""The head start of one address before the next is tried (RFC 8305, 5)."""


@dataclass(slots=True)
class Attempt:
    """Connect to one address. `code` is None for the winner, `slower` for one that lost."""

    address: Address
    ms: float
    code: str | None
    connected: bool = False


@dataclass(slots=True)
class _Pending:
    sock: socket.socket
    attempt: Attempt
    started_s: float


def by_turns(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with the families by turns, the first one's family first (RFC 8305, 4)."""
    first = [a for a in addresses if a.family == addresses[0].family]
    others = [a for a in addresses if a.family != addresses[0].family]
    mixed: list[Address] = []
    for index in range(max(len(first), len(others))):
        mixed += first[index : index + 1] + others[index : index + 1]
    return mixed


class Race:
    """Connect to several addresses, each a quarter second after the one before; the first that answers wins.

    `attempts` lists them in the order of their start. Losing connections stay open until `settle`, so that the time of
    the other family is measured as well.
    """

    def __init__(
        self,
        deadline: Deadline,
        stop: threading.Event,
        *,
        make: Callable[[Address], socket.socket] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.attempts: list[Attempt] = []
        self._deadline = deadline
        self._stop = stop
        self._make = make or (lambda address: socket.socket(address.family, socket.SOCK_STREAM))
        self._clock = clock
        self._overtaken: list[_Pending] = []
        self._first_error: OSError | None = None
        self._won_s = 0.0

    def run(self, addresses: Sequence[Address]) -> tuple[socket.socket, Address, float]:
        """Return the connected socket, its address and its ms. Raises OSError, TimeoutError or StoppedError."""
        waiting = by_turns(addresses)
        stagger_s = min(STAGGER_S, self._deadline.remaining() / (len(waiting) + 2))
        next_s = self._clock()
        with selectors.DefaultSelector() as selector:
            try:
                while waiting or selector.get_map():
                    if waiting and (self._clock() >= next_s or not selector.get_map()):
                        started = self._start(selector, waiting.pop(0))
                        next_s = self._clock() + (stagger_s if started else 0.0)
                        continue
                    slice_s = wait_slice(self._deadline, self._stop)
                    if waiting:
                        slice_s = min(slice_s, max(0.0, next_s - self._clock()))
                    for key, _ in selector.select(slice_s):
                        one: _Pending = key.data
                        selector.unregister(one.sock)
                        if self._connected(one):
                            self._overtaken = self._end(selector, "slower")
                            return one.sock, one.attempt.address, one.attempt.ms
                        next_s = self._clock()  # a refusal makes room for the next at once
            except TimeoutError:
                self._close(self._end(selector, "timeout"))
                raise self._first_error or TimeoutError() from None
            except BaseException:
                self._close(self._end(selector, "interrupted"))
                raise
        assert self._first_error is not None
        raise self._first_error

    def settle(self) -> None:
        """Close losing connections. One that has connected meanwhile gets its handshake time.

        One that was silent for much longer than the winner counts as `timeout`, else as `slower`.
        """
        for one in self._overtaken:
            attempt = one.attempt
            took_s = _handshake_s(one.sock)
            waited_s = self._clock() - one.started_s
            attempt.connected = took_s is not None
            attempt.ms = (waited_s if took_s is None else took_s) * 1000
            if took_s is None and waited_s >= max(0.8 * STAGGER_S, 5 * self._won_s):
                attempt.code = "timeout"
            one.sock.close()
        self._overtaken.clear()

    def _start(self, selector: selectors.BaseSelector, address: Address) -> bool:
        """Begin to connect to one address; False when that failed at once."""
        attempt = Attempt(address, 0.0, None)
        self.attempts.append(attempt)
        sock: socket.socket | None = None
        try:
            sock = self._make(address)
            sock.setblocking(False)
            one = _Pending(sock, attempt, self._clock())
            code = sock.connect_ex(address.sockaddr)
            if code and code not in STARTED:
                raise OSError(code, os.strerror(code))
        except OSError as error:
            if sock is not None:
                sock.close()
            self._failed(attempt, error)
            return False
        selector.register(sock, selectors.EVENT_WRITE, one)
        return True

    def _connected(self, one: _Pending) -> bool:
        one.attempt.ms = (self._clock() - one.started_s) * 1000
        code = one.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            one.sock.close()
            self._failed(one.attempt, OSError(code, os.strerror(code)))
            return False
        one.sock.setblocking(True)
        self._won_s, one.attempt.connected = one.attempt.ms / 1000, True
        return True

    def _failed(self, attempt: Attempt, error: OSError) -> None:
        self._first_error = self._first_error or error
        attempt.code = code_of(error) or "host_unreachable"

    def _end(self, selector: selectors.BaseSelector, code: str) -> list[_Pending]:
        """Mark what is still under way."""
        left: list[_Pending] = [key.data for key in selector.get_map().values()]
        for one in left:
            one.attempt.ms, one.attempt.code = (self._clock() - one.started_s) * 1000, code
        return left

    @staticmethod
    def _close(left: Sequence[_Pending]) -> None:
        for one in left:
            one.sock.close()


_TCP_INFO_RTT: Final = 68
"""Offset of `tcpi_rtt` (microseconds) in Linux' `struct tcp_info`."""


def _handshake_s(sock: socket.socket) -> float | None:
    """The round trip that the kernel took from a finished handshake; None while there is none, or no such number."""
    try:
        sock.getpeername()
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    except (OSError, AttributeError):
        return None
    if len(info) < _TCP_INFO_RTT + 4:
        return None
    return int.from_bytes(info[_TCP_INFO_RTT : _TCP_INFO_RTT + 4], sys.byteorder) / 1e6 or None
