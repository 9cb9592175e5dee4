"""Admit batches: few for each token and each network, and no more than the process and its database can take.

A batch that finds no room gets 429 or 503 with `Retry-After` before its body is read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from sigprobe.collector.ingest.body import has_failures
from sigprobe.collector.ingest.fair_queue import AdaptiveLimit, FairQueue, FullError
from sigprobe.collector.web.client_address import Client
from sigprobe.collector.web.problems import ProblemError, is_database_fault
from sigprobe.collector.web.retry_after import RetryAfter

UNPROVEN_PER_GROUP: Final = 32
"""Batches of one network whose tokens are not checked yet."""

SIX_SHARE: Final = 8
FOUR_SHARE: Final = 2
"""The part of all places that one network may have: one in so many. A whole IPv6 /64 is one client's. Behind one IPv4
address there may be a carrier's customers, so its limit only leaves room for others; its tokens have their own."""

LARGE_BYTES: Final = 64 * 1024
"""A body of this size is a backlog: some hundred results."""

_COST_BYTES: Final = 4096
_FAILURES_COST: Final = 0.25


@dataclass(slots=True)
class Place:
    """Place of one batch in progress: its network, its bytes, and its token once that is known."""

    group: str | None
    share: int
    held_bytes: int = 0
    token_id: str | None = None
    waited_s: float = 0.0
    """How long it has waited here so far, but for its own sender."""


class Gate:
    """Count batches in progress and their bytes. One per process, used from its event loop only."""

    def __init__(
        self,
        *,
        max_in_flight: int,
        max_bytes: int,
        max_storing: int,
        max_per_token: int = 8,
        retry_after: RetryAfter | None = None,
    ) -> None:
        self._max_in_flight = max_in_flight
        self._max_bytes = max_bytes
        self._max_per_token = max_per_token
        self._retry_after = retry_after or RetryAfter()
        self._tokens: dict[str, int] = {}
        self._unproven: dict[str, int] = {}
        self._groups: dict[str, int] = {}
        self._group_bytes: dict[str, int] = {}
        self._queue = FairQueue(AdaptiveLimit(most=max_storing), max_waiting=max_in_flight, is_fault=is_database_fault)
        self.in_flight = 0
        self.held_bytes = 0
        self.shed = 0

    @property
    def storing(self) -> int:
        """How many batches wait for the database or are in it."""
        return self._queue.waiting + self._queue.running

    @property
    def limit(self) -> int:
        """How many batches may be in the database at once now."""
        return self._queue.limit

    def is_full(self) -> bool:
        """Return whether any newcomer would be refused, whatever its token and size."""
        return self.in_flight >= self._max_in_flight or self.held_bytes >= self._max_bytes or self._queue.is_hopeless()

    @contextmanager
    def admit(self, client: Client | None = None) -> Iterator[Place]:
        """Reserve a place for a batch. Raises ProblemError 503 with `Retry-After` when there is none, 429 when only
        the client's network has no more.

        Only received bytes count against the shared limit. A declared length costs its sender nothing, so it must
        reserve nothing.
        """
        # many slow senders are fine; too many batches in the database queue would all wait too long
        if self.is_full():
            raise self._busy(503, "the collector is busy")
        place = self._place(client)
        group = place.group
        if group is not None:
            if (
                self._groups.get(group, 0) >= max(1, self._max_in_flight // place.share)
                or self._unproven.get(group, 0) >= UNPROVEN_PER_GROUP
            ):
                raise self._busy(429, "too many batches of this network at once")
            _add(self._groups, group, 1)
            _add(self._unproven, group, 1)
        self.in_flight += 1
        try:
            yield place
        finally:
            self._leave(place)

    @staticmethod
    def _place(client: Client | None) -> Place:
        if client is None or client.loopback:
            # this machine speaks for many, as a proxy does
            return Place(None, 1)
        return Place(client.group, SIX_SHARE if ":" in client.group else FOUR_SHARE)

    def _leave(self, place: Place) -> None:
        self.in_flight -= 1
        self.held_bytes -= place.held_bytes
        if place.group is not None:
            _add(self._groups, place.group, -1)
            _add(self._group_bytes, place.group, -place.held_bytes)
            if place.token_id is None:
                _add(self._unproven, place.group, -1)
        if place.token_id is not None:
            _add(self._tokens, place.token_id, -1)

    def claim(self, place: Place, token_id: str) -> None:
        """Count the batch for its token. Raises ProblemError 429 when the token has its maximum in progress."""
        if self._tokens.get(token_id, 0) >= self._max_per_token:
            raise self._busy(429, "too many batches of this token at once")
        _add(self._tokens, token_id, 1)
        place.token_id = token_id
        if place.group is not None:
            _add(self._unproven, place.group, -1)

    def hold(self, place: Place, size: int) -> None:
        """Count received bytes. Raises ProblemError 503 at the limit, 429 at that of the client's network."""
        if self.held_bytes + size > self._max_bytes:
            raise self._busy(503, "the collector is busy", close=True)
        if place.group is not None:
            if self._group_bytes.get(place.group, 0) + size > self._max_bytes // place.share:
                raise self._busy(429, "too much data of this network at once", close=True)
            _add(self._group_bytes, place.group, size)
        self.held_bytes += size
        place.held_bytes += size

    @asynccontextmanager
    async def store(self, place: Place, body: bytes = b"") -> AsyncIterator[None]:
        """Wait for the database, and keep a turn for the block. Raises ProblemError 503, or 429 for a token that has
        sent more than its share."""
        cost = 1 + len(body) / _COST_BYTES
        if self._queue.waiting and has_failures(body):
            cost *= _FAILURES_COST
        try:
            async with self._queue.enter(
                place.token_id or "", cost, large=len(body) > LARGE_BYTES, waited_s=place.waited_s
            ):
                yield
        except FullError as error:
            if error.own_fault:
                raise self._busy(429, "too many batches of this token at once") from None
            raise self._busy(503, "the collector is busy") from None

    def refuse(self) -> int:
        """Count a batch that is refused unread, and return its `Retry-After`."""
        self.shed += 1
        return self._retry_after.next_s()

    def _busy(self, status: int, title: str, *, close: bool = False) -> ProblemError:
        headers = {"Retry-After": str(self.refuse())}
        return ProblemError(status, title, headers=headers | ({"Connection": "close"} if close else {}))


def _add(counts: dict[str, int], key: str, change: int) -> None:
    """Add to a count, and forget one that is zero again."""
    counts[key] = counts.get(key, 0) + change
    if not counts[key]:
        del counts[key]
