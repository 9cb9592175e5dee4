"""Numbers that a profile can grade, and what of a run falls short of what is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from sigprobe.record.profile import Grade, Profile
from sigprobe.record.result import Outcome, Result, is_at_least


@dataclass(frozen=True, slots=True)
class Reading:
    """One graded number of a result: the profile's metric, the value in its unit, and the grade if there is one.

    Of a rate that is only `at_least` so high nobody knows that it falls short: it has a grade only if that is enough.
    """

    result: Result
    metric: str
    value: float
    grade: Grade | None
    at_least: bool = False


# Which number of which kind a profile's metric is read from. The first key that holds a number counts.
_SOURCES: Final[dict[str, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "ping": (
        ("latency_ms", ("rtt_median_ms", "rtt_avg_ms")),
        ("jitter_ms", ("jitter_ms",)),
        ("loss_ratio", ("loss_ratio",)),
    ),
    "dns": (("dns_ms", ("query_ms", "getaddrinfo_ms")),),
    "http": (("http_total_ms", ("total_ms",)),),
    "web": (("web_total_ms", ("total_ms",)),),
    "video": (("video_start_ms", ("start_delay_ms",)), ("stall_ratio", ("stall_ratio",))),
    "throughput": (("download_bps", ("download_bps",)), ("upload_bps", ("upload_bps",))),
}


def readings(result: Result, profile: Profile | None) -> Iterator[Reading]:
    """The numbers of a result that a profile can grade; missing ones are left out."""
    for metric, keys in _SOURCES.get(result.kind, ()):
        value = next((v for v in map(result.data.get, keys) if is_number(v)), None)
        if value is None:
            continue
        grade = profile.word(metric, value) if profile else None
        at_least = is_at_least(result.data, metric)
        if at_least and grade is not None and not grade.enough:
            grade = None
        yield Reading(result, metric, float(value), grade, at_least)


def shortfalls(results: Sequence[Result], profile: Profile | None) -> tuple[Reading, ...]:
    """What answered, but worse than the profile calls enough. A badge never counts."""
    if profile is None or profile.badge:
        return ()
    return tuple(
        reading
        for result in results
        if result.outcome in (Outcome.OK, Outcome.DEGRADED)
        for reading in readings(result, profile)
        if reading.grade is not None and not reading.grade.enough
    )


def is_number(value: object) -> TypeGuard[int | float]:
    """True for a number that is no flag."""
    return isinstance(value, int | float) and not isinstance(value, bool)
