"""Every failure code of a check has one meaning in the verdict, and none falls into a rule by accident."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import sigprobe
from sigprobe.record import profile
from sigprobe.record.result import Outcome, Result
from sigprobe.verdict import decide
from sigprobe.verdict.failure_codes import GROUPS, NOT_RUN
from sigprobe.words.codes import CODES
from tests.verdict.test_verdict import check, ping, plain, web

NEED = profile.load(profile.DEFAULT)
ROOMS = ("measure", "net")
NO_CODES = frozenset({"slower"})
"""A word that stands in the table of codes and in the rooms of checks, and is never a record's failure code."""


def written_in_the_rooms() -> set[str]:
    """Return the codes of the table that stand as text in the rooms of checks."""
    package = Path(sigprobe.__file__).parent
    texts = [path.read_text() for room in ROOMS for path in (package / room).rglob("*.py")]
    return {code for text in texts for code in re.findall(r'"([a-z0-9_]+)"', text)} & set(CODES) - NO_CODES


def test_each_code_is_in_one_group() -> None:
    """A code that checks write and no group has is an undecided one; one in two groups is ambiguous."""
    counted = Counter(code for group in GROUPS for code in group)
    assert written_in_the_rooms() - set(counted) == set()
    assert {code for code, count in counted.items() if count > 1} == set()
    assert len(written_in_the_rooms()) > 50, "the control: the search finds codes"


@pytest.mark.parametrize("code", sorted(NOT_RUN))
def test_a_check_that_could_not_run_judges_nothing(code: str) -> None:
    """The rest of the run decides; without any, nothing was measured."""
    failed = check("throughput", "speed", "http://s.example/", code)
    assert plain(decide([ping(), web(), failed], NEED)) == ("none", "healthy")
    if code != "no_endpoint":
        assert plain(decide([failed], NEED)) == ("uncertain", "nothing_measured")


def test_a_foreign_page_in_place_of_a_speed_test_may_be_a_login_page() -> None:
    """Where nothing in the run is proven by a certificate, it is no all-clear."""
    failed = check("throughput", "speed", "http://s.example/", "no_endpoint")
    assert decide([ping(), failed], NEED).owner == "uncertain"


@pytest.mark.parametrize(
    ("codes", "first"),
    [
        (["tls_not_spoken", "tls_not_spoken"], "captive_portal"),
        (["tls_hostname", "tls_refused"], "captive_portal"),
        (["tls_too_old"], "service_down"),
        (["tls_refused"], "service_down"),
        (["dns_no_answer"], "service_name"),
        (["dns_rcode"], "service_name"),
        (["packet_too_big"], "operator_mtu"),
        (["ttl_exceeded"], "operator_outage"),
    ],
)
def test_the_first_candidate_of_a_code(codes: list[str], first: str) -> None:
    """Several hosts without any valid certificate are rather a login page than several services at once."""
    failed = [web(f"s{n}", f"s{n}.example", code) for n, code in enumerate(codes)]
    verdict = decide([ping(), *failed], NEED)
    assert verdict.owner == "uncertain"
    assert verdict.candidates[0].cause == first


def looked_again(**row: object) -> Result:
    """Return a walk that looked at the service a second time."""
    told = {"host": "sirekap.example", "tls": True, "tls_verified": True, "failure": None, "status_code": None, **row}
    return check(
        "path", "path", "default-gateway", routed=True, references=[], second={"web": [told]}, outcome=Outcome.OK
    )


@pytest.mark.parametrize(
    ("code", "version", "row", "owner"),
    [
        ("bad_response", "TLSv1.3", {"failure": "bad_response"}, "service"),
        ("bad_response", None, {"failure": "bad_response"}, "uncertain"),
        ("bad_response", "TLSv1.3", {"failure": "bad_response", "tls_verified": False}, "uncertain"),
        ("bad_response", "TLSv1.3", {"status_code": 200}, "uncertain"),
        ("redirect_limit", "TLSv1.3", {"status_code": 302}, "service"),
        ("redirect_limit", "TLSv1.3", {"status_code": 302, "redirect_host": "login.example"}, "uncertain"),
        ("redirect_limit", None, {"status_code": 302}, "uncertain"),
    ],
)
def test_what_no_box_on_the_way_can_write(code: str, version: str | None, row: dict[str, object], owner: str) -> None:
    """Nonsense and endless redirects are the service's own over its certificate, twice; else they name nobody."""
    failed = web(code=code, tls_version=version)
    assert decide([web("b", "b.example"), failed, looked_again(**row)], NEED).owner == owner


@pytest.mark.parametrize(("fetched", "owner"), [(19, "none"), (12, "uncertain")])
def test_a_page_without_a_fifth_of_its_parts(fetched: int, owner: str) -> None:
    """One missing part of twenty is common; many are a connection that works, but not well enough."""
    part = check(
        "web", "page", "https://p.example/", "page_incomplete", outcome=Outcome.DEGRADED,
        tls_version="TLSv1.3", total_ms=900.0, resources_found=20, resources_fetched=fetched,
    )  # fmt: skip
    assert decide([web(), part], NEED).owner == owner
