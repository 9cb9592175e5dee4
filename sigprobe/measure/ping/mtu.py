"""Find the largest packet that reaches a host unfragmented, by echoes with DF (RFC 4821's idea)."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from sigprobe.net.icmp import IcmpEcho, NotPermittedError, ip_header_bytes
from sigprobe.net.limits import Context

ICMP_BYTES: Final = 8
LEAST: Final = {socket.AF_INET: 68, socket.AF_INET6: 1280}
MOST: Final = 65_535
TRIES: Final = 2
"""A packet may be lost for other reasons than its size; only one lost again is too large."""


def find_mtu(
    sockaddr: tuple[Any, ...],
    family: int,
    context: Context,
    *,
    raw: bool,
    wait_s: float,
    known: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> int | None:
    """Return bytes of the largest IP packet that is answered; None when nothing is, or when the time is up before.

    `known` is a size that has been answered already. What this device refuses to send costs no waiting.
    """
    low = known or LEAST[socket.AddressFamily(family)]
    if known is None and not _passes(sockaddr, family, low, context, raw, wait_s, clock):
        return None
    high = MOST + 1
    # most ways end at Ethernet's size: trying that first and its next saves ten steps
    for guess in (1500, 1501):
        if low < guess < high:
            if _passes(sockaddr, family, guess, context, raw, wait_s, clock):
                low = guess
            else:
                high = guess
    while high - low > 1:
        if context.stop.is_set() or context.deadline.remaining() < wait_s or context.budget.exhausted():
            return None
        middle = (low + high) // 2
        if _passes(sockaddr, family, middle, context, raw, wait_s, clock):
            low = middle
        else:
            high = middle
    return low


def _passes(
    sockaddr: tuple[Any, ...],
    family: int,
    packet_bytes: int,
    context: Context,
    raw: bool,
    wait_s: float,
    clock: Callable[[], float],
) -> bool:
    size = packet_bytes - ip_header_bytes(family) - ICMP_BYTES
    try:
        echo = IcmpEcho(sockaddr, family, size, raw=raw, df=True, clock=clock)
    except (NotPermittedError, OSError):
        return False
    try:
        for seq in range(1, TRIES + 1):
            try:
                sent_s = echo.send(seq)
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    return False
                continue
            context.budget.spend(echo.request_bytes)
            while (left := sent_s + wait_s - clock()) > 0 and not context.stop.is_set():
                for arrival in echo.receive(min(left, 0.1)):
                    context.budget.spend(arrival.bytes)
                    if arrival.cause is None:
                        return True
                    if arrival.cause == "packet_too_big":
                        return False
    finally:
        echo.close()
    return False
