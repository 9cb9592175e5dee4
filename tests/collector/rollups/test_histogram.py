"""Histograms merge exactly, and a quantile never takes a lower bound for a plain value."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigprobe.collector.rollups.histogram import RELATIVE_ERROR, ZERO_BIN, Bin, bin_of, centre_of, merged, quantile

RATES = st.floats(min_value=1e-6, max_value=1e12)


def bins(values: list[float], bounds: list[float] = []) -> list[Bin]:  # noqa: B006 - read only
    """Single values and single lower bounds as bins."""
    return [Bin(bin_of(v), 1) for v in values] + [Bin(bin_of(v), 1, 1) for v in bounds]


@given(RATES)
def test_a_bin_is_within_the_stated_error(value: float) -> None:
    """The centre of a value's bin is at most 2.5 % away from it."""
    assert math.isclose(centre_of(bin_of(value)), value, rel_tol=RELATIVE_ERROR * 1.0001)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_no_bin_for_what_is_no_measurement(value: float) -> None:
    """Negative and infinite values are refused instead of sorted somewhere."""
    with pytest.raises(ValueError, match="no bin"):
        bin_of(value)


def test_zero_keeps_its_own_bin() -> None:
    """Zero loss is the commonest value and stays zero."""
    assert bin_of(0.0) == ZERO_BIN
    assert centre_of(ZERO_BIN) == 0.0
    found = quantile(bins([0.0, 0.0, 5.0]))
    assert found is not None and found.value == 0.0


@given(st.lists(RATES, max_size=30), st.lists(RATES, max_size=30))
def test_sums_do_not_depend_on_how_they_were_cut(one: list[float], two: list[float]) -> None:
    """The histogram of a region is the sum of its parts, and taking a part out leaves the other."""
    whole = merged(bins(one) + bins(two))
    assert whole == merged([*merged(bins(two)), *merged(bins(one))])
    without = merged([*whole, *(Bin(b.bin, -b.n, -b.n_at_least) for b in bins(two))])
    assert without == merged(bins(one))


def product_limit(values: list[tuple[float, bool]], share: float) -> float | None:
    """The textbook estimator on single values: (value, is a lower bound)."""
    survival = 1.0
    ordered = sorted(values, key=lambda pair: (pair[0], pair[1]))
    for place, (value, bound) in enumerate(ordered):
        if not bound:
            survival *= 1 - 1 / (len(ordered) - place)
            if survival <= 1 - share + 1e-12:
                return value
    return None


@pytest.mark.parametrize("seed", range(20))
def test_the_median_is_the_product_limit_estimate(seed: int) -> None:
    """With lower bounds among them, the median is that of the textbook, to the width of a bin."""
    rng = random.Random(seed)
    true = [rng.lognormvariate(16, 0.6) for _ in range(200)]
    cap = 12e6
    values = [(min(v, cap * rng.uniform(0.5, 2)), False) for v in true]
    values = [(v, v < t) for (v, _), t in zip(values, true, strict=True)]
    wanted = product_limit(values, 0.5)
    found = quantile([Bin(bin_of(v), 1, int(bound)) for v, bound in values])
    assert found is not None and wanted is not None
    assert not found.at_least
    assert math.isclose(found.value, wanted, rel_tol=2.1 * RELATIVE_ERROR)
    plain = sorted(v for v, _ in values)[len(values) // 2]
    assert plain < wanted, "the control: a plain median takes bounds for values and reads low"


def test_a_median_hidden_by_bounds_is_a_bound() -> None:
    """Nine tests that stopped at 5 Mbit/s and one that saw 100 say `at least 5`, not 100."""
    found = quantile(bins([100e6], [5e6] * 9))
    assert found is not None
    assert found.at_least
    assert math.isclose(found.value, 5e6, rel_tol=RELATIVE_ERROR)
    assert found.high is None
    assert (found.n, found.n_at_least) == (10, 9)


def test_nothing_measured_has_no_median() -> None:
    """Missing is None, never 0."""
    assert quantile([]) is None
    assert quantile([Bin(4, 1), Bin(4, -1)]) is None


@pytest.mark.parametrize("n", [8, 25, 120])
def test_the_interval_holds_the_true_median(n: int) -> None:
    """The 95 % interval holds the true median of the source in about 95 % of draws, with and without bounds."""
    rng = random.Random(n)
    for censored in (False, True):
        held = 0
        draws = 400
        for _ in range(draws):
            sample = [rng.lognormvariate(3, 0.8) for _ in range(n)]
            parts = []
            for value in sample:
                cap = rng.lognormvariate(3.6, 0.5) if censored else math.inf
                parts.append(Bin(bin_of(min(value, cap)), 1, int(cap < value)))
            found = quantile(parts)
            assert found is not None
            true = math.exp(3)
            low = -math.inf if found.low is None else found.low * (1 - RELATIVE_ERROR)
            high = math.inf if found.high is None or found.at_least else found.high * (1 + RELATIVE_ERROR)
            held += low <= true <= high
        assert held / draws >= 0.92, (n, censored, held / draws)
