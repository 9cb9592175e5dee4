"""Predict how long sending photos takes at a place, from the uploads measured there.

The prediction is a distribution of the mean upload rate during the task. The logarithm of that rate has two parts:

- Most of the time it follows Student's t with four degrees of freedom. Its centre is a weighted mean of the measured
  rates and of the rate that is usual elsewhere (block kriging): new tests, and tests that agree, count more. Its spread
  grows with the age of the tests and with how much the rate changed within each test. With three or more tests the
  place's own changes adjust the spread. A long task has the mean of its time, which varies less than a moment.
- Sometimes almost nothing gets through. That share starts at `DEAD_SHARE` and moves with the place's failed uploads.

`bench/forecast.py --fit` found the constants marked as fitted. docs/ready.md has the method, its limits and its scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Final

OVERHEAD: Final = 1.08
"""Bytes on the link for each byte of photo: TLS, HTTP and TCP headers, some retransmissions."""
ROUND_TRIPS: Final = 5
"""Round trips a photo costs beside its bytes: connection, TLS, request, answer."""
CERTAIN: Final = 0.99
"""No measurement makes a forecast surer than this, either way."""
LEAST_BPS: Final = 1000.0
"""A measured rate below this counts as a failed upload."""
MOST_TESTS: Final = 12
"""Only so many of the newest tests set the centre and the spread."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Constants of the prediction for one class of link.

    `base` and `per_variation` set the spread of a fresh test; the second is multiplied by the variation within it.
    The squared difference of two tests grows by `growth` × log(1 + seconds / `scale_s`).
    `rise` × variation² is added to the centre: a task outlasts the gaps that lower the rate of a short test.
    """

    base: float
    per_variation: float
    growth: float
    scale_s: float
    rise: float


SPREAD: Final = Spread(base=0.12, per_variation=0.79, growth=0.46, scale_s=250.0, rise=0.59)
"""`per_variation` and `rise` are fitted, for both directions and any radio; `base` is a little below the fit. `growth`
and `scale_s` are a judgement: the traces at hand last minutes, and links change more in half an hour than they show."""
MOST_RISE: Final = 0.5
MOMENTS: Final = 4
"""A task's mean rate is computed from so many moments of it."""
MOST_MINUTES: Final = 31 * 1440.0
LONGEST_S: Final = 3600.0
"""Tests further apart than about this differ no more: after that a place is as unlike itself as it gets."""
STEADY_SHARE: Final = 0.25
"""Share of `growth` on a wired link. A judgement: no trace of one was fitted."""
UNKNOWN_VARIATION: Final = 0.2
"""Variation assumed for a test too short to show its own."""
DEAD_SHARE: Final = 0.04
"""Share of the times when almost nothing gets through, before the place's own tests.

A judgement: 3 to 9 % of the windows on cellular traces are like that.
"""
DEAD_TESTS: Final = 4.0
"""`DEAD_SHARE` weighs as much as so many tests at the place."""
DEAD_RATE: Final = -4.0
DEAD_SPREAD: Final = 1.5
DEAD_MOST: Final = math.log(20e3)
"""While almost nothing gets through: logarithm of the rate relative to the usual one, its spread, and its most."""
STILL_DEAD: Final = 0.7
STILL_DEAD_H: Final = 0.5
"""Right after a failed upload the next fails too with this probability; the excess halves every so many hours."""
HALF_LIFE_H: Final = 6.0
"""A failed or successful test counts half as much toward the dead share after so many hours."""
OWN_TESTS: Final = 4.0
"""The usual spread weighs as much as so many pairs of tests at the place."""
OWN_RANGE: Final = (0.1, 4.0)
"""The place's own changes adjust the squared spread by a factor within these bounds."""
PLACES: Final = (math.log(5e6), 1.0)
"""Mean and standard deviation of the logarithm of the usual rate of places: known before any test, and what remains
where every upload failed. A judgement: it is wide, so that a fresh test outweighs it."""
FREEDOM: Final = 4
"""Degrees of freedom of Student's t."""
HALVINGS: Final = 14
"""Of the range of times, for an end that is exact to a thousandth."""
FEW_TESTS: Final = 5
"""With fewer tests a range is given beside the probability."""
DOUBT: Final = 1.6
"""How many times wider or narrower the spread may be than assumed, where a single test was made."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be sent: photos of `photo_mb` megabytes (10⁶ bytes) each, within `minutes`."""

    photos: int
    photo_mb: float
    minutes: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """One upload measured here. A rate of None is a measurement that failed. Rates in bit/s, age in hours.

    Of a rate that is only `at_least` so high nothing can be said where more is needed. `variation` is the standard
    deviation of the rates of single seconds within the test, divided by their mean.
    """

    age_h: float
    upload_bps: float | None
    interval_bps: tuple[float, float] | None = None
    rtt_ms: float | None = None
    at_least: bool = False
    variation: float | None = None
    steady: bool = False
    """Measured over a wired link."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """`probability` is None when nothing was measured. `needed_bps` is the rate that just suffices.

    `interval_minutes` holds the time the task takes in 80 of 100 cases; an end that cannot be told is None.
    `probability_range` is given with few measurements. `dead_share` is the share of times when nothing gets through.
    """

    probability: float | None
    needed_bps: float
    typical_minutes: float | None
    measurements: int
    failed: int
    newest_age_h: float | None
    interval_minutes: tuple[float | None, float | None] | None = None
    probability_range: tuple[float, float] | None = None
    dead_share: float | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """The predictive distribution of the mean rate during a task."""

    centre: float
    spread: float
    dead_share: float

    def above(self, bps: float) -> float:
        """Probability that the mean rate is at least `bps`."""
        if bps <= 0:
            return 1.0
        if math.isinf(bps):
            return 0.0
        needed = math.log(bps)
        alive = 1 - student((needed - self.centre) / self.spread)
        dead = 1 - _normal((needed - min(self.centre + DEAD_RATE, DEAD_MOST)) / math.hypot(self.spread, DEAD_SPREAD))
        return (1 - self.dead_share) * alive + self.dead_share * dead


def forecast(task: Task, measured: Sequence[Measurement]) -> Forecast:
    """Predict whether the task ends in time, and how long it takes."""
    newest = min(measured, key=lambda m: m.age_h, default=None)
    rtt_ms = None if newest is None else newest.rtt_ms
    needed = needed_bps(task, rtt_ms)
    measured = [m for m in measured if not (m.at_least and (m.upload_bps or 0.0) < needed)]
    place = _prepare(measured, SPREAD)
    if place is None:
        return Forecast(None, needed, None, 0, 0, None)
    rates = place.rates(task.minutes * 60)
    ends = [_minutes(task, rtt_ms, place, share) for share in (0.1, 0.5, 0.9)]
    known = any(_rate(m) is not None for m in measured)
    return Forecast(
        _bounded(rates.above(needed)),
        needed,
        ends[1] if known else None,
        len(measured),
        sum(_rate(m) is None for m in measured),
        min(m.age_h for m in measured),
        (ends[0], ends[2]) if known else None,
        _range(rates, needed, len(measured)) if len(measured) < FEW_TESTS else None,
        rates.dead_share,
    )


def predict(measured: Sequence[Measurement], spread: Spread = SPREAD, task_s: float = 60.0) -> Rates | None:
    """Return the distribution of the mean rate over a task from now on; None when nothing was measured."""
    place = _prepare(measured, spread)
    return None if place is None else place.rates(task_s)


@dataclass(frozen=True, slots=True)
class _Place:
    """What the tests of a place say whatever the task; `inverse` is that of the kriging equations."""

    dead_share: float
    spread: Spread
    own: float
    ages_h: tuple[float, ...]
    logs: tuple[float, ...]
    least_noise: float
    inverse: tuple[tuple[float, ...], ...]

    def rates(self, task_s: float) -> Rates:
        """Return the distribution of the mean rate over a task from now on (ordinary block kriging)."""
        if not self.ages_h:
            return Rates(PLACES[0], math.sqrt(_variance(1.0, self.spread)), self.dead_share)
        own, spread = self.own, self.spread
        to_task = [own * _from_task(max(0.0, age), task_s / 3600, spread) / 2 for age in self.ages_h]
        within = own * _within_task(task_s / 3600, spread) / 2
        right = [*to_task, 1.0]
        solved = [sum(a * b for a, b in zip(row, right, strict=True)) for row in self.inverse]
        weights, multiplier = solved[:-1], solved[-1]
        variance = sum(w * g for w, g in zip(weights, to_task, strict=True)) + multiplier - within
        variance = max(variance, own * self.least_noise / len(to_task))
        # what the tests leave open is filled by what is usual elsewhere
        centre = sum(weight * log for weight, log in zip(weights, self.logs, strict=True))
        centre += (1 - sum(weights)) * PLACES[0]
        # the mean of rates is above the mean of their logarithms: by half of the variance, if that is normal
        centre += within / 2
        # half of the base spread is the task's own and stays however many tests there are
        return Rates(centre, math.sqrt(variance + own * spread.base**2 / 2), self.dead_share)


def _prepare(measured: Sequence[Measurement], spread: Spread) -> _Place | None:
    """Return what the tests say whatever the task; None when nothing was measured."""
    if not measured:
        return None
    dead = _dead_share(measured)
    tests = sorted((m for m in measured if _rate(m) is not None), key=lambda m: m.age_h)[:MOST_TESTS]
    if not tests:
        return _Place(dead, spread, 1.0, (), (), 0.0, ())
    if tests[0].steady:
        spread = replace(spread, growth=spread.growth * STEADY_SHARE)
    own = _own_factor(tests, spread)
    logs = tuple(math.log(m.upload_bps or 1.0) + _rise(m, spread) for m in tests)
    noises = [_noise(m, spread) for m in tests]
    ages_h = tuple(m.age_h for m in tests)
    rows = [
        [own * (_difference(a - b, spread) / 2 if i != j else -noises[i]) for j, b in enumerate(ages_h)] + [1.0]
        for i, a in enumerate(ages_h)
    ]
    rows.append([1.0] * len(tests) + [1 / _variance(own, spread, sum(logs) / len(logs))])
    return _Place(dead, spread, own, ages_h, logs, min(noises), _inverse(rows))


def student(at: float) -> float:
    """Cumulative distribution of Student's t with four degrees of freedom."""
    part = at * at / 4
    return 0.5 + 0.375 * at / math.sqrt(1 + part) * (1 - part / (1 + part) / 3)


def needed_bps(task: Task, rtt_ms: float | None) -> float:
    """Return the mean rate at which the task just ends in time; infinite where waiting alone takes longer."""
    left_s = task.minutes * 60 - _waiting_s(task, rtt_ms)
    return math.inf if left_s <= 0 else _bits(task) / left_s


def _bits(task: Task) -> float:
    return task.photos * task.photo_mb * 8e6 * OVERHEAD


def _waiting_s(task: Task, rtt_ms: float | None) -> float:
    return task.photos * ROUND_TRIPS * (rtt_ms or 0.0) / 1000


def _bounded(probability: float) -> float:
    return min(CERTAIN, max(1 - CERTAIN, probability))


def _minutes(task: Task, rtt_ms: float | None, place: _Place, share: float) -> float | None:
    """Return within how many minutes the task ends in `share` of the cases; None for more than a month."""
    low, high = math.log(1 / 60), math.log(MOST_MINUTES)
    found = None
    bits, waiting_s = _bits(task), _waiting_s(task, rtt_ms)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        seconds = math.exp(middle) * 60
        left_s = seconds - waiting_s
        if left_s > 0 and place.rates(seconds).above(bits / left_s) >= share:
            high, found = middle, seconds / 60
        else:
            low = middle
    return found


def _rate(test: Measurement) -> float | None:
    return test.upload_bps if test.upload_bps is not None and test.upload_bps >= LEAST_BPS else None


def _variation(test: Measurement) -> float:
    """Return how much the rate changed within the test, from its seconds or else from its interval."""
    if test.variation is not None:
        return test.variation
    if test.interval_bps is not None and test.upload_bps:
        low, high = test.interval_bps
        # a short steady look hides what whole seconds would show
        return max(UNKNOWN_VARIATION, (high - low) / 2 / test.upload_bps)
    return UNKNOWN_VARIATION


def _noise(test: Measurement, spread: Spread) -> float:
    own = 0.0
    if test.interval_bps is not None and 0 < test.interval_bps[0] < test.interval_bps[1] and test.variation is None:
        # the interval spans ± 1.96 standard deviations
        own = (math.log(test.interval_bps[1]) - math.log(test.interval_bps[0])) / 3.92
    return float(spread.base**2 / 2 + max(own, spread.per_variation * _variation(test)) ** 2)


def _rise(test: Measurement, spread: Spread) -> float:
    return 0.0 if test.variation is None else min(MOST_RISE, spread.rise * test.variation**2)


def _difference(hours: float, spread: Spread) -> float:
    """Return the variance of the difference of two rates so many hours apart."""
    apart_s = LONGEST_S * -math.expm1(-abs(hours) * 3600 / LONGEST_S)
    return spread.growth * math.log1p(apart_s / spread.scale_s)


@lru_cache(2048)
def _from_task(age_h: float, task_h: float, spread: Spread) -> float:
    """Return the mean variance of the difference between a test and the moments of a task."""
    moments = [age_h + task_h * (k + 0.5) / MOMENTS for k in range(MOMENTS)]
    return sum(_difference(moment, spread) for moment in moments) / MOMENTS


@lru_cache(2048)
def _within_task(task_h: float, spread: Spread) -> float:
    """Return the mean variance of the difference between two moments of a task."""
    lags = [(k + 0.5) / MOMENTS for k in range(MOMENTS)]
    return sum(2 * (1 - lag) * _difference(lag * task_h, spread) for lag in lags) / MOMENTS


def _variance(own: float, spread: Spread, log: float = PLACES[0]) -> float:
    """Return the variance of the logarithm of a rate at any time, and at any place as unusual as this one.

    Usual rates of places follow Student's t, too: one that is far from most tells that places differ that much.
    """
    usual, deviation = PLACES
    unusual = (log - usual) / deviation
    return own * _difference(math.inf, spread) / 2 + deviation**2 * (FREEDOM + unusual**2) / (FREEDOM + 1)


def _own_factor(tests: Sequence[Measurement], spread: Spread) -> float:
    """Return how much more or less this place changes than usual, as a factor of the variance."""
    ratios = [
        (math.log(a.upload_bps or 1.0) - math.log(b.upload_bps or 1.0)) ** 2
        / (_difference(a.age_h - b.age_h, spread) + _noise(a, spread) + _noise(b, spread))
        for a, b in pairwise(tests)
    ]
    low, high = OWN_RANGE
    return min(high, max(low, (OWN_TESTS + sum(ratios)) / (OWN_TESTS + len(ratios))))


def _inverse(matrix: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """Return the inverse of a matrix, by elimination with pivots."""
    count = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(count))] for i, row in enumerate(matrix)]
    for at in range(count):
        best = max(range(at, count), key=lambda row: abs(rows[row][at]))
        rows[at], rows[best] = rows[best], rows[at]
        pivot = rows[at][at]
        rows[at] = [value / pivot for value in rows[at]]
        for row in range(count):
            factor = rows[row][at]
            if row != at and factor:
                rows[row] = [value - factor * above for value, above in zip(rows[row], rows[at], strict=True)]
    return tuple(tuple(row[count:]) for row in rows)


def _dead_share(measured: Sequence[Measurement]) -> float:
    weights = [0.5 ** (max(0.0, m.age_h) / HALF_LIFE_H) for m in measured]
    failures = sum(weight for weight, m in zip(weights, measured, strict=True) if _rate(m) is None)
    usual: float = (DEAD_SHARE * DEAD_TESTS + failures) / (DEAD_TESTS + sum(weights))
    newest = min(measured, key=lambda m: m.age_h)
    if _rate(newest) is not None:
        return usual
    still: float = 0.5 ** (max(0.0, newest.age_h) / STILL_DEAD_H)
    return usual + (STILL_DEAD - usual) * still if usual < STILL_DEAD else usual


def _range(rates: Rates, needed: float, count: int) -> tuple[float, float]:
    """Return the range of the probability when spread, centre and dead share are only roughly known."""
    doubt = DOUBT ** (1 / math.sqrt(count))
    shift = rates.spread / 2 / math.sqrt(count)
    found = [
        Rates(rates.centre + shift * way, rates.spread * factor, dead).above(needed)
        for way in (-1, 0, 1)
        for factor in (1 / doubt, doubt)
        for dead in (rates.dead_share / 2, min(0.9, rates.dead_share * 2))
    ]
    return _bounded(min(found)), _bounded(max(found))


def _normal(at: float) -> float:
    return 0.5 * (1 + math.erf(at / math.sqrt(2)))
