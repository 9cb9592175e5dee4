"""Build the core scenarios once; `bench/verdict.py` runs all of them with many seeds.

SIGPROBE_SCENARIOS=all runs every scenario here, SIGPROBE_SCENARIO_SEED another seed.

The probe and its peers go before other processes (`NICE`). A verdict that does not fit is made again, once, only where
the emulated network itself was late: then another network was measured than the one that was made.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

import pytest

from tests.support.netns import MARKS
from tests.trials.scenarios.catalogue import SCENARIOS
from tests.trials.scenarios.judging import Judged, judge_all
from tests.trials.scenarios.scenario import Scenario

pytestmark = [
    *MARKS,
    pytest.mark.timeout(1200),
    pytest.mark.system("faketime", "faketime"),
    pytest.mark.beside,
    pytest.mark.xdist_group("scenarios"),  # they are built once, by one worker
]

SEED = int(os.environ.get("SIGPROBE_SCENARIO_SEED", "1"))
CHOSEN = [s for s in SCENARIOS if s.core or os.environ.get("SIGPROBE_SCENARIOS") == "all"]


SIDE_BY_SIDE = 16
NICE = -10


@pytest.fixture(scope="module")
def judged() -> Iterator[dict[str, Judged]]:
    """Provide all of them, many at a time, since each mostly waits."""
    found = {one.scenario.name: one for one in judge_all([(s, SEED) for s in CHOSEN], SIDE_BY_SIDE, NICE)}
    yield found | again(found)


def again(found: dict[str, Judged]) -> dict[str, Judged]:
    """Judge those again whose network was late, with a note of what was said first."""
    late = [one for one in found.values() if one.fault is not None and one.late]
    for one in late:
        warnings.warn(f"{one.scenario.name}: {one.said} on a late network: {'; '.join(one.late)}", stacklevel=2)
    return {one.scenario.name: one for one in judge_all([(o.scenario, o.seed) for o in late], 4, NICE)} if late else {}


@pytest.mark.parametrize("scenario", CHOSEN, ids=lambda s: s.name)
def test_the_verdict_fits_what_was_made(judged: dict[str, Judged], scenario: Scenario) -> None:
    """Owner and cause are right, or rightly left open with the truth among the first candidates."""
    found = judged[scenario.name]
    assert found.trouble is None, found.trouble
    named = [f"{c['owner']}/{c['cause']}" for c in found.candidates]
    assert found.fault is None, f"seed {SEED}: {found.fault}: {scenario.owner}/{scenario.cause}: {found.said} {named}"


@pytest.mark.parametrize("name", ["resolver_lying", "forwarded_resolver_lying"])
def test_a_lie_is_told_with_both_answers(judged: dict[str, Judged], name: str) -> None:
    """The `dns` check itself says `tampered`, with the answers of both sides."""
    (asked,) = (record for record in judged[name].results if record["kind"] == "dns")
    assert (asked["outcome"], asked["failure"]["code"]) == ("degraded", "tampered")
    compared = asked["data"]["comparison"]
    assert compared["word"] == "tampered" and compared["others"]
    assert not set(compared["system"]) & set(compared["others"])
