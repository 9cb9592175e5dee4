"""The verdict: right where the evidence suffices, and never an accusation where it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigprobe.record import profile
from sigprobe.record.result import Failure, Network, Outcome, Result, Software, Tags, Target, new_id
from sigprobe.verdict import Verdict, decide, readings, shortfalls
from sigprobe.words.codes import CODES

NEED = profile.load(profile.DEFAULT)
GATEWAY = "192.168.8.1"


def check(
    kind: str,
    name: str,
    address: str,
    code: str | None = None,
    *,
    outcome: Outcome | None = None,
    gateway: str | None = GATEWAY,
    used: str | None = None,
    **data: Any,
) -> Result:
    outcome = outcome or (Outcome.OK if code is None else Outcome.FAILED)
    return Result(
        id=new_id(),
        run_id=new_id(),
        probe_id=None,
        kind=kind,
        kind_version=1,
        target=Target(name, address, used),
        started_at="2026-11-27T07:05:00.000Z",
        duration_ms=1.0,
        outcome=outcome,
        failure=None if code is None else Failure(code),
        data=data,
        tags=Tags(network=Network(gateway=gateway)),
        software=Software("sigprobe", "0"),
    )


def ping(name: str = "world", address: str = "1.1.1.1", code: str | None = None, **data: Any) -> Result:
    return check("ping", name, address, code, **{"rtt_median_ms": 20.0, "loss_ratio": 0.0, **data})


def web(name: str = "sirekap", host: str = "sirekap.example", code: str | None = None, **data: Any) -> Result:
    tls = None if code else "TLSv1.3"
    return check("http", name, f"https://{host}/", code, **{"tls_version": tls, "total_ms": 300.0, **data})


def dns(name: str = "kpu", code: str | None = None, **data: Any) -> Result:
    return check("dns", name, "kpu.example", code, query_ms=30.0, **data)


def plain(verdict: Verdict) -> tuple[str, str]:
    return verdict.owner, verdict.cause


def test_all_well() -> None:
    """Everything answered and is good enough: nobody's job."""
    verdict = decide([ping(), dns(), web()], NEED)
    assert plain(verdict) == ("none", "healthy")
    assert verdict.confidence == 0.9
    assert len(verdict.evidence) == 3


def test_degraded_is_not_failed() -> None:
    """One silent resolver of two does not make a connection ill."""
    assert plain(decide([ping(), dns(code="dns_some_failed", outcome=Outcome.DEGRADED)], NEED)) == ("none", "healthy")


@pytest.mark.parametrize(
    "slow",
    [
        check("throughput", "center", "https://c.example/", download_bps=12e6, upload_bps=1.1e6),
        check(
            "throughput",
            "center",
            "https://c.example/",
            "one_direction",
            outcome=Outcome.DEGRADED,
            download_bps=12e6,
            upload_bps=None,
        ),
        check("ping", "far", "9.9.9.9", "packet_loss", outcome=Outcome.DEGRADED, loss_ratio=0.3),
    ],
)
def test_worse_than_needed_accuses_nobody(slow: Result) -> None:
    """Slow, lossy or one-way is neither well nor anybody's proven fault; it names what falls short."""
    verdict = decide([ping(), slow], NEED)
    assert plain(verdict) == ("uncertain", "below_need")
    assert verdict.targets == (slow.target.name,)


def test_a_lower_bound_falls_short_of_nothing() -> None:
    """A speed that a data cap cut off may be any higher one: it accuses nobody."""
    capped = {"engine": "http", "ended_download": "data_cap", "download_bps": 100_000, "download_ci_bps": None}
    results = [ping(), check("throughput", "center", "https://c.example/", **capped)]
    assert shortfalls(results, NEED) == ()
    assert plain(decide(results, NEED)) == ("none", "healthy")
    capped["download_ci_bps"] = [90_000, 110_000]
    assert [r.metric for r in shortfalls([check("throughput", "center", None, **capped)], NEED)] == ["download_bps"]


def test_badge_never_decides() -> None:
    """A badge profile and no profile at all leave a slow answer healthy."""
    slow = [ping(rtt_median_ms=900.0)]
    assert shortfalls(slow, profile.load("tiphon-id")) == ()
    assert plain(decide(slow, None)) == ("none", "healthy")


@pytest.mark.parametrize(
    "codes",
    [
        ("network_unreachable", "network_unreachable", "network_unreachable"),
        ("no_gateway", "no_network", "no_network"),
        ("network_unreachable", "dns_timeout", "name_not_found"),
    ],
)
def test_no_network(codes: tuple[str, str, str]) -> None:
    """When the kernel knows no way out for anything, it is the device's own network."""
    results = [
        check(kind, kind, "x.example", code, gateway=None)
        for kind, code in zip(("ping", "dns", "http"), codes, strict=True)
    ]
    verdict = decide(results, NEED)
    assert plain(verdict) == ("local", "no_network")
    assert set(verdict.evidence) == {r.id for r in results}


def test_names_failing_with_a_gateway_is_not_no_network() -> None:
    """Dead names while a gateway is there may be the operator's resolver: uncertain, not local."""
    results = [ping(code="network_unreachable", address="2001:db8::1"), web(code="name_not_found")]
    assert plain(decide(results, NEED)) == ("uncertain", "uncertain")


def again(host: str = "sirekap.example", status: int | None = 200, **changes: Any) -> dict[str, Any]:
    """One row of the second look: the same host at the same address, over a certificate that holds."""
    row = {"host": host, "tls": True, "tls_verified": True, "status_code": status, "failure": None}
    return {**row, "redirect_host": None, **changes}


def looked_again(
    *web_rows: dict[str, Any], collectors: list[dict[str, Any]] | None = None, **more: Any
) -> dict[str, Any]:
    """What a second look brought."""
    return {"after_s": 10.0, "web": list(web_rows), "collectors": collectors or [], **more}


@pytest.mark.parametrize("code", ["refused", "reset", "timeout", "tls_hostname", "http_truncated", "bad_response"])
def test_one_host_that_is_mute_names_nobody(code: str) -> None:
    """A refusal and a silence of one host are as well a filter of the operator or of this place: all three remain."""
    bad, good = web(code=code), web("kpu", "kpu.example")
    walk = outwards(second=looked_again(again(status=None, failure=code)))
    verdict = decide([ping(), bad, good, walk], NEED)
    assert plain(verdict) == ("uncertain", "one_host_failed")
    assert verdict.targets == ("sirekap",)
    assert {c.owner for c in verdict.candidates[:3]} == {"service", "operator", "local"}
    assert bad.id in verdict.evidence and good.id in verdict.evidence


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (500, "service_error"),
        (503, "service_error"),
        (403, "service_denied"),
        (429, "service_denied"),
        (451, "service_denied"),
    ],
)
def test_a_service_that_speaks_for_itself_is_named(status: int, cause: str) -> None:
    """An error page or a refusal over its own certificate, in both looks."""
    bad = web(code="http_status", status_code=status, tls_version="TLSv1.3")
    twice = outwards(second=looked_again(again(status=status)))
    verdict = decide([ping(), bad, twice], NEED)
    assert plain(verdict) == ("service", cause)
    assert verdict.confidence >= 0.9


@pytest.mark.parametrize(
    ("bad", "second"),
    [
        pytest.param({"tls_version": "TLSv1.3"}, looked_again(again(status=200)), id="it works again"),
        pytest.param({"tls_version": "TLSv1.3"}, None, id="nobody looked again"),
        pytest.param({"tls_version": None}, looked_again(again(status=503)), id="not over TLS the first time"),
        pytest.param(
            {"tls_version": "TLSv1.3"}, looked_again(again(status=503, tls_verified=False)), id="nor the second"
        ),
        pytest.param(
            {"tls_version": "TLSv1.3", "proxy": "http://p:3128"}, looked_again(again(status=503)), id="a proxy"
        ),
    ],
)
def test_an_error_page_is_no_word_of_the_service_unless_proven(
    bad: dict[str, Any], second: dict[str, Any] | None
) -> None:
    """Once, without a certificate, or through a proxy, an error page accuses nobody."""
    page = web(code="http_status", status_code=503, **bad)
    assert decide([ping(), page, outwards(second=second)], NEED).owner == "uncertain"


@pytest.mark.parametrize("status", [401, 407, 511])
def test_answers_of_gatekeepers_are_no_word_of_a_service(status: int) -> None:
    """A login, a proxy and a portal answer for others."""
    page = web(code="http_status", status_code=status, tls_version="TLSv1.3")
    assert decide([ping(), page, outwards(second=looked_again(again(status=status)))], NEED).owner != "service"


def test_what_works_a_moment_later_is_over() -> None:
    """The second look finds the page well: nobody is accused, and nothing is called healthy either."""
    walk = outwards(second=looked_again(again(status=200)))
    verdict = decide([ping(), web(code="refused"), web("kpu", "kpu.example"), walk], NEED)
    assert plain(verdict) == ("uncertain", "recovered")


def test_a_dead_zone_names_nobody() -> None:
    """All answers on plain port 53 may come from one and the same place."""
    other = check("dns", "other", "other.example", query_ms=20.0)
    verdict = decide([other, ping(), dns(code="dns_servfail")], NEED)
    assert verdict.owner == "uncertain"
    assert "service" in {c.owner for c in verdict.candidates[:3]}


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(check("http", "a", "http://127.0.0.1:8001/", used="127.0.0.1:8001", status_code=200), id="plain"),
        pytest.param(check("http", "a", "https://127.0.0.1:8001/", tls_version="TLSv1.3"), id="over TLS"),
        pytest.param(check("ping", "a", "127.0.0.1"), id="ping"),
    ],
)
def test_targets_on_loopback_say_nothing_of_the_internet(good: Result) -> None:
    """They prove no way out of the device: not healthy, nobody accused, and a cause of its own."""
    assert plain(decide([good], NEED)) == ("uncertain", "internet_not_tested")
    bad = check("http", "b", "http://127.0.0.1:8002/", "refused")
    verdict = decide([good, bad], NEED)
    assert plain(verdict) == ("uncertain", "internet_not_tested")
    assert verdict.targets == ("b",)
    assert verdict.confidence < 1.0
    assert "internet works" not in CODES[verdict.cause].sentence


@pytest.mark.parametrize("place", ["self", "link"])
def test_a_reference_nearby_proves_no_way_beyond(place: str) -> None:
    """A point on this device or this network answers although nothing beyond the gateway does."""
    near = outwards("no_way_beyond", references=[{**point("192.168.8.9"), "place": place}])
    assert plain(decide([web(code="timeout"), near], NEED)) == ("uncertain", "no_way_beyond")


def test_the_collector_of_this_device_alone() -> None:
    """Where the internet was not tested, nothing is said of it."""
    down = [{"host": "127.0.0.1", "place": "self", "failure": "refused"}]
    page = check("http", "a", "http://127.0.0.1:8001/", used="127.0.0.1:8001", status_code=200)
    verdict = decide([page, outwards("no_reference", answers=False, references=[], collectors=down)], NEED)
    assert plain(verdict) == ("uncertain", "internet_not_tested")
    assert "internet works" not in CODES[verdict.cause].sentence


@pytest.mark.parametrize(
    "results",
    [
        pytest.param([ping("gateway", "default-gateway"), web(code="timeout")], id="only the gateway answered"),
        pytest.param([ping("gateway", GATEWAY), web(code="refused")], id="only the gateway's address answered"),
        pytest.param(
            [check("http", "printer", "http://192.168.8.9/"), web(code="refused")], id="only a neighbour answered"
        ),
        pytest.param([ping("self", "127.0.0.1"), web(code="refused")], id="only this device answered"),
        pytest.param([ping(), web(code="timeout")], id="silence over TCP may be an MTU black hole"),
        pytest.param([ping(), web(code="tls_not_yet_valid")], id="a clock fault"),
        pytest.param([ping(), web("b", "b.example"), web(code="tls_expired")], id="expired, or the clock"),
        pytest.param([ping(), web(code="tls_untrusted")], id="somebody in between"),
        pytest.param([ping(), web(code="http_text", status_code=200)], id="perhaps a portal"),
        pytest.param([ping(), web(code="http_status", status_code=403)], id="an error page without TLS"),
        pytest.param([dns(), web(code="refused")], id="only a resolver answered"),
        pytest.param(
            [web("b", "b.example"), web(code="http_status", status_code=403, tls_version="TLSv1.3")], id="not let in"
        ),
        pytest.param([web("b", "b.example"), web(code="refused", proxy="http://p:3128")], id="perhaps the proxy"),
        pytest.param([ping(), dns(code="dns_timeout")], id="the resolver is silent, not the service"),
        pytest.param([ping(), web(), dns(code="refused")], id="the resolver refuses, not the service"),
        pytest.param([ping(), web(), dns(code="dns_servfail")], id="no other name was looked up"),
        pytest.param([ping(), web("b", "b.example"), web(code="name_not_found")], id="a name may be the resolver's"),
        pytest.param(
            [web("c", "c.example"), web("a", "a.example", "refused"), web("b", "b.example", "refused")],
            id="two services at once",
        ),
        pytest.param(
            [check("http", "plain", "http://p.example/"), web(code="refused")], id="a page without TLS proves nothing"
        ),
        pytest.param([ping(), ping("other", "9.9.9.9", "no_reply")], id="ping alone"),
        pytest.param([ping(), web("b", "b.example"), web(code="network_unreachable")], id="no route for one family"),
        pytest.param([ping(code="no_reply"), web(code="timeout")], id="everything silent"),
    ],
)
def test_never_accuses_without_proof(results: list[Result]) -> None:
    """Where the evidence also fits another cause, nobody is named, and something remains to be looked at."""
    verdict = decide(results, NEED)
    assert verdict.owner == "uncertain"
    assert verdict.candidates


def test_icmp_filtered() -> None:
    """Only ping is silent while a page at least as far away answers: nothing is wrong."""
    silent = [ping("gateway", GATEWAY, "no_reply"), ping(code="timeout")]
    verdict = decide([*silent, web()], NEED)
    assert plain(verdict) == ("none", "icmp_filtered")
    assert verdict.targets == ("gateway", "world")


def test_ping_by_tcp_is_not_icmp() -> None:
    """A ping that fell back to TCP and got no answer says more than a dropped ICMP packet: not healthy."""
    results = [ping(code="no_reply", method="tcp"), web()]
    assert plain(decide(results, NEED)) == ("uncertain", "one_host_failed")


def test_silent_ping_does_not_hide_a_dead_service() -> None:
    """A refusing service is told of even when its ping is silent too."""
    results = [ping(code="no_reply"), web(code="refused"), web("kpu", "kpu.example")]
    verdict = decide(results, NEED)
    assert plain(verdict) == ("uncertain", "one_host_failed")
    assert verdict.targets == ("sirekap",)


def test_nothing() -> None:
    """No results at all say nothing."""
    assert plain(decide([], NEED)) == ("uncertain", "nothing_measured")


def test_all_skipped() -> None:
    """Skipped checks say nothing either, and are the evidence for it."""
    skipped = check("throughput", "center", "https://c.example/", "busy", outcome=Outcome.SKIPPED)
    verdict = decide([skipped], NEED)
    assert plain(verdict) == ("uncertain", "nothing_measured")
    assert verdict.evidence == (skipped.id,)


def test_missing_numbers_are_not_read() -> None:
    """A null or a flag among the data is no reading."""
    result = check("ping", "x", "1.1.1.1", rtt_median_ms=None, rtt_avg_ms=12.0, jitter_ms=None, loss_ratio=True)
    assert [(r.metric, r.value) for r in readings(result, NEED)] == [("latency_ms", 12.0)]


KINDS = ("ping", "dns", "http", "throughput", "path", "later")
ADDRESSES = ("default-gateway", "127.0.0.1", "[::1]:80", "http://[", "https://a.example/", "10.0.0.1", "fe80::1%e", "")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.sampled_from(ADDRESSES),
            st.sampled_from([None, *CODES]),
            st.sampled_from([Outcome.FAILED, Outcome.SKIPPED, Outcome.DEGRADED]),
        ),
        max_size=6,
    )
)
def test_any_run_gets_a_verdict(rows: list[tuple[str, str, str | None, Outcome]]) -> None:
    """Whatever was measured, there is a known cause, a confidence in range, and evidence from this run."""
    results = [
        check(kind, f"t{i}", address, code, outcome=outcome if code else None)
        for i, (kind, address, code, outcome) in enumerate(rows)
    ]
    verdict = decide(results, NEED)
    assert verdict.cause in CODES
    assert 0 <= verdict.confidence <= 1
    assert set(verdict.evidence) <= {r.id for r in results}
    assert verdict.owner in ("none", "local", "operator", "service", "collector", "uncertain")
    assert set(verdict.to_dict()) == {"owner", "cause", "confidence", "evidence", "candidates"}


# --- with the walk outwards -----------------------------------------------------------------------------------


def point(address: str, *, answers: bool = True, lost: int = 0, ms: float = 30.0) -> dict[str, Any]:
    rtts = [None] * lost + [ms] * (10 - lost)
    return {
        "address": address,
        "answers": answers,
        "sent": 10,
        "received": len(rtts) - lost,
        "rtts_ms": rtts if answers else [None] * 10,
        "tcp": {"53": "open"} if answers else {"53": "timeout"},
    }


def outwards(code: str | None = None, *, answers: bool = True, outcome: Outcome | None = None, **data: Any) -> Result:
    found = {
        "connected": True,
        "addressed": True,
        "routed": True,
        "gateway": point(GATEWAY, ms=1.0),
        "references": [point("1.1.1.1", answers=answers), point("9.9.9.9", answers=answers)],
        **data,
    }
    return replace(check("path", "path", "default-gateway", code, outcome=outcome), data=found)


def resolver(address: str, place: str) -> list[dict[str, Any]]:
    return [{"address": address, "place": place, "answers": False, "failure": "dns_timeout"}]


@pytest.mark.parametrize(
    ("walk", "owner", "cause"),
    [
        pytest.param(outwards("no_network", answers=False, connected=False), "local", "no_network", id="no link"),
        pytest.param(outwards("no_address", answers=False, addressed=False), "local", "no_address", id="no address"),
        pytest.param(
            outwards("gateway_dead", answers=False, gateway={**point(GATEWAY, answers=False), "neighbour": False}),
            "local",
            "gateway_dead",
            id="dead gateway",
        ),
        pytest.param(
            outwards("gateway_dead", answers=False, gateway={**point(GATEWAY, answers=False), "neighbour": True}),
            "uncertain",
            "no_way_beyond",
            id="a gateway that is there and says nothing",
        ),
        pytest.param(outwards("no_way_beyond", answers=False), "uncertain", "no_way_beyond", id="a phone without data"),
        pytest.param(
            outwards("dead_after_hop", answers=False, outcome=Outcome.DEGRADED, hop_beyond="10.9.9.9"),
            "uncertain",
            "no_way_beyond",
            id="a private hop and silence after it may be this place's",
        ),
        pytest.param(
            outwards("dead_after_hop", answers=False, outcome=Outcome.DEGRADED, hop_beyond="100.64.0.1"),
            "uncertain",
            "no_way_beyond",
            id="silence behind the operator's hop fits a used-up package",
        ),
        pytest.param(
            outwards(
                "dead_after_hop",
                answers=False,
                outcome=Outcome.DEGRADED,
                hop_beyond="100.64.0.1",
                references=[
                    {**point("1.1.1.1", answers=False), "told_by": "100.64.0.1"},
                    {**point("9.9.9.9", answers=False), "told_by": "100.64.0.1"},
                ],
                second={"references_asked": 2, "references_answered": 0},
            ),
            "operator",
            "dead_after_hop",
            id="the operator's own router says that there is no route, twice",
        ),
        pytest.param(
            outwards(resolvers=resolver("100.64.0.53:53", "beyond")),
            "uncertain",
            "resolver_silent",
            id="a resolver beyond a router may be anybody's",
        ),
        pytest.param(
            outwards(resolvers=resolver("8.8.8.8:53", "beyond")),
            "uncertain",
            "resolver_silent",
            id="a resolver set by hand is not the operator's",
        ),
        pytest.param(
            outwards(resolvers=resolver(f"{GATEWAY}:53", "link")),
            "uncertain",
            "resolver_silent",
            id="nor is the router's own",
        ),
    ],
)
def test_where_the_way_ends(walk: Result, owner: str, cause: str) -> None:
    """Two services cannot be looked up; where the walk ended tells whose job it is."""
    results = [web("a", "a.example", "name_not_found"), web("b", "b.example", "name_not_found"), walk]
    verdict = decide(results, NEED)
    assert plain(verdict) == (owner, cause)
    assert walk.id in verdict.evidence
    assert "path" not in verdict.targets


def lossy(ms: float) -> Result:
    return outwards(references=[point("1.1.1.1", lost=3, ms=ms), point("9.9.9.9", lost=2, ms=ms)])


CELLULAR = Network(gateway=GATEWAY, access="cellular")


@pytest.mark.parametrize(
    ("network", "questions", "owner", "cause"),
    [
        pytest.param(CELLULAR, {"sent": 30, "answered": 24}, "operator", "loss_beyond", id="the device's own modem"),
        pytest.param(CELLULAR, {"sent": 30, "answered": 30}, "none", "healthy", id="only echoes are limited"),
        pytest.param(CELLULAR, None, "uncertain", "packets_lost", id="echoes alone"),
        pytest.param(None, {"sent": 30, "answered": 24}, "uncertain", "packets_lost", id="a mesh inside the site"),
    ],
)
def test_loss_counts_when_real_packets_are_lost(
    network: Network | None, questions: dict[str, int] | None, owner: str, cause: str
) -> None:
    """Echoes may be limited on purpose; and behind a router the loss may lie inside the site."""
    lost = lossy(40.0)
    walk = replace(lost, data={**lost.data, "second": looked_again(questions=questions)})
    results = [web(), walk]
    if network is not None:
        results = [replace(r, tags=replace(r.tags, network=network)) for r in results]
    assert plain(decide(results, NEED)) == (owner, cause)


def test_loss_with_waiting_may_be_a_queue() -> None:
    """The same loss behind a long wait may be a queue that others fill: nobody is named."""
    assert decide([web(), lossy(400.0)], NEED).owner not in ("operator", "service")


def test_loss_already_on_the_way_to_the_gateway_accuses_nobody() -> None:
    """A bad Wi-Fi link loses packets to the gateway as well."""
    walk = outwards(gateway=point(GATEWAY, lost=3, ms=2.0), references=lossy(40.0).data["references"])
    assert decide([web(), walk], NEED).owner not in ("operator", "service")


def test_one_slow_page_is_not_a_slow_network() -> None:
    """A narrow-looking train and one page that hangs are no proof against the operator."""
    whole = {"far_bps": 200_000, "gateway_bps": 90_000_000, "far_received": 3, "gateway_received": 2}
    results = [web("b", "b.example"), web(code="timeout", tcp_ms=30.0, send_ms=0.1), outwards(whole=whole)]
    assert decide(results, NEED).owner != "operator"


@pytest.mark.parametrize(("network", "owner", "cause"), [
    (Network(registration="searching"), "operator", "no_signal"),
    (Network(registration="home", access="cellular", rsrp_dbm=-122.0), "uncertain", "weak_signal"),
    (Network(registration="home", access="cellular", rsrp_dbm=-90.0), "uncertain", "modem_no_data"),
    (Network(registration="denied", access="cellular"), "uncertain", "registration_denied"),
    (Network(registration="home", access="wifi", rsrp_dbm=-122.0), "uncertain", "no_way_beyond"),
])  # fmt: skip
def test_what_a_modem_tells(network: Network, owner: str, cause: str) -> None:
    """The modem's word counts where it is the link in use; a refused card or another link accuses nobody."""
    results = [
        replace(r, tags=replace(r.tags, network=network))
        for r in (web(code="timeout"), outwards("no_way_beyond", answers=False))
    ]
    assert plain(decide(results, NEED)) == (owner, cause)


def test_the_collector_alone() -> None:
    """Everything answers but the collector: it, a filter and this place remain; an error page of its own names it."""
    row = {"host": "c.example", "place": "beyond", "failure": "refused"}
    verdict = decide([web(), outwards(collectors=[row], second=looked_again(collectors=[row]))], NEED)
    assert plain(verdict) == ("uncertain", "collector_unreached")
    assert verdict.candidates[0].owner == "collector"
    late = outwards(collectors=[row], second=looked_again(collectors=[{**row, "failure": None}]))
    assert plain(decide([web(), late], NEED)) == ("uncertain", "recovered")
    both = decide([web("b", "b.example"), web(code="refused"), outwards(collectors=[row])], NEED)
    assert both.owner == "uncertain"


@pytest.mark.parametrize(
    ("verified", "synced", "owner"),
    [(True, False, "uncertain"), (True, None, "uncertain"), (True, True, "none"), (False, False, "none")],
)
def test_one_proven_collector_tells_a_wrong_clock(verified: bool, synced: bool | None, owner: str) -> None:
    """One server's date may be that server's fault: it makes doubt when proven, and a second one settles it."""
    row = {"host": "c.example", "address": "203.0.113.5", "clock_offset_s": 259_200.0, "tls_verified": verified}
    walk = outwards(collectors=[row | {"failure": None, "place": "beyond"}])
    walk = replace(walk, tags=replace(walk.tags, clock=replace(walk.tags.clock, synced=synced)))
    assert decide([ping(), web(), walk], NEED).owner == owner
    if owner == "uncertain":
        agrees = {"host": "b.example", "address": "203.0.113.6", "clock_offset_s": 259_200.0, "tls": True}
        differs = {**agrees, "clock_offset_s": 0.4}
        for row, wanted in ((agrees, "local"), (differs, "none")):
            both = replace(walk, data={**walk.data, "web": [row]})
            assert decide([ping(), web(), both], NEED).owner == wanted


def test_a_wrong_clock_is_not_a_bad_certificate() -> None:
    """Servers that agree on another date make it the clock; one expired certificate among right dates does not."""
    far = [{"host": h, "address": h, "clock_offset_s": 9e7, "tls": True, "failure": "tls_expired"} for h in ("a", "b")]
    assert plain(decide([web(code="tls_expired"), outwards(web=far)], NEED)) == ("local", "clock_wrong")
    near = [{"host": "sirekap.example", "address": "a", "clock_offset_s": 0.4, "tls": True, "failure": "tls_expired"}]
    names = [
        {"host": "sirekap.example", "system": s, "rcode": "NOERROR", "answers": ["203.0.113.7"]} for s in (True, False)
    ]
    once = outwards(web=near, names=names)
    assert decide([web("b", "b.example"), web(code="tls_expired"), once], NEED).owner == "uncertain"
    second = looked_again(again(status=None, failure="tls_expired", tls_verified=False))
    twice = outwards(web=near, names=names, second=second)
    verdict = decide([web("b", "b.example"), web(code="tls_expired"), twice], NEED)
    assert plain(verdict) == ("service", "service_certificate")


# --- resolvers held against each other --------------------------------------------------------------------------

OPERATORS = [{"address": "103.10.9.53:53", "place": "beyond", "answers": True, "failure": None}]


def told(host: str, system: list[str], other: list[str], rcode: str = "NOERROR") -> list[dict[str, Any]]:
    rows = [{"host": host, "system": True, "rcode": rcode, "answers": system or None}]
    return rows + [{"host": host, "system": False, "rcode": "NOERROR", "answers": other}] * 2


@pytest.mark.parametrize(
    ("reason", "resolvers", "owner"),
    [
        ("block_page", OPERATORS, "operator"),
        ("certificate", OPERATORS, "operator"),
        ("void", OPERATORS, "operator"),
        ("nxdomain", OPERATORS, "operator"),
        ("private", OPERATORS, "uncertain"),
        ("one_for_all", OPERATORS, "uncertain"),
        ("certificate", [{**OPERATORS[0], "address": f"{GATEWAY}:53", "place": "link"}], "uncertain"),
        ("certificate", [{**OPERATORS[0], "address": "8.8.8.8:53"}], "uncertain"),
        ("certificate", [], "uncertain"),
    ],
)
def test_a_tampered_answer_alone(reason: str, resolvers: list[dict[str, Any]], owner: str) -> None:
    """It is never healthy; the operator is named only for the resolver of the device's own modem."""
    compared = {"word": "tampered", "reason": reason, "system": ["10.33.1.1"], "others": ["203.0.113.7"]}
    false = dns(code="tampered", outcome=Outcome.DEGRADED, comparison=compared)
    results = [false, web("b", "b.example"), outwards(resolvers=resolvers)]
    behind_a_router = decide(results, NEED)
    assert plain(behind_a_router) == ("uncertain", "names_disagree")
    verdict = decide([replace(r, tags=replace(r.tags, network=CELLULAR)) for r in results], NEED)
    assert plain(verdict) == (owner, "resolver_lying" if owner == "operator" else "names_disagree")
    assert verdict.targets == ("kpu",)


FINE = {"host": "sirekap.example", "address": "203.0.113.7", "tls": True, "tls_verified": True, "failure": None}


@pytest.mark.parametrize(
    ("code", "names", "owner"),
    [
        pytest.param(
            "tls_untrusted", told("sirekap.example", ["203.0.113.99"], ["203.0.113.7"]), "operator", id="page"
        ),
        pytest.param(
            "name_not_found", told("sirekap.example", [], ["203.0.113.7"], "NXDOMAIN"), "operator", id="denied"
        ),
        pytest.param("refused", told("sirekap.example", ["0.0.0.0"], ["203.0.113.7"]), "operator", id="void"),
        pytest.param(
            "refused", told("sirekap.example", ["203.0.113.99"], ["203.0.113.7"]), "uncertain", id="dead copy"
        ),
        pytest.param("timeout", told("sirekap.example", ["10.9.9.9"], ["203.0.113.7"]), "uncertain", id="inner view"),
    ],
)
def test_a_page_behind_a_disputed_name(code: str, names: list[dict[str, Any]], owner: str) -> None:
    """A copy of the service that is down is no lie: where the address may be right, a stranger must answer there."""
    walk = outwards(resolvers=OPERATORS, names=names, web=[FINE])
    results = [web("b", "b.example"), web(code=code), walk]
    assert decide(results, NEED).owner == "uncertain", "behind a router the resolver may be anybody's"
    verdict = decide([replace(r, tags=replace(r.tags, network=CELLULAR)) for r in results], NEED)
    assert verdict.owner == owner
    if owner == "operator":
        assert verdict.cause == "resolver_lying"


STUB = {"address": "127.0.0.53:53", "place": "self", "forwarder": True, "answers": True, "failure": None}
BEHIND = {
    "address": "103.10.9.53:53",
    "place": "beyond",
    "forwarder": False,
    "answers": False,
    "failure": "dns_timeout",
}


@pytest.mark.parametrize(
    ("behind", "rcode", "owner", "cause"),
    [
        pytest.param([BEHIND], "SERVFAIL", "operator", "resolver_dead", id="the operator's behind the forwarder"),
        pytest.param(
            [{**BEHIND, "address": "8.8.8.8:53"}], "SERVFAIL", "uncertain", "resolver_silent", id="one set by hand"
        ),
        pytest.param(
            [{**BEHIND, "address": f"{GATEWAY}:53", "place": "link"}],
            "SERVFAIL",
            "uncertain",
            "resolver_silent",
            id="the router's own",
        ),
        pytest.param([BEHIND], "NXDOMAIN", "uncertain", "uncertain", id="the forwarder has other means"),
        pytest.param(
            [{**BEHIND, "answers": True}],
            "SERVFAIL",
            "uncertain",
            "uncertain",
            id="the operator's answers",
        ),
        pytest.param([], "SERVFAIL", "uncertain", "uncertain", id="nothing known behind it"),
    ],
)
def test_behind_a_forwarder_of_this_device(behind: list[dict[str, Any]], rcode: str, owner: str, cause: str) -> None:
    """The servers a forwarder asks are judged, not the forwarder, as long as it finds nothing by itself."""
    stub = {**STUB, "forwarder": bool(behind)}
    names = [
        {"host": "a.example", "resolver": "127.0.0.53:53", "system": True, "rcode": rcode, "answers": None},
        {"host": "a.example", "resolver": "103.10.9.53:53", "system": True, "rcode": None, "answers": None},
    ]
    results = [web("a", "a.example", "name_not_found"), web("b", "b.example", "name_not_found")]
    run = [*results, outwards(resolvers=[stub, *behind], names=names)]
    run = [replace(r, tags=replace(r.tags, network=CELLULAR)) for r in run]
    assert plain(decide(run, NEED)) == (owner, cause)


@pytest.mark.parametrize("code", ["refused", "timeout", "tls_hostname", "tls_expired"])
@pytest.mark.parametrize(
    ("told", "owner"),
    [
        pytest.param(["203.0.113.7"], "local", id="name servers tell another address"),
        pytest.param([], "uncertain", id="no name server tells any"),
    ],
)
def test_a_hosts_file_that_lies_accuses_no_service(code: str, told: list[str], owner: str) -> None:
    """What fails at an address of the device's own making is not the service's job."""
    rows = [
        {"host": "sirekap.example", "system": s, "rcode": "NOERROR" if told else None, "answers": told or None}
        for s in (True, False, False)
    ]
    walk = outwards(
        names=rows,
        fixed_names=["sirekap.example"],
        fixed_addresses={"sirekap.example": ["203.0.113.60"]},
        web=[{"host": "b.example", "address": "203.0.113.9", "clock_offset_s": 0.3, "tls": True, "failure": None}],
    )
    verdict = decide([ping(), web("b", "b.example"), web(code=code), walk], NEED)
    assert verdict.owner == owner
    if owner == "local":
        assert (verdict.cause, verdict.targets) == ("hosts_file", ("sirekap",))


def test_a_hosts_file_that_tells_the_truth_hides_no_service() -> None:
    """Where the name servers tell the same address, a service that speaks for itself is named as ever."""
    names = told("sirekap.example", ["203.0.113.7"], ["203.0.113.7"])
    fixed = {"fixed_names": ["sirekap.example"], "fixed_addresses": {"sirekap.example": ["203.0.113.7"]}}
    walk = outwards(names=names, second=looked_again(again(status=503)), **fixed)
    page = web(code="http_status", status_code=503, tls_version="TLSv1.3")
    assert plain(decide([web("b", "b.example"), page, walk], NEED)) == ("service", "service_error")


def test_a_gateway_that_is_told_by_a_router_farther_out_is_no_missing_network() -> None:
    """`Network unreachable` from an upstream router is not this device's own network."""
    results = [web("a", "a.example", "network_unreachable"), ping(code="network_unreachable")]
    walk = outwards("no_way_beyond", answers=False)
    assert decide([*results, walk], NEED).owner == "uncertain"


def busy_link(first: float, second: float, capacity: float | None, key: str = "tx", lost: int = 0) -> Result:
    """A walk with waiting, this device's own traffic in both looks, and the link's capacity, in Mbit/s."""
    slow = [{**point(a), "rtts_ms": [30.0, 300.0] * 5} for a in ("1.1.1.1", "9.9.9.9")]
    for row in slow:
        row["rtts_ms"] = [None] * lost + row["rtts_ms"][lost:]
    load = {
        f"{key}_bps": second * 1e6,
        "rtts_ms": [40.0, 280.0] * 5,
        "capacity_bps": None if capacity is None else capacity * 1e6,
    }
    return outwards(references=slow, **{f"other_{key}_bps": first * 1e6}, second=looked_again(own_load=load))


@pytest.mark.parametrize(
    ("walk", "cause"),
    [
        pytest.param(busy_link(3.9, 4.0, 4.2), "own_traffic", id="fills the link twice"),
        pytest.param(busy_link(3.9, 4.0, 4.2, "rx"), "own_traffic", id="fills it downwards"),
        pytest.param(busy_link(6.0, 6.0, 4.0, lost=4), "own_traffic", id="sends more than fits, and it is lost"),
        pytest.param(busy_link(3.9, 4.0, None), "queue_by_others", id="the capacity is not known"),
        pytest.param(busy_link(2.0, 2.0, 4.0), "queue_by_others", id="half of the link"),
        pytest.param(busy_link(4.0, 0.1, 4.0), "queue_by_others", id="over at the second look"),
        pytest.param(busy_link(6.0, 6.0, 2.0, "rx"), "queue_by_others", id="more than the other direction carries"),
        pytest.param(busy_link(6.0, 6.0, 2.0), "queue_by_others", id="more than fits, and nothing is lost"),
    ],
)
def test_own_traffic_is_named_only_where_it_fills_the_link_at_two_moments(walk: Result, cause: str) -> None:
    """Its share of a measured capacity, twice; else it is only the first candidate."""
    verdict = decide([web(), walk], NEED)
    assert verdict.cause == cause
    assert verdict.owner == ("local" if cause == "own_traffic" else "uncertain")
    assert cause == "own_traffic" or verdict.candidates[0].cause == "own_traffic"


def test_a_call_on_a_fast_link_is_no_cause_of_its_queue() -> None:
    """A known small share puts others first."""
    verdict = decide([web(), busy_link(0.6, 0.6, 20.0)], NEED)
    assert verdict.owner == "uncertain" and verdict.candidates[0].cause != "own_traffic"


@pytest.mark.parametrize(("lost_near", "first"), [(3, "site_loss"), (0, "operator_loss")])
def test_loss_that_begins_before_the_gateway_points_to_this_network(lost_near: int, first: str) -> None:
    """The same loss beyond: packets to the gateway are lost as well, or none is."""
    rtts = [None] * lost_near + [2.0] * (10 - lost_near)
    gateway = {"address": GATEWAY, "answers": True, "sent": 10, "rtts_ms": rtts}
    far = [{**point(a), "rtts_ms": [None] * 3 + [30.0] * 7} for a in ("1.1.1.1", "9.9.9.9")]
    walk = outwards(gateway=gateway, references=far, second=looked_again(questions={"sent": 60, "answered": 44}))
    verdict = decide([web(), walk], NEED)
    assert (verdict.cause, verdict.candidates[0].cause) == ("packets_lost", first)


@pytest.mark.parametrize(
    ("failure", "phase", "owner"),
    [("refused", "dns", "local"), ("dns_timeout", "dns", "uncertain"), ("refused", None, "uncertain")],
)
def test_a_device_that_asks_itself_without_a_name_server(failure: str, phase: str | None, owner: str) -> None:
    """Its own kernel refuses, in both looks: nothing else can. A forwarder that is silent may lack an answer."""
    own = [{"address": "127.0.0.1:53", "place": "self", "forwarder": False, "answers": False, "failure": failure}]
    look = again(status=None, failure="name_not_found", phase=phase) if phase else again(phase=None)
    walk = outwards(resolvers=own, second=looked_again(look))
    verdict = decide([ping(), web(code="name_not_found"), walk], NEED)
    assert verdict.owner == owner
    assert (verdict.cause == "device_resolver") is (owner == "local")


def test_a_tunnel_hides_whose_the_way_is() -> None:
    """Through a VPN a router of the shared range that knows no route is nobody's here; the VPN comes first."""
    silent = [{**point(a), "answers": False, "told_by": "100.64.1.1"} for a in ("1.1.1.1", "9.9.9.9")]
    second = looked_again(references_asked=2, references_answered=0)
    walks = [outwards("dead_after_hop", references=silent, second=second, tunnel=name) for name in (None, "tun0")]
    plainly, through = (decide([web(code="timeout"), walk], NEED) for walk in walks)
    assert plainly.owner == "operator", "the control"
    assert (through.owner, through.candidates[0].cause) == ("uncertain", "vpn")


@pytest.mark.parametrize(("rtt_ms", "cause"), [(4800.0, "slow_here"), (80.0, "recovered")])
def test_an_answer_after_our_deadline_is_no_silence(rtt_ms: float, cause: str) -> None:
    """A slow radio answers after five seconds: our first deadline is no evidence."""
    silent = [{**point(a), "answers": False} for a in ("1.1.1.1", "9.9.9.9")]
    second = looked_again(references_asked=2, references_answered=2, references_rtt_ms=rtt_ms)
    verdict = decide([web(code="timeout"), outwards("no_way_beyond", references=silent, second=second)], NEED)
    assert plain(verdict) == ("uncertain", cause)


def test_an_even_delay_is_no_queue() -> None:
    """A satellite's 650 ms without spread is a long way."""
    walk = outwards(references=[point("1.1.1.1", ms=650.0), point("9.9.9.9", ms=651.0)])
    assert decide([ping(rtt_median_ms=650.0), web(), walk], NEED).cause == "below_need"


@pytest.mark.parametrize(
    ("padded", "cause"), [(True, "healthy"), (False, "large_packets_lost"), (None, "large_packets_lost")]
)
def test_a_black_hole_for_large_packets_is_no_healthy_link(padded: bool | None, cause: str) -> None:
    """Only small pages were asked for, and full packets vanish: healthy only if a long request passes."""
    whole = {"far_received": 0, "far_failure": "no_reply", "gateway_received": 2}
    fine = [{"host": "c.example", "place": "beyond", "failure": None, "tls_verified": True}]
    walk = outwards(whole=whole, collectors=fine, second=looked_again(padded=padded))
    assert decide([ping(), web(), walk], NEED).cause == cause


def test_connections_that_open_late_are_no_healthy_link() -> None:
    """Two pages whose first packet was lost: everything answered, and something is wrong all the same."""
    slow = [web("a", "a.example", tcp_ms=1040.0), web("b", "b.example", tcp_ms=3055.0)]
    assert plain(decide([ping(), *slow, outwards()], NEED)) == ("uncertain", "packets_lost")
    assert decide([ping(), slow[0], web("c", "c.example", tcp_ms=35.0), outwards()], NEED).cause == "healthy", "chance"
