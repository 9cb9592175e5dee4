"""The verdict on whole pages and videos: judged like any other request to a web server, and no proof of more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sigprobe.record import profile
from sigprobe.record.result import Failure, Network, Outcome, Result, Software, Tags, Target, new_id
from sigprobe.verdict import decide

NEED = profile.load(profile.DEFAULT)
KINDS = ("http", "web", "video")
TIMES = {"http": "total_ms", "web": "total_ms", "video": "start_delay_ms"}


def check(kind: str, host: str, code: str | None = None, outcome: Outcome | None = None, **data: Any) -> Result:
    return Result(
        id=new_id(),
        run_id=new_id(),
        probe_id=None,
        kind=kind,
        kind_version=1,
        target=Target(f"{kind}-{host}", f"{data.pop('scheme', 'https')}://{host}/", "203.0.113.5:443"),
        started_at="2026-11-27T07:05:00.000Z",
        duration_ms=1.0,
        outcome=outcome or (Outcome.OK if code is None else Outcome.FAILED),
        failure=None if code is None else Failure(code),
        data={"tls_version": None if code else "TLSv1.3", **data},
        tags=Tags(network=Network(gateway="192.168.8.1")),
        software=Software("sigprobe", "0"),
    )


def good(kind: str, host: str = "fine.example") -> Result:
    return check(kind, host, **{TIMES[kind]: 300.0})


@pytest.mark.parametrize("proof", KINDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("code", "status", "cause"),
    [("refused", None, "one_host_failed"), ("http_status", 500, "service_error"), ("timeout", None, "one_host_failed")],
)
def test_a_failed_page_or_video_counts_like_any_request(
    kind: str, proof: str, code: str, status: int | None, cause: str
) -> None:
    """The service is named when it speaks for itself twice, whichever of the three kinds failed."""
    row = {"host": "down.example", "tls": True, "tls_verified": status is not None, "status_code": status}
    row |= {"failure": None if status else code}
    walk = replace(check("path", "x"), data={"routed": True, "references": [], "second": {"web": [row]}})
    failed = check(kind, "down.example", code, status_code=status, tls_version="TLSv1.3" if status else None)
    verdict = decide([good(proof), failed, walk], NEED)
    assert (verdict.owner, verdict.cause) == ("service" if status else "uncertain", cause)


@pytest.mark.parametrize("kind", ["web", "video"])
def test_two_checks_of_one_host_are_one_service(kind: str) -> None:
    """A page and its own service that fail together are no two services."""
    results = [good("http"), check("http", "down.example", "refused"), check(kind, "down.example", "refused")]
    verdict = decide(results, NEED)
    assert (verdict.owner, verdict.cause) == ("uncertain", "one_host_failed")


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_page_proves_no_way(kind: str) -> None:
    """Without TLS anybody may have answered, so nobody is accused."""
    plain = check(kind, "plain.example", tls_version=None, scheme="http", **{TIMES[kind]: 300.0})
    assert decide([plain, check("http", "down.example", "timeout")], NEED).owner == "uncertain"


@pytest.mark.parametrize("kind", ["web", "video"])
def test_what_is_left_out_or_incomplete_accuses_nobody(kind: str) -> None:
    """A check that stopped for the data, or of which a part is missing, has answered all the same."""
    code = "page_incomplete" if kind == "web" else "video_incomplete"
    part = check(kind, "sirekap.example", code, Outcome.DEGRADED)
    left_out = check(kind, "sirekap.example", "data_budget", Outcome.SKIPPED)
    verdict = decide([good("http"), part, left_out], NEED)
    # a page without known parts was cut short by its limits; a video without some of its parts stood still
    assert (verdict.owner, verdict.cause) == (("none", "healthy") if kind == "web" else ("uncertain", "below_need"))


@pytest.mark.parametrize(
    "short",
    [
        check("web", "sirekap.example", total_ms=4001.0),
        check("video", "film.example", start_delay_ms=10_001.0, stall_ratio=0.0),
        check("video", "film.example", start_delay_ms=300.0, stall_ratio=0.02),
    ],
)
def test_too_slow_for_the_need_is_said_and_nobody_accused(short: Result) -> None:
    """A page or video that is worse than the profile asks for is below need, with itself as the evidence."""
    verdict = decide([good("http"), short], NEED)
    assert verdict.owner == "uncertain" and verdict.cause in ("below_need", "slow_target")
    assert short.id in verdict.evidence


@pytest.mark.parametrize("kind", ["http", "web"])
@pytest.mark.parametrize(("away", "portal"), [("www.site.example", False), ("login.hotspot.example", True)])
def test_the_same_site_with_www_is_no_login_page(kind: str, away: str, portal: bool) -> None:
    """Sending visitors from a name to its www. is what sites do; sending them to a stranger is what hotspots do."""
    outcome, code = (Outcome.OK, None) if kind == "http" else (Outcome.DEGRADED, "redirect_elsewhere")
    page = check(kind, "site.example", code, outcome, scheme="http", tls_version=None, redirect_host=away)
    assert (decide([page], NEED).cause == "redirected") is portal


@pytest.mark.parametrize(
    ("host", "away", "portal"),
    [
        ("bücher.example", "www.xn--bcher-kva.example", False),
        ("site.example.", "www.site.example", False),
        ("site.example", "WWW.Site.Example.", False),
        ("192.0.2.7", "192.0.2.7", False),
        ("192.0.2.7", "192.0.2.8", True),
        ("id", "www.id", True),
        ("site.example", "www.www.site.example", True),
        ("site.example", "www-site.example", True),
    ],
)
def test_one_host_in_two_spellings_is_no_login_page(host: str, away: str, portal: bool) -> None:
    """The verdict compares hosts as checks do: other scripts, a final dot and capitals make no other host."""
    page = check("http", host, None, Outcome.OK, scheme="http", tls_version=None, redirect_host=away)
    assert (decide([page], NEED).cause == "redirected") is portal
