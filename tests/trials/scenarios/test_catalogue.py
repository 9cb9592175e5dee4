"""Check the catalogue and the comparison with the truth, without building a network."""

from __future__ import annotations

import pytest

from bench.verdict import goals
from tests.trials.scenarios.catalogue import SCENARIOS
from tests.trials.scenarios.judging import Judged
from tests.trials.scenarios.scenario import Scenario
from tests.trials.scenarios.world import World


def nothing(_: World) -> None:
    """Break nothing."""


TOLD = Scenario("told", "operator", "dead_after_hop", nothing)
OPEN = Scenario("open", "local", "quota_used_up", nothing, False, candidates=("local/sim_inactive",))
OVER = Scenario("over", "none", "recovered", nothing, accepts=("uncertain/*",))
NEVER = Scenario("never", "local", "site_uplink", nothing, False, never=("local/no_network",))


def said(scenario: Scenario, verdict: str, *candidates: str, confidence: float = 0.5) -> Judged:
    """Return a verdict on a scenario; candidates as `owner/cause`."""
    owner, cause = verdict.split("/")
    rows = [dict(zip(("owner", "cause"), text.split("/"), strict=True)) for text in candidates]
    return Judged(scenario, 1, owner, cause, confidence, rows)


def test_there_are_enough_scenarios_with_names_of_their_own() -> None:
    """At least 80, each name once, and every numbered group has at least two."""
    assert len(SCENARIOS) >= 80
    assert len({s.name for s in SCENARIOS}) == len(SCENARIOS)
    groups: dict[str, int] = {}
    for scenario in SCENARIOS:
        number = scenario.kind.split()[0]
        groups[number] = groups.get(number, 0) + 1
    assert {str(n) for n in range(1, 15)} | {"basic", "mobile", "unusual"} == set(groups)
    assert min(groups.values()) >= 2, groups


def test_every_owner_is_true_somewhere_and_every_scenario_says_what_it_makes() -> None:
    """Owners as in the verdict's table; a scenario has a description or a name that says all."""
    assert {s.owner for s in SCENARIOS} == {"none", "local", "operator", "service", "collector"}
    assert {s.tellable for s in SCENARIOS if s.owner == "none"} == {True}


@pytest.mark.parametrize(
    ("judged", "fault"),
    [
        (said(TOLD, "operator/dead_after_hop"), None),
        (said(TOLD, "operator/resolver_dead"), "not right"),
        (said(TOLD, "uncertain/no_way_beyond", "operator/dead_after_hop"), "not right"),
        (said(TOLD, "local/gateway_dead"), "false accusation"),
        (said(TOLD, "collector/collector_down"), "false accusation"),
        (said(TOLD, "none/healthy"), "false all-clear"),
        (said(OPEN, "uncertain/uncertain", "operator/x", "service/y", "local/quota_used_up"), None),
        (said(OPEN, "uncertain/uncertain", "local/sim_inactive"), None),
        (said(OPEN, "uncertain/uncertain", "a/b", "c/d", "e/f", "local/quota_used_up"), "not right"),
        (said(OPEN, "uncertain/uncertain"), "not right"),
        (said(OPEN, "local/quota_used_up"), "not right"),
        (said(OPEN, "operator/operator_outage"), "false accusation"),
        (said(OVER, "none/recovered"), None),
        (said(OVER, "uncertain/below_need"), None),
        (said(OVER, "service/service_error"), "false accusation"),
        (said(NEVER, "local/no_network"), "not right"),
    ],
)  # fmt: skip
def test_a_verdict_is_compared_with_the_truth(judged: Judged, fault: str | None) -> None:
    """Each kind of answer to a scenario that can, and that cannot be told."""
    assert judged.fault == fault


def test_each_goal_is_missed_by_its_own_fault_alone() -> None:
    """The goals hold for right answers, and each is missed for its named reason."""
    fine = [said(TOLD, "operator/dead_after_hop", confidence=0.95)] * 200
    fine += [said(OPEN, "uncertain/uncertain", "local/quota_used_up")] * 200

    def missed(*more: Judged) -> set[str]:
        return {goal.name.split(":")[0] for goal in goals([*fine, *more]) if not goal.met}

    assert missed() == set()
    assert missed(said(TOLD, "local/gateway_dead")) == {"false accusations, local ones included"}
    assert missed(*[said(TOLD, "none/healthy")] * 5) == {"false all-clears"}
    assert missed(*[said(TOLD, "uncertain/uncertain")] * 20) == {"can be told"}
    assert missed(*[said(OPEN, "uncertain/uncertain")] * 20) == {"cannot be told"}
    wrong = [said(OPEN, "uncertain/uncertain", confidence=0.95)] * 10
    assert missed(*wrong) == set(), "10 of 210: within the goal"
    assert missed(*[said(OPEN, "uncertain/uncertain", confidence=0.95)] * 30) == {
        "cannot be told",
        "said with 0.9 or more and right",
    }
    assert missed(Judged(TOLD, 1, "-", "-", trouble="no namespace")) == {"could be run"}
