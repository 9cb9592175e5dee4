"""Store how long each collector must not be asked after a failure: per URL, with full jitter, beside the queue.

The file is advice, not data: if it is lost or damaged, the next attempt only comes earlier.
"""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sigprobe.files.atomic import note_state, read_state

BASE_S: Final = 5.0
CAP_S: Final = 900.0
RETRY_AFTER_CAP_S: Final = 3600.0
REFUSED_FOR_S: Final = 3600.0


def span_s(failures: int) -> float:
    """Return the upper bound of the wait after so many failures in a row (at least one), in seconds."""
    return min(CAP_S, BASE_S * 2.0 ** (min(failures, 30) - 1))


@dataclass(slots=True)
class Memory:
    """Backoff state of one collector. Wall-clock seconds, since it must survive a reboot."""

    failures: int = 0
    next_at: float | None = None
    asked_at: float | None = None  # when a Retry-After was received, and until when it asks to wait
    asked_until: float | None = None
    refused_at: float | None = None
    refused_token: str | None = None  # a digest, to detect a new token
    batch: int | None = None  # the batch size in records that the last failed attempt had been reduced to


class Backoff:
    """Backoff state of all collectors of one queue."""

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._path = path
        self._now = now
        self._uniform = uniform
        self._memory: dict[str, Memory] = {}
        with suppress(ValueError, OverflowError):
            self._memory = {url: _memory(values) for url, values in read_state(path).items()}

    def of(self, url: str) -> Memory:
        """Return the state of a collector."""
        return self._memory.setdefault(url, Memory())

    def wait_s(self, url: str) -> float:
        """Return the seconds until the next attempt by backoff or Retry-After; 0 when it is allowed now.

        A stored time beyond its cap is ignored: then the clock has moved.
        """
        return max(self._left(self.of(url).next_at, CAP_S), self.asked_wait_s(url))

    def asked_wait_s(self, url: str) -> float:
        """Return the seconds that the collector asked to wait (Retry-After). Even a typed upload obeys them."""
        memory = self.of(url)
        if memory.asked_at is not None and memory.asked_at > self._now() + 1:
            return 0.0  # asked in the future: the clock has moved
        return self._left(memory.asked_until, RETRY_AFTER_CAP_S)

    def _left(self, at: float | None, cap: float) -> float:
        left = 0.0 if at is None else at - self._now()
        return left if 0.0 < left <= cap else 0.0

    def failed(self, url: str, batch: int | None = None) -> None:
        """Record a failure: the next attempt comes after a random share of a doubling span.

        The next attempt begins with batches of `batch` records.
        """
        memory = self.of(url)
        memory.failures = min(memory.failures + 1, 30)
        memory.batch = batch
        memory.next_at = self._now() + self._uniform(0.0, span_s(memory.failures))
        self._save()

    def asked_to_wait(self, url: str, seconds: float | None) -> None:
        """Record that the collector asked to wait; without a number it counts as a failure."""
        if seconds is None:
            self.failed(url)
            return
        memory = self.of(url)
        memory.asked_at = self._now()
        memory.asked_until = self._now() + min(seconds, RETRY_AFTER_CAP_S)
        self._save()

    def refused(self, url: str, token: str | None) -> None:
        """Record that the collector rejected this token."""
        memory = self.of(url)
        memory.refused_at = self._now()
        memory.refused_token = _digest(token)
        self._save()

    def is_refused(self, url: str, token: str | None) -> bool:
        """Return True while a collector is skipped for its token: until the token changes, or an hour has passed."""
        memory = self.of(url)
        if memory.refused_at is None or memory.refused_token != _digest(token):
            return False
        return 0.0 <= self._now() - memory.refused_at < REFUSED_FOR_S

    def succeeded(self, url: str) -> None:
        """Clear all failures of a collector."""
        if self.of(url) != Memory():
            self._memory[url] = Memory()
            self._save()

    def link_came_up(self, urls: Sequence[str]) -> None:
        """Allow an attempt at once: earlier failures were on another link. Retry-After still applies."""
        waiting = [memory for memory in map(self.of, urls) if memory.next_at is not None]
        for memory in waiting:
            memory.next_at = None
        if waiting:
            self._save()

    def next_at(self, urls: Sequence[str]) -> float | None:
        """Return the wall-clock time of the next allowed attempt over these collectors; None if one is allowed now."""
        waits = [self.wait_s(url) for url in urls]
        return None if not waits or min(waits) <= 0.0 else self._now() + min(waits)

    def _save(self) -> None:
        note_state(self._path, {url: asdict(memory) for url, memory in self._memory.items()})


def _memory(values: Any) -> Memory:
    """Parse the stored state of one collector; invalid values are dropped."""
    if not isinstance(values, dict):
        return Memory()
    times = {
        name: float(values[name])
        for name in ("next_at", "asked_at", "asked_until", "refused_at")
        if isinstance(values.get(name), (int, float)) and math.isfinite(values[name])
    }
    failures, batch, token = values.get("failures"), values.get("batch"), values.get("refused_token")
    return Memory(
        failures=failures if isinstance(failures, int) and 0 <= failures <= 30 else 0,
        batch=batch if isinstance(batch, int) and 1 <= batch <= 10_000 else None,
        refused_token=token if isinstance(token, str) else None,
        **times,
    )


def _digest(token: str | None) -> str:
    return hashlib.sha256((token or "").encode()).hexdigest()[:16]
