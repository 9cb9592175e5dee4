"""When a service may be named: only with proof, for each failure, that the way to it was open.

One service at a time: two that fail at once may share something else, such as a network on the way to both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sigprobe.record.clock_limits import CLOCK_WRONG_S
from sigprobe.record.kinds import Way, way
from sigprobe.record.result import Outcome, Result
from sigprobe.verdict import dns_rules
from sigprobe.verdict.evidence import (
    PAGE_TIMES,
    Distance,
    Facts,
    code,
    distance,
    host_of,
    only_icmp_silent,
    proves,
)
from sigprobe.verdict.verdict import SERVICE, UNCERTAIN, Verdict, say

__all__ = ["host_of", "one", "several", "slow"]

# What a service says for itself, so that nobody else can be to blame once a way to it is proven.
_ITS_OWN_WORD: Final = frozenset({"refused", "http_status", "bad_response", "redirect_limit", "no_endpoint"}) | {
    "playlist_invalid"
}
# Answers of walled gardens, proxies and firewalls as much as of services (RFC 9110, RFC 6585, RFC 7725).
_GATEKEEPERS: Final = frozenset({401, 403, 407, 429, 451, 511})
# Silence and cuts: a path with a small MTU or heavy loss looks the same to a check that is not TCP.
_CUT_OFF: Final = frozenset({"timeout", "reset", "http_truncated", "no_reply", "host_unreachable"})
_CERTIFICATE: Final = frozenset({"tls_hostname", "tls_expired"})
_CAUSES: Final = {
    "refused": "service_refused",
    **dict.fromkeys(_CUT_OFF, "service_silent"),
    **dict.fromkeys(_CERTIFICATE, "service_certificate"),
    **dict.fromkeys(("dns_servfail", "name_not_found"), "service_name"),
}


def several(facts: Facts) -> Verdict | None:
    """Two or more hosts fail while something else is fine: nobody can be named for both."""
    failed = _loud(facts)
    if len({host_of(r) for r in failed}) < 2:
        return None
    proof = [r for r in facts.answered if proves(r) and distance(r) is Distance.FAR and way(r.kind) is not Way.ECHO]
    cause = "several_targets_failed" if proof and facts.walked else "uncertain"
    return say(UNCERTAIN, cause, 0.5 if proof and facts.walked else 0.0, failed, facts.answered, facts.walks)


def one(facts: Facts) -> Verdict | None:
    """Everything that failed is one host's: name its service, if there is proof for each failure."""
    failed = _loud(facts)
    if not failed or not (facts.answered or facts.walks):
        return None
    proofs: list[Result] = []
    confidence = 0.8
    for result in failed:
        found = _proof_against(result, facts)
        if found is None:
            return say(UNCERTAIN, "uncertain", 0.0, failed, facts.answered, facts.walks)
        proofs.append(found)
        if way(found.kind) in (Way.ECHO, Way.WALK):
            confidence = 0.6
    cause = _cause(failed)
    if not facts.beyond and cause != "service_name":
        cause = "service_near"  # the others' words say that the internet works, which no neighbour proves
    return say(SERVICE, cause, confidence, failed, proofs)


def slow(facts: Facts) -> Verdict | None:
    """One page takes long, and the time goes by between its request and its answer, while others are quick."""
    if facts.failed:
        return None
    late = [s.result for s in facts.short if s.metric in PAGE_TIMES]
    hosts = {host_of(r) for r in late}
    others = [r for r in facts.tls_fine if host_of(r) not in hosts]
    if len(hosts) != 1 or not others or not {s.metric for s in facts.short} <= PAGE_TIMES:
        return None
    for result in late:
        waited, whole, reach = (result.data.get(k) for k in ("ttfb_ms", "total_ms", "tcp_ms"))
        if waited is None or whole is None or reach is None or waited < 0.6 * whole or reach > 0.2 * waited:
            return None
    return say(SERVICE, "service_slow", 0.75, late, others[:1])


def _loud(facts: Facts) -> list[Result]:
    """What failed, but for pings: many hosts drop ICMP, so alone it says little."""
    return [r for r in facts.failed if not only_icmp_silent(r)]


def nameless(result: Result) -> bool:
    """A page whose address was not even found in time: nothing was said to its service."""
    tried = result.data.get("addresses_tried")
    return way(result.kind) is Way.PAGE and code(result) == "timeout" and tried is not None and not tried


def _cause(failed: Sequence[Result]) -> str:
    causes = set()
    for result in failed:
        status = result.data.get("status_code")
        if code(result) == "http_status" and isinstance(status, int) and status >= 500:
            causes.add("service_error")
        elif nameless(result):
            causes.add("service_name")
        elif _waited(result):
            causes.add("service_slow" if result.data.get("tls_version") else "service_silent")
        else:
            causes.add(_CAUSES.get(code(result) or "", "targets_failed"))
    return causes.pop() if len(causes) == 1 else "targets_failed"


def _waited(result: Result) -> bool:
    """A request was sent in full, and no answer came."""
    return code(result) == "timeout" and result.data.get("send_ms") is not None


def _proof_against(failure: Result, facts: Facts) -> Result | None:
    """The result that shows the way to `failure`'s target was open; None when there is no such proof."""
    what = code(failure)
    near = distance(failure)
    answered = facts.answered
    if near is Distance.LINK or failure.data.get("proxy") or failure.data.get("status_code") in _GATEKEEPERS:
        return None  # the gateway, a proxy, or somebody who lets nobody in: then it may be no service's job
    host = host_of(failure)
    if way(failure.kind) is Way.NAME:
        # a resolver that is silent or refuses is not the service; only SERVFAIL for its name alone points at it
        known = dns_rules.looked_up(answered)
        if what != "dns_servfail":
            return None
        return known or (facts.walks[0] if facts.walks and dns_rules.failing_name_alone(facts, host) else None)
    if what == "name_not_found" or nameless(failure):
        return facts.walks[0] if facts.walks and dns_rules.failing_name_alone(facts, host) else None
    if facts.walked and dns_rules.disputed(facts, host):
        return None
    if dns_rules.fixed(facts, host) and not dns_rules.agreed(facts, host):
        return None  # the hosts file may have sent us to somebody else
    far_enough = [r for r in answered if proves(r) and distance(r) >= near and distance(r) is not Distance.LINK]
    over_tcp = [r for r in far_enough if way(r.kind) is not Way.ECHO]
    walk = _walk_over_tcp(facts) if near is Distance.FAR else None
    if what in _ITS_OWN_WORD:
        # an error page without TLS may be a portal's, so there a ping is not enough
        plain_page = what != "refused" and failure.data.get("tls_version") is None and near is not Distance.SELF
        return next(iter(over_tcp if plain_page else over_tcp + far_enough), None) or (None if plain_page else walk)
    if what in _CUT_OFF:
        # a connection that was made and then hangs may as well be a path that swallows large packets
        hung = failure.data.get("tcp_ms") is not None and not facts.part("whole").get("far_received")
        return next(iter(over_tcp), None) or (None if hung else walk)
    if what in _CERTIFICATE:
        if facts.walked and not dns_rules.agreed(facts, host):
            return None  # somebody may have sent us to another server
        verified = next((r for r in over_tcp if r.data.get("tls_version") is not None), None)
        if what == "tls_expired" and not _clock_is_known(facts):
            return None
        return verified or (facts.walks[0] if facts.collector_fine and facts.walks else None)
    return None  # issuers, names, clocks, permissions, our own token, our own time: not the service's


def _clock_is_known(facts: Facts) -> bool:
    """Whether servers, receipts or GPS say that this device's clock is right."""
    told = [abs(offset) * 1000 for offset in facts.clock_offsets_s.values()]
    told += [abs(r.tags.clock.offset_est_ms) for r in facts.seen if r.tags.clock.offset_est_ms is not None]
    return bool(told) and max(told) < CLOCK_WRONG_S * 1000


def _walk_over_tcp(facts: Facts) -> Result | None:
    """The walk, where a reference took a TCP connection: so neither TCP nor the way beyond is closed."""
    rows = facts.rows("references")
    said = [state for row in rows for state in (row.get("tcp") or {}).values() if isinstance(row.get("tcp"), dict)]
    opened = "open" in said or facts.collector_fine
    return facts.walks[0] if facts.walks and facts.walks[0].outcome is Outcome.OK and opened else None
