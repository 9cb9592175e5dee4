"""Add results up in memory: what one result contributes to the buckets, and the sum of many.

Contributions are integers and carry a sign, so a result can be taken out of one bucket and put into another (a clock
correction), or taken out for good (an erased probe). The order of additions never matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sigprobe.collector.rollups.histogram import bin_of

FIVE_MINUTES: Final = 300
HOUR: Final = 3_600

UNKNOWN: Final = ""
"""Stands for an area, operator or target that a result does not name. NULL cannot be part of a primary key."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What the rollups read of one result. Times are aware; areas are Kemendagri codes without dots.

    `metrics` maps a metric's name (with its unit) to its value and whether the value is only a lower bound.
    """

    event_at: datetime
    regency: str | None
    district: str | None
    operator: str | None
    kind: str
    target: str
    station: str
    probe: str
    outcome: str
    failure: str | None = None
    owner: str | None = None
    cause: str | None = None
    metrics: Mapping[str, tuple[float, bool]] = field(default_factory=dict)


class Key(NamedTuple):
    """One bucket: its width in seconds, its start in seconds since 1970, and what it is about."""

    width_s: int
    start_s: int
    regency: str
    area: str
    operator: str
    kind: str
    target: str


class CountKey(NamedTuple):
    """A count within a bucket: `what` is outcome, failure, owner or cause, `value` its word."""

    key: Key
    what: str
    value: str


class BinKey(NamedTuple):
    """A bin of a metric's histogram within a bucket."""

    key: Key
    metric: str
    bin: int


class MemberKey(NamedTuple):
    """A station (TPS or site) and a probe that tested within a bucket."""

    key: Key
    station: str
    probe: str


class Sums:
    """The sum of many contributions: plain counters of every count, bin and member."""

    def __init__(self) -> None:
        self.counts: Counter[CountKey] = Counter()
        self.bins: Counter[BinKey] = Counter()
        self.bounds: Counter[BinKey] = Counter()
        self.members: Counter[MemberKey] = Counter()
        self.failed: Counter[MemberKey] = Counter()

    def add(self, one: Contribution, sign: int = 1) -> None:
        """Add one result to its five-minute and its hourly bucket; `sign` −1 takes it out again."""
        failed = one.outcome == "failed"
        for key in keys_of(one):
            for what in ("outcome", "failure", "owner", "cause"):
                value = getattr(one, what)
                if value is not None:
                    self.counts[CountKey(key, what, value)] += sign
            for metric, (value, at_least) in one.metrics.items():
                bin_key = BinKey(key, metric, bin_of(value))
                self.bins[bin_key] += sign
                if at_least:
                    self.bounds[bin_key] += sign
            member = MemberKey(key, one.station, one.probe)
            self.members[member] += sign
            if failed:
                self.failed[member] += sign

    def __bool__(self) -> bool:
        return bool(self.counts or self.members)

    def __eq__(self, other: object) -> bool:
        """Equal when every count that is not zero is the same."""
        if not isinstance(other, Sums):
            return NotImplemented
        return self._nonzero() == other._nonzero()

    __hash__ = None  # type: ignore[assignment] # it changes

    def _nonzero(self) -> list[dict[NamedTuple, int]]:
        parts: tuple[Mapping[Any, int], ...] = (self.counts, self.bins, self.bounds, self.members, self.failed)
        return [{key: n for key, n in part.items() if n} for part in parts]


def keys_of(one: Contribution) -> tuple[Key, Key]:
    """Return the buckets that a result falls into: five minutes by regency, an hour by district."""
    seconds = int(one.event_at.astimezone(UTC).timestamp() // 1)
    regency, district = one.regency or UNKNOWN, one.district or UNKNOWN
    rest = (one.operator or UNKNOWN, one.kind, one.target)
    return (
        Key(FIVE_MINUTES, seconds - seconds % FIVE_MINUTES, regency, regency, *rest),
        Key(HOUR, seconds - seconds % HOUR, regency, district, *rest),
    )
