"""How long a collector is left alone after it failed: per URL, with full jitter, on disk beside the queue.

The file is advice, not data: one that is lost or damaged only means an earlier try.
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
    """The seconds of which a wait after so many failures in a row (at least one) is a share."""
    return min(CAP_S, BASE_S * 2.0 ** (min(failures, 30) - 1))


@dataclass(slots=True)
class Memory:
    """What is remembered of one collector. Wall-clock seconds, since it must outlive a boot."""

    failures: int = 0
    next_at: float | None = None
    asked_at: float | None = None  # when a Retry-After was received, and until when it asks to wait
    asked_until: float | None = None
    refused_at: float | None = None
    refused_token: str | None = None  # a digest, so that a new token is noticed
    batch: int | None = None  # how many records the last failed try had come down to


class Backoff:
    """The memory of all collectors of one queue."""

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
        """What is remembered of a collector."""
        return self._memory.setdefault(url, Memory())

    def wait_s(self, url: str) -> float:
        """Seconds until the next try by backoff or Retry-After; 0 when it may be tried now.

        A stored time further off than its cap is ignored: then the clock has moved.
        """
        return max(self._left(self.of(url).next_at, CAP_S), self.asked_wait_s(url))

    def asked_wait_s(self, url: str) -> float:
        """Seconds that the collector itself asked to wait (Retry-After), which even a typed upload obeys."""
        memory = self.of(url)
        if memory.asked_at is not None and memory.asked_at > self._now() + 1:
            return 0.0  # asked in the future: the clock has moved
        return self._left(memory.asked_until, RETRY_AFTER_CAP_S)

    def _left(self, at: float | None, cap: float) -> float:
        left = 0.0 if at is None else at - self._now()
        return left if 0.0 < left <= cap else 0.0

    def failed(self, url: str, batch: int | None = None) -> None:
        """Remember a failure: the next try comes after a random share of a doubling span.

        `batch` is the number of records to begin with then.
        """
        memory = self.of(url)
        memory.failures = min(memory.failures + 1, 30)
        memory.batch = batch
        memory.next_at = self._now() + self._uniform(0.0, span_s(memory.failures))
        self._save()

    def asked_to_wait(self, url: str, seconds: float | None) -> None:
        """Remember that the collector asked to wait; without a number it is a failure like any other."""
        if seconds is None:
            self.failed(url)
            return
        memory = self.of(url)
        memory.asked_at = self._now()
        memory.asked_until = self._now() + min(seconds, RETRY_AFTER_CAP_S)
        self._save()

    def refused(self, url: str, token: str | None) -> None:
        """Remember that the collector does not take this token."""
        memory = self.of(url)
        memory.refused_at = self._now()
        memory.refused_token = _digest(token)
        self._save()

    def is_refused(self, url: str, token: str | None) -> bool:
        """True while a collector is left out for its token: until that changes, or an hour has passed."""
        memory = self.of(url)
        if memory.refused_at is None or memory.refused_token != _digest(token):
            return False
        return 0.0 <= self._now() - memory.refused_at < REFUSED_FOR_S

    def succeeded(self, url: str) -> None:
        """Forget all failures of a collector."""
        if self.of(url) != Memory():
            self._memory[url] = Memory()
            self._save()

    def link_came_up(self, urls: Sequence[str]) -> None:
        """Allow a try at once: what failed, failed on another way. What a collector asked for still holds."""
        waiting = [memory for memory in map(self.of, urls) if memory.next_at is not None]
        for memory in waiting:
            memory.next_at = None
        if waiting:
            self._save()

    def next_at(self, urls: Sequence[str]) -> float | None:
        """The wall-clock time of the next allowed try over these collectors; None when one may be tried now."""
        waits = [self.wait_s(url) for url in urls]
        return None if not waits or min(waits) <= 0.0 else self._now() + min(waits)

    def _save(self) -> None:
        note_state(self._path, {url: asdict(memory) for url, memory in self._memory.items()})


def _memory(values: Any) -> Memory:
    """One collector's memory as it was read; what does not fit is forgotten."""
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
