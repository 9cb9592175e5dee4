"""Check that the forecast of an upload follows from what was measured, and that its score finds a wrong one."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import forecast as bench
from bench.forecast import Case
from bench.forecast_traces import synthetic, trace
from sigprobe.verdict.forecast import (
    CERTAIN,
    DEAD_SHARE,
    OVERHEAD,
    PLACES,
    Forecast,
    Measurement,
    Task,
    forecast,
    predict,
    student,
)

TASK = Task(photos=4, photo_mb=3, minutes=10)
NEEDED = 4 * 3 * 8e6 * 1.08 / 600
USUAL = math.exp(PLACES[0])
USUAL_TASK = Task(photos=1, photo_mb=USUAL * 60 / 8e6 / OVERHEAD, minutes=1)
"""A task that needs just the usual rate of places."""


def _probability(*measured: Measurement, task: Task = TASK) -> float:
    found = forecast(task, measured).probability
    assert found is not None
    return found


def _width(*measured: Measurement) -> float:
    found = predict(measured)
    assert found is not None
    return found.spread


def test_nothing_measured_is_not_known() -> None:
    """Without a measurement there is no probability, and the needed rate is given all the same."""
    found = forecast(TASK, [])
    assert found.probability is None and found.interval_minutes is None
    assert found.needed_bps == pytest.approx(NEEDED)


def test_student_has_four_degrees_of_freedom() -> None:
    """The distribution has the quantiles of the printed table."""
    assert student(2.132) == pytest.approx(0.95, abs=1e-4)
    assert student(-2.776) == pytest.approx(0.025, abs=1e-4)


def test_the_rate_that_just_suffices_is_about_even_odds() -> None:
    """A place of the usual rate, measured at exactly what is needed, makes it in about half of the times."""
    dead = forecast(USUAL_TASK, [Measurement(0, USUAL)]).dead_share
    assert dead is not None and dead < DEAD_SHARE, "the good test counts"
    # the mean of a minute is above the mean of the logarithms
    assert 0.5 * (1 - dead) <= _probability(Measurement(0, USUAL), task=USUAL_TASK) <= 0.56


def test_an_unusual_place_is_taken_toward_the_usual_ones_with_age() -> None:
    """A slow test of a while ago was a bad moment in part, a fast one a good moment; a fresh one is what it is."""
    for share in (0.03, 0.3, 3.0, 30.0):
        centres = []
        for age_h in (0.0, 0.5, 24.0):
            found = predict([Measurement(age_h, USUAL * share, variation=0.0)], task_s=10)
            assert found is not None
            centres.append(abs(found.centre - PLACES[0]))
        assert centres == sorted(centres, reverse=True)
        assert centres[0] == pytest.approx(abs(math.log(share)), abs=0.06)
        assert centres[-1] > 0.5 * centres[0], "an old test still counts"


def test_no_forecast_is_ever_certain_nor_free_of_the_dead_share() -> None:
    """The fastest single test leaves the share of times when nothing gets through; no waiting time is sure to fail."""
    assert 0.95 < _probability(Measurement(0, 1e12)) <= CERTAIN
    assert _probability(Measurement(0, 2000.0)) == pytest.approx(1 - CERTAIN)


def test_a_test_of_days_ago_promises_less() -> None:
    """A rate twice the needed one promises less with every age, and half of it denies less."""
    twice, half = (
        [_probability(Measurement(age, USUAL * share, variation=0.1), task=USUAL_TASK) for age in (0, 1 / 12, 0.5, 72)]
        for share in (2, 0.5)
    )
    assert twice == sorted(twice, reverse=True) and twice[0] - twice[-1] > 0.1
    assert half == sorted(half) and half[-1] - half[0] > 0.1


def test_a_link_that_varied_in_its_test_is_predicted_less_sharply() -> None:
    """The variation within the test widens the prediction, and a wide interval does where there is none."""
    steady, restless = (_width(Measurement(0, NEEDED, variation=v)) for v in (0.05, 0.6))
    assert restless > 1.5 * steady
    narrow, wide = (_width(Measurement(0, NEEDED, (NEEDED / f, NEEDED * f))) for f in (1.05, 3.0))
    assert wide > narrow


def test_the_places_own_tests_adjust_the_spread() -> None:
    """Twelve tests that agree narrow the prediction below that of one; twelve that do not, widen it."""
    even = [Measurement(hour, NEEDED * 2, variation=0.1) for hour in range(12)]
    uneven = [Measurement(hour, NEEDED * 2 * (6 if hour % 2 else 1), variation=0.1) for hour in range(12)]
    assert _width(*even) < _width(even[0]) < _width(*uneven)
    assert _probability(*even) > _probability(even[0])


def test_failed_uploads_raise_the_dead_share_and_fade() -> None:
    """A failure of just now weighs more than a good test of long ago, and the other way round."""
    fast = Measurement(0, 1e9)
    assert _probability(fast, Measurement(24, None)) > 0.9
    assert _probability(Measurement(24, 1e9), Measurement(0, None)) < 0.45
    assert _probability(Measurement(0, None)) < 0.4
    found = forecast(TASK, [fast, Measurement(24, None), Measurement(1, 0.0)])
    assert found.failed == 2, "a rate of nothing is a failure"


def test_few_tests_give_a_range_and_many_none() -> None:
    """The range holds the probability and narrows with the tests; with enough tests there is none."""
    one, three = (forecast(TASK, [Measurement(h, NEEDED * 1.5) for h in range(n)]) for n in (1, 3))
    spans = []
    for found in (one, three):
        assert found.probability is not None and found.probability_range is not None
        low, high = found.probability_range
        assert low <= found.probability <= high
        spans.append(high - low)
    assert spans[1] < spans[0]
    assert forecast(TASK, [Measurement(h, NEEDED) for h in range(6)]).probability_range is None


def test_the_interval_holds_the_time_at_the_measured_rate() -> None:
    """At the needed rate the typical time is close to the task's, between the ends of the interval."""
    found = forecast(USUAL_TASK, [Measurement(0, USUAL, variation=0.0)])
    assert found.interval_minutes is not None and found.typical_minutes is not None
    low, high = found.interval_minutes
    assert low is not None and high is not None
    assert low < found.typical_minutes < high
    assert found.typical_minutes == pytest.approx(1, rel=0.1)


def test_a_lower_bound_below_the_need_says_nothing() -> None:
    """A test that its data cap cut off below the needed rate is no evidence; one above it is as good as any."""
    low, high = Measurement(0, NEEDED / 2, at_least=True), Measurement(0, NEEDED * 9, at_least=True)
    assert forecast(TASK, [low]).probability is None
    assert forecast(TASK, [low, high]).probability == forecast(TASK, [high]).probability
    assert _probability(high) > 0.9


def test_waiting_alone_can_take_longer_than_the_time() -> None:
    """A satellite's round trips take all the minutes before a single byte of a photo has gone."""
    found = forecast(Task(1000, 0.1, 1), [Measurement(0, 1e9, rtt_ms=700)])
    assert math.isinf(found.needed_bps)
    assert found.probability == pytest.approx(1 - CERTAIN)


@settings(max_examples=20, deadline=None)
@given(st.floats(2e3, 1e9), st.floats(1.01, 10), st.floats(0, 48))
def test_faster_is_never_less_likely(rate: float, factor: float, age: float) -> None:
    """More speed and smaller photos never lower the probability; more time by no more than a rounding at the top."""
    base = _probability(Measurement(age, rate))
    assert _probability(Measurement(age, rate * factor)) >= base - 1e-9
    assert _probability(Measurement(age, rate), task=Task(4, 3 / factor, 10)) >= base - 1e-9
    assert _probability(Measurement(age, rate), task=Task(4, 3, 10 * factor)) >= base - 0.005


# --- the score


@pytest.fixture(scope="module")
def fresh() -> list[Case]:
    """Tasks of a minute right after a test, on a dozen synthetic links that last minutes."""
    return list(bench.cases(synthetic(seed=3, count=40, seconds=130)))


def test_the_score_accepts_the_forecast_right_after_a_test(fresh: list[Case]) -> None:
    """On synthetic links the forecast meets the goals for a fresh test."""
    assert {case.age_s for case in fresh} == {0} and len(fresh) > 500
    lines, met = bench.judge(fresh)
    assert met, "\n".join(lines)


def test_the_score_refuses_an_interval_that_is_too_sure(fresh: list[Case]) -> None:
    """The same with every second time outside of the interval misses that goal: the bench can tell."""
    narrow = [replace(case, inside=case.inside and number % 2 == 0) for number, case in enumerate(fresh)]
    lines, met = bench.judge(narrow)
    assert not met and "MISSED" in lines[1].split("|")[1]


def test_the_score_refuses_a_probability_that_is_too_sure(fresh: list[Case]) -> None:
    """Tasks given an even chance or more and called certain come true too seldom."""
    sure = [replace(case, probability=0.95 if case.probability >= 0.5 else 0.05) for case in fresh]
    lines, met = bench.judge(sure)
    assert not met and "MISSED" in lines[1].split("|")[2] + lines[1].split("|")[3]


def test_a_case_knows_whether_the_time_lay_in_the_interval() -> None:
    """A forecast with an interval of a twentieth is found outside where the forecast itself is inside."""

    def too_sure(task: Task, measured: Sequence[Measurement]) -> Forecast:
        found = forecast(task, measured)
        middle = found.typical_minutes
        if middle is None:
            return found
        return replace(found, interval_minutes=(middle * 0.999, middle * 1.001))

    links = synthetic(seed=3, count=2, seconds=100)
    inside, narrow = ([case.inside for case in bench.cases(links, by)] for by in (forecast, too_sure))
    assert sum(map(bool, narrow)) < 0.3 * sum(map(bool, inside))


def test_other_drives_are_of_one_route() -> None:
    """A test on one drive is followed by tasks on others of its route and direction; synthetic links have no route."""
    steps = {"step_s": 1.0, "radio": "3G", "direction": "up", "mbps": [2.0] * 100}
    drives = [trace(name, steps) for name in ("bus_1", "bus_2", "tram_1")]
    found = list(bench.other_drives(drives))
    assert {case.trace for case in found} == {"bus_1", "bus_2"}
    assert all(case.other and case.age_s == 1800 and case.minutes == 1 for case in found)
    assert list(bench.other_drives(synthetic(seed=1, count=3, seconds=100))) == []


def test_a_trace_gives_the_time_for_so_many_megabits() -> None:
    """Capacity adds up over steps of a tenth of a second; a trace that ends before says nothing."""
    made = trace("t", {"step_s": 0.1, "mbps": [0.0] * 10 + [10.0] * 10})
    assert made.seconds() == pytest.approx(2.0)
    assert made.time_for(0.0, 5.0) == pytest.approx(1.5)
    assert made.time_for(1.0, 11.0) is None
    assert made.rate(0.5, 1.5) == pytest.approx(5.0)


def test_synthetic_traces_are_the_same_for_the_same_seed() -> None:
    """The generator depends on its seed alone."""
    random.seed(1)
    first = synthetic(seed=5, count=1, seconds=60)
    random.seed(2)
    assert synthetic(seed=5, count=1, seconds=60) == first
    assert synthetic(seed=6, count=1, seconds=60) != first
