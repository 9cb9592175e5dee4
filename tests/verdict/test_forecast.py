"""Whether a place can send its photos in time: a probability that follows from what was measured."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigprobe.verdict.forecast import CERTAIN, LEAST_SPREAD, Measurement, Task, forecast

TASK = Task(photos=4, photo_mb=3, minutes=10)
NEEDED = 4 * 3 * 8e6 * 1.08 / 600


def test_nothing_measured_is_not_known() -> None:
    """Without a measurement there is no probability, and the rate needed is told all the same."""
    found = forecast(TASK, [])
    assert found.probability is None
    assert found.needed_bps == pytest.approx(NEEDED)


def test_the_rate_that_just_suffices_is_even_odds() -> None:
    """A place measured at exactly the rate needed makes it every second time."""
    assert forecast(TASK, [Measurement(0, NEEDED)]).probability == pytest.approx(0.5)


def test_the_spread_is_the_least_one_and_the_intervals() -> None:
    """One standard deviation above the rate needed is 84 %, also where the interval widens it."""
    assert forecast(TASK, [Measurement(0, NEEDED * math.exp(LEAST_SPREAD))]).probability == pytest.approx(
        0.8413, abs=1e-3
    )
    own = 0.6
    rate = NEEDED * math.exp(math.hypot(own, LEAST_SPREAD))
    interval = (rate * math.exp(-1.96 * own), rate * math.exp(1.96 * own))
    assert forecast(TASK, [Measurement(0, rate, interval)]).probability == pytest.approx(0.8413, abs=1e-3)


def test_no_forecast_is_ever_certain() -> None:
    """However fast or dead a place was, a forecast stays a forecast."""
    assert forecast(TASK, [Measurement(0, 1e12)]).probability == CERTAIN
    assert forecast(TASK, [Measurement(0, None)]).probability == pytest.approx(1 - CERTAIN)


def test_a_failed_upload_counts_as_no_and_fades() -> None:
    """A failure of just now weighs more than a good test of long ago, and the other way round."""
    fast = Measurement(0, 1e9)
    assert forecast(TASK, [fast, Measurement(24, None)]).probability > 0.9
    assert forecast(TASK, [Measurement(24, 1e9), Measurement(0, None)]).probability < 0.1
    assert forecast(TASK, [fast, Measurement(24, None)]).failed == 1


def test_a_lower_bound_below_the_need_says_nothing() -> None:
    """A test that its data cap cut off below the rate needed is no evidence; one above it is as good as any."""
    low, high = Measurement(0, NEEDED / 2, at_least=True), Measurement(0, NEEDED * 4, at_least=True)
    assert forecast(TASK, [low]).probability is None
    assert forecast(TASK, [low, high]).probability == forecast(TASK, [high]).probability > 0.9


def test_waiting_alone_can_take_longer_than_the_time() -> None:
    """A satellite's round trips eat the minutes before a single byte of a photo has gone."""
    found = forecast(Task(1000, 0.1, 1), [Measurement(0, 1e9, rtt_ms=700)])
    assert math.isinf(found.needed_bps)
    assert found.probability == pytest.approx(1 - CERTAIN)


@given(st.floats(1e3, 1e9), st.floats(1.01, 10), st.floats(0, 48))
def test_faster_is_never_less_likely(rate: float, factor: float, age: float) -> None:
    """More speed, more time and smaller photos never lower the probability."""
    base = forecast(TASK, [Measurement(age, rate)]).probability
    assert base is not None
    for better in (
        forecast(TASK, [Measurement(age, rate * factor)]),
        forecast(Task(4, 3, 10 * factor), [Measurement(age, rate)]),
        forecast(Task(4, 3 / factor, 10), [Measurement(age, rate)]),
    ):
        assert better.probability is not None
        assert better.probability >= base - 1e-9
