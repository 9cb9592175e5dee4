"""Compute how well values agree: the range in which most lie, and the 95 % interval of their mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

FEW_BATCHES: Final = 8

FLOOR: Final = 0.005
"""No interval is narrower than this share: packets come in lumps."""


def crucial_interval(rates: Sequence[float]) -> tuple[float, float]:
    """Return the range of rates with the highest product of density and size: samples² over width."""
    values = sorted(rates)
    count = len(values)
    if count < 3:
        return values[0], values[-1]
    # without a least width two equal samples would be infinitely dense
    least = max((values[-1] - values[0]) / (count - 1), values[-1] * FLOOR, 1e-9)
    best, found = -1.0, (values[0], values[-1])
    for low in range(count):
        for high in range(low, count):
            size = high - low + 1
            quality = size * size / max(values[high] - values[low], least)
            if quality > best:
                best, found = quality, (values[low], values[high])
    return found


_T975: Final = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131)


def half_width(values: Sequence[float]) -> float | None:
    """Return half of the 95 % interval of the mean of a series in time order; None below four values.

    Neighbours are put together until few are left: a lost packet holds back what came after it and then sets it
    free at once, so that short batches differ wildly where the rate does not.
    """
    while len(values) >= 2 * FEW_BATCHES:
        values = [
            (a + b) / 2 for a, b in zip(values[len(values) % 2 :: 2], values[len(values) % 2 + 1 :: 2], strict=True)
        ]
    count = len(values)
    if count < 4:
        return None
    mean = sum(values) / count
    gaps = [value - mean for value in values]
    squares = sum(gap * gap for gap in gaps)
    if squares <= 0:
        return 0.0
    alike = sum(a * b for a, b in pairwise(gaps)) / squares
    alike = min(0.9, max(0.0, alike))
    quantile = _T975[count - 2] if count - 2 < len(_T975) else 1.96 + 2.5 / (count - 1)
    return quantile * math.sqrt(squares / (count - 1) / count * (1 + alike) / (1 - alike))
