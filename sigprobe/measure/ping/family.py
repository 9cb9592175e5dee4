"""Choose between IPv6 and IPv4 for a name that has both, by one echo to each (as RFC 8305 does with connections)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from sigprobe.measure.ping.data import TriedFamilyData
from sigprobe.measure.ping.options import FAMILY_CHOICE_S
from sigprobe.net import sockets
from sigprobe.net.icmp import Echo, cause_of
from sigprobe.net.limits import Context

HEAD_START_S: Final = 0.25
_SLICE_S: Final = 0.02
_SEQ: Final = 1


def one_of_each(addresses: Sequence[sockets.Address]) -> list[sockets.Address]:
    """Return the first address of each family, in the system's order."""
    return list({address.family: address for address in reversed(addresses)}.values())[::-1]


class FamilyChoice:
    """Send one echo to the first family, a quarter second later to the other; the first that answers is taken.

    `bytes_sent` and `bytes_received` are what that took.
    """

    def __init__(
        self,
        open_echo: Callable[[sockets.Address], Echo],
        context: Context,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tried: list[TriedFamilyData] = []
        self.bytes_sent = 0
        self.bytes_received = 0
        self._open_echo = open_echo
        self._context = context
        self._clock = clock
        self._open: list[tuple[sockets.Address, Echo, float, TriedFamilyData]] = []

    def choose(self, addresses: Sequence[sockets.Address]) -> sockets.Address:
        """Return the address to ping: the first where none answers."""
        waiting = list(addresses)
        begun = next_s = self._clock()
        until = begun + min(FAMILY_CHOICE_S, self._context.deadline.remaining() / 4)
        try:
            while self._clock() < until and not self._context.stop.is_set() and (waiting or self._open):
                if waiting and (self._clock() >= next_s or not self._open):
                    next_s = self._clock() + (HEAD_START_S if self._start(waiting.pop(0)) else 0.0)
                    continue
                for entry in list(self._open):
                    if self._answered(entry):
                        return entry[0]
            usable = [row[0] for row in self._open]
            return usable[0] if usable else addresses[0]
        finally:
            for _, echo, sent_s, row in self._open:
                if row["failure"] == "no_reply":
                    row["ms"] = round((self._clock() - sent_s) * 1000, 3)
                echo.close()

    def _start(self, address: sockets.Address) -> bool:
        row: TriedFamilyData = {"address": str(address.sockaddr[0]), "ms": None, "failure": "no_reply"}
        self.tried.append(row)
        echo: Echo | None = None
        try:
            echo = self._open_echo(address)
            sent_s = echo.send(_SEQ)
        except OSError as error:
            row["failure"] = "permission" if isinstance(error, PermissionError) else cause_of(error)
            if echo is not None:
                echo.close()
            return False
        self.bytes_sent += echo.request_bytes
        self._context.budget.spend(echo.request_bytes)
        self._open.append((address, echo, sent_s, row))
        return True

    def _answered(self, entry: tuple[sockets.Address, Echo, float, TriedFamilyData]) -> bool:
        _, echo, sent_s, row = entry
        for arrival in echo.receive(_SLICE_S):
            self.bytes_received += arrival.bytes
            self._context.budget.spend(arrival.bytes)
            if arrival.seq != _SEQ:
                continue
            row["failure"] = arrival.cause
            row["ms"] = round((arrival.at_s - sent_s) * 1000, 3)
            if arrival.cause is None:
                return True
            self._open.remove(entry)
            echo.close()
            return False
        return False
