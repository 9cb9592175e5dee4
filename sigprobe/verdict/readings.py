"""Grade the numbers of a run, and list those that fall short of what the profile needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sigprobe.record import kinds
from sigprobe.record.profile import Grade, Profile
from sigprobe.record.result import Outcome, Result, is_at_least, is_to_proxy


@dataclass(frozen=True, slots=True)
class Reading:
    """One graded number of a result: the profile's metric, the value in its unit, and the grade if there is one.

    A rate that is only `at_least` so high may be higher: it has a grade only if the lower bound is enough. A number
    below what is enough has none where its 95 % interval reaches the limit: `near_limit` is the limit then. A rate
    `to_proxy` may be lower behind the proxy: it has a grade only if it falls short.
    """

    result: Result
    metric: str
    value: float
    grade: Grade | None
    at_least: bool = False
    near_limit: float | None = None
    to_proxy: bool = False


def readings(result: Result, profile: Profile | None) -> Iterator[Reading]:
    """Yield the numbers of a result that a profile can grade; missing ones are left out."""
    for number in kinds.info(result.kind).numbers:
        value = kinds.first_number(result.data, number.keys)
        if value is None:
            continue
        grade = profile.word(number.metric, value) if profile else None
        at_least = number.may_be_at_least and is_at_least(result.data, number.metric)
        if at_least and grade is not None and not grade.enough:
            grade = None
        to_proxy = number.may_be_at_least and is_to_proxy(result.data, number.metric)
        if to_proxy and grade is not None and grade.enough:
            grade = None
        near = _near_limit(result, number, grade, profile)
        yield Reading(
            result, number.metric, float(value), None if near is not None else grade, at_least, near, to_proxy
        )


def _near_limit(result: Result, number: kinds.Number, grade: Grade | None, profile: Profile | None) -> float | None:
    """Return the limit that a number misses by less than its interval is wide; None for any other."""
    if grade is None or grade.enough or profile is None or not number.interval:
        return None
    interval = result.data.get(number.interval)
    if not isinstance(interval, list | tuple) or len(interval) != 2 or not all(map(kinds.is_number, interval)):
        return None
    best = max(interval) if number.better == kinds.HIGHER else min(interval)
    reached = profile.word(number.metric, float(best))
    return grade.threshold if reached is not None and reached.enough else None


def shortfalls(results: Sequence[Result], profile: Profile | None) -> tuple[Reading, ...]:
    """Readings of answered checks that the profile calls not enough. A badge profile never counts."""
    if profile is None or profile.badge:
        return ()
    return tuple(
        reading
        for result in results
        if result.outcome in (Outcome.OK, Outcome.DEGRADED)
        for reading in readings(result, profile)
        if reading.grade is not None and not reading.grade.enough
    )
