"""Turn a drive into a row of points: the network at each point, its distance, and the worst stretch.

Pure functions over the results of each point's run; no I/O and no texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Literal

from sigprobe.places.geometry import distance_m
from sigprobe.record.kinds import Way, way
from sigprobe.record.profile import Profile, Word
from sigprobe.record.result import RUN_KIND, Location, Network, Outcome, Result
from sigprobe.verdict import Reading, Verdict, readings
from sigprobe.verdict.evidence import Distance, distance

STEP_M: Final = 15.0
"""Positions closer together than this, or than their error, are one place: a parked car covers no distance."""

NOTHING: Final = ""
"""The grade of a point where nothing was measured; `bad` is one without service."""
_BEST_FIRST: Final = (Word.GOOD, Word.FAIR, Word.POOR)

Ended = Literal["time", "points", "data", "stopped", "storage", "files"]


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check of a point. `code` is its failure, None without one. `beyond`: not the gateway."""

    name: str
    kind: str
    outcome: str
    code: str | None
    beyond: bool = True


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a drive. `at_s` is its start on the monotonic clock, `at` the same on the wall clock (RFC 3339 UTC).

    `location` is None without a fresh fix. `service`: something beyond the gateway answered; None if nothing was
    tested. `numbers` are by metric; `at_least` names those that are only lower bounds. `grade` is good, fair, poor, bad
    (no service), or empty (nothing measured). `distance_m` is the distance travelled along the known positions.
    """

    number: int
    run_id: str
    at: str
    at_s: float
    location: Location | None
    network: Network
    checks: tuple[Check, ...]
    service: bool | None
    grade: str
    numbers: Mapping[str, float]
    at_least: frozenset[str]
    verdict: Verdict
    distance_m: float
    data_used_bytes: int
    saved: bool

    @property
    def codes(self) -> tuple[str, ...]:
        """Return the failure codes of its checks, each once; those of the gateway last."""
        ordered = sorted(self.checks, key=lambda check: not check.beyond)
        return tuple(dict.fromkeys(check.code for check in ordered if check.code is not None))


def has_service(results: Sequence[Result]) -> bool | None:
    """Return whether anything beyond the gateway answered; None if nothing was tested there.

    A resolver's answer proves nothing if other checks failed: a phone that shares its connection answers from its
    cache.
    """
    asked = [r for r in results if _asks_beyond(r)]
    answered = [r for r in asked if r.outcome is not Outcome.FAILED]
    if not asked:
        return None
    return any(way(r.kind) is not Way.NAME for r in answered) or (
        bool(answered) and all(way(r.kind) is Way.NAME for r in asked)
    )


def grade_of(results: Sequence[Result], profile: Profile | None) -> str:
    """Return the grade of a point: `bad` without service, else that of its worst number; `poor` if a check failed."""
    service = has_service(results)
    if service is None:
        return NOTHING
    if not service:
        return Word.BAD
    asked = [r for r in results if _asks_beyond(r)]
    found = [r.grade.word for one in asked for r in readings(one, profile) if r.grade is not None and _counts(r)]
    worst = max((_BEST_FIRST.index(w) if w in _BEST_FIRST else 2 for w in found), default=0)
    if any(r.outcome is Outcome.FAILED for r in asked):
        worst = 2
    return _BEST_FIRST[worst]


def _asks_beyond(result: Result) -> bool:
    if result.kind == RUN_KIND or result.outcome is Outcome.SKIPPED:
        return False
    return way(result.kind) is Way.WALK or distance(result) is not Distance.LINK


def _counts(reading: Reading) -> bool:
    """Return whether a number is significant: with few packets, loss and jitter are chance."""
    if reading.metric == "jitter_ms":
        return False
    data = reading.result.data
    return reading.metric != "loss_ratio" or data.get("sent", 0) - data.get("received", 0) >= 2


def point_of(
    number: int,
    results: Sequence[Result],
    run: Result,
    verdict: Verdict,
    profile: Profile | None,
    *,
    at_s: float,
    way_m: float,
    data_used_bytes: int,
    saved: bool,
) -> Point:
    """Build the row from a run at one place."""
    first: dict[str, float] = {}
    at_least = set()
    for result in filter(_asks_beyond, results):
        for reading in readings(result, profile):
            if reading.to_proxy:
                continue  # a map of the way has no place to say that it holds only as far as there
            if reading.at_least and reading.metric not in first:
                at_least.add(reading.metric)
            first.setdefault(reading.metric, reading.value)
    return Point(
        number=number,
        run_id=run.run_id,
        at=run.started_at,
        at_s=at_s,
        location=run.tags.location,
        network=run.tags.network,
        checks=tuple(
            Check(
                r.target.name,
                r.kind,
                str(r.outcome),
                None if r.failure is None else r.failure.code,
                way(r.kind) is Way.WALK or distance(r) is not Distance.LINK,
            )
            for r in results
        ),
        service=has_service(results),
        grade=grade_of(results, profile),
        numbers=first,
        at_least=frozenset(at_least),
        verdict=verdict,
        distance_m=round(way_m, 1),
        data_used_bytes=data_used_bytes,
        saved=saved,
    )


@dataclass(slots=True)
class Odometer:
    """Distance along the known positions. Gaps with unknown positions do not count."""

    way_m: float = 0.0
    _anchor: tuple[float, float] | None = None
    _error_m: float = 0.0
    _broken: bool = False

    def take(self, place: tuple[float, float] | None, error_m: float | None = None) -> None:
        """Add the current position; None when it is unknown. `error_m` is the position's accuracy, if known."""
        if place is None:
            self._broken = True
            return
        error = error_m or 0.0
        if self._anchor is None or self._broken:
            self._anchor, self._error_m, self._broken = place, error, False
            return
        moved = distance_m(*self._anchor, *place)
        if moved >= max(STEP_M, error, self._error_m):
            self.way_m += moved
            self._anchor, self._error_m = place, error


def pieces(points: Sequence[Point]) -> list[list[Point]]:
    """Return the stretches with known positions, in order. A point without a position ends a stretch."""
    return [list(run) for known, run in groupby(points, key=lambda p: p.location is not None) if known]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive points of one grade. `seconds` is the time until the first point after it.

    `length_m` is None if one of its positions is unknown.
    """

    grade: str
    first: Point
    last: Point
    count: int
    seconds: float
    length_m: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of a drive. `worst` is the longest stretch without service, else the longest poor one."""

    points: int
    seconds: float
    distance_m: float
    grades: dict[str, int] = field(default_factory=dict)
    with_service: int = 0
    measured: int = 0
    unplaced: int = 0
    gaps: int = 0
    data_used_bytes: int = 0
    worst: Stretch | None = None

    @property
    def service_share(self) -> float | None:
        """Return the share of the measured points with service; None when nothing was measured."""
        return self.with_service / self.measured if self.measured else None


def summarise(points: Sequence[Point], seconds: float) -> Summary:
    """Summarise a drive that lasted so many seconds."""
    counts = {grade: sum(1 for p in points if p.grade == grade) for grade in (*_BEST_FIRST, Word.BAD, NOTHING)}
    inner = pieces(points)
    return Summary(
        points=len(points),
        seconds=seconds,
        distance_m=points[-1].distance_m if points else 0.0,
        grades=counts,
        with_service=sum(1 for p in points if p.service),
        measured=sum(1 for p in points if p.service is not None),
        unplaced=sum(1 for p in points if p.location is None),
        gaps=max(0, len(inner) - 1),
        data_used_bytes=sum(p.data_used_bytes for p in points),
        worst=worst_stretch(points, seconds),
    )


def worst_stretch(points: Sequence[Point], seconds: float) -> Stretch | None:
    """Return the longest stretch without service by time, else the longest poor one; None without either."""
    starts = [p.at_s for p in points]
    ends = [*starts[1:], (starts[0] if starts else 0.0) + seconds]
    for grade in (Word.BAD, Word.POOR):
        found: list[Stretch] = []
        at = 0
        for same, run in groupby(points, key=lambda p: p.grade == grade):
            row = list(run)
            if same:
                placed = all(p.location is not None for p in row)
                length = row[-1].distance_m - row[0].distance_m if placed else None
                span = max(0.0, ends[at + len(row) - 1] - row[0].at_s)
                found.append(Stretch(grade, row[0], row[-1], len(row), span, length))
            at += len(row)
        if found:
            return max(found, key=lambda stretch: (stretch.seconds, stretch.count))
    return None
