"""One line about a run: whose job is it? A pure function over the run's results, without I/O and without words.

A wrong accusation is worse than none: it sends people to the wrong party on an election day. So a service is named
only when something at least as far away answered over the same kind of transport, and everything else that failed
is explained; whatever stays open is `uncertain`. Causes are rows of `CODES`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from sigprobe.profile import Grade, Profile
from sigprobe.result import RUN_KIND, Outcome, Result

NONE: Final = "none"
LOCAL: Final = "local"
OPERATOR: Final = "operator"
SERVICE: Final = "service"
COLLECTOR: Final = "collector"
UNCERTAIN: Final = "uncertain"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whose job it is and why. `confidence` is 0…1, `evidence` holds result ids, `targets` the names concerned."""

    owner: str
    cause: str
    confidence: float
    evidence: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The verdict as it stands in the run record and in `--json`."""
        return {
            "owner": self.owner,
            "cause": self.cause,
            "confidence": self.confidence,
            "evidence": list(self.evidence),
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """One graded number of a result: the profile's metric, the value in its unit, and the grade if there is one."""

    result: Result
    metric: str
    value: float
    grade: Grade | None


# Which number of which kind a profile's metric is read from. The first key that holds a number counts.
_SOURCES: Final[dict[str, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "ping": (
        ("latency_ms", ("rtt_median_ms", "rtt_avg_ms")),
        ("jitter_ms", ("jitter_ms",)),
        ("loss_ratio", ("loss_ratio",)),
    ),
    "dns": (("dns_ms", ("query_ms", "getaddrinfo_ms")),),
    "http": (("http_total_ms", ("total_ms",)),),
    "throughput": (("download_bps", ("download_bps",)), ("upload_bps", ("upload_bps",))),
}


def readings(result: Result, profile: Profile | None) -> Iterator[Reading]:
    """The numbers of a result that a profile can grade; missing ones are left out."""
    for metric, keys in _SOURCES.get(result.kind, ()):
        value = next((v for v in map(result.data.get, keys) if _is_number(v)), None)
        if value is not None:
            yield Reading(result, metric, float(value), profile.word(metric, value) if profile else None)


def shortfalls(results: Sequence[Result], profile: Profile | None) -> tuple[Reading, ...]:
    """What answered, but worse than the profile calls enough. A badge never counts."""
    if profile is None or profile.badge:
        return ()
    return tuple(
        reading
        for result in results
        if result.outcome in (Outcome.OK, Outcome.DEGRADED)
        for reading in readings(result, profile)
        if reading.grade is not None and not reading.grade.enough
    )


def decide(results: Sequence[Result], profile: Profile | None) -> Verdict:
    """Say whose job it is, from one run's results. The order of the rules is from the surest to the most open."""
    seen = [r for r in results if r.kind != RUN_KIND and r.outcome is not Outcome.SKIPPED]
    if not seen:
        return Verdict(UNCERTAIN, "nothing_measured", 1.0, tuple(r.id for r in results if r.kind != RUN_KIND))
    failed = [r for r in seen if r.outcome is Outcome.FAILED]
    answered = [r for r in seen if r.outcome is not Outcome.FAILED]
    if not failed:
        return _all_answered(answered, profile)
    if not answered:
        return _none_answered(failed)
    silent = [r for r in failed if _only_icmp_silent(r)]
    if len(silent) == len(failed):
        return _ping_unanswered(silent, answered, profile)
    return _some_failed([r for r in failed if r not in silent], answered)


def _verdict(owner: str, cause: str, confidence: float, *groups: Sequence[Result]) -> Verdict:
    """A verdict whose first group holds the targets concerned; all groups are its evidence."""
    targets = dict.fromkeys(r.target.name for r in groups[0]) if groups else {}
    return Verdict(owner, cause, confidence, tuple(r.id for group in groups for r in group), tuple(targets))


def _all_answered(answered: Sequence[Result], profile: Profile | None) -> Verdict:
    short = list({s.result.id: s.result for s in shortfalls(answered, profile)}.values())
    half = [r for r in answered if _code(r) == "one_direction" and r not in short]
    if short or half:
        return _verdict(UNCERTAIN, "below_need", 0.0, [*short, *half])
    healthy = _verdict(NONE, "healthy", 0.9 if any(r.outcome is Outcome.DEGRADED for r in answered) else 1.0, answered)
    return Verdict(healthy.owner, healthy.cause, healthy.confidence, healthy.evidence)


# The kernel's own word that there is no way out of this device.
_NO_WAY: Final = frozenset({"no_network", "network_unreachable", "no_gateway", "no_signal"})
# What a check that needs a name says on such a device, since it never gets as far as a route.
_NO_NAME: Final = frozenset({"name_not_found", "dns_timeout", "dns_no_resolver"})


def _none_answered(failed: Sequence[Result]) -> Verdict:
    codes = {_code(r) for r in failed}
    routed = any(r.tags.network.gateway is not None for r in failed)
    if codes <= _NO_WAY:
        return _verdict(LOCAL, "no_network", 0.95, failed)
    if codes <= _NO_WAY | _NO_NAME and codes & _NO_WAY and not routed:
        return _verdict(LOCAL, "no_network", 0.85, failed)
    return _verdict(UNCERTAIN, "uncertain", 0.0, failed)


_SILENT: Final = frozenset({"no_reply", "timeout", "packet_loss", "host_unreachable", "filtered"})


def _only_icmp_silent(result: Result) -> bool:
    """True for a ping without a reply: many hosts and firewalls drop ICMP, so alone it says little."""
    return result.kind == "ping" and result.data.get("method") != "tcp" and _code(result) in _SILENT


def _ping_unanswered(silent: Sequence[Result], answered: Sequence[Result], profile: Profile | None) -> Verdict:
    # nobody is accused here, so a page without TLS is proof enough; a resolver's answer is not
    farthest = max(_distance(r) for r in silent)
    proof = [r for r in answered if r.kind not in ("ping", "dns") and _distance(r) >= farthest]
    if not proof:
        return _verdict(UNCERTAIN, "uncertain", 0.0, silent, answered)
    short = shortfalls(answered, profile)
    if short:
        return _verdict(UNCERTAIN, "below_need", 0.0, list({s.result.id: s.result for s in short}.values()), silent)
    return _verdict(NONE, "icmp_filtered", 0.8, silent, proof)


# What a service says for itself, so that nobody else can be to blame once a way to it is proven.
_ITS_OWN_WORD: Final = frozenset({"refused", "http_status", "bad_response", "redirect_limit", "no_endpoint"})
# Answers of walled gardens, proxies and firewalls as much as of services (RFC 9110, RFC 6585, RFC 7725).
_GATEKEEPERS: Final = frozenset({401, 403, 407, 429, 451, 511})
# Silence and cuts: a path with a small MTU or heavy loss looks the same to a check that is not TCP.
_CUT_OFF: Final = frozenset({"timeout", "reset", "http_truncated", "no_reply", "host_unreachable"})
# A page under a strange certificate may be somebody in between, unless another page is under a good one.
_STRANGE: Final = frozenset({"tls_hostname", "tls_untrusted"})


def _some_failed(failed: Sequence[Result], answered: Sequence[Result]) -> Verdict:
    """Only some targets failed: accuse their service, if it is one, and only with proof for each failure."""
    open_question = _verdict(UNCERTAIN, "uncertain", 0.0, failed, answered)
    if len({_host(r) for r in failed}) > 1:
        return open_question
    proofs: dict[str, Result] = {}
    confidence = 0.8
    for result in failed:
        proof = _proof_against(result, answered)
        if proof is None:
            return open_question
        proofs[proof.id] = proof
        if proof.kind == "ping":
            confidence = 0.6
    return _verdict(SERVICE, "targets_failed", confidence, failed, list(proofs.values()))


def _proof_against(failure: Result, answered: Sequence[Result]) -> Result | None:
    """The result that shows the way to `failure`'s target was open; None when there is no such proof."""
    code = _code(failure)
    near = _distance(failure)
    if near is Distance.LINK or failure.data.get("proxy") or failure.data.get("status_code") in _GATEKEEPERS:
        return None  # the gateway, a proxy, or somebody who lets nobody in: then it may be no service's job
    if failure.kind == "dns":
        # a resolver that is silent or refuses is not the service; only SERVFAIL for its name alone points at it
        known = (r for r in answered if r.kind == "dns" and r.outcome is Outcome.OK)
        return next(known, None) if code == "dns_servfail" else None
    far_enough = [r for r in answered if _proves(r) and _distance(r) >= near and _distance(r) is not Distance.LINK]
    over_tcp = [r for r in far_enough if r.kind != "ping"]
    if code in _ITS_OWN_WORD:
        # an error page without TLS may be a portal's, so there a ping is not enough
        plain_page = code != "refused" and failure.data.get("tls_version") is None and near is not Distance.SELF
        return next(iter(over_tcp if plain_page else over_tcp + far_enough), None)
    if code in _CUT_OFF:
        return next(iter(over_tcp), None)
    if code in _STRANGE:
        return next((r for r in over_tcp if r.data.get("tls_version") is not None), None)
    return None  # names, clocks, permissions, our own token, our own time: not the service's


def _proves(result: Result) -> bool:
    """Whether an answer proves a way to where it claims to come from.

    A resolver may answer from its cache or stand inside the operator's network; a plain page may come from a
    captive portal, so over a distance only TLS counts.
    """
    if result.kind == "dns":
        return False
    if result.kind == "http":
        return result.data.get("tls_version") is not None or _distance(result) is not Distance.FAR
    return True


class Distance(IntEnum):
    """How far away a target is, as far as its address tells."""

    SELF = 0  # loopback
    LINK = 1  # the gateway and its neighbours
    NEAR = 2  # private addresses elsewhere, and the operators' shared range
    FAR = 3  # everything else, and every name that was not resolved


Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NEAR_NETWORKS: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


def _distance(result: Result) -> Distance:
    if result.target.address == "default-gateway":
        return Distance.LINK
    if result.kind == "dns":
        return Distance.FAR  # the address used is the resolver's, the question is about a name elsewhere
    if _host(result) == "localhost":
        return Distance.SELF
    address = _ip(result.target.address_used) or _ip(_host(result))
    return Distance.FAR if address is None else _distance_of(address, _ip(result.tags.network.gateway))


def _distance_of(address: Address, gateway: Address | None) -> Distance:
    if address.is_loopback:
        return Distance.SELF
    if address.is_link_local or address == gateway:
        return Distance.LINK
    if not any(address in network for network in _NEAR_NETWORKS if network.version == address.version):
        return Distance.FAR
    if gateway is not None and gateway.version == address.version:
        bits = 24 if address.version == 4 else 64
        if address in ipaddress.ip_network(f"{gateway}/{bits}", strict=False):
            return Distance.LINK
    return Distance.NEAR


def _host(result: Result) -> str:
    """The host a result is about, so that two checks of one service count as one."""
    address = result.target.address or result.target.address_used or result.target.name
    try:
        host = urlsplit(address).hostname if "//" in address else address
    except ValueError:
        host = None
    return (host or address).strip("[]").lower()


def _ip(text: str | None) -> Address | None:
    """An address from `1.2.3.4`, `1.2.3.4:443`, `[::1]:443`, `fe80::1%eth0`; None for anything else."""
    if not text:
        return None
    bare = text.partition("%")[0]
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        return None


def _code(result: Result) -> str | None:
    return None if result.failure is None else result.failure.code


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
