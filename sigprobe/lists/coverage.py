"""Classify the user's own TPS: no test, an old one, a failed one, or a good one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sigprobe.lists.tps import Station
from sigprobe.lists.visits import Visit

State = Literal["none", "failed", "old", "good"]
STATES: Final[tuple[State, ...]] = ("none", "failed", "old", "good")
"""In the order of what wants doing first."""

_CLOCK_SLACK: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Covered:
    """TPS of the list and its newest stored test.

    `failed`: its verdict was not healthy, however old the test is. `age_s` is None without a test, or if the test's
    time is in the future. In that case a clock was wrong, and the test does not count as old.
    """

    station: Station
    state: State
    old: bool = False
    at: datetime | None = None
    age_s: float | None = None
    cause: str | None = None
    carried: bool = False
    """True when the test was made by another device and imported here."""


def coverage(
    stations: Iterable[Station], newest: Mapping[str, Visit], now: datetime, older_than: timedelta
) -> list[Covered]:
    """Return every station with its state: stations to test first, then by number."""
    found = [_covered(station, newest.get(station.tps_id), now, older_than) for station in stations]
    return sorted(found, key=lambda c: (STATES.index(c.state), c.station.tps_id))


def _covered(station: Station, visit: Visit | None, now: datetime, older_than: timedelta) -> Covered:
    if visit is None:
        return Covered(station, "none")
    age = None if visit.at is None or visit.at - now > _CLOCK_SLACK else max(now - visit.at, timedelta())
    old = age is not None and age > older_than
    state: State = "failed" if not visit.healthy else "old" if old else "good"
    return Covered(
        station, state, old, visit.at, None if age is None else age.total_seconds(), visit.cause, not visit.own
    )
