"""Describe how a rate changed within a test: from the rates of single seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from typing_extensions import TypedDict

LEAST_SECONDS: Final = 3
"""Rates of fewer seconds do not show how a link varies."""
WIDTH: Final = 2.563
"""Standard deviations between the 10th and the 90th percentile of a normal distribution."""
VARIES: Final = 0.5
"""A rate varies when its 10th and 90th percentile differ by more than this share of the mean."""

UNDER_LOSS: Final = 0.4
"""An interval is wide when it spans more than this share of the rate."""


class Window(TypedDict):
    """Rates of the whole seconds of a transfer, in bit/s; `stalls` counts pauses of a second and more.

    Percentiles are those of the rates of single seconds.
    """

    mean_bps: int
    p10_bps: int
    p90_bps: int
    seconds: int
    stalls: int


def describe(rates: Sequence[float], stalls: int) -> Window | None:
    """Return the statistics of rates of whole seconds; None without a whole second."""
    if not rates:
        return None
    return Window(
        mean_bps=round(sum(rates) / len(rates)),
        p10_bps=round(percentile(rates, 0.1)),
        p90_bps=round(percentile(rates, 0.9)),
        seconds=len(rates),
        stalls=stalls,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie, between two values on the straight line."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def variation(rates: Sequence[float]) -> float | None:
    """Return the spread of the rates divided by their mean; None for too few rates or none above 0."""
    return recorded_variation(describe(rates, 0))


def recorded_variation(window: object) -> float | None:
    """Return the same from a record's `…_window`; None where it does not say."""
    edges = _edges(window)
    return None if edges is None else (edges[2] - edges[1]) / WIDTH / edges[0]


def varying(window: object) -> tuple[float, float] | None:
    """Return the 10th and 90th percentile of a record's `…_window` where the rate varied; None for a steady rate.

    It varied when the two differ by more than half of the mean, or when the transfer paused for a second or more.
    """
    edges = _edges(window)
    if edges is None:
        return None
    mean, low, high = edges
    stalls = window.get("stalls") if isinstance(window, Mapping) else None
    paused = isinstance(stalls, int) and stalls > 0
    return (low, high) if paused or high - low > VARIES * mean else None


def uncertain_under_loss(data: Mapping[str, Any], metric: str) -> tuple[float, float] | None:
    """Return the interval of a rate that lost packets limit where it is wide; None for any other rate."""
    way = metric.removesuffix("_bps")
    bps, interval = data.get(metric), data.get(f"{way}_ci_bps")
    if data.get(f"{way}_interval_kind") != "mean_under_loss" or not isinstance(interval, list | tuple):
        return None
    told: list[Any] = [bps, *interval]
    if len(told) != 3 or any(isinstance(value, bool) or not isinstance(value, int | float) for value in told):
        return None
    return (told[1], told[2]) if told[2] - told[1] > UNDER_LOSS * told[0] else None


def _edges(window: object) -> tuple[float, float, float] | None:
    """Return mean, 10th and 90th percentile of a window of enough seconds; None for any other."""
    if not isinstance(window, Mapping):
        return None
    told: list[Any] = [window.get(key) for key in ("mean_bps", "p10_bps", "p90_bps", "seconds")]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in told):
        return None
    mean, low, high, seconds = told
    return (mean, low, high) if seconds >= LEAST_SECONDS and mean > 0 and 0 <= low <= high else None
