"""Describe how a rate changed within a test: from the rates of single seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

LEAST_SECONDS: Final = 3
"""Rates of fewer seconds do not show how a link varies."""
WIDTH: Final = 2.563
"""Standard deviations between the 10th and the 90th percentile of a normal distribution."""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie, between two values on the straight line."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def variation(rates: Sequence[float]) -> float | None:
    """Return the spread of the rates divided by their mean; None for too few rates or none above 0."""
    if len(rates) < LEAST_SECONDS or sum(rates) <= 0:
        return None
    return _variation(sum(rates) / len(rates), percentile(rates, 0.1), percentile(rates, 0.9))


def recorded_variation(window: object) -> float | None:
    """Return the same from a record's `…_window`; None where it does not say."""
    if not isinstance(window, Mapping):
        return None
    told: list[Any] = [window.get(key) for key in ("mean_bps", "p10_bps", "p90_bps", "seconds")]
    if not all(isinstance(value, int | float) for value in told) or told[3] < LEAST_SECONDS or told[0] <= 0:
        return None
    return _variation(*told[:3])


def _variation(mean: float, low: float, high: float) -> float:
    return (high - low) / WIDTH / mean
