"""What a measurement kind is made of: its options, its deadline, its share of the data, and what it hands back.

A kind is one file with its own `Options`, a typed dict that describes its `data`, and one function
`measure(options, context) -> Measured`. A target that fails is a `Measured`; an exception means that the check
could not be run at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from sigprobe.result import Failure, Outcome

MAX_TIMEOUT_MS: Final = 600_000

Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a check will take at most before it has begun: seconds and payload bytes, both directions."""

    seconds: float
    bytes: int


class CommonOptions(BaseModel):
    """The keys every kind takes. A kind adds its own, with their bounds, in its own file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    kind: str
    name: Name
    timeout_ms: Annotated[int, Field(ge=100, le=MAX_TIMEOUT_MS)] | None = None

    def default_timeout_s(self) -> float:
        """The bound of the whole check in seconds when `timeout_ms` is not given."""
        raise NotImplementedError

    def configured_address(self) -> str:
        """The address for `target.address`: as configured, without userinfo and query values."""
        raise NotImplementedError

    def estimate(self) -> Estimate:
        """What the check takes at most, for the first line on the screen and for the data budget."""
        raise NotImplementedError

    def timeout_s(self) -> float:
        """The bound of the whole check in seconds."""
        return self.default_timeout_s() if self.timeout_ms is None else self.timeout_ms / 1000


class Deadline:
    """One point on the monotonic clock, made once for a check and passed down."""

    __slots__ = ("_clock", "at_s")

    def __init__(self, at_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.at_s = at_s
        self._clock = clock

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """The point `seconds` from now."""
        return cls(clock() + seconds, clock)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at_s - self._clock())

    def expired(self) -> bool:
        """True once the point has passed."""
        return self._clock() >= self.at_s

    def within(self, seconds: float) -> Deadline:
        """The earlier of this point and `seconds` from now."""
        return Deadline(min(self.at_s, self._clock() + seconds), self._clock)


class DataBudget:
    """Payload bytes that checks may still use. Shared by the checks of a run, so it locks.

    `limit_bytes` None means no limit. It knows plain numbers only: days, months and interfaces are the caller's.
    """

    __slots__ = ("_lock", "_used", "limit_bytes")

    def __init__(self, limit_bytes: int | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used_bytes(self) -> int:
        """Payload bytes spent so far, both directions."""
        return self._used

    def spend(self, count: int) -> None:
        """Count bytes that went over the link."""
        with self._lock:
            self._used += count

    def left_bytes(self) -> int | None:
        """Bytes left, never negative; None means no limit."""
        return None if self.limit_bytes is None else max(0, self.limit_bytes - self._used)

    def exhausted(self) -> bool:
        """True when nothing is left."""
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


def rounded(ms: float | None) -> float | None:
    """Milliseconds to the microsecond, as records hold them; None stays None."""
    return None if ms is None else round(ms, 3)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a kind hands back. `data` holds every key of the kind's typed dict; what is not known is None."""

    outcome: Outcome
    data: Mapping[str, Any]
    failure: Failure | None = None
    address_used: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One entry of the registry. `data` is the typed dict its numbers follow: the JSON Schema comes from it."""

    name: str
    version: int
    options: type[CommonOptions]
    data: type[Any]
    measure: Callable[[Any, Context], Measured]
    summary: str
    exclusive: bool = False
    """True when the check fills the link and so must run alone, after the latency checks."""
    configurable: bool = True
    """False when the check runs by itself in every test and may not be written among the targets."""
