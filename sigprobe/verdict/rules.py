"""The rules, from the surest and nearest to the most open. The first that knows something speaks.

Each rule takes the facts and gives a verdict or None. What lies nearer to the device goes first, since everything
farther away looks broken behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sigprobe.record.clock_limits import CLOCK_WRONG_S, SERVER_DATE_ERROR_S
from sigprobe.record.kinds import Way, measures_rate, way
from sigprobe.record.profile import Profile
from sigprobe.record.result import Outcome, Result
from sigprobe.verdict import dns_rules, service_rules, speed_rules
from sigprobe.verdict.evidence import Distance, Facts, code, distance, only_icmp_silent
from sigprobe.verdict.verdict import COLLECTOR, LOCAL, NONE, OPERATOR, UNCERTAIN, Verdict, say

Rule = Callable[[Facts], Verdict | None]

_FAR_OFF_S: Final = CLOCK_WRONG_S + SERVER_DATE_ERROR_S

# Signals too weak to carry data by any operator's own planning (see the profile's bounds for `poor`).
WEAK_RSRP_DBM: Final = -115.0
WEAK_RSSI_DBM: Final = -105.0

_TIME_CODES: Final = frozenset({"tls_expired", "tls_not_yet_valid"})
# The kernel's own word that there is no way out of this device.
_NO_WAY: Final = frozenset({"no_network", "network_unreachable", "no_gateway", "no_signal"})
# What a check that needs a name says on such a device, since it never gets as far as a route.
_NO_NAME: Final = frozenset({"name_not_found", "dns_timeout", "dns_no_resolver"})


def decide(results: Sequence[Result], profile: Profile | None) -> Verdict:
    """Say whose job it is, from one run's results."""
    facts = Facts(results, profile)
    for rule in _RULES:
        verdict = rule(facts)
        if verdict is not None:
            return verdict
    return say(UNCERTAIN, "uncertain", 0.0, facts.failed, facts.answered, facts.walks)


def _nothing_measured(facts: Facts) -> Verdict | None:
    walked = facts.walks and code(facts.walks[0]) != "no_reference"
    if facts.seen or walked:
        return None
    found = say(UNCERTAIN, "nothing_measured", 1.0, [*facts.left_out, *facts.walks])
    return Verdict(found.owner, found.cause, found.confidence, found.evidence)


# --- this device and its own network ------------------------------------------------------------------------


def _modem_silent(facts: Facts) -> Verdict | None:
    """A modem that searches, or is registered in a weak signal or without data; only where nothing answered."""
    registration = (facts.network.registration or "").lower()
    if not registration or facts.beyond or facts.network.access not in (None, "cellular"):
        return None
    if not facts.failed and not facts.walks:
        return None
    everything = [*facts.failed, *facts.walks]
    if registration == "searching":
        return say(OPERATOR, "no_signal", 0.9, everything)
    if not registration.startswith(("home", "roaming", "registered")):
        return None  # denied, idle, unknown: as well a card, a setting or airplane mode
    if _weak(facts):
        return say(OPERATOR, "weak_signal", 0.85, everything)
    return say(OPERATOR, "modem_no_data", 0.8, everything)


def _weak_signal(facts: Facts) -> Verdict | None:
    """Something fails or falls short, and the signal explains it."""
    troubled = [*facts.failed, *(s.result for s in facts.short)]
    if facts.network.access == "cellular" and _weak(facts) and troubled and not facts.tls_fine:
        return say(OPERATOR, "weak_signal", 0.75, troubled, facts.walks)
    short = [s.result for s in facts.short]
    if facts.network.access == "cellular" and _weak(facts) and short and not facts.failed:
        return say(OPERATOR, "weak_signal", 0.7, short, facts.walks)
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
            return say(LOCAL, "no_gateway", 0.9, everything)
    if facts.answered or not facts.failed:
        return None
    codes = {code(r) for r in facts.failed}
    routed = any(r.tags.network.gateway is not None for r in facts.failed)
    if codes <= _NO_WAY:
        return say(LOCAL, "no_network", 0.95, facts.failed)
    if codes <= _NO_WAY | _NO_NAME and codes & _NO_WAY and not routed:
        return say(LOCAL, "no_network", 0.85, facts.failed)
    return None


def _away(facts: Facts) -> bool:
    return bool(facts.failed) and all(distance(r) is not Distance.SELF for r in facts.failed)


def _clock(facts: Facts) -> Verdict | None:
    """The device's clock: by its date alone, by receipts or GPS (tags), by servers' dates, or by certificates."""
    timed = [r for r in facts.failed if code(r) in _TIME_CODES]
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
    trouble = [*timed, *(row for row in rows if row.get("failure") in _TIME_CODES)]
    # one server is enough when it is the collector, proven by its certificate, and nobody has set this clock right
    vouched = any(row.get("tls_verified") for row in facts.rows("collectors")) and not any(c.synced for c in tags)
    told = len(far_off) > 1 or trouble or vouched
    if far_off and told and len(agreed) == len(far_off) == len(offsets):
        return say(LOCAL, "clock_wrong", 0.95 if len(far_off) > 1 else 0.85, timed, facts.walks)
    hosts = {service_rules.host_of(r) for r in timed}
    if not offsets and not fine and not facts.tls_fine and not facts.collector_fine and len(hosts) > 1:
        return say(LOCAL, "clock_wrong", 0.7, timed)
    return None


_QUOTA_WORDS: Final = (
    "kuota", "quota", "paket", "pulsa", "topup", "top-up", "isiulang", "isi-ulang", "isi.ulang", "recharge", "reload",
)  # fmt: skip


def _portal(facts: Facts) -> Verdict | None:
    """Somebody answers for everybody: a login page nearby, or the operator's top-up page."""
    plain = [row for row in facts.rows("web") if not row.get("tls") and row.get("status_code") is not None]
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
    selective = bool(facts.tls_fine)
    if quota or selective or (facts.network.access == "cellular" and not told):
        return say(LOCAL, "walled_garden", 0.85 if quota else 0.7, troubled, facts.walks)
    return say(LOCAL, "captive_portal", 0.9 if told or one_stranger else 0.75, troubled, facts.walks)


def _sent_away(result: Result) -> bool:
    """Whether a page sends its visitors to a host that is not its own, with or without `www.`."""
    other = str(result.data.get("redirect_host") or "").lower()
    return bool(other) and other.removeprefix("www.") != service_rules.host_of(result).removeprefix("www.")


def _all_web_failed(facts: Facts) -> bool:
    web = [r for r in facts.seen if way(r.kind) is Way.PAGE]
    return bool(web) and all(r.outcome is Outcome.FAILED for r in web)


def _gateway_dead(facts: Facts) -> Verdict | None:
    if facts.gateway_answers is not False or facts.beyond or facts.hop_beyond:
        return None
    sure = facts.part("gateway").get("neighbour") is False
    return say(LOCAL, "gateway_dead", 0.95 if sure else 0.7, facts.failed, facts.walks)


# --- beyond -------------------------------------------------------------------------------------------------


def _interception(facts: Facts) -> Verdict | None:
    """The same unknown issuer on different services' certificates, and no good one anywhere."""
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
    return say(UNCERTAIN, "interception", 0.8 if issuers else 0.5, strange, facts.walks)


def _nothing_beyond(facts: Facts) -> Verdict | None:
    if facts.beyond is not False or not facts.walked or not (facts.failed or facts.rows("references")):
        return None
    if facts.answered and any(distance(r) is not Distance.LINK and way(r.kind) is not Way.NAME for r in facts.answered):
        return None
    if facts.hop_beyond:
        return say(OPERATOR, "dead_after_hop", 0.85, facts.failed, facts.walks)
    if facts.gateway_answers:
        return say(UNCERTAIN, "no_way_beyond", 0.5, facts.failed, facts.walks, facts.answered)
    return None


def _mtu(facts: Facts) -> Verdict | None:
    """Handshakes pass and full packets vanish beyond the gateway, without a word from any router."""
    whole = facts.part("whole")
    stalled = [r for r in facts.failed if _stalled(r)]
    if not stalled or whole.get("far_received") != 0 or whole.get("far_failure") not in (None, "no_reply"):
        return None
    if sum(row.lost for row in facts.far_rtts) > 0.2 * sum(row.sent for row in facts.far_rtts):
        return None
    if whole.get("gateway_received"):
        return say(OPERATOR, "mtu_black_hole", 0.9, stalled, facts.walks)
    return say(UNCERTAIN, "uncertain", 0.0, stalled, facts.walks)


def _stalled(result: Result) -> bool:
    connected = result.data.get("tcp_ms") is not None or measures_rate(result.kind)
    return connected and code(result) in ("timeout", "reset", "http_truncated", "too_slow", "tls_failed")


def _ipv6(facts: Facts) -> Verdict | None:
    """IPv6 is there and reaches nothing while IPv4 does."""
    six, four = facts.part("families").get("ipv6"), facts.part("families").get("ipv4")
    if not isinstance(six, dict) or not isinstance(four, dict):
        return None
    if not six.get("routed") or not six.get("asked") or six.get("answered") or not four.get("answered"):
        return None
    others = [r for r in facts.failed if ":" not in (r.target.address_used or "") and not only_icmp_silent(r)]
    if [r for r in others if code(r) != "network_unreachable"]:
        return None
    return say(UNCERTAIN, "ipv6_broken", 0.8, facts.failed, facts.walks)


# --- one end alone ------------------------------------------------------------------------------------------


def _collector(facts: Facts) -> Verdict | None:
    """Every collector is out of reach while the way is open; a target on a collector's host counts to it."""
    rows = facts.rows("collectors")
    if not rows or any(row.get("failure") is None for row in rows):
        return None
    hosts = {str(row.get("host")).lower() for row in rows}
    if any(service_rules.host_of(r) not in hosts and not only_icmp_silent(r) for r in facts.failed):
        return None
    here = all(row.get("place") == "self" for row in rows)
    if not here and not (facts.beyond and (facts.tls_fine or facts.points)):
        return None
    if any(row.get("failure") in ("name_not_found", "tls_untrusted", "permission") for row in rows):
        return None  # a resolver, somebody in between, this device: as well one of them
    cause = "collector_down" if facts.beyond else "collector_near"
    return say(COLLECTOR, cause, 0.85, facts.failed, facts.walks, facts.answered)


def _ping_unanswered(facts: Facts) -> Verdict | None:
    silent = [r for r in facts.failed if only_icmp_silent(r)]
    if not silent or len(silent) != len(facts.failed) or not facts.answered:
        return None
    # nobody is accused here, so a page without TLS is proof enough; a resolver's answer is not
    farthest = max(distance(r) for r in silent)
    proof = [r for r in facts.answered if way(r.kind) not in (Way.ECHO, Way.NAME) and distance(r) >= farthest]
    if not proof:
        return say(UNCERTAIN, "uncertain", 0.0, silent, facts.answered)
    short = list({s.result.id: s.result for s in facts.short}.values())
    if short:
        return say(UNCERTAIN, "below_need", 0.0, short, silent)
    return say(NONE, "icmp_filtered", 0.8, silent, proof)


def _all_answered(facts: Facts) -> Verdict | None:
    if facts.failed or not facts.answered:
        return None
    short = list({s.result.id: s.result for s in facts.short}.values())
    half = [r for r in facts.answered if code(r) == "one_direction" and r not in short]
    if short or half:
        return say(UNCERTAIN, "below_need", 0.0, [*short, *half])
    degraded = any(r.outcome is Outcome.DEGRADED for r in facts.answered)
    healthy = say(NONE, "healthy", 0.9 if degraded else 1.0, facts.answered, facts.walks)
    return Verdict(healthy.owner, healthy.cause, healthy.confidence, healthy.evidence)


_RULES: Final[tuple[Rule, ...]] = (
    _nothing_measured,
    _clock,
    _portal,
    _modem_silent,
    _no_link,
    _gateway_dead,
    _interception,
    dns_rules.hosts_file,
    dns_rules.lying,
    dns_rules.dead,
    _nothing_beyond,
    _mtu,
    speed_rules.own_traffic,
    _weak_signal,
    speed_rules.queue_by_others,
    speed_rules.loss,
    speed_rules.small_rate,
    _ipv6,
    _collector,
    _ping_unanswered,
    service_rules.several,
    service_rules.one,
    service_rules.slow,
    _all_answered,
)
