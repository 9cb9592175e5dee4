"""Log histograms with right-censored values, and the quantiles read from them.

A bin holds values within 2.5 % of its centre, so a quantile is off by at most that. Counts add up and subtract: a
region is the sum of its districts, and a record that moves to another time is taken out of one bucket and added to
another. Bins are plain integers, so SQLite, PostgreSQL and Citus sum them with the same statement.

Some rates are only lower bounds (`≥`): the test ended before the link's own rate was seen. They are counted apart
(`n_at_least`) and treated as right-censored: quantiles come from the product-limit estimator (Kaplan and Meier, 1958),
intervals from Greenwood's variance on the log-log scale (Brookmeyer and Crowley, 1982).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

RELATIVE_ERROR: Final = 0.025
ZERO_BIN: Final = -32_768
"""The bin of zero and of everything below the smallest value that has a bin of its own."""

_GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA: Final = math.log(_GAMMA)
_SMALLEST: Final = 1e-9
_LARGEST: Final = 1e15
_LEAST_AT_RISK: Final = 5
"""Below this many values at risk one value would decide the estimate, so it ends there and is a lower bound."""

_Z95: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Bin:
    """The count of one bin: `n` values in all, of which `n_at_least` are lower bounds."""

    bin: int
    n: int
    n_at_least: int = 0


@dataclass(frozen=True, slots=True)
class Quantile:
    """An estimate with its 95 % interval, in the unit of the metric.

    `at_least` marks an estimate that is a lower bound. `low` and `high` are None where the data set no bound.
    """

    value: float
    at_least: bool
    low: float | None
    high: float | None
    n: int
    n_at_least: int


def bin_of(value: float) -> int:
    """Return the bin of a value. Raises ValueError for what is negative or not finite."""
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"no bin for {value}")
    if value < _SMALLEST:
        return ZERO_BIN
    return math.floor(math.log(min(value, _LARGEST)) / _LOG_GAMMA)


def centre_of(number: int) -> float:
    """Return the value that stands for a bin: at most 2.5 % from every value in it."""
    if number == ZERO_BIN:
        return 0.0
    return float(2 * _GAMMA ** (number + 1) / (_GAMMA + 1))


def merged(parts: Iterable[Bin]) -> list[Bin]:
    """Return the sum of many bins, one entry a bin, in rising order; empty bins are left out."""
    sums: dict[int, list[int]] = {}
    for part in parts:
        entry = sums.setdefault(part.bin, [0, 0])
        entry[0] += part.n
        entry[1] += part.n_at_least
    return [Bin(number, n, bound) for number, (n, bound) in sorted(sums.items()) if n]


def quantile(bins: Iterable[Bin], share: float = 0.5) -> Quantile | None:
    """Return the value that `share` of all values do not exceed; None for an empty histogram.

    Where lower bounds hide the quantile, the largest value it is known to exceed comes back, marked `at_least`.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, not {share}")
    rows = merged(bins)
    total = sum(row.n for row in rows)
    if total == 0:
        return None
    bounds = sum(row.n_at_least for row in rows)
    left = 1 - share
    survival, spread = 1.0, 0.0
    at_risk = total
    found: float | None = None
    low: float | None = None
    high: float | None = None
    reached = 0.0
    for row in rows:
        centre = centre_of(row.bin)
        exact = row.n - row.n_at_least
        if bounds and at_risk < min(_LEAST_AT_RISK, total):
            break
        reached = centre
        if exact:
            survival *= 1 - exact / at_risk
            if at_risk > exact:
                spread += exact / (at_risk * (at_risk - exact))
        if found is None and survival <= left + 1e-12:
            found = centre
        inside = _covers(survival, spread, left)
        if inside and low is None:
            low = centre
        if not inside and low is not None and high is None and survival < left:
            high = centre
        if not inside and low is None and survival < left:
            low = high = centre
        at_risk -= row.n
    if found is None:
        return Quantile(reached, True, low, None, total, bounds)
    if low is None or low > found:
        low = found
    return Quantile(found, False, low, high, total, bounds)


def _covers(survival: float, spread: float, left: float) -> bool:
    """Return whether the 95 % band of the survival curve at this value contains `left`."""
    if survival >= 1:
        return False
    if survival <= 0:
        return False
    scale = math.log(survival)
    deviation = math.sqrt(spread) / abs(scale)
    shift = math.log(-scale) - math.log(-math.log(left))
    return abs(shift) <= _Z95 * deviation if deviation > 0 else shift == 0
