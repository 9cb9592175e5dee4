"""How much is let in at once. What does not fit is told to come back later, before its body is read."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sigprobe.collector.web.problems import ProblemError


class Gate:
    """Counts batches on their way and the bytes they may hold. One per process, used from its event loop alone."""

    def __init__(
        self,
        *,
        max_in_flight: int,
        max_bytes: int,
        max_storing: int,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._max_in_flight = max_in_flight
        self._max_bytes = max_bytes
        self._max_storing = max_storing
        self._uniform = uniform
        self.in_flight = 0
        self.held_bytes = 0
        self.storing = 0
        self.shed = 0

    @contextmanager
    def admit(self, body_bytes: int) -> Iterator[None]:
        """Hold a place for a body of `body_bytes`. Raises ProblemError 503 with `Retry-After` when there is none."""
        # slow senders may be many; batches that already wait for the database may not, or all would wait too long
        if (
            self.in_flight >= self._max_in_flight
            or self.storing >= self._max_storing
            or self.held_bytes + body_bytes > self._max_bytes
        ):
            self.shed += 1
            # spread, so that those turned away together do not come back together
            seconds = round(self._uniform(5, 30))
            raise ProblemError(503, "the collector is busy", headers={"Retry-After": str(seconds)})
        self.in_flight += 1
        self.held_bytes += body_bytes
        try:
            yield
        finally:
            self.in_flight -= 1
            self.held_bytes -= body_bytes

    @contextmanager
    def store(self) -> Iterator[None]:
        """Mark a batch as received whole and waiting for the database, or in it."""
        self.storing += 1
        try:
            yield
        finally:
            self.storing -= 1
