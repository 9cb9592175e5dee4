"""Weigh votes: log-likelihood ratios per area, bounded at each level, and their cumulative sums.

For each bin the question is "does a share s of this area fail anew?", for three shares. What one village, district,
regency or operator can add to the area above it in one bin is bounded by how often such a unit fails on its own:
without that, one power cut in one village would look like an outage of the operator in the regency.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

SHARES: Final = (0.4, 0.7, 0.96)
"""Shares of an area that fail anew; an outage of another share is found by the nearest of them."""
COMPONENTS: Final = len(SHARES) + 1
"""One number per share, and one without memory at a share of a half, which tells the end of an incident."""
ALONE: Final[Mapping[str, float]] = {"village": 0.02, "district": 0.005, "regency": 0.002, "province": 0.001, "": 0.01}
"""How probable it is in one bin that such a unit fails on its own; "" is one operator among those of a place."""
_PLAIN_SHARE: Final = 0.5

_Area = TypeVar("_Area")

Ratios = tuple[float, ...]
"""Log-likelihood ratios, one per share, then the plain one.

A nation has hundreds of thousands of them. The garbage collector leaves tuples of numbers alone, and would go through
as many lists again and again.
"""

Sum = list[float]
"""Ratios that are being added up."""


def nothing() -> Sum:
    """Return the ratios of no votes at all."""
    return [0.0] * COMPONENTS


def of_vote(bad: bool, now: float, usual: float) -> Ratios:
    """Return the ratios of one vote, given its expected share of failures with (`now`) and without memory."""
    if not bad:
        return _WORKED
    ratios = [_log((now + share * (1 - now)) / now) for share in SHARES]
    ratios.append(_log((usual + _PLAIN_SHARE * (1 - usual)) / usual))
    return tuple(ratios)


_log = math.log
_exp = math.exp
_WORKED: Final[Ratios] = (*(math.log(1 - share) for share in SHARES), math.log(1 - _PLAIN_SHARE))
_ALONE: Final = {unit: (alone, -math.log(alone), math.log1p(-alone)) for unit, alone in ALONE.items()}


def bounded(ratios: Ratios | Sum, unit: str) -> Sum:
    """Return what a unit says to the area above it: never more than the surprise that it fails on its own."""
    alone, most, none = _ALONE[unit]
    return [
        most if ratio > 50 else (ratio - none if ratio < -40 else ratio - _log(1 - alone + alone * _exp(ratio)))
        for ratio in ratios
    ]


def add(total: Sum, part: Ratios | Sum) -> None:
    """Add `part` to `total` in place."""
    total[0] += part[0]
    total[1] += part[1]
    total[2] += part[2]
    total[3] += part[3]


class Rise:
    """The highest cumulative sum of one area: how much, since which bin, at which share."""

    __slots__ = ("height", "share", "since")

    def __init__(self, height: float, since: int | None, share: float) -> None:
        self.height = height
        self.since = since
        self.share = share


def climb(bins: Iterable[tuple[int, Ratios]]) -> tuple[Rise, Rise, int | None]:
    """Return the CUSUM of the share that fits best: now, at its highest, and the bin where it was highest.

    The bins come in order of time.
    """
    shares = range(len(SHARES))
    sums = [0.0] * len(SHARES)
    since: list[int | None] = [None] * len(SHARES)
    highest, at = Rise(0.0, None, SHARES[0]), None
    for number, ratios in bins:
        for place in shares:
            total = sums[place] + ratios[place]
            if total <= 0:
                sums[place], since[place] = 0.0, None
                continue
            sums[place] = total
            if since[place] is None:
                since[place] = number
            if total > highest.height:
                highest, at = Rise(total, since[place], SHARES[place]), number
    best = max(shares, key=lambda place: sums[place])
    return Rise(sums[best], since[best], SHARES[best]), highest, at


def over(bins: Iterable[tuple[int, Ratios]]) -> tuple[float, int | None]:
    """Return by how much the plain evidence has fallen since its peak, and the bin of that peak."""
    total = peak = 0.0
    at: int | None = None
    for number, ratios in bins:
        total += ratios[-1]
        if total >= peak:
            peak, at = total, number
    return peak - total, at


def rejected(heights: Mapping[_Area, float], threshold: float, least: float) -> set[_Area]:
    """Return the areas whose evidence stands, by e-BH: with k of them beyond it, each needs 1/k of the ratio.

    `threshold` is the log of the ratio that one area alone needs; nothing below `least` ever stands.
    """
    ranked = sorted(heights.items(), key=lambda item: -item[1])
    stands = 0
    for count, (_, height) in enumerate(ranked, 1):
        if height >= max(least, threshold - math.log(count)):
            stands = count
    return {key for key, _ in ranked[:stands]}
