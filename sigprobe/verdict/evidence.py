"""Facts from a run's results: what answered, how far away it was, and how well. No rule, no owner, no cause."""

from __future__ import annotations

import ipaddress
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from sigprobe.record.kinds import Way, is_number, way
from sigprobe.record.plausible_time import is_plausible
from sigprobe.record.profile import Profile
from sigprobe.record.result import RUN_KIND, Network, Outcome, Result, parse_time
from sigprobe.verdict.failure_codes import NOT_RUN
from sigprobe.verdict.readings import Reading, shortfalls


class Distance(IntEnum):
    """How far away a target is, as far as its address tells."""

    SELF = 0  # loopback
    LINK = 1  # the gateway and its neighbours
    NEAR = 2  # private addresses elsewhere, and the operators' shared range
    FAR = 3  # everything else, and every name that was not resolved


Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
WalkEntry: TypeAlias = Mapping[str, Any]

_NEAR_NETWORKS: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
HEAVY_LOSS: Final = 0.06
"""The share of echoes beyond the gateway that must be lost before loss is suspected."""
LEAST_ECHOES: Final = 3
"""So many of the walk's ten echoes must have been sent to a point before its silence counts."""
FREEZE_MS: Final = 100.0
"""A device whose sleeping thread wakes so late on average misses what others send it."""
HEAVY_QUESTIONS: Final = 0.08
"""The share of small questions that must be lost, too, before loss counts."""
REPEATED_MS: Final = 900.0
"""A first packet is repeated after one second; what opens later than this was not the first try."""
PAGE_TIMES: Final = frozenset({"http_total_ms", "web_total_ms"})
SILENT: Final = frozenset({"no_reply", "timeout", "packet_loss", "host_unreachable", "filtered"})


@dataclass(frozen=True, slots=True)
class Rtts:
    """Echoes to one point: how many were sent, and the round trips of those that came back, in ms."""

    where: str
    sent: int
    seen_ms: tuple[float, ...]

    @property
    def lost(self) -> int:
        """Return how many never came back."""
        return self.sent - len(self.seen_ms)

    @property
    def spread_ms(self) -> float:
        """From the shortest round trip to one that only a tenth is longer than."""
        ordered = sorted(self.seen_ms)
        return ordered[int(0.9 * (len(ordered) - 1))] - ordered[0] if ordered else 0.0


class Facts:
    """The results of one run, read for what they prove. Data of any shape is read without complaint."""

    def __init__(self, results: Sequence[Result], profile: Profile | None) -> None:
        self.profile = profile
        checks = [r for r in results if r.kind != RUN_KIND]
        proven = any(r.data.get("tls_version") for r in checks if r.outcome is not Outcome.FAILED)
        self.left_out = [r for r in checks if r.outcome is Outcome.SKIPPED or _was_not_run(r, proven)]
        seen = [r for r in checks if r not in self.left_out]
        self.walks = [r for r in seen if way(r.kind) is Way.WALK]
        self.seen = [r for r in seen if way(r.kind) is not Way.WALK]
        self.failed = [r for r in self.seen if r.outcome is Outcome.FAILED]
        self.answered = [r for r in self.seen if r.outcome is not Outcome.FAILED]
        self.path: WalkEntry = self.walks[0].data if self.walks else {}

    # --- the walk outwards ----------------------------------------------------------------------------------

    def rows(self, name: str) -> list[WalkEntry]:
        """Return one of the walk's lists; empty when there is none."""
        found = self.path.get(name)
        return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list | tuple) else []

    def part(self, name: str) -> WalkEntry:
        """Return one of the walk's parts; empty when there is none."""
        found = self.path.get(name)
        return found if isinstance(found, Mapping) else {}

    @cached_property
    def walked(self) -> bool:
        """Return whether a walk was made that had something to reach."""
        return bool(self.walks) and bool(self.rows("references") or self.rows("targets") or self.part("gateway"))

    @cached_property
    def network(self) -> Network:
        """Return the link as the last result was tagged."""
        everything = [*self.walks, *self.seen, *self.left_out]
        return everything[0].tags.network if everything else Network()

    @cached_property
    def gateway_answers(self) -> bool | None:
        """Return whether the gateway said anything at all; None when nobody asked it."""
        gateway = self.part("gateway")
        near = [r for r in self.answered if r.target.address == "default-gateway"]
        relays = [row for row in self.rows("resolvers") if row.get("place") == "link" and row.get("answers")]
        first = [
            row for row in self.rows("hops") if row.get("ttl") == 1 and row.get("address") == gateway.get("address")
        ]
        if near or relays or first or gateway.get("answers"):
            return True
        return False if gateway.get("answers") is False else None

    @cached_property
    def hop_beyond(self) -> bool:
        """Return whether a router beyond the gateway said anything."""
        return bool(self.path.get("hop_beyond"))

    @cached_property
    def points(self) -> list[WalkEntry]:
        """Points beyond the gateway that answered the walk: this device and its neighbours prove no way out."""
        rows = (*self.rows("references"), *self.rows("targets"))
        return [p for p in rows if p.get("answers") and p.get("place", "beyond") == "beyond"]

    @cached_property
    def tls_fine(self) -> list[Result]:
        """Pages from beyond this network over a verified connection: nothing in between can have made them up."""
        pages = [r for r in self.answered if way(r.kind) is Way.PAGE and r.data.get("tls_version")]
        return [r for r in pages if distance(r) > Distance.LINK]

    @cached_property
    def collector_fine(self) -> bool:
        """Return whether a collector beyond this network answered over a verified connection."""
        rows = [row for row in self.rows("collectors") if row.get("place", "beyond") == "beyond"]
        return any(row.get("failure") is None and row.get("tls_verified") for row in rows)

    @cached_property
    def beyond(self) -> bool | None:
        """Return whether anything beyond the gateway answered; None when nothing was asked there."""
        if self.points or self.tls_fine or self.collector_fine:
            return True
        if any(proves(r) and distance(r) is Distance.FAR for r in self.answered):
            return True
        return False if self.walked or self.failed else None

    @cached_property
    def impossible_dates(self) -> list[Result]:
        """Results that claim to be older than this version of the program, or many years newer."""
        started = [(r, parse_time(r.started_at)) for r in (*self.walks, *self.seen)]
        return [r for r, when in started if when is not None and not is_plausible(when)]

    @cached_property
    def clock_offsets_s(self) -> dict[str, float]:
        """By server, its time minus this device's, in seconds, as far as servers told theirs."""
        rows = [*self.rows("collectors"), *self.rows("web")]
        told = [(str(row.get("address")), row.get("clock_offset_s")) for row in rows]
        return {address: float(offset) for address, offset in told if offset is not None and is_number(offset)}

    # --- the second look ------------------------------------------------------------------------------------

    @cached_property
    def second(self) -> WalkEntry:
        """Return what the walk saw when it looked again; empty where it did not."""
        return self.part("second")

    @property
    def steps_to_any(self) -> list[WalkEntry]:
        """Return all connections with small TTLs."""
        found = self.second.get("steps")
        return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list | tuple) else []

    def steps(self, host: str | None = None) -> list[WalkEntry]:
        """Return the connections with small TTLs to a failed host; without one, those to a host that works."""
        found = self.second.get("steps")
        rows = [row for row in found if isinstance(row, Mapping)] if isinstance(found, list | tuple) else []
        if host is None:
            return [row for row in rows if row.get("control")]
        return [row for row in rows if row.get("host") == host and not row.get("control")]

    def again(self, host: str) -> list[WalkEntry]:
        """Return the second looks at a host."""
        found = self.second.get("web")
        rows = [row for row in found if isinstance(row, Mapping)] if isinstance(found, list | tuple) else []
        return [row for row in rows if row.get("host") == host]

    @cached_property
    def collectors_again(self) -> list[WalkEntry]:
        """Return the second looks at collectors that had failed."""
        found = self.second.get("collectors")
        return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list | tuple) else []

    @cached_property
    def plain_again(self) -> list[WalkEntry]:
        """Return plain pages of silent references at the second look: a login page that came in the middle of a run."""
        found = self.second.get("plain")
        return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list | tuple) else []

    @cached_property
    def lost_midway(self) -> bool:
        """Return whether references were silent in both looks, though a check of this run had been answered before."""
        asked, second = self.rows("references"), self.second
        silent = bool(asked) and not any(row.get("answers") for row in asked)
        return silent and bool(second.get("references_asked")) and not second.get("references_answered")

    @cached_property
    def own_traffic_again(self) -> WalkEntry:
        """Return this device's own traffic at the second look; empty where it was not measured."""
        found = self.second.get("own_load")
        return found if isinstance(found, Mapping) else {}

    @cached_property
    def own_modem(self) -> bool:
        """Return whether the device is itself the modem of the link: then everything beyond it is the operator's."""
        return self.network.access == "cellular" and not self.tunnel

    @cached_property
    def told_no_route(self) -> set[str]:
        """Addresses of routers that reported a reference or a failed host as unreachable."""
        told = {str(row["told_by"]) for row in self.rows("references") if row.get("told_by")}
        steps = [row.get("answers") for row in self.steps_to_any]
        said = [a for answers in steps if isinstance(answers, list) for a in answers if isinstance(a, Mapping)]
        told |= {str(a["address"]) for a in said if a.get("said") == "host_unreachable" and a.get("address")}
        return told | {str(row.get("address")) for row in self.rows("hops") if row.get("said") == "host_unreachable"}

    @cached_property
    def operator_has_no_route(self) -> bool:
        """Return whether a router that is certainly the operator's reported that there is no route."""
        found = [ip(text) for text in self.told_no_route]
        return not self.tunnel and any(a is not None and (self.own_modem or beyond_the_site(a)) for a in found)

    # --- names ----------------------------------------------------------------------------------------------

    def asked(self, host: str, *, system: bool | None = None) -> list[WalkEntry]:
        """Return what resolvers said of a host: the system's own (True), the others (False), or all."""
        rows = [row for row in self.rows("names") if row.get("host") == host]
        return rows if system is None else [row for row in rows if row.get("system") is system]

    def looks(self, host: str) -> list[WalkEntry]:
        """Return the walk's second looks at a host."""
        return [row for row in self.rows("web") if row.get("host") == host]

    # --- times ----------------------------------------------------------------------------------------------

    @cached_property
    def near_rtts(self) -> Rtts:
        """Return all echoes to the gateway."""
        found = list(self._rtts(gateway=True))
        return Rtts("gateway", sum(r.sent for r in found), tuple(ms for r in found for ms in r.seen_ms))

    @cached_property
    def far_rtts(self) -> list[Rtts]:
        """Echoes to each point beyond the gateway that answers echoes at all."""
        by_place: dict[str, list[Rtts]] = {}
        for row in self._rtts(gateway=False):
            by_place.setdefault(row.where, []).append(row)
        whole = [Rtts(k, sum(r.sent for r in v), tuple(m for r in v for m in r.seen_ms)) for k, v in by_place.items()]
        return [row for row in whole if row.seen_ms]

    @cached_property
    def far_moments(self) -> list[Rtts]:
        """Echoes to points beyond the gateway, each check's by themselves."""
        return [row for row in self._rtts(gateway=False) if row.seen_ms]

    def _rtts(self, *, gateway: bool) -> Iterator[Rtts]:
        rows = [self.part("gateway")] if gateway else [*self.rows("references"), *self.rows("targets")]
        for row in rows:
            if is_number(row.get("sent")) and row["sent"]:
                yield Rtts(str(row.get("address")), int(row["sent"]), _numbers(row.get("rtts_ms")))
        for result in self.seen:
            near = distance(result) is Distance.LINK
            if way(result.kind) is Way.ECHO and near is gateway and is_number(result.data.get("sent")):
                where = result.target.address_used or result.target.address or ""
                yield Rtts(where, int(result.data["sent"]), _numbers(result.data.get("rtts_ms")))

    @cached_property
    def lossy(self) -> bool:
        """Return whether echoes beyond the gateway are lost in numbers, and no limit on echoes explains it."""
        lost, sent = sum(row.lost for row in self.far_rtts), sum(row.sent for row in self.far_rtts)
        return lost >= 4 and lost >= HEAVY_LOSS * sent and not self.echoes_limited

    @cached_property
    def excess_ms(self) -> float | None:
        """Return how much longer the way beyond the gateway takes than the way to it; None when it is not known."""
        medians = [statistics.median(row.seen_ms) for row in self.far_rtts]
        if not medians:
            return None
        near = statistics.median(self.near_rtts.seen_ms) if self.near_rtts.seen_ms else 0.0
        return max(0.0, min(medians) - near)

    @cached_property
    def short(self) -> tuple[Reading, ...]:
        """What answered worse than needed. One lost packet of a few is chance, and limited echoes are no loss."""
        found = shortfalls(self.answered, self.profile)
        return tuple(
            r for r in found if not (r.metric == "loss_ratio" and (self.echoes_limited or _by_chance(r.result)))
        )

    @cached_property
    def doubtful(self) -> tuple[Reading, ...]:
        """Rates that would fall short, had this device not been short of processor time while it measured them."""
        rates = [r for r in self.answered if r.data.get("device_busy") is True]
        plain = [replace(r, data={**r.data, "device_busy": None}) for r in rates]
        return shortfalls(plain, self.profile)

    @cached_property
    def device_busy(self) -> bool:
        """Return whether this device was short of processor time for what fell short."""
        return bool(self.doubtful) or any(was_busy(s.result) for s in self.short)

    @cached_property
    def device_freezes(self) -> bool:
        """Return whether this device stood still again and again: then echoes are lost and late by its own fault."""
        if self._walk_could_not_send:
            return True
        states = [r.tags.processor for r in (*self.walks, *self.seen) if way(r.kind) in (Way.WALK, Way.ECHO)]
        return any(s is not None and (s.wake_late_ms or 0.0) >= FREEZE_MS for s in states)

    @cached_property
    def _walk_could_not_send(self) -> bool:
        """Return whether the walk's time was over before it had sent its echoes: what did not answer was not asked."""
        rows = [row for row in (self.part("gateway"), *self.rows("references")) if is_number(row.get("sent"))]
        silent = [row for row in rows if not row.get("answers") and row.get("failure") in ("no_reply", "timeout")]
        return any(int(row["sent"]) < LEAST_ECHOES for row in silent)

    @cached_property
    def opened_late(self) -> list[Result]:
        """Pages whose connection opened only with a repeated first packet (RFC 6298: after one second)."""
        pages = [(r, r.data.get("tcp_ms")) for r in self.answered if way(r.kind) is Way.PAGE]
        limit = self._repeated_from_ms
        return [r for r, ms in pages if limit is not None and is_number(ms) and float(ms or 0) > limit]

    @cached_property
    def opened_late_in_all(self) -> int:
        """Return how many pages and references answered a repeated first packet only."""
        times, limit = [row.get("tcp_ms") for row in self.rows("references")], self._repeated_from_ms
        late = 0 if limit is None else sum(1 for ms in times if is_number(ms) and float(ms or 0) > limit)
        return late + len(self.opened_late) + (self._references_unopened if self.opened_late else 0)

    @property
    def _references_unopened(self) -> int:
        """Return how many references answer echoes and no first packet, while another one opens.

        Beside a page that opened late this is one more sign of loss; alone it is as well a rule about name servers.
        """
        states = [(row, row.get("tcp")) for row in self.rows("references")]
        tried = [(row, set(tcp.values())) for row, tcp in states if isinstance(tcp, Mapping) and len(tcp) > 1]
        silent = [row for row, said in tried if said == {"timeout"} and row.get("received")]
        return len(silent) if len(silent) < len(tried) else 0

    @cached_property
    def _repeated_from_ms(self) -> float | None:
        """Return the time from which on a connection was not opened by its first packet; None without a round trip."""
        usual = [statistics.median(row.seen_ms) for row in self.far_rtts]
        pages = [r.data.get("tcp_ms") for r in self.answered if way(r.kind) is Way.PAGE]
        usual += [float(ms) for ms in pages if is_number(ms) and ms is not None]
        return REPEATED_MS + 2 * min(usual) if usual else None

    @cached_property
    def tunnel(self) -> bool:
        """Return whether packets leave through a VPN: then what stands beyond it is not this place's operator."""
        return bool(self.path.get("tunnel"))

    @cached_property
    def missed_questions(self) -> float | None:
        """Return the share of small UDP questions that were not answered; None when none was asked or none answered."""
        asked = self.second.get("questions")
        if not isinstance(asked, Mapping) or not is_number(asked.get("sent")) or not asked["sent"]:
            return None
        return 1 - float(asked.get("answered") or 0) / float(asked["sent"])

    @cached_property
    def echoes_limited(self) -> bool:
        """Return whether echoes are lost and small questions are not: a router limits echoes on purpose."""
        return self.missed_questions is not None and self.missed_questions < HEAVY_QUESTIONS


def beyond_the_site(address: Address) -> bool:
    """Whether an address cannot be inside a house or an office: public, or the range shared by operators' customers."""
    if address.version == 4 and address in ipaddress.ip_network("100.64.0.0/10"):
        return True
    return address.is_global


def _by_chance(result: Result) -> bool:
    sent, received = result.data.get("sent"), result.data.get("received")
    return is_number(sent) and is_number(received) and int(sent or 0) - int(received or 0) < 2


def _numbers(values: object) -> tuple[float, ...]:
    return tuple(float(v) for v in values if is_number(v)) if isinstance(values, list | tuple) else ()


# --- single results -----------------------------------------------------------------------------------------


def code(result: Result) -> str | None:
    """Return the failure code of a result, or None."""
    return None if result.failure is None else result.failure.code


def _was_not_run(result: Result, proven: bool) -> bool:
    """Return whether a check could not be run for a reason that says nothing about the network.

    A foreign page in place of a speed test may be a login page, where nothing in the run is proven by a certificate.
    """
    what = code(result)
    if result.outcome is not Outcome.FAILED or what not in NOT_RUN:
        return False
    return proven or what != "no_endpoint"


def was_busy(result: Result) -> bool:
    """Return whether this device was short of processor time during a check."""
    processor = result.tags.processor
    return result.data.get("device_busy") is True or (processor is not None and processor.busy)


def proves(result: Result) -> bool:
    """Return whether an answer proves a way to where it claims to come from.

    A resolver may answer from its cache or stand inside the operator's network; a plain page may come from a
    captive portal, so over a distance only TLS counts.
    """
    if way(result.kind) is Way.NAME:
        return False
    if way(result.kind) is Way.PAGE:
        return result.data.get("tls_version") is not None or distance(result) is not Distance.FAR
    return True


def only_icmp_silent(result: Result) -> bool:
    """Return True for a ping without a reply: many hosts and firewalls drop ICMP, so alone it says little."""
    return way(result.kind) is Way.ECHO and result.data.get("method") != "tcp" and code(result) in SILENT


def distance(result: Result) -> Distance:
    """Return how far away the target of a result is."""
    if result.target.address == "default-gateway":
        return Distance.LINK
    if way(result.kind) is Way.NAME:
        return Distance.FAR  # the address used is the resolver's, the question is about a name elsewhere
    if host_of(result) == "localhost":
        return Distance.SELF
    address = ip(result.target.address_used) or ip(host_of(result))
    return Distance.FAR if address is None else _distance_of(address, ip(result.tags.network.gateway))


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


def host_of(result: Result) -> str:
    """Return the host a result is about, so that two checks of one service count as one."""
    address = result.target.address or result.target.address_used or result.target.name
    try:
        host = urlsplit(address).hostname if "//" in address else address
    except ValueError:
        host = None
    return (host or address).strip("[]").lower()


def ip(text: str | None) -> Address | None:
    """Return an address from `1.2.3.4`, `1.2.3.4:443`, `[::1]:443`, `fe80::1%eth0`; None for anything else."""
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
