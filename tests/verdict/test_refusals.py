"""Where a failed connection ends orders the candidates: this site, a box beyond it, or farther away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sigprobe.record import profile
from sigprobe.record.result import Network, Result
from sigprobe.verdict import decide
from tests.verdict.test_verdict import GATEWAY, check, ping, web

NEED = profile.load(profile.DEFAULT)
ROUTER = "100.64.7.2"
HOST = "sirekap.example"
Answers = list[tuple[int, str, str | None, float]]

USUAL: Answers = [(1, "ttl_exceeded", GATEWAY, 0.4), (2, "ttl_exceeded", ROUTER, 48.0)]
OPEN: Answers = [*USUAL, (3, "open", None, 50.0), (4, "open", None, 50.0)]
REACHED: Answers = [*USUAL, (3, "reached", "203.0.113.9", 50.0)]


def row(what: str, answers: Answers, *, control: bool = False) -> dict[str, Any]:
    found = [dict(zip(("ttl", "said", "address", "ms"), a, strict=True)) for a in answers]
    host = "other.example" if control else HOST
    return {"what": what, "host": host, "address": "203.0.113.9", "control": control, "tried": 8, "answers": found}


def walk(*steps: dict[str, Any]) -> Result:
    data = {
        "routed": True,
        "references": [],
        "hops": [],
        "gateway": {"address": GATEWAY, "answers": True},
        "second": {"steps": list(steps)},
    }
    return replace(check("path", "path", "default-gateway"), data=data)


CONTROL = row("syn", OPEN, control=True)
FIREWALL, FILTER, DOWN = "site_firewall", "operator_filter", "service_down"


@pytest.mark.parametrize(
    ("steps", "first", "firewall"),
    [
        pytest.param(
            [row("syn", [(3, "refused", None, 50.0)]), row("udp", REACHED), CONTROL], DOWN, False, id="the host refuses"
        ),
        pytest.param(
            [row("syn", [(2, "refused", None, 48.0)]), row("udp", REACHED), CONTROL],
            FILTER,
            False,
            id="refused by a router beyond",
        ),
        pytest.param([row("syn", [(1, "refused", None, 0.2)]), CONTROL], FIREWALL, True, id="refused by the gateway"),
        pytest.param(
            [row("syn", [(2, "refused", None, 0.2)]), row("udp", REACHED), CONTROL],
            FIREWALL,
            True,
            id="refused much too soon",
        ),
        pytest.param(
            [row("syn", [*USUAL, (3, "filtered", ROUTER, 48.0)]), CONTROL], FILTER, False, id="prohibited beyond"
        ),
        pytest.param(
            [row("syn", [(1, "ttl_exceeded", GATEWAY, 0.3), (2, "filtered", GATEWAY, 0.3)])],
            FIREWALL,
            True,
            id="prohibited here",
        ),
        pytest.param([row("syn", []), CONTROL], FIREWALL, True, id="dropped by the device"),
        pytest.param([row("syn", USUAL[:1]), CONTROL], FIREWALL, True, id="dropped by the gateway"),
        pytest.param([row("syn", USUAL), CONTROL], DOWN, False, id="dropped beyond, or a dead host"),
        pytest.param([row("syn", [])], DOWN, True, id="nothing to compare with"),
        pytest.param(
            [row("syn", OPEN), row("hello", [(2, "reset", None, 48.0)])],
            FILTER,
            False,
            id="the hello is reset before the host",
        ),
        pytest.param(
            [row("syn", OPEN), row("hello", [(3, "reset", None, 49.0)])],
            DOWN,
            False,
            id="the hello is reset as far away as the host",
        ),
        pytest.param([row("syn", OPEN), row("hello", [])], FIREWALL, True, id="the hello does not leave"),
        pytest.param([], DOWN, True, id="not asked"),
    ],
)
def test_the_first_candidate(steps: list[dict[str, Any]], first: str, firewall: bool) -> None:
    """Nobody is named; what cannot be is left out, and what fits best comes first."""
    verdict = decide([ping(), web("b", "other.example"), web(code="timeout", tcp_ms=None), walk(*steps)], NEED)
    causes = [c.cause for c in verdict.candidates]
    assert (verdict.owner, verdict.cause) == ("uncertain", "one_host_failed")
    assert causes[0] == first
    assert (FIREWALL in causes) is firewall


@pytest.mark.parametrize(
    ("router", "own", "first"), [("10.9.0.1", False, DOWN), ("10.9.0.1", True, FILTER), (ROUTER, False, FILTER)]
)
def test_a_private_router_is_the_operators_on_the_own_modem_only(router: str, own: bool, first: str) -> None:
    """Behind a router of this place, a private address may be this place's own."""
    answers: Answers = [(1, "ttl_exceeded", GATEWAY, 0.4), (2, "filtered", router, 40.0)]
    network = Network(gateway=GATEWAY, access="cellular" if own else "wifi")
    results = [ping(), web("b", "other.example"), web(code="timeout", tcp_ms=None), walk(row("syn", answers))]
    results = [replace(r, tags=replace(r.tags, network=network)) for r in results]
    assert decide(results, NEED).candidates[0].cause == first


@pytest.mark.parametrize(
    "broken",
    [
        None,
        "x",
        [None],
        [{}],
        [{"answers": "x"}],
        [{"answers": [{}]}],
        [{"host": HOST, "what": "syn", "answers": [{"ttl": "1"}]}],
    ],
)
def test_steps_of_any_shape_are_read(broken: Any) -> None:
    """Records come from other versions, too."""
    told = replace(walk(), data={**walk().data, "second": {"steps": broken}})
    assert decide([ping(), web("b", "other.example"), web(code="timeout", tcp_ms=None), told], NEED).candidates
