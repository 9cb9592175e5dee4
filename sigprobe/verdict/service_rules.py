"""When a service may be named: only when it speaks for itself, over a certificate that holds for its name, twice.

A refusal, a reset and a silence of one host are as well a filter of the operator, a firewall of this place, or one lost
connection: from one place they cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sigprobe.record.clock_limits import CLOCK_WRONG_S
from sigprobe.record.kinds import Way, is_number, way
from sigprobe.record.result import Result
from sigprobe.verdict import candidates, dns_rules, refusals
from sigprobe.verdict.evidence import (
    PAGE_TIMES,
    SILENT,
    Distance,
    Facts,
    WalkEntry,
    code,
    distance,
    host_of,
    only_icmp_silent,
    proves,
)
from sigprobe.verdict.failure_codes import DATED, LOOP, NAMES, REPLACED, TOO_BIG
from sigprobe.verdict.verdict import SERVICE, UNCERTAIN, Candidate, Verdict, say

__all__ = ["host_of", "is_over", "lost_openings", "one", "several", "slow"]

_REFUSALS: Final = frozenset({403, 429, 451, 423, 421})
"""Answers by which a service says no (RFC 9110, RFC 6585, RFC 7725)."""


_OTHER_CERTIFICATE: Final = frozenset({"tls_untrusted", "tls_hostname"})
_MANY_REDIRECTS: Final = 10
"""From so many redirects on, a check that our own deadline ended was led in a circle."""


def lost_openings(facts: Facts) -> Verdict | None:
    """What failed was silent, and first packets to other hosts were lost as well: it is no single host's fault."""
    loud = _loud(facts)
    if not loud or facts.opened_late_in_all < 2 or not {code(r) for r in loud} <= SILENT | NAMES:
        return None
    over = all(is_over(facts, r) for r in loud)
    order = candidates.LOST_OPENINGS if over else candidates.LOST_OR_DOWN
    return say(UNCERTAIN, "packets_lost", 0.4, loud, facts.opened_late, facts.walks, candidates=order)


def several(facts: Facts) -> Verdict | None:
    """Two or more hosts fail while something else is fine: nobody can be named for both."""
    loud = _loud(facts)
    failed = [r for r in loud if not is_over(facts, r)] or loud
    if len({host_of(r) for r in failed}) < 2:
        return None
    proof = [r for r in facts.answered if proves(r) and distance(r) is Distance.FAR and way(r.kind) is not Way.ECHO]
    if all(is_over(facts, r) for r in failed):
        order = candidates.MIXED if proof else candidates.LINK_GAP
        return say(UNCERTAIN, "recovered", 0.3, failed, facts.walks, candidates=order)
    return say(
        UNCERTAIN,
        "several_targets_failed" if proof and facts.walked else "uncertain",
        0.5,
        failed,
        facts.answered,
        facts.walks,
        candidates=_order_of_several(facts, failed),
    )


def _order_of_several(facts: Facts, failed: Sequence[Result]) -> tuple[Candidate, ...]:
    """Return what remains possible for hosts that fail together, the likeliest first."""
    codes = {code(r) for r in failed}
    works = bool(facts.tls_fine or facts.collector_fine)
    if codes <= REPLACED:
        return candidates.SOME_REPLACED if works else candidates.ALL_REPLACED
    if works:
        order = candidates.SEVERAL
    else:
        # several services that are down at once are rare
        order = candidates.ALL_REFUSED if codes <= {"refused", "reset"} else candidates.ALL_SILENT
    origins = {refusals.origin(facts, host_of(r)) for r in failed} - {None}
    return candidates.after(origins.pop(), order) if len(origins) == 1 else order


def one(facts: Facts) -> Verdict | None:
    """Everything that failed is one host's. Its service is named only when it speaks for itself, twice."""
    loud = _loud(facts)
    if not loud or not (facts.answered or facts.walks):
        return None
    failed = [r for r in loud if not is_over(facts, r)]
    if not failed:
        return say(UNCERTAIN, "recovered", 0.3, loud, facts.walks, candidates=candidates.MIXED)
    cause = _own_word(facts, failed)
    if cause is not None:
        return say(SERVICE, cause, 0.95, failed, facts.answered, facts.walks)
    if not facts.beyond:
        return say(
            UNCERTAIN, "internet_not_tested", 0.3, failed, facts.answered, facts.walks, candidates=candidates.ONE_HOST
        )
    codes = {code(r) for r in failed}
    spoke = any(row.get("tls_verified") and not _is_good(row) for r in failed for row in facts.again(host_of(r)))
    if (codes <= NAMES and not spoke) or _others_deny(facts, host_of(failed[0])):
        front: tuple[Candidate, ...] = candidates.NAME_SERVICE
    elif codes <= TOO_BIG:
        front = candidates.MTU
    elif codes <= _OTHER_CERTIFICATE:
        front = candidates.OTHER_CERTIFICATE
    elif codes <= DATED:
        front = candidates.OTHER_DATES
    elif codes <= LOOP:
        front = candidates.LOOPING
    elif any(_waited(r) for r in failed):
        front = candidates.SLOW_HOST
    else:
        front = candidates.after(refusals.origin(facts, host_of(failed[0])), candidates.ONE_HOST)
    return say(UNCERTAIN, "one_host_failed", 0.5, failed, facts.answered, facts.walks, candidates=front)


def _own_word(facts: Facts, failed: Sequence[Result]) -> str | None:
    """Return the cause that a service states about itself over a certificate that holds for its name, in both looks.

    An error page, a refusal (403, 429, 451), or its own certificate out of date, with address and clock beyond doubt.
    A login (401), a proxy (407, or any proxy in between) and a portal (511) are no service's word.
    """
    causes = set()
    for result in failed:
        if way(result.kind) is not Way.PAGE or result.data.get("proxy") or facts.walks == []:
            return None
        again = [row for row in facts.again(host_of(result)) if row.get("tls")]
        status = result.data.get("status_code")
        verified = result.data.get("tls_version") is not None
        if code(result) == "http_status" and verified and isinstance(status, int):
            said = [row.get("status_code") for row in again if row.get("tls_verified")]
            if not said or any(not isinstance(s, int) or s < 400 for s in said):
                return None
            if status >= 500 and status != 511:
                causes.add("service_error")
            elif status in _REFUSALS:
                causes.add("service_denied")
            elif status in (404, 410):
                causes.add("service_error")
            else:
                return None
        elif code(result) in ("bad_response", "redirect_limit") and verified:
            # nothing on the way can write into a connection whose certificate holds
            said_again = [row for row in again if row.get("tls_verified")]
            if not said_again or not all(_is_no_page(row, code(result)) for row in said_again):
                return None
            causes.add("service_error")
        elif _in_a_circle(result):
            # the deadline came within a redirect: the two looks at the first one are the service's word
            looks = [*(row for row in facts.looks(host_of(result)) if row.get("tls")), *again]
            if len(looks) < 2 or not all(row.get("tls_verified") and _is_no_page(row, None) for row in looks):
                return None
            causes.add("service_error")
        elif code(result) in DATED and _clock_is_known(facts) and dns_rules.agreed(facts, host_of(result)):
            if not again or any(row.get("failure") != code(result) for row in again):
                return None
            causes.add("service_certificate")
        else:
            return None
    return causes.pop() if len(causes) == 1 else None


def is_over(facts: Facts, result: Result) -> bool:
    """Return whether the second look found well what had failed: an answer below 400 over a certificate that holds."""
    rows = facts.again(host_of(result))
    tls = [row for row in rows if row.get("tls")]
    fine = [
        row
        for row in (tls or rows)
        if row.get("failure") is None and (row.get("tls_verified") or not row.get("tls")) and _is_good(row)
    ]
    # a request without a body cannot look again for an expected text, the end of many redirects, or of a long body
    unseen = code(result) in ("http_text", "redirect_limit", "http_truncated") or _began(result) or _in_a_circle(result)
    return bool(rows) and len(fine) == len(tls or rows) and not unseen


def _began(result: Result) -> bool:
    """Return whether an answer began and did not end."""
    return way(result.kind) is Way.PAGE and is_number(result.data.get("ttfb_ms")) and code(result) in SILENT | {"reset"}


def _in_a_circle(result: Result) -> bool:
    """Return whether our own deadline ended a check that had followed many redirects."""
    followed = result.data.get("redirects_followed")
    return code(result) == "timeout" and is_number(followed) and int(followed or 0) >= _MANY_REDIRECTS


def _others_deny(facts: Facts, host: str) -> bool:
    """Return whether the system's resolver tells an address of a name that all others deny."""
    others = facts.asked(host, system=False)
    said = [row for row in others if row.get("rcode") is not None]
    known = any(row.get("answers") for row in facts.asked(host, system=True))
    return known and bool(said) and all(row.get("rcode") == "NXDOMAIN" for row in said)


def _is_no_page(row: WalkEntry, what: str | None) -> bool:
    """Return whether a second look got no page either: nothing readable, or one more redirect within the service."""
    if what == "bad_response":
        return row.get("failure") == "bad_response"
    status = row.get("status_code")
    return isinstance(status, int) and 300 <= status < 400 and not row.get("redirect_host")


def _is_good(row: WalkEntry) -> bool:
    status = row.get("status_code")
    return isinstance(status, int) and status < 400 and not row.get("redirect_host")


def slow(facts: Facts) -> Verdict | None:
    """Report one slow page while others are fast: described, without an owner."""
    if facts.failed:
        return None
    late = [s.result for s in facts.short if s.metric in PAGE_TIMES]
    hosts = {host_of(r) for r in late}
    others = [r for r in facts.tls_fine if host_of(r) not in hosts]
    if len(hosts) != 1 or not others or not {s.metric for s in facts.short} <= PAGE_TIMES:
        return None
    if facts.opened_late_in_all > 1:
        return None  # first packets are lost elsewhere, too
    busy = [candidates.DEVICE_BUSY] if facts.device_busy else []
    order = [*candidates.SLOW_HOST[:2], *busy, *candidates.SLOW_HOST[2:]]
    return say(UNCERTAIN, "slow_target", 0.5, late, others[:1], candidates=order)


def _loud(facts: Facts) -> list[Result]:
    """Return what failed, but for pings: many hosts drop ICMP, so alone it says little."""
    return [r for r in facts.failed if not only_icmp_silent(r)]


def _waited(result: Result) -> bool:
    """Return whether a request was sent completely without an answer."""
    return code(result) == "timeout" and result.data.get("send_ms") is not None


def _clock_is_known(facts: Facts) -> bool:
    """Return whether servers, receipts or GPS say that this device's clock is right."""
    told = [abs(offset) * 1000 for offset in facts.clock_offsets_s.values()]
    told += [abs(r.tags.clock.offset_est_ms) for r in facts.seen if r.tags.clock.offset_est_ms is not None]
    return bool(told) and max(told) < CLOCK_WRONG_S * 1000
