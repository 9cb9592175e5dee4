"""Can this place send so many photos in so many minutes? A probability from what was measured here, and no more.

Each measured upload rate is taken as a lognormal guess of the rate to come: its spread is that of its own 95 %
interval, but never less than `LEAST_SPREAD`, since a mobile link differs from minute to minute more than within one
short test. Older measurements count less, failed ones count as no. That is our own judgement, not a standard.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LEAST_SPREAD: Final = 0.35
"""Standard deviation of the logarithm of the rate: about a third up or down."""
HALF_LIFE_H: Final = 6.0
OVERHEAD: Final = 1.08
"""Bytes on the link for each byte of photo: TLS, HTTP and TCP headers, some retransmissions."""
ROUND_TRIPS: Final = 5
"""Round trips a photo costs beside its bytes: connection, TLS, request, answer."""
CERTAIN: Final = 0.99
"""No measurement makes a forecast surer than this, either way."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be sent: photos of `photo_mb` megabytes (10⁶ bytes) each, within `minutes`."""

    photos: int
    photo_mb: float
    minutes: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """One upload measured here. A rate of None is a measurement that failed. Rates in bit/s, age in hours.

    Of a rate that is only `at_least` so high nothing can be said where more is needed.
    """

    age_h: float
    upload_bps: float | None
    interval_bps: tuple[float, float] | None = None
    rtt_ms: float | None = None
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Forecast:
    """`probability` is None when nothing was measured. `needed_bps` is the rate that just suffices."""

    probability: float | None
    needed_bps: float
    typical_minutes: float | None
    measurements: int
    failed: int
    newest_age_h: float | None


def forecast(task: Task, measured: Sequence[Measurement]) -> Forecast:
    """Say how likely the task is to be done in time."""
    measured = [m for m in measured if not (m.at_least and (m.upload_bps or 0.0) < _needed_bps(task, m.rtt_ms))]
    newest = min(measured, key=lambda m: m.age_h, default=None)
    needed = _needed_bps(task, None if newest is None else newest.rtt_ms)
    if newest is None:
        return Forecast(None, needed, None, 0, 0, None)
    weights = [0.5 ** (max(0.0, m.age_h) / HALF_LIFE_H) for m in measured]
    chances = [_chance(m, _needed_bps(task, m.rtt_ms)) for m in measured]
    probability = sum(w * c for w, c in zip(weights, chances, strict=True)) / sum(weights)
    rates = [m.upload_bps for m in measured if m.upload_bps]
    return Forecast(
        min(CERTAIN, max(1 - CERTAIN, probability)),
        needed,
        None if not rates else task.photos * task.photo_mb * 8e6 * OVERHEAD / sorted(rates)[len(rates) // 2] / 60,
        len(measured),
        sum(m.upload_bps is None for m in measured),
        newest.age_h,
    )


def _needed_bps(task: Task, rtt_ms: float | None) -> float:
    waiting_s = task.photos * ROUND_TRIPS * (rtt_ms or 0.0) / 1000
    left_s = task.minutes * 60 - waiting_s
    if left_s <= 0:
        return math.inf
    return task.photos * task.photo_mb * 8e6 * OVERHEAD / left_s


def _chance(measurement: Measurement, needed: float) -> float:
    rate = measurement.upload_bps
    if not rate or math.isinf(needed):
        return 0.0
    spread = LEAST_SPREAD
    if measurement.interval_bps is not None:
        low, high = measurement.interval_bps
        if 0 < low < high:
            # the interval spans ± 1.96 standard deviations
            spread = math.hypot(LEAST_SPREAD, (math.log(high) - math.log(low)) / 3.92)
    return 0.5 * (1 + math.erf((math.log(rate) - math.log(needed)) / (spread * math.sqrt(2))))
