"""What the second look finds well is over, and hides no other fault of the same run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sigprobe.record import profile
from sigprobe.record.result import Result
from sigprobe.verdict import decide
from tests.verdict.test_verdict import GATEWAY, check, ping, plain, point, web

NEED = profile.load(profile.DEFAULT)
FINE = {"tls": True, "tls_verified": True, "failure": None, "status_code": 200}
DOWN = {"host": "c.example", "place": "beyond", "failure": "refused"}


def walk(looks: dict[str, dict[str, Any]], collectors: list[dict[str, Any]] | None = None) -> Result:
    """Return a walk with second looks by host, and a collector that failed twice where one is given."""
    web_rows = [{"host": host, **FINE, **row} for host, row in looks.items()]
    data = {
        "routed": True,
        "gateway": point(GATEWAY, ms=1.0),
        "references": [point("1.1.1.1"), point("9.9.9.9")],
        "collectors": collectors or [],
        "second": {"web": web_rows, "collectors": collectors or []},
    }
    return replace(check("path", "path", "default-gateway"), data=data)


@pytest.mark.parametrize(
    ("looks", "owner", "cause"),
    [
        ({"a.example": {}, "b.example": {"status_code": 429}}, "service", "service_denied"),
        ({"a.example": {}, "b.example": {}}, "uncertain", "recovered"),
        (
            {"a.example": {"failure": "timeout"}, "b.example": {"status_code": 429}},
            "uncertain",
            "several_targets_failed",
        ),
    ],
)
def test_a_lost_name_hides_no_service_that_speaks(looks: dict[str, dict[str, Any]], owner: str, cause: str) -> None:
    """A name that was lost once and is found again leaves the service's own word as it is."""
    denied = web("b", "b.example", "http_status", status_code=429, tls_version="TLSv1.3")
    results = [ping(), web("c", "c.example"), web("a", "a.example", "name_not_found"), denied, walk(looks)]
    assert plain(decide(results, NEED)) == (owner, cause)


@pytest.mark.parametrize(("look", "cause"), [({}, "collector_unreached"), ({"failure": "timeout"}, "one_host_failed")])
def test_a_lost_name_hides_no_collector(look: dict[str, Any], cause: str) -> None:
    """The collector that fails twice is told beside a page that is well again, not beside one that fails, too."""
    results = [ping(), web("b", "b.example"), web("a", "a.example", "timeout"), walk({"a.example": look}, [DOWN])]
    assert plain(decide(results, NEED)) == ("uncertain", cause)


@pytest.mark.parametrize(
    ("used", "cause"),
    [("[2001:db8::7]:443", "ipv6_broken"), ("203.0.113.7:443", "one_host_failed"), (None, "one_host_failed")],
)
def test_a_page_that_fails_over_ipv4_is_not_explained_by_ipv6(used: str | None, cause: str) -> None:
    """The port behind an IPv4 address makes no IPv6 address of it."""
    six = {"routed": True, "asked": 2, "answered": 0}
    families = {"ipv6": six, "ipv4": {"routed": True, "asked": 2, "answered": 2}}
    told = walk({"a.example": {"failure": "timeout"}})
    told = replace(told, data={**told.data, "families": families})
    failed = check("http", "a", "https://a.example/", "timeout", used=used)
    assert decide([ping(), web("b", "b.example"), failed, told], NEED).cause == cause


def starved(**second: Any) -> Result:
    """Return a walk whose time was over before it had sent anything."""
    silent = {"answers": False, "sent": 0, "received": 0, "rtts_ms": [], "failure": "no_reply"}
    data = {
        "routed": True,
        "gateway": {"address": GATEWAY, **silent, "neighbour": False},
        "references": [{"address": "1.1.1.1", **silent}],
        "resolvers": [{"address": "203.0.113.53:53", "place": "beyond", "answers": False, "failure": "dns_timeout"}],
        "collectors": [{"host": "c.example", "place": None, "failure": "timeout"}],
        "second": second,
    }
    return replace(check("path", "path", "default-gateway", "no_way_beyond"), data=data)


def test_what_was_never_asked_is_not_silent() -> None:
    """A walk without processor time accuses neither the gateway nor the resolver."""
    failed = web("a", "a.example", "timeout")
    assert decide([failed, starved()], NEED).owner == "uncertain"
    assert decide([failed, starved()], NEED).candidates[0].cause == "device_busy"
    told = decide([web("b", "b.example"), failed, starved()], NEED)
    assert plain(told) == ("uncertain", "one_host_failed")
    asked = starved()
    gateway = {**asked.data["gateway"], "sent": 10}
    points = [{**row, "sent": 10} for row in asked.data["references"]]
    asked = replace(asked, data={**asked.data, "gateway": gateway, "references": points})
    assert plain(decide([failed, asked], NEED)) == ("local", "gateway_dead"), "the control: it was asked"


@pytest.mark.parametrize(
    ("status", "verdict"), [(503, ("uncertain", "collector_unreached")), (200, ("none", "healthy"))]
)
def test_a_collector_that_came_late_with_an_error_is_no_all_clear(status: int, verdict: tuple[str, str]) -> None:
    """Its own error counts in the second look, too; seen once, it names nobody."""
    again = {"host": "c.example", "place": "beyond", "failure": None, "tls_verified": True, "status_code": status}
    results = [ping(), web("b", "b.example"), starved(collectors=[again])]
    assert plain(decide(results, NEED)) == verdict
