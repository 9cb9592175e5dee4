"""Limit the use of the speed test, per client and in total."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

MAX_PER_ADDRESS: Final = 8
MAX_STREAMS: Final = 64
MAX_ADDRESSES: Final = 20_000
DAY_S: Final = 86_400.0
RETRY_SOON_S: Final = 10

USED_UP: Final = "this client has used its data for the day"
NO_PLACE: Final = "too many connections of this client"
TOO_MANY: Final = "too many speed tests at once"


class RefusedError(Exception):
    """Raised at a limit: the HTTP status, the exhausted limit, and the seconds until a retry."""

    def __init__(self, status: int, title: str, retry_after_s: int) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class _Account:
    began_s: float
    used: int = 0
    active: int = 0


class Limits:
    """Limits kept in memory: open streams and bytes of the day per client, for a bounded number of clients.

    A day is 24 hours from a client's first byte, on `clock` (monotonic): a stepped wall clock changes nothing. A
    client is a token where one was sent, else an address (IPv6: its /64).
    """

    def __init__(
        self,
        *,
        daily_bytes: int,
        clock: Callable[[], float],
        max_per_address: int = MAX_PER_ADDRESS,
        max_streams: int = MAX_STREAMS,
        max_addresses: int = MAX_ADDRESSES,
    ) -> None:
        self._daily_bytes = daily_bytes
        self._clock = clock
        self._max_per_address = max_per_address
        self._max_streams = max_streams
        self._max_addresses = max_addresses
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._streams = 0

    def enter(self, client: str, *, free: bool) -> Allowance:
        """Reserve a place for one stream; release it with `leave`. Raises RefusedError when there is none."""
        if self._streams >= self._max_streams:
            raise RefusedError(503, TOO_MANY, RETRY_SOON_S)
        account = None
        if not free:
            account = self._account(client)
            if account.active >= self._max_per_address:
                raise RefusedError(429, NO_PLACE, RETRY_SOON_S)
            self.check(account)
            account.active += 1
        self._streams += 1
        shown = None if account is None else _LocalAccount(self, account)
        return Allowance(shown, lambda: self._release(account))

    def check(self, account: _Account) -> None:
        """Raise RefusedError when the account has used its day's bytes."""
        if self.left_bytes(account) <= 0:
            wait = max(1, math.ceil(account.began_s + DAY_S - self._clock()))
            raise RefusedError(429, USED_UP, wait)

    def left_bytes(self, account: _Account) -> int:
        """Return bytes the account may still use today."""
        return self._daily_bytes - account.used

    def _release(self, account: _Account | None) -> None:
        self._streams -= 1
        if account is not None:
            account.active -= 1

    def _account(self, account_of: str) -> _Account:
        key, now = account_of, self._clock()
        account = self._accounts.get(key)
        if account is None:
            if len(self._accounts) >= self._max_addresses:
                self._forget_one()
            account = self._accounts[key] = _Account(now)
        elif now - account.began_s >= DAY_S:
            account.began_s, account.used = now, 0
        self._accounts.move_to_end(key)
        return account

    def _forget_one(self) -> None:
        idle = next((key for key, account in self._accounts.items() if account.active == 0), None)
        if idle is None:
            raise RefusedError(503, "too many clients at once", RETRY_SOON_S)
        del self._accounts[idle]


class _LocalAccount:
    """An account in memory, for a stream."""

    def __init__(self, limits: Limits, account: _Account) -> None:
        self._limits = limits
        self._account = account

    def reserve(self, wanted: int) -> int:
        granted = max(0, min(wanted, self._limits.left_bytes(self._account)))
        self._account.used += granted
        return granted

    def refund(self, count: int) -> None:
        self._account.used -= count

    def spend(self, count: int) -> None:
        self._account.used += count
        self._limits.check(self._account)


class Account(Protocol):
    """The day's bytes of one client, as far as this process may use them."""

    def reserve(self, wanted: int) -> int:
        """Take up to `wanted` bytes and return how many."""

    def refund(self, count: int) -> None:
        """Return reserved bytes."""

    def spend(self, count: int) -> None:
        """Count bytes that arrived. Raises RefusedError when the day's bytes are used up."""


class Allowance:
    """One stream's place and its account; `account` None is a client without limits of its own."""

    __slots__ = ("_account", "_leave", "_left")

    def __init__(self, account: Account | None, leave: Callable[[], None]) -> None:
        self._account = account
        self._leave = leave
        self._left = False

    def reserve(self, wanted: int) -> int:
        """Reserve up to `wanted` bytes and return how many; return unused ones with `refund`."""
        return wanted if self._account is None else self._account.reserve(wanted)

    def refund(self, count: int) -> None:
        """Return reserved bytes."""
        if self._account is not None:
            self._account.refund(count)

    def spend(self, count: int) -> None:
        """Count bytes that arrived. Raises RefusedError when the day's bytes are used up."""
        if self._account is not None:
            self._account.spend(count)

    def leave(self) -> None:
        """Release the place; a second call changes nothing."""
        if not self._left:
            self._left = True
            self._leave()
