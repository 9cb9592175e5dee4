"""Limit concurrent batches. Further ones get 503 with `Retry-After` before their body is read."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sigprobe.collector.web.problems import ProblemError


@dataclass(slots=True)
class Place:
    """Place of one batch in progress: its bytes, and its token once that is known."""

    gate: Gate
    held_bytes: int = 0
    token_id: str | None = None


class Gate:
    """Count batches in progress and their bytes. One per process, used from its event loop only."""

    def __init__(
        self,
        *,
        max_in_flight: int,
        max_bytes: int,
        max_storing: int,
        max_per_token: int = 8,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._max_in_flight = max_in_flight
        self._max_bytes = max_bytes
        self._max_storing = max_storing
        self._max_per_token = max_per_token
        self._tokens: dict[str, int] = {}
        self._uniform = uniform
        self.in_flight = 0
        self.held_bytes = 0
        self.storing = 0
        self.shed = 0

    @contextmanager
    def admit(self) -> Iterator[Place]:
        """Reserve a place for a batch. Raises ProblemError 503 with `Retry-After` when there is none.

        Only received bytes count against the shared limit. A declared length costs its sender nothing, so it must
        reserve nothing.
        """
        # many slow senders are fine; too many batches in the database queue would all wait too long
        if (
            self.in_flight >= self._max_in_flight
            or self.storing >= self._max_storing
            or self.held_bytes >= self._max_bytes
        ):
            raise self._busy(503, "the collector is busy")
        self.in_flight += 1
        place = Place(self)
        try:
            yield place
        finally:
            self.in_flight -= 1
            self.held_bytes -= place.held_bytes
            if place.token_id is not None:
                self._tokens[place.token_id] -= 1
                if not self._tokens[place.token_id]:
                    del self._tokens[place.token_id]

    def claim(self, place: Place, token_id: str) -> None:
        """Count the batch for its token. Raises ProblemError 429 when the token has its maximum in progress."""
        if self._tokens.get(token_id, 0) >= self._max_per_token:
            raise self._busy(429, "too many batches of this token at once")
        self._tokens[token_id] = self._tokens.get(token_id, 0) + 1
        place.token_id = token_id

    def hold(self, place: Place, size: int) -> None:
        """Count received bytes. Raises ProblemError 503 at the limit."""
        if self.held_bytes + size > self._max_bytes:
            raise self._busy(503, "the collector is busy", close=True)
        self.held_bytes += size
        place.held_bytes += size

    def _busy(self, status: int, title: str, *, close: bool = False) -> ProblemError:
        self.shed += 1
        # random, so that refused clients do not all return at once
        headers = {"Retry-After": str(round(self._uniform(5, 30)))}
        return ProblemError(status, title, headers=headers | ({"Connection": "close"} if close else {}))

    @contextmanager
    def store(self) -> Iterator[None]:
        """Mark a batch as completely received: waiting for the database, or in it."""
        self.storing += 1
        try:
            yield
        finally:
            self.storing -= 1
