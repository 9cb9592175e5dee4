"""What the second look adds: a login page that came meanwhile, endless redirects, pages that hang in their middle."""

from __future__ import annotations

from typing import Any

import pytest

from sigprobe.verdict import decide
from tests.verdict.test_verdict import NEED, again, check, looked_again, outwards, ping, plain, point, web

STRANGER = "login.sekolah.example"


def plain_page(host: str, to: str | None = STRANGER) -> dict[str, Any]:
    """Return a look at the plain page of a reference."""
    return {"host": host, "tls": False, "status_code": 302 if to else 200, "redirect_host": to, "failure": None}


@pytest.mark.parametrize(
    ("pages", "owner", "cause"),
    [
        ([plain_page("1.1.1.1"), plain_page("9.9.9.9")], "local", "captive_portal"),
        ([plain_page("1.1.1.1", "paket.example"), plain_page("9.9.9.9", "paket.example")], "local", "walled_garden"),
        ([plain_page("1.1.1.1")], "uncertain", "no_way_beyond"),
        ([plain_page("1.1.1.1"), plain_page("9.9.9.9", "another.example")], "uncertain", "no_way_beyond"),
        ([plain_page("1.1.1.1", None), plain_page("9.9.9.9", None)], "uncertain", "no_way_beyond"),
    ],
)
def test_a_login_page_that_came_in_the_middle_of_a_run(pages: list[dict[str, Any]], owner: str, cause: str) -> None:
    """Pages worked before; then two references lead to one stranger. One alone may be a site's own redirect."""
    silent = [point(address, answers=False) for address in ("1.1.1.1", "9.9.9.9")]
    down = [{"host": "c.example", "place": "beyond", "failure": "timeout"}]
    second = looked_again(collectors=down, references_asked=2, references_answered=0, plain=pages)
    before = [{**point("203.0.113.7"), "sent": 0, "received": 0}]  # told by the page's own check, earlier
    walk = outwards("no_way_beyond", references=silent, targets=before, collectors=down, second=second)
    assert plain(decide([ping(), web(), walk], NEED)) == (owner, cause)


def test_a_service_that_redirects_until_our_deadline_speaks_for_itself() -> None:
    """Many redirects within one service, each look one more, over its certificate: its error, not our deadline's."""
    circle = {**again(status=302), "host": "sirekap.example"}
    led = {"redirects_followed": 17}
    walk = outwards(web=[circle], second=looked_again(circle))
    verdict = decide([ping(), web("kpu", "kpu.example"), web(code="timeout", **led), walk], NEED)
    assert plain(verdict) == ("service", "service_error")
    few = web(code="timeout", redirects_followed=2)
    assert decide([ping(), web("kpu", "kpu.example"), few, walk], NEED).owner != "service", "the control"


@pytest.mark.parametrize(("ttfb_ms", "cause"), [(80.0, "one_host_failed"), (None, "recovered")])
def test_a_request_without_a_body_does_not_show_that_a_page_is_well(ttfb_ms: float | None, cause: str) -> None:
    """A page that hung in its middle is not over because its head is answered."""
    bad = web(code="timeout", ttfb_ms=ttfb_ms)
    walk = outwards(second=looked_again(again()))
    assert decide([ping(), web("kpu", "kpu.example"), bad, walk], NEED).cause == cause


@pytest.mark.parametrize(
    ("code", "first"),
    [("tls_hostname", "service_certificate"), ("tls_not_spoken", "service_down"), ("refused", "service_down")],
)
def test_another_certificate_is_no_dead_service(code: str, first: str) -> None:
    """The first candidate names what was seen."""
    walk = outwards(second=looked_again(again(status=None, failure=code)))
    verdict = decide([ping(), web(code=code), web("kpu", "kpu.example"), walk], NEED)
    assert (verdict.cause, verdict.candidates[0].cause) == ("one_host_failed", first)


@pytest.mark.parametrize(
    ("codes", "works", "first"),
    [
        (("timeout", "timeout"), False, "quota_used_up"),
        (("refused", "reset"), False, "site_firewall"),
        (("timeout", "timeout"), True, "operator_filter"),
        (("tls_untrusted", "tls_untrusted"), True, "site_firewall"),
        (("tls_hostname", "tls_untrusted"), False, "captive_portal"),
    ],
)
def test_the_order_for_several_hosts(codes: tuple[str, str], works: bool, first: str) -> None:
    """Services are rarely down together: what nothing contradicts comes first."""
    results = [ping(), *(web(host, f"{host}.example", code) for host, code in zip("ab", codes, strict=True))]
    results += [web("c", "c.example")] if works else []
    assert decide([*results, outwards()], NEED).candidates[0].cause == first


@pytest.mark.parametrize(("late_ms", "cause"), [(1080.0, "packets_lost"), (60.0, "recovered")])
def test_a_silence_beside_lost_first_packets_is_no_host_of_its_own(late_ms: float, cause: str) -> None:
    """Two other connections opened with a repeated first packet only: the link loses them."""
    others = [web(host, f"{host}.example", tcp_ms=late_ms) for host in "bc"]
    near = [{**point(a), "tcp_ms": 50.0} for a in ("1.1.1.1", "9.9.9.9")]
    walk = outwards(references=near, second=looked_again(again()))
    assert decide([ping(), web(code="timeout"), *others, walk], NEED).cause == cause


@pytest.mark.parametrize(
    ("late_ms", "states", "cause"),
    [
        (2067.0, ("timeout", "open"), "packets_lost"),
        (60.0, ("timeout", "open"), "healthy"),
        (2067.0, ("open", "open"), "healthy"),
        (2067.0, ("timeout", "timeout"), "healthy"),
    ],
)
def test_a_page_that_opened_late_beside_a_reference_that_did_not(
    late_ms: float, states: tuple[str, str], cause: str
) -> None:
    """Both together are no chance. Silence of every reference alone is as well a rule about name servers."""
    pages = [web("a", "a.example", tcp_ms=late_ms), web("b", "b.example", tcp_ms=40.0)]
    both = zip(("1.1.1.1", "9.9.9.9"), states, strict=True)
    near = [{**point(a), "received": 10, "tcp": {"443": state, "53": state}} for a, state in both]
    assert decide([ping(), *pages, outwards(references=near)], NEED).cause == cause


def test_a_broken_family_is_no_healthy_link() -> None:
    """IPv4 reaches nothing while IPv6 does: pages with IPv6 work, and others cannot be reached."""
    asked = {"routed": True, "asked": 2}
    families = {"ipv4": {**asked, "answered": 0}, "ipv6": {**asked, "answered": 2}}
    references = [point(a, answers=":" in a) for a in ("1.1.1.1", "9.9.9.9", "2606:4700::1111", "2620:fe::fe")]
    page = check("http", "a", "https://a.example/", used="[2001:db8::7]:443", tls_version="TLSv1.3", total_ms=300.0)
    results = [ping(code="no_reply"), page, outwards(references=references, families=families)]
    assert plain(decide(results, NEED)) == ("uncertain", "ipv4_broken")
    families["ipv4"]["answered"] = 1
    assert plain(decide(results, NEED)) == ("none", "icmp_filtered"), "the control"
