"""Resolvers: silent while the way is open, or telling another address than everybody else."""

from __future__ import annotations

from typing import Final

from sigprobe.record.kinds import Way, way
from sigprobe.record.result import Result
from sigprobe.verdict import candidates, dns_consistency
from sigprobe.verdict.evidence import Facts, WalkEntry, beyond_the_site, code, host_of, ip
from sigprobe.verdict.failure_codes import NAMES
from sigprobe.verdict.verdict import LOCAL, OPERATOR, UNCERTAIN, Verdict, say

# Why an answer is called tampered, where nothing else fits: a private address may be an inner view of the name, and one
# address for everything a login page.
_PROOF: Final = frozenset({"block_page", "void", "nxdomain", "certificate"})
# Resolvers that people set by hand: when one of these fails, it is not the operator's.
_PUBLIC: Final = frozenset(
    {
        "1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9", "149.112.112.112", "208.67.222.222", "208.67.220.220",
        "2606:4700:4700::1111", "2606:4700:4700::1001", "2001:4860:4860::8888", "2001:4860:4860::8844", "2620:fe::fe",
    }
)  # fmt: skip


def dead(facts: Facts) -> Verdict | None:
    """No resolver of the system answers, and a way beyond is proven."""
    rows = _own_servers(facts)
    if not rows or any(row.get("answers") for row in rows) or not facts.beyond or _forwarder_is_fine(facts):
        return None
    if facts.lossy or facts.device_freezes:
        return None  # its packets may be lost as others are, or were never sent
    nameless = [
        r for r in facts.failed if code(r) in ("name_not_found", "timeout", "dns_timeout") or way(r.kind) is Way.NAME
    ]
    half = [r for r in facts.answered if code(r) == "dns_some_failed"]
    if not nameless and not half:
        return None
    pages = _pages(nameless)
    if pages and all(_is_named_again(facts, r) for r in pages):
        return None  # over at the second look
    if any(row.get("failure") not in ("dns_timeout", "refused", "host_unreachable") for row in rows):
        return None
    if _operators(facts, rows):
        return say(OPERATOR, "resolver_dead", 0.9, [*nameless, *half], facts.walks)
    return say(UNCERTAIN, "resolver_silent", 0.5, [*nameless, *half], facts.walks, candidates=candidates.NAMES)


def _pages(results: list[Result]) -> list[Result]:
    return [r for r in results if way(r.kind) is Way.PAGE]


def _is_named_again(facts: Facts, result: Result) -> bool:
    """Return whether the second look asked the system for the name anew and got on."""
    rows = facts.again(host_of(result))
    return bool(rows) and all(row.get("phase") != "dns" and row.get("failure") is None for row in rows)


def on_this_device(facts: Facts) -> Verdict | None:
    """The only name server of this system is this device itself, and nothing runs there: its kernel refuses.

    A forwarder that runs and is silent, or says SERVFAIL, may lack an answer from farther away.
    """
    rows = facts.rows("resolvers")
    if not rows or not facts.beyond or any(row.get("answers") for row in rows):
        return None
    if any(row.get("place") != "self" or row.get("failure") != "refused" for row in rows):
        return None
    nameless = [r for r in facts.failed if code(r) in NAMES or (code(r) == "timeout" and r.target.address_used is None)]
    looks = [row for r in _pages(nameless) for row in facts.again(host_of(r))]
    if not looks or any(row.get("phase") != "dns" for row in looks):
        return None  # a forwarder that was started meanwhile
    return say(LOCAL, "device_resolver", 0.9, nameless, facts.walks)


def lying(facts: Facts) -> Verdict | None:
    """The system's resolver tells a wrong address, or none, of a name that others know; the certificate proves it."""
    return _false_page(facts) or _tampered(facts)


def _tampered(facts: Facts) -> Verdict | None:
    """Report a DNS answer that must be wrong; only some of its reasons identify an owner."""
    found = [r for r in facts.answered if code(r) == "tampered"]
    if not found:
        return None
    reasons = {str((r.data.get("comparison") or {}).get("reason")) for r in found}
    system = [row for row in _own_servers(facts) if row.get("answers")]
    if reasons <= _PROOF and _operators(facts, system):
        return say(OPERATOR, "resolver_lying", 0.9, found, facts.walks)
    return say(UNCERTAIN, "names_disagree", 0.5, found, facts.walks, candidates=candidates.NAMES)


def _false_page(facts: Facts) -> Verdict | None:
    for host in dict.fromkeys(str(row.get("host")) for row in facts.rows("names")):
        failed = [r for r in facts.failed if host_of(r) == host]
        if not host or not disputed(facts, host) or not failed:
            continue
        proven = _proven(facts, host, failed)
        if proven is None:
            continue
        asked = [r for r in facts.seen if host_of(r) == host]
        system = [row for row in _own_servers(facts) if row.get("answers")]
        if _operators(facts, system):
            return say(OPERATOR, "resolver_lying", proven, asked, facts.walks)
        return say(UNCERTAIN, "names_disagree", 0.5, asked, facts.walks, candidates=candidates.NAMES)
    return None


def compared(facts: Facts, host: str) -> dns_consistency.Compared | None:
    """Return the system's resolvers and the others, as the walk asked them for a host."""
    rows = [
        dns_consistency.Told(
            system=row.get("system") is True,
            # asked for one name alone, a refusal is a denial
            rcode="NXDOMAIN" if row.get("rcode") == "REFUSED" else str(row["rcode"]),
            addresses=frozenset(str(a) for a in row.get("answers") or ()),
            denied_by=row.get("denied_by"),
        )
        for row in facts.asked(host)
        if row.get("rcode") is not None
    ]
    return dns_consistency.compare(host, rows, fixed=fixed(facts, host))


def hosts_file(facts: Facts) -> Verdict | None:
    """This device's own hosts file sends a name that fails elsewhere than every name server."""
    for host in facts.path.get("fixed_names") or ():
        failed = [r for r in facts.failed if host_of(r) == host and way(r.kind) is not Way.NAME]
        told, own = _everywhere(facts, str(host)), _in_file(facts, str(host))
        if failed and told and own and not told & own:
            return say(LOCAL, "hosts_file", 0.9, failed, facts.walks)
    return None


def fixed(facts: Facts, host: str) -> bool:
    """Return whether the hosts file holds a name."""
    return host in (facts.path.get("fixed_names") or ())


def _in_file(facts: Facts, host: str) -> set[str]:
    return {str(address) for address in facts.part("fixed_addresses").get(host) or ()}


def _everywhere(facts: Facts, host: str) -> set[str]:
    """Return every address from any name server for a host."""
    return {str(address) for row in facts.asked(host) for address in row.get("answers") or ()}


def disputed(facts: Facts, host: str) -> bool:
    """Return whether the system's resolvers and the others have no address of a host in common."""
    if fixed(facts, host):
        return False
    found = compared(facts, host)
    return found is not None and found.word != dns_consistency.SAME and bool(found.others)


def agreed(facts: Facts, host: str) -> bool:
    """Return whether the address of a host is beyond doubt: others tell it too, or no resolver was needed for it."""
    if ip(host) is not None:
        return True
    if fixed(facts, host):
        return bool(_everywhere(facts, host) & _in_file(facts, host))
    found = compared(facts, host)
    return found is not None and found.word == dns_consistency.SAME and bool(found.system)


def _proven(facts: Facts, host: str, failed: list[Result]) -> float | None:
    """Return how sure it is that the others are right and the system's resolver is wrong; None when it is not.

    A copy of the service that is down is no lie: where an address is told that can be the service's, a stranger must
    have answered there.
    """
    found = compared(facts, host)
    if found is None:
        return None
    possible = bool(found.system) and dns_consistency.kinds(found.system) != {"void"} and found.reason != "block_page"
    if not possible or any(_stranger(r) for r in failed):
        for look in facts.looks(host):
            if look.get("address") in found.system:
                continue
            if look.get("tls_verified") and look.get("failure") is None:
                return 0.95
            if not look.get("tls") and (look.get("status_code") or 999) < 400 and not look.get("redirect_host"):
                return 0.75
    return 0.7 if found.word == dns_consistency.TAMPERED and not possible else None


def _stranger(result: Result) -> bool:
    """Whether somebody answered who cannot be the service: no certificate for the name, or another page without TLS."""
    what = code(result)
    if what in ("http_text", "http_status"):
        return result.data.get("tls_version") is None
    return what in ("tls_hostname", "tls_untrusted", "tls_not_spoken")


def _own_servers(facts: Facts) -> list[WalkEntry]:
    """The system's name servers; where a forwarder on this device stands before them, those behind it, if known."""
    rows = facts.rows("resolvers")
    return [row for row in rows if not row.get("forwarder")] or rows


def _forwarder_is_fine(facts: Facts) -> bool:
    """Whether a forwarder on this device has an answer, by whatever server or cache; one at a loss says SERVFAIL."""
    own = {row.get("address") for row in facts.rows("resolvers") if row.get("forwarder")}
    return any(
        row.get("resolver") in own and row.get("rcode") in ("NOERROR", "NXDOMAIN") for row in facts.rows("names")
    )


def _operators(facts: Facts, rows: list[WalkEntry]) -> bool:
    """Return whether these resolvers are the operator's: handed out over the device's own modem, and none set by hand.

    Behind a router a resolver may be this place's own, another site's, or one that was set by hand; its address alone
    does not tell. A private address is never the operator's by itself.
    """
    references = {str(row.get("address")) for row in facts.rows("references")}
    hosts = [str(ip(str(row.get("address"))) or row.get("address")) for row in rows]
    beyond = all(row.get("place") == "beyond" for row in rows)
    own = [ip(host) for host in hosts]
    theirs = all(a is not None and beyond_the_site(a) for a in own)
    return (
        bool(rows) and facts.own_modem and beyond and theirs and not any(h in _PUBLIC or h in references for h in hosts)
    )
