"""The rules in order, from the nearest and surest to the most open. The first that applies decides.

Each rule takes the facts and gives a verdict or None. What lies nearer to the device comes first, since everything
farther away looks broken behind it.

An owner is named only when the evidence was confirmed by a second look, is contradicted by nothing in the same run, and
excludes everything nearer and everything beside it that would look the same. Else the verdict is `uncertain` and lists
the candidates that remain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from sigprobe.record.clock_limits import CLOCK_WRONG_S, SERVER_DATE_ERROR_S
from sigprobe.record.host_names import same_name
from sigprobe.record.kinds import Way, is_number, measures_rate, way
from sigprobe.record.profile import Profile
from sigprobe.record.result import Outcome, Result
from sigprobe.verdict import candidates, dns_rules, service_rules, speed_rules
from sigprobe.verdict.evidence import (
    PAGE_TIMES,
    Address,
    Distance,
    Facts,
    WalkEntry,
    code,
    distance,
    ip,
    only_icmp_silent,
    was_busy,
)
from sigprobe.verdict.failure_codes import DATED, PARTIAL
from sigprobe.verdict.verdict import COLLECTOR, LOCAL, NONE, OPERATOR, UNCERTAIN, Candidate, Verdict, say

Rule = Callable[[Facts], Verdict | None]

LATE_MS: Final = 1500.0
"""From this round trip on, the walk's first deadlines are too short for the link."""
_FAR_OFF_S: Final = CLOCK_WRONG_S + SERVER_DATE_ERROR_S

# Signals too weak to carry data by any operator's own planning (see the profile's bounds for `poor`).
WEAK_RSRP_DBM: Final = -115.0
WEAK_RSSI_DBM: Final = -105.0

# The kernel's own word that there is no way out of this device.
_NO_WAY: Final = frozenset({"no_network", "network_unreachable", "no_gateway", "no_signal"})
# What a check that needs a name says on such a device, since it never gets as far as a route.
_NO_NAME: Final = frozenset({"name_not_found", "dns_timeout", "dns_no_resolver"})


def decide(results: Sequence[Result], profile: Profile | None) -> Verdict:
    """Decide who has to act, from one run's results."""
    facts = Facts(results, profile)
    for rule in _RULES:
        verdict = rule(facts)
        if verdict is not None:
            return _through_a_tunnel(facts, verdict)
    return say(UNCERTAIN, "uncertain", 0.0, facts.failed, facts.answered, facts.walks, candidates=candidates.MIXED)


def _through_a_tunnel(facts: Facts, verdict: Verdict) -> Verdict:
    """Put the VPN among the candidates where packets leave through one: first where it carries nothing."""
    if not facts.tunnel or not verdict.candidates:
        return verdict
    front = 0 if facts.beyond is False else 1
    order = [*verdict.candidates[:front], candidates.VPN, *verdict.candidates[front:]]
    return replace(verdict, candidates=tuple(order))


def _nothing_measured(facts: Facts) -> Verdict | None:
    walked = facts.walks and code(facts.walks[0]) != "no_reference"
    if facts.seen or walked:
        return None
    found = say(UNCERTAIN, "nothing_measured", 1.0, [*facts.left_out, *facts.walks])
    return Verdict(found.owner, found.cause, found.confidence, found.evidence)


# --- this device and its own network ------------------------------------------------------------------------


def _modem_silent(facts: Facts) -> Verdict | None:
    """Report a modem that searches, or is registered with a weak signal or without data, if nothing answered."""
    registration = (facts.network.registration or "").lower()
    if not registration or facts.beyond or facts.network.access not in (None, "cellular"):
        return None
    if not facts.failed and not facts.walks:
        return None
    everything = [*facts.failed, *facts.walks]
    if registration == "searching":
        # two looks at the modem, the run's length apart, say the same
        always = all((r.tags.network.registration or "").lower() == "searching" for r in (*facts.walks, *facts.seen))
        if always:
            return say(OPERATOR, "no_signal", 0.9, everything)
        return say(UNCERTAIN, "no_way_beyond", 0.4, everything, candidates=candidates.MODEM_SILENT)
    if registration == "denied":
        return say(UNCERTAIN, "registration_denied", 0.5, everything, candidates=candidates.DENIED)
    if not registration.startswith(("home", "roaming", "registered")):
        return None  # idle, unknown: as well a card, a setting or airplane mode
    if facts.second.get("references_answered"):
        return _late_or_over(facts)
    if _weak(facts):
        # the signal alone may explain it; a used-up package at such a place looks the same
        return say(UNCERTAIN, "weak_signal", 0.6, everything, candidates=candidates.WEAK)
    # a used-up package, a wrong APN and an expired card look the same as a fault of the operator
    named = any(row.get("answers") and row.get("place") == "beyond" for row in facts.rows("resolvers"))
    order = candidates.MODEM_NAMES_ONLY if named else candidates.MODEM_SILENT
    return say(UNCERTAIN, "modem_no_data", 0.5, everything, candidates=order)


def _late_or_over(facts: Facts) -> Verdict:
    """Nothing answered at first, and something did at the second look: late by nature of the link, or a passing fault.

    Our own deadlines are no evidence of a fault.
    """
    rtt_ms = facts.second.get("references_rtt_ms")
    if is_number(rtt_ms) and float(rtt_ms or 0) >= LATE_MS:
        return say(UNCERTAIN, "slow_here", 0.4, facts.failed, facts.walks, candidates=candidates.SLOW_RADIO)
    return say(UNCERTAIN, "recovered", 0.3, facts.failed, facts.walks, candidates=candidates.MIXED)


def _weak_signal(facts: Facts) -> Verdict | None:
    """Report a poor radio link: answers with poor rate, loss or delay, explained by the signal."""
    short = [s.result for s in facts.short if s.metric not in PAGE_TIMES]
    if facts.device_busy or facts.device_freezes:
        return None
    if facts.network.access == "cellular" and _weak(facts) and short and not facts.failed:
        return say(OPERATOR, "weak_signal", 0.9, short, facts.walks)
    return None


def _weak(facts: Facts) -> bool:
    rsrp, rssi = facts.network.rsrp_dbm, facts.network.rssi_dbm
    return rsrp < WEAK_RSRP_DBM if rsrp is not None else rssi is not None and rssi < WEAK_RSSI_DBM


def _no_link(facts: Facts) -> Verdict | None:
    """No interface, no address, no default route: as the walk saw it, else as the kernel told each check."""
    path = facts.path
    outside = [r for r in facts.answered if distance(r) is not Distance.SELF and way(r.kind) is not Way.NAME]
    if not outside and not facts.points:
        everything = [*facts.failed, *facts.walks]
        if path.get("connected") is False and facts.failed:
            return say(LOCAL, "no_network", 0.95, everything)
        if path.get("connected") and path.get("addressed") is False and facts.failed:
            return say(LOCAL, "no_address", 0.95, everything)
        if path.get("addressed") and path.get("routed") is False and _away(facts):
            return say(LOCAL, "no_gateway", 0.95, everything)
    if facts.answered or not facts.failed:
        return None
    codes = {code(r) for r in facts.failed}
    routed = any(r.tags.network.gateway is not None for r in facts.failed)
    if path.get("routed") or facts.gateway_answers:
        return None  # a router farther out said that there is no route; this device has one
    if codes <= _NO_WAY:
        return say(LOCAL, "no_network", 0.95, facts.failed)
    if codes <= _NO_WAY | _NO_NAME and codes & _NO_WAY and not routed:
        return say(LOCAL, "no_network", 0.85, facts.failed)
    return None


def _away(facts: Facts) -> bool:
    return bool(facts.failed) and all(distance(r) is not Distance.SELF for r in facts.failed)


def _clock(facts: Facts) -> Verdict | None:
    """The device's clock: by its date alone, by receipts or GPS (tags), by servers' dates, or by certificates."""
    timed = [r for r in facts.failed if code(r) in DATED]
    if facts.impossible_dates:
        return say(LOCAL, "clock_wrong", 0.99, facts.impossible_dates)
    tags = [r.tags.clock for r in (*facts.walks, *facts.seen)]
    for clock in tags:
        if clock.offset_est_ms is not None:
            error = clock.offset_err_ms or 0.0
            if abs(clock.offset_est_ms) - error > CLOCK_WRONG_S * 1000:
                return say(LOCAL, "clock_wrong", 0.95, timed, facts.walks, facts.seen[:1])
            break
    rows = [*facts.rows("collectors"), *facts.rows("web")]
    offsets = facts.clock_offsets_s
    far_off = [o for o in offsets.values() if abs(o) > _FAR_OFF_S]
    agreed = [o for o in far_off if abs(o - far_off[0]) < _FAR_OFF_S / 2]
    fine = len(offsets) > len(far_off) or (facts.tls_fine and timed)
    trouble = [*timed, *(row for row in rows if row.get("failure") in DATED)]
    # one server is enough when it is the collector, proven by its certificate, and nobody has set this clock right
    vouched = any(row.get("tls_verified") for row in facts.rows("collectors")) and not any(c.synced for c in tags)
    if far_off and len(agreed) == len(far_off) == len(offsets):
        if len(far_off) > 1:
            return say(LOCAL, "clock_wrong", 0.95, timed, facts.walks)
        if trouble or vouched:
            # one server's date may be that server's fault
            doubt = [candidates.DEVICE_CLOCK, candidates.COLLECTOR_DOWN, candidates.SERVICE_DOWN]
            return say(UNCERTAIN, "clock_wrong", 0.5, timed, facts.walks, candidates=doubt)
    hosts = {service_rules.host_of(r) for r in timed}
    if not offsets and not fine and not facts.tls_fine and not facts.collector_fine and len(hosts) > 1:
        return say(UNCERTAIN, "uncertain", 0.4, timed, candidates=[candidates.DEVICE_CLOCK, candidates.SERVICE_DOWN])
    return None


_QUOTA_WORDS: Final = (
    "kuota", "quota", "paket", "pulsa", "topup", "top-up", "isiulang", "isi-ulang", "isi.ulang", "recharge", "reload",
    "masaaktif", "masa-aktif", "masatenggang", "masa-tenggang", "perpanjang",
)  # fmt: skip


def _portal(facts: Facts) -> Verdict | None:
    """Somebody answers for everybody: a login page nearby, or the operator's top-up page."""
    looks = [*facts.rows("web"), *facts.plain_again]
    plain = [row for row in looks if not row.get("tls") and row.get("status_code") is not None]
    again = facts.second.get("one_address")
    shared = facts.part("one_address")
    if shared.get("status_code") is None and isinstance(again, dict):
        shared = again  # one silence may be one lost packet
    if shared.get("status_code") is not None and not verified_anywhere(facts):
        plain = [*plain, shared]
        if shared.get("redirect_host") or shared.get("status_code") == 511:
            # every name leads to this one address, and it sends visitors on: two hosts are asked for at once
            plain.append({**shared, "host": f"{shared.get('host')} and others"})
    strangers = [str(row["redirect_host"]) for row in plain if row.get("redirect_host")]
    pages = [
        str(r.data["redirect_host"])
        for r in facts.seen
        if way(r.kind) is Way.PAGE and _sent_away(r) and not r.data.get("tls_version")
    ]
    asked = {str(row.get("host")) for row in plain if row.get("redirect_host")}
    same = {row["digest"] for row in plain if row.get("digest") and row.get("status_code") == 200}
    troubled = [r for r in facts.failed if way(r.kind) is Way.PAGE or measures_rate(r.kind)]
    told = any(row.get("status_code") == 511 for row in plain) or any(
        r.data.get("status_code") == 511 for r in troubled
    )
    one_stranger = len(set(strangers + pages)) == 1 and (len(asked) > 1 or bool(pages))
    verified = bool(facts.tls_fine or facts.collector_fine)
    one_page = len(same) == 1 and len([row for row in plain if row.get("digest") in same]) > 1 and not verified
    if not troubled and not (pages and not verified):
        return None
    if not (told or one_stranger or (strangers and not verified) or (one_page and _all_web_failed(facts))):
        return None
    text = " ".join([*strangers, *pages, *(str(r.data.get("location") or "") for r in facts.seen)]).lower()
    quota = any(word in text for word in _QUOTA_WORDS)
    if quota and (len(asked) > 1 or len(pages) > 1 or not verified):
        return say(LOCAL, "walled_garden", 0.9, troubled, facts.walks)
    if (told or (one_stranger and len(asked) > 1)) and not verified and not facts.own_modem:
        return say(LOCAL, "captive_portal", 0.9, troubled, facts.walks)
    return say(UNCERTAIN, "redirected", 0.5, troubled or facts.failed, facts.walks, candidates=candidates.REDIRECTED)


def _portal_midway(facts: Facts) -> Verdict | None:
    """References that were silent lead to one stranger at the second look, and pages worked before: time is over."""
    rows = [row for row in facts.plain_again if row.get("redirect_host") or row.get("status_code") == 511]
    strangers = {row.get("redirect_host") for row in rows}
    # what an earlier check saw is no proof of this moment
    answered = any(row.get("answers") for row in facts.rows("references"))
    if len(rows) < 2 or len(strangers) > 1 or answered or facts.collector_fine:
        return None
    if any(row.get("failure") is None and row.get("tls_verified") for row in facts.collectors_again):
        return None
    text = " ".join(str(name) for name in strangers).lower()
    if any(word in text for word in _QUOTA_WORDS):
        return say(LOCAL, "walled_garden", 0.9, facts.walks, facts.failed)
    if facts.own_modem or facts.tunnel:
        return say(UNCERTAIN, "redirected", 0.5, facts.walks, facts.failed, candidates=candidates.REDIRECTED)
    return say(LOCAL, "captive_portal", 0.9, facts.walks, facts.failed)


def verified_anywhere(facts: Facts) -> bool:
    """Return whether any page or collector beyond this network answered with a certificate that holds."""
    return bool(facts.tls_fine or facts.collector_fine)


def _sent_away(result: Result) -> bool:
    """Return whether a page sends its visitors to a host that is not its own, with or without `www.`."""
    other = str(result.data.get("redirect_host") or "")
    return bool(other) and not same_name(other, service_rules.host_of(result))


def _all_web_failed(facts: Facts) -> bool:
    web = [r for r in facts.seen if way(r.kind) is Way.PAGE]
    return bool(web) and all(r.outcome is Outcome.FAILED for r in web)


def _gateway_dead(facts: Facts) -> Verdict | None:
    if facts.gateway_answers is not False or facts.beyond or facts.hop_beyond or facts.device_freezes:
        return None
    if facts.second.get("gateway_answers"):
        return say(UNCERTAIN, "recovered", 0.3, facts.failed, facts.walks, candidates=candidates.NOTHING_BEYOND)
    if facts.part("gateway").get("neighbour") is False:
        return say(LOCAL, "gateway_dead", 0.95, facts.failed, facts.walks)
    # it is there (ARP knows it) and answers nothing: it may be silent on purpose, with a fault behind it
    return say(UNCERTAIN, "no_way_beyond", 0.4, facts.failed, facts.walks, candidates=_uplink_first())


def _uplink_first() -> tuple[Candidate, ...]:
    return candidates.first([candidates.SITE_UPLINK], candidates.NOTHING_BEYOND)


# --- beyond -------------------------------------------------------------------------------------------------


def _interception(facts: Facts) -> Verdict | None:
    """Report one unknown issuer on the certificates of different services, with no valid one anywhere."""
    strange = [r for r in facts.failed if code(r) == "tls_untrusted"]
    if len({service_rules.host_of(r) for r in strange}) < 2 or facts.tls_fine or facts.collector_fine:
        return None
    issuers = {
        str(row["cert_issuer"]): row.get("host")
        for row in facts.rows("web")
        if row.get("failure") == "tls_untrusted" and row.get("cert_issuer")
    }
    if len(issuers) > 1:
        return None
    return say(UNCERTAIN, "interception", 0.5, strange, facts.walks, candidates=candidates.INTERCEPTED)


def _nothing_beyond(facts: Facts) -> Verdict | None:
    if facts.beyond is not False or not facts.walked or not (facts.failed or facts.rows("references")):
        return None
    if facts.answered and any(distance(r) is not Distance.LINK and way(r.kind) is not Way.NAME for r in facts.answered):
        return None
    if facts.second.get("references_answered"):
        return _late_or_over(facts)
    if facts.operator_has_no_route and facts.second.get("references_asked"):
        return say(OPERATOR, "dead_after_hop", 0.9, facts.failed, facts.walks)
    if facts.hop_beyond or facts.gateway_answers or facts.path.get("routed"):
        # silence names nobody: a used-up package that is dropped silently looks like a dead core
        front = [candidates.OUTAGE, candidates.QUOTA] if facts.hop_beyond else []
        if not facts.own_modem and not facts.hop_beyond:
            front = [candidates.QUOTA, candidates.OUTAGE, candidates.SITE_UPLINK]
        shared = ip(str(facts.part("one_address").get("address") or ""))
        if shared is not None:
            # every name leads to one address: a page for everybody was meant
            here = shared.is_private and not facts.own_modem
            front = [*(candidates.ONE_ADDRESS_HERE if here else candidates.ONE_ADDRESS_BEYOND), *front]
        if facts.device_freezes:
            front = [candidates.DEVICE_BUSY, *front]
        return say(
            UNCERTAIN,
            "no_way_beyond",
            0.5,
            facts.failed,
            facts.walks,
            facts.answered,
            candidates=candidates.first(front, candidates.NOTHING_BEYOND),
        )
    return None


def _mtu(facts: Facts) -> Verdict | None:
    """Small packets pass and full ones vanish beyond the gateway, without a word from any router."""
    whole = facts.part("whole")
    stalled = [r for r in facts.failed if _stalled(r)]
    if whole.get("far_received") != 0 or whole.get("far_failure") not in (None, "no_reply") or facts.device_freezes:
        return None
    if sum(row.lost for row in facts.far_rtts) > 0.2 * sum(row.sent for row in facts.far_rtts):
        return None
    if not stalled and (facts.second.get("padded") or facts.failed):
        return None  # long requests do pass: the point beyond answers no large echoes
    if not stalled and not facts.rows("collectors"):
        return None
    # the limit may as well be the one of this place's own router
    return say(UNCERTAIN, "large_packets_lost", 0.5, stalled or facts.walks, facts.walks, candidates=candidates.MTU)


def _stalled(result: Result) -> bool:
    connected = result.data.get("tcp_ms") is not None or measures_rate(result.kind)
    return connected and code(result) in ("timeout", "reset", "http_truncated", "too_slow", "tls_failed")


def _one_family(facts: Facts) -> Verdict | None:
    """One of IPv4 and IPv6 is there and reaches nothing while the other does."""
    six, four = facts.part("families").get("ipv6"), facts.part("families").get("ipv4")
    if not isinstance(six, dict) or not isinstance(four, dict) or facts.device_freezes:
        return None
    for version, this, other in ((6, six, four), (4, four, six)):
        if not this.get("routed") or not this.get("asked") or this.get("answered") or not other.get("answered"):
            continue
        used = [(r, ip(r.target.address_used)) for r in facts.failed]
        loud = [(r, address) for r, address in used if not only_icmp_silent(r)]
        others = [r for r, address in loud if address is None or address.version != version]
        if [r for r in others if code(r) != "network_unreachable"]:
            continue
        if version == 6:
            order = [candidates.SITE_UPLINK, candidates.OUTAGE, candidates.FILTER]
            return say(UNCERTAIN, "ipv6_broken", 0.5, facts.failed, facts.walks, candidates=order)
        if len(facts.rows("references")) < 2 or any(
            address is not None and address.version == 4 for r in facts.answered if (address := _far(r))
        ):
            continue
        order = [candidates.OUTAGE, candidates.SITE_UPLINK, candidates.FILTER]
        return say(UNCERTAIN, "ipv4_broken", 0.5, facts.failed, facts.walks, candidates=order)
    return None


def _far(result: Result) -> Address | None:
    """Return the address of a target beyond this network that answered itself."""
    near = distance(result) in (Distance.SELF, Distance.LINK) or way(result.kind) is Way.NAME
    return None if near else ip(result.target.address_used)


# --- one end alone ------------------------------------------------------------------------------------------


def _collector(facts: Facts) -> Verdict | None:
    """Report that all collectors are unreachable while the path is open. Targets on a collector's host count, too."""
    rows = facts.rows("collectors")
    if not rows or any(row.get("failure") is None for row in rows):
        return None
    hosts = {str(row.get("host")).lower() for row in rows}
    lasting = [r for r in facts.failed if not service_rules.is_over(facts, r)]
    if any(service_rules.host_of(r) not in hosts and not only_icmp_silent(r) for r in lasting):
        return None
    here = all(row.get("place") == "self" for row in rows)
    if not here and not (facts.beyond and (facts.tls_fine or facts.points)):
        return None
    again = facts.collectors_again
    answered = [row for row in again if row.get("failure") is None]
    wrong = any(_is_error(row.get("status_code")) for row in answered)
    if again and len(answered) == len(again) and _only_late(rows) and not wrong:
        return None  # our own deadline was too short for this link
    if answered and not wrong:
        return say(UNCERTAIN, "recovered", 0.3, facts.failed or facts.walks, facts.walks, candidates=candidates.MIXED)
    if facts.lost_midway:
        return say(
            UNCERTAIN,
            "no_way_beyond",
            0.5,
            facts.failed,
            facts.walks,
            facts.answered,
            candidates=candidates.LOST_MIDWAY,
        )
    if not facts.beyond:
        return say(
            UNCERTAIN, "internet_not_tested", 0.3, facts.failed, facts.walks, candidates=candidates.ONE_COLLECTOR
        )
    if facts.opened_late_in_all > 1 and _only_late(rows):
        # first packets to others are lost as well
        order = candidates.first([candidates.CONGESTION, candidates.SITE_LOSS], candidates.ONE_COLLECTOR)
        return say(UNCERTAIN, "packets_lost", 0.4, facts.failed, facts.opened_late, facts.walks, candidates=order)
    nameless = all(row.get("phase") == "dns" for row in (*rows, *again))
    return say(
        UNCERTAIN,
        "collector_unreached",
        0.5,
        facts.failed,
        facts.walks,
        facts.answered,
        candidates=candidates.COLLECTOR_NAME if nameless else candidates.ONE_COLLECTOR,
    )


def _only_late(rows: Sequence[WalkEntry]) -> bool:
    return all(row.get("failure") == "timeout" for row in rows)


def _collector_speaks(facts: Facts) -> Verdict | None:
    """Report a collector that answers twice with its own error, over a valid certificate."""
    rows = facts.rows("collectors")
    wrong = [row for row in rows if row.get("tls_verified") and _is_error(row.get("status_code"))]
    lasting = [r for r in facts.failed if not service_rules.is_over(facts, r)]
    if not wrong or len(wrong) != len(rows) or lasting:
        return None
    again = [row for row in facts.collectors_again if row.get("tls_verified")]
    if again and not all(_is_error(row.get("status_code")) for row in again):
        return None
    return None if not again else say(COLLECTOR, "collector_down", 0.9, facts.walks, facts.answered)


def _is_error(status: object) -> bool:
    return isinstance(status, int) and status >= 500


def _ping_unanswered(facts: Facts) -> Verdict | None:
    silent = [r for r in facts.failed if only_icmp_silent(r)]
    if not silent or len(silent) != len(facts.failed) or not facts.answered:
        return None
    # nobody is accused here, so a page without TLS is proof enough; a resolver's answer is not
    farthest = max(distance(r) for r in silent)
    proof = [r for r in facts.answered if way(r.kind) not in (Way.ECHO, Way.NAME) and distance(r) >= farthest]
    if not proof:
        return say(UNCERTAIN, "uncertain", 0.0, silent, facts.answered, candidates=candidates.MIXED)
    short = _short(facts)
    if short:
        return say(UNCERTAIN, "below_need", 0.3, short, silent, candidates=_slow(facts))
    if not facts.beyond:
        return say(UNCERTAIN, "internet_not_tested", 0.3, silent, proof)
    return say(NONE, "icmp_filtered", 0.9, silent, proof)


def _all_answered(facts: Facts) -> Verdict | None:
    walked_out = bool(facts.walks) and facts.beyond is True
    if facts.failed or not (facts.answered or walked_out):
        return None
    short = _short(facts)
    only_late = bool(short) and facts.opened_late_in_all > 1 and {s.metric for s in facts.short} <= PAGE_TIMES
    if only_late and not facts.doubtful:
        short = []  # pages are late because their first packets were lost
    half = [r for r in facts.answered if _is_half(r) and r not in short]
    if half and not short and all(code(r) != "one_direction" for r in half):
        order = candidates.SLOW_HOST if len({service_rules.host_of(r) for r in half}) == 1 else _slow(facts)
        return say(UNCERTAIN, "below_need", 0.3, half, candidates=order)
    if short or half:
        return say(UNCERTAIN, "below_need", 0.3, [*short, *half], candidates=_slow(facts))
    late = facts.opened_late
    if facts.opened_late_in_all > 1:
        busy = [candidates.DEVICE_BUSY] if all(was_busy(r) for r in (*late, *facts.walks)) else []
        order = candidates.first(busy, candidates.LOST_OPENINGS)
        return say(UNCERTAIN, "packets_lost", 0.5, late or facts.walks, facts.walks, candidates=order)
    if not facts.beyond:
        # a neighbour's answer says nothing of the internet, and no packet may have left this device
        return say(UNCERTAIN, "internet_not_tested", 0.3, facts.answered, facts.walks)
    degraded = any(r.outcome is Outcome.DEGRADED for r in facts.answered)
    healthy = say(NONE, "healthy", 0.9 if degraded or not facts.walks else 0.98, facts.answered, facts.walks)
    return Verdict(healthy.owner, healthy.cause, healthy.confidence, healthy.evidence)


def _short(facts: Facts) -> list[Result]:
    """Return what answered worse than needed, and rates that only a busy device made fall short."""
    return list({s.result.id: s.result for s in (*facts.short, *facts.doubtful)}.values())


def _is_half(result: Result) -> bool:
    """Return whether a part of an answer is missing that matters: of a page, a fifth of what belongs to it."""
    what = code(result)
    if what == "page_incomplete":
        found, fetched = result.data.get("resources_found"), result.data.get("resources_fetched")
        return is_number(found) and is_number(fetched) and float(found or 0) - float(fetched or 0) >= 0.2 * (found or 1)
    return what in PARTIAL and what != "dns_some_failed"


def _slow(facts: Facts) -> Sequence[Candidate]:
    front = [candidates.DEVICE_BUSY] if facts.device_busy or facts.device_freezes else []
    rates = [s.result for s in facts.short if measures_rate(s.result.kind)]
    if rates and len(rates) == len(facts.short) and all(speed_rules.stays_empty(r) for r in rates):
        # nothing waited on the link: its server sent little, or what was too much was dropped
        front += [candidates.SERVICE_BUSY, candidates.PLAN_LIMIT]
    return candidates.first(front, candidates.SLOW)


_RULES: Final[tuple[Rule, ...]] = (
    _nothing_measured,
    _clock,
    _portal_midway,
    _portal,
    _modem_silent,
    _no_link,
    _gateway_dead,
    _interception,
    dns_rules.hosts_file,
    dns_rules.lying,
    dns_rules.on_this_device,
    dns_rules.dead,
    _nothing_beyond,
    speed_rules.own_traffic,
    speed_rules.queue_by_others,  # a full queue drops large packets first
    _mtu,
    _weak_signal,
    speed_rules.near_loss,
    speed_rules.loss,
    speed_rules.small_rate,
    _one_family,
    _collector_speaks,
    _collector,
    _ping_unanswered,
    service_rules.lost_openings,
    service_rules.several,
    service_rules.one,
    service_rules.slow,
    _all_answered,
)
