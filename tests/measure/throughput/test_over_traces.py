"""Engine `http` over emulated links that follow a trace: the rate is what the link could carry in that window.

Links whose rate changes from second to second are simulated in `test_varying_links.py`: what an emulated one carries
while the connections are opened depends on the machine, and no test can see it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.accuracy_traces import Case, Outcome, judge, measure
from bench.forecast_traces import trace
from tests.support.netns import MARKS

pytestmark = [*MARKS, pytest.mark.beside]


def outcomes(mbps: Sequence[float], rtt_ms: int, control: str = "cubic") -> list[Outcome]:
    """Both directions over a link of these rates, second by second, over and over."""
    return measure(Case(1, trace("test", {"step_s": 1.0, "mbps": list(mbps)}), rtt_ms, 100_000, control, shift=0))


def check(found: list[Outcome], most: float = 0.25) -> None:
    assert [one.way for one in found] == ["download", "upload"]
    for one in found:
        assert one.error is not None and abs(one.error) <= most, one.line()


def test_dead_seconds_are_part_of_the_rate() -> None:
    """Two dead seconds of five: neither the last good moment is stated, nor nothing."""
    check(outcomes([2.0, 3.0, 0.0, 0.0, 2.5], 60))


def test_a_link_that_is_there_half_of_the_time_states_a_rate() -> None:
    """90 kbit/s for three seconds, then nothing for three: slow, and no "nothing in 8 s"."""
    for one in outcomes([0.09, 0.09, 0.09, 0.0, 0.0, 0.0], 80):
        assert one.bps is not None and one.bps > 0, one.line()


def test_the_bench_counts_a_wrong_rate_and_a_missing_one() -> None:
    """The goal is missed for a rate 30 % too low, and for none where half of the seconds had 50 kbit/s."""
    case = Case(1, trace("test", {"step_s": 1.0, "mbps": [1.0, 1.0]}), 40, 60_000, "cubic")
    good = Outcome(case, "upload", 0.9e6, 1e6, 8.0, 1.0, at_least=False, payload_bytes=1)
    low = Outcome(case, "upload", 0.7e6, 1e6, 8.0, 1.0, at_least=False, payload_bytes=1)
    none = Outcome(case, "upload", None, 0.06e6, 8.0, 0.6, at_least=False, payload_bytes=1)
    dead = Outcome(case, "upload", None, 0.0, 8.0, 0.0, at_least=False, payload_bytes=0)
    assert judge([good, dead])[1]
    assert not judge([low])[1]
    assert not judge([none])[1]
    assert judge([Outcome(case, "upload", 0.7e6, 1e6, 8.0, 1.0, at_least=True, payload_bytes=1), good])[1]


def test_an_empty_bench_meets_no_goal() -> None:
    """Nothing measured is nothing met."""
    assert judge([]) == ([], False)
