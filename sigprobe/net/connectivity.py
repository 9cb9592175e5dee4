"""Detect a new route to the internet: by kernel events on Linux, by polling elsewhere. Sends nothing."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from sigprobe.net import routes

POLL_S: Final = 3.0
"""How often the ways are looked at where the kernel does not tell by itself."""
SETTLE_S: Final = 0.3
"""A link that comes up brings a burst of messages: they are taken as one."""

# linux/rtnetlink.h: link, IPv4 address and route, IPv6 address and route
_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_NETLINK_ROUTE: Final = 0
_SOMEWHERE: Final = ("192.0.2.1", "2001:db8::1")  # documentation addresses: asking for a route sends nothing

Ways = frozenset[tuple[str, ...]]


def ways() -> Ways:
    """The ways out there are now: routes and own addresses. A way that was not there before means a link came up."""
    found: set[tuple[str, ...]] = set()
    for family in ("ipv4", "ipv6"):
        for route in routes.routes(family):
            network = route.network
            if route.interface != "lo" and not (network.is_link_local or network.is_multicast):
                found.add((route.interface, str(network), route.gateway or ""))
    for somewhere in _SOMEWHERE:
        own = routes.local_address(somewhere)
        if own is not None:
            found.add(("from", own))
    return frozenset(found)


class Watch:
    """Wait for a time, for a new route, or for a wake-up. Use as a context manager, or call `close`."""

    def __init__(
        self, *, look: Callable[[], Ways] = ways, clock: Callable[[], float] = time.monotonic, netlink: bool = True
    ) -> None:
        self._look = look
        self._clock = clock
        self._read_end, self._write_end = os.pipe()
        for end in (self._read_end, self._write_end):
            os.set_blocking(end, False)
        self._socket = _listen() if netlink else None
        self.ways = look()

    @property
    def told_by_kernel(self) -> bool:
        """Return True if the kernel reports changes; else they are polled every `POLL_S`."""
        return self._socket is not None

    @property
    def wake_fd(self) -> int:
        """Return a file descriptor that ends a wait when a byte is written to it: for `signal.set_wakeup_fd`."""
        return self._write_end

    def wake(self) -> None:
        """End the wait under way, from any thread."""
        with suppress(BlockingIOError):
            os.write(self._write_end, b"\0")

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; True as soon as a way out has come that was not there before.

        False when the time is up, or when it was woken.
        """
        until = self._clock() + seconds
        while True:
            if self._new_ways():
                return True
            left = until - self._clock()
            if left <= 0.0:
                return False
            told, woken = self._sleep(left if self.told_by_kernel else min(left, POLL_S))
            if woken:
                return False
            if told:
                self._settle()

    def _sleep(self, seconds: float) -> tuple[bool, bool]:
        fds = [self._read_end] if self._socket is None else [self._read_end, self._socket.fileno()]
        ready, _, _ = select.select(fds, [], [], seconds)
        woken = self._read_end in ready
        if woken:
            with suppress(BlockingIOError):
                os.read(self._read_end, 4096)
        return len(ready) > woken, woken

    def _settle(self) -> None:
        """Read kernel events until they pause, for a limited time."""
        assert self._socket is not None
        until = self._clock() + 3 * SETTLE_S
        while self._clock() < until:
            with suppress(OSError):  # ENOBUFS: events were lost, which means a change as well
                while self._socket.recv(65536):
                    pass
            if not select.select([self._socket], [], [], SETTLE_S)[0]:
                return

    def _new_ways(self) -> bool:
        before, self.ways = self.ways, self._look()
        return bool(self.ways - before)

    def close(self) -> None:
        """Close the descriptors."""
        if self._socket is not None:
            self._socket.close()
        os.close(self._read_end)
        os.close(self._write_end)

    def __enter__(self) -> Watch:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def _listen() -> socket.socket | None:
    """Return a socket for the kernel's events on links, addresses and routes; None if unavailable."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        found = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
        found.setblocking(False)
        found.bind((0, _GROUPS))
    except OSError:
        return None
    return found
