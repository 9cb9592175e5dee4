"""Each cause of the verdict's table made for real, once; `bench/verdict.py` does the same for many seeds."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.netns import MARKS
from tests.trials.scenarios.catalogue import SCENARIOS, Scenario
from tests.trials.scenarios.judging import Judged, judge_all

pytestmark = [
    *MARKS,
    pytest.mark.timeout(600),
    pytest.mark.system("faketime", "faketime"),
]

SEED = int(os.environ.get("SIGPROBE_SCENARIO_SEED", "1"))


@pytest.fixture(scope="module")
def judged() -> Iterator[dict[str, Judged]]:
    """All of them, several at a time: they mostly wait."""
    yield {found.scenario.name: found for found in judge_all([(s, SEED) for s in SCENARIOS], side_by_side=8)}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_the_verdict_names_what_was_made(judged: dict[str, Judged], scenario: Scenario) -> None:
    """The owner and the cause are those of the table."""
    found = judged[scenario.name]
    assert found.trouble is None, found.trouble
    assert (found.owner, found.cause) == (scenario.owner, scenario.cause), f"seed {SEED}"


@pytest.mark.parametrize("name", ["resolver_lying", "forwarded_resolver_lying"])
def test_a_lie_is_told_with_both_answers(judged: dict[str, Judged], name: str) -> None:
    """The check of names finds it by itself: `tampered`, with what the network says and what the others say."""
    (asked,) = (record for record in judged[name].results if record["kind"] == "dns")
    assert (asked["outcome"], asked["failure"]["code"]) == ("degraded", "tampered")
    compared = asked["data"]["comparison"]
    assert compared["word"] == "tampered" and compared["others"]
    assert not set(compared["system"]) & set(compared["others"])


def test_every_owner_of_the_table_is_there() -> None:
    """No row of the table is left out by accident."""
    assert {s.owner for s in SCENARIOS} == {"none", "local", "operator", "service", "collector", "uncertain"}
    assert len(SCENARIOS) >= 31
