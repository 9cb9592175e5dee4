"""Limits of one check: monotonic deadline, data budget, progress callback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sigprobe.net.processor import ProcessorWatch

OVERHEAD: Final = 1.08
"""Bytes on the interface for each byte of payload: headers of Ethernet, IP, TCP and TLS, and acknowledgements."""


class Deadline:
    """One point on the monotonic clock, made once for a check and passed down."""

    __slots__ = ("_clock", "at_s")

    def __init__(self, at_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.at_s = at_s
        self._clock = clock

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """Return the point `seconds` from now."""
        return cls(clock() + seconds, clock)

    def remaining(self) -> float:
        """Return seconds left, never negative."""
        return max(0.0, self.at_s - self._clock())

    def expired(self) -> bool:
        """Return True once the point has passed."""
        return self._clock() >= self.at_s

    def within(self, seconds: float) -> Deadline:
        """Return the earlier of this point and `seconds` from now."""
        return Deadline(min(self.at_s, self._clock() + seconds), self._clock)


class DataBudget:
    """Payload bytes that checks may still use. Shared by the checks of a run, so it locks.

    `limit_bytes` None means no limit. It knows plain numbers only: days, months and interfaces are the caller's.
    A check that knows its bytes on the wire, headers included, counts those; `OVERHEAD` converts between the two.
    """

    __slots__ = ("_lock", "_used", "limit_bytes")

    def __init__(self, limit_bytes: int | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._used = 0.0
        self._lock = threading.Lock()

    @property
    def used_bytes(self) -> int:
        """Payload bytes spent so far, both directions."""
        return round(self._used)

    def spend(self, count: int) -> None:
        """Count bytes that went over the link."""
        with self._lock:
            self._used += count

    def spend_wire(self, count: int) -> None:
        """Count bytes on the wire, headers included."""
        with self._lock:
            self._used += count / OVERHEAD

    def left_bytes(self) -> int | None:
        """Return bytes left, never negative; None means no limit."""
        return None if self.limit_bytes is None else max(0, int(self.limit_bytes - self._used))

    def left_wire_bytes(self) -> int | None:
        """Return the bytes on the wire that are left, never negative; None means no limit."""
        return None if self.limit_bytes is None else max(0, int((self.limit_bytes - self._used) * OVERHEAD))

    def exhausted(self) -> bool:
        """Return True when nothing is left."""
        return self.limit_bytes is not None and self._used >= self.limit_bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """A live value while a check runs, for the screen alone: the phase, a number with its unit, a fraction."""

    phase: str  # "idle", "download", "upload", "ping", …
    value: float | None = None
    unit: str | None = None  # "bps", "ms"
    fraction: float | None = None  # 0…1 of the check


def _no_progress(_: Progress) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Context:
    """What the run lends a check. `tokens` maps an origin (`https://host:port`) to the bearer token it may get."""

    deadline: Deadline
    budget: DataBudget = field(default_factory=DataBudget)
    stop: threading.Event = field(default_factory=threading.Event)
    progress: Callable[[Progress], None] = _no_progress
    tokens: Mapping[str, str] = field(default_factory=dict)
    ca_files: Mapping[str, str] = field(default_factory=dict)  # origin → CA file, for collectors with their own CA
    processor: ProcessorWatch | None = None


def rounded(ms: float | None) -> float | None:
    """Return milliseconds to the microsecond, as records hold them; None stays None."""
    return None if ms is None else round(ms, 3)
