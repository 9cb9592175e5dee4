"""Check how the rates of single seconds are described, and when a rate is said to vary."""

from __future__ import annotations

from typing import Any

import pytest

from sigprobe.record import window


def told(mean: float, low: float, high: float, seconds: int = 8, stalls: int = 0) -> dict[str, Any]:
    return {"mean_bps": mean, "p10_bps": low, "p90_bps": high, "seconds": seconds, "stalls": stalls}


def test_seconds_are_described() -> None:
    """Mean and percentiles are those of the seconds, between two values on the straight line."""
    rates = [float(value) for value in range(1, 12)]
    assert window.describe(rates, 2) == told(6, 2, 10, 11, 2)
    assert window.describe([], 0) is None


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (told(1e6, 0.8e6, 1.2e6), None),
        (told(1e6, 0.7e6, 1.3e6), (0.7e6, 1.3e6)),
        (told(1e6, 0.75e6, 1.25e6), None),
        (told(1e6, 0.9e6, 1.1e6, stalls=1), (0.9e6, 1.1e6)),
        (told(1e6, 0.1e6, 3e6, seconds=2), None),
        (told(0, 0, 0), None),
        (told(1e6, 3e6, 1e6), None),
        ({**told(1e6, 0, 3e6), "p10_bps": None}, None),
        ({**told(1e6, 0, 3e6), "p10_bps": True}, None),
        ({**told(1e6, 0.9e6, 1e6), "stalls": "many"}, None),
        ([1, 2], None),
        (None, None),
    ],
)
def test_a_rate_varies_by_half_of_its_mean_or_by_a_pause(described: object, expected: object) -> None:
    """The rule on the screen is the rule of the code; fewer than three seconds and foreign values say nothing."""
    assert window.varying(described) == expected


def test_variation_is_the_same_from_rates_and_from_a_record() -> None:
    """One formula: what a test computes is what a forecast reads from its record."""
    rates = [1e6, 2e6, 3e6, 4e6]
    assert window.variation(rates) == window.recorded_variation(window.describe(rates, 0))
    assert window.variation(rates) == pytest.approx((3.7 - 1.3) / 2.563 / 2.5)
    assert window.variation([1e6, 2e6]) is None
