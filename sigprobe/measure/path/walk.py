"""Run the parts of kind `path` side by side, then repeat what is doubtful."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from sigprobe.measure.dns.hosts_file import fixed_addresses
from sigprobe.measure.dns.servers import RESOLV_CONF, parse_resolver
from sigprobe.measure.path import own_traffic, probes, resolvers, second_look, server_look
from sigprobe.measure.path.data import (
    MAX_BYTES,
    MAX_S,
    CollectorData,
    FamilyData,
    GatewayData,
    PathData,
    PeekData,
    PointData,
    ResolverData,
    WholeData,
    empty_data,
)
from sigprobe.measure.path.points import (
    bare,
    done,
    least_ms,
    median_ms,
    place_of,
    rate_bps,
    told,
)
from sigprobe.net import interfaces, routes, sockets
from sigprobe.net.icmp import ip_header_bytes
from sigprobe.net.limits import Context, Deadline
from sigprobe.net.urls import origin
from sigprobe.record.addresses import is_loopback
from sigprobe.record.host_names import is_ip
from sigprobe.record.kinds import Way, way

if TYPE_CHECKING:
    from sigprobe.measure.path.options import Options

MAX_REFERENCES: Final = 6
MAX_COLLECTORS: Final = 4
PORTS: Final = (443, 53)

_FIRST_S: Final = 2.3  # for everything that is asked of everybody
_ECHOES: Final = 10
_TRAIN_BYTES: Final = 2 * 1500 * 5 + 500
_INTERVAL_S: Final = 0.1
_ECHO_WAIT_S: Final = 1.0
_QUIET_UNTIL_S: Final = 3.7  # the last packet of the first round leaves after a good second
_MAX_TTL: Final = 4
_OTHER_DATE_S: Final = 60.0
_TRAIN: Final = 3
_NEAR_TRAIN: Final = 2

T = TypeVar("T")


@dataclass(slots=True)
class Walk:
    """One run of the path check: its data so far and the bytes used."""

    options: Options
    context: Context
    clock: Callable[[], float]
    resolv_conf: Path = RESOLV_CONF
    forwarded: Sequence[Path] = resolvers.FORWARDED
    data: PathData = field(default_factory=empty_data)
    used: int = 0
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def spend(self, count: int) -> None:
        """Count bytes of any of the threads."""
        with self._counting:
            self.used += count

    def all(self, pool: ThreadPoolExecutor) -> None:
        whole_time = self.context.deadline
        self.context = replace(self.context, deadline=whole_time.within(MAX_S))
        begun = self.clock()
        self._walk(pool)
        self.context = replace(self.context, deadline=whole_time)
        if self.data["interface"] is not None or self.data["references"]:
            self._look_again(pool, begun)
        self.data["bytes_used"] = self.used

    def _walk(self, pool: ThreadPoolExecutor) -> None:
        self._own_links()
        if self._stays_here():
            return
        interface = self.data["interface"]
        before = None if interface is None else interfaces.traffic(interface)
        others, started = self.context.budget.used_bytes, self.clock()
        first = self.context.deadline.within(_FIRST_S)
        gateway = pool.submit(self._gateway, first)
        points = [pool.submit(self._point, text, first, ports=PORTS) for text in self._references()]
        targets = [pool.submit(self._point, text, first, ports=()) for text in self._target_addresses()]
        collectors = [pool.submit(self._collector, url, first) for url in self.options.collectors[:MAX_COLLECTORS]]
        aims = [*self._references(), *self._target_addresses()][:2]
        traces = [pool.submit(self._trace, text, first) for text in aims]
        web = [pool.submit(self._web, text, first) for text in self._web_points()]
        self._names(pool)
        self.data["gateway"] = done(gateway)
        self.data["references"] = [p for p in map(done, points) if p is not None]
        self.data["targets"] = [p for p in map(done, targets) if p is not None]
        self._mark_targets()
        self.data["collectors"] = [c for c in map(done, collectors) if c is not None]
        self.data["hops"] = [h for found in map(done, traces) for h in found or []]
        self.data["web"] = [w for w in map(done, web) if w is not None]
        self._another_date()
        self._hop_beyond()
        self._once_more(aims, started)
        seconds = self.clock() - started
        after = None if interface is None else interfaces.traffic(interface)
        ours = self.used + (self.context.budget.used_bytes - others)
        if before is not None and after is not None and seconds > 0:
            # ours is the sum of both directions, so each is at most this much too high
            self.data["other_rx_bps"] = round(max(0, after.rx_bytes - before.rx_bytes - ours) * 8 / seconds)
            self.data["other_tx_bps"] = round(max(0, after.tx_bytes - before.tx_bytes - ours) * 8 / seconds)
        looks = [pool.submit(self._look, *which) for which in self._doubts()]
        whole = pool.submit(self._whole_packets)
        shared = pool.submit(self._one_address)
        canary = pool.submit(self._canary)
        self.data["web"] += [w for w in map(done, looks) if w is not None]
        self.data["whole"] = done(whole)
        self.data["one_address"] = done(shared)
        self.data["port_53_answered_on_the_way"] = done(canary)
        self._families()

    def _look_again(self, pool: ThreadPoolExecutor, begun: float) -> None:
        self.data["second"] = second_look.second_look(
            self.data,
            self.context,
            pool,
            doubts=self._doubts(again=True),
            look=self._look,
            collector=self._collector,
            plain_look=self._web,
            collectors=self.options.collectors[:MAX_COLLECTORS],
            started_s=begun,
            clock=self.clock,
            spend=self.spend,
            used=lambda: self.used,
            lossy_pings=any(s.lossy for s in self.options.seen),
            works=self._working_pages(),
        )

    def _working_pages(self) -> list[tuple[str, str, int]]:
        """Return pages from beyond the gateway that answered: host, address and port."""
        fine = {s.name: bare(s.address) for s in self.options.seen if s.code is None and s.address}
        pages = [(aim, fine.get(aim.name)) for aim in self.options.targets if way(aim.kind) is Way.PAGE and aim.port]
        return [(aim.host, at, aim.port) for aim, at in pages if at is not None and place_of(at) == "beyond"]

    def _another_date(self) -> None:
        """Ask a second server for its date if the collector's differs from this clock: one of the two may be wrong."""
        offsets = [c["clock_offset_s"] for c in self.data["collectors"] if c["clock_offset_s"] is not None]
        if not any(abs(offset) > _OTHER_DATE_S for offset in offsets):
            return
        if any(row["clock_offset_s"] is not None for row in self.data["web"]):
            return
        own = {urlsplit(url).hostname for url in self.options.collectors}
        seen = {s.name: bare(s.address) for s in self.options.seen}
        for aim in self.options.targets:
            address = seen.get(aim.name)
            if way(aim.kind) is Way.PAGE and aim.tls and aim.host not in own and address is not None:
                looked = self._look(aim.host, aim.port, True, address, None)
                if looked is not None:
                    self.data["web"].append(looked)
                return

    def _one_address(self) -> PeekData | None:
        """Return a look at the plain page of the one address to which every name leads."""
        by_host = {
            row["host"]: set(row["answers"] or ()) for row in self.data["names"] if row["system"] and row["answers"]
        }
        shared = set.intersection(*by_host.values()) if len(by_host) > 1 else set()
        if len(shared) != 1 or all(len(found) > 1 for found in by_host.values()):
            return None
        host, address = next(iter(by_host)), next(iter(shared))
        looked, used = second_look.plain_page(host, address, self.context.deadline.within(2.0), self.context)
        self.spend(used)
        return looked

    def _canary(self) -> bool | None:
        """Return whether port 53 is answered on the way; asked only where names are in doubt."""
        doubtful = any((s.code or "").startswith(("dns_", "tls_", "name_not")) for s in self.options.seen)
        web = {aim.name for aim in self.options.targets if aim.port and way(aim.kind) is Way.PAGE}
        hosts = [bare(s.address) for s in self.options.seen if s.name in web and s.address]
        known = {bare(row["address"]) for row in self.data["resolvers"]} | set(self._references())
        address = next((a for a in hosts if a and a not in known and place_of(a) == "beyond"), None)
        if not doubtful or address is None:
            return None
        return second_look.answered_on_the_way(address, self.context.deadline.within(1.5), self.context, self.spend)

    def _stays_here(self) -> bool:
        """Return whether all targets are on this device: then there is no path to test, and nothing is sent."""
        options = self.options
        hosts = [a.host for a in options.targets] + [urlsplit(url).hostname or "" for url in options.collectors]
        hosts += [urlsplit(s.url).hostname or "" if s.url else s.host for s in map(parse_resolver, options.resolvers)]
        asked = [h for h in hosts if h]
        return not options.references and all(is_loopback(h) for h in asked)

    # --- this device and its gateway ------------------------------------------------------------------------

    def _own_links(self) -> None:
        data = self.data
        found = interfaces.interfaces()
        route = routes.main_route()
        data["routed"] = route is not None
        if found is not None:
            running = [i for i in found if i.up and i.running]
            data["connected"] = bool(running)
            data["addressed"] = any(i.ipv4 or i.ipv6 for i in running)
            name = route.interface if route is not None else next((i.name for i in running), None)
            mine = next((i for i in found if i.name == name), None)
            data["ipv4"] = None if mine is None else mine.ipv4
            data["ipv6"] = None if mine is None else mine.ipv6
            data["mtu"] = None if mine is None else mine.mtu
            data["interface"] = name
        elif route is not None:
            data["interface"] = route.interface
        data["tunnel"] = self._tunnel(found or [])

    def _tunnel(self, found: Sequence[interfaces.Interface]) -> str | None:
        """Return the interface of a VPN by which packets to the first reference leave; None for any other."""
        for reference in self._references()[:1]:
            source = routes.local_address(reference)
            name = next((i.name for i in found if source is not None and source in (i.ipv4, i.ipv6)), None)
            if name is not None and routes.is_tunnel(name):
                return name
        return None

    def _gateway(self, deadline: Deadline) -> GatewayData | None:
        address = routes.default_gateway()
        at = None if address is None else probes.numeric(address, 53)
        if address is None or at is None:
            return None
        echoes = probes.burst(at, _ECHOES, _INTERVAL_S, _ECHO_WAIT_S, deadline, self.context.stop)
        knocks = [self._knock(address, port, deadline) for port in (53, 80)] if not echoes.received else []
        self.spend(echoes.bytes)
        neighbour = interfaces.neighbour_answers(address)
        tcp = next((k for k in knocks if k is not None and k.answered), None)
        answers = bool(echoes.received or tcp)
        return {
            "address": address,
            "neighbour": neighbour,
            "answers": answers,
            "sent": echoes.sent,
            "received": echoes.received,
            "rtt_min_ms": least_ms(echoes),
            "rtt_median_ms": median_ms(echoes),
            "rtts_ms": echoes.rtts_ms,
            "tcp": tcp.state if tcp else knocks[0].state if knocks and knocks[0] else None,
            "failure": None if answers else echoes.failure,
        }

    def _knock(self, host: str, port: int, deadline: Deadline) -> probes.Knock | None:
        at = probes.numeric(host, port)
        if at is None:
            return None
        found = probes.knock(at, deadline, self.context.stop, clock=self.clock)
        self.spend(found.bytes)
        return found

    # --- beyond ---------------------------------------------------------------------------------------------

    def _references(self) -> tuple[str, ...]:
        return self.options.references[:MAX_REFERENCES]

    def _target_addresses(self) -> list[str]:
        """Return addresses of targets beyond the gateway if there are too few references to compare."""
        known = [bare(s.address) for s in self.options.seen if s.address]
        known += [aim.host for aim in self.options.targets if is_ip(aim.host)]
        beyond = [a for a in dict.fromkeys(known) if a and place_of(a) == "beyond" and a not in self._references()]
        return beyond[: max(0, 3 - len(self._references()))]

    def _point(self, text: str, deadline: Deadline, ports: Sequence[int]) -> PointData | None:
        """Probe one address with echoes and TCP handshakes in parallel."""
        at = probes.numeric(text, 0)
        if at is None:
            return None
        with ThreadPoolExecutor(3) as pool:
            knocks = [pool.submit(self._knock, text, port, deadline) for port in ports]
            echoes = probes.burst(at, _ECHOES, _INTERVAL_S, _ECHO_WAIT_S, deadline, self.context.stop)
            tried = [k for k in (done(future) for future in knocks) if k is not None]
        self.spend(echoes.bytes)
        answered = next((k for k in tried if k.answered), None)
        answers = bool(echoes.received or answered)
        return {
            "address": text,
            "place": place_of(text),
            "answers": answers,
            "sent": echoes.sent,
            "received": echoes.received,
            "rtt_min_ms": least_ms(echoes),
            "rtt_median_ms": median_ms(echoes),
            "rtts_ms": echoes.rtts_ms,
            "tcp": {str(k.port): k.state for k in tried},
            "tcp_ms": None if answered is None else answered.ms,
            "told_by": echoes.told_by,
            "failure": None if answers else tried[0].state if tried and not echoes.method else echoes.failure,
        }

    def _mark_targets(self) -> None:
        """Count a configured target that answered its own check as a proof of the path, like an echo."""
        points = {p["address"]: p for p in self.data["targets"]}
        for seen in self.options.seen:
            address = bare(seen.address)
            known = {p["address"] for p in self.data["references"]}
            if seen.code is not None or not address or address in known or place_of(address) != "beyond":
                continue
            if address in points:
                points[address]["answers"], points[address]["failure"] = True, None
            else:
                points[address] = told(address)
        self.data["targets"] = list(points.values())

    def _collector(self, url: str, deadline: Deadline, padding: int = 0) -> CollectorData | None:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if tls else 80)
        row: CollectorData = {
            "host": host,
            "port": port,
            "place": None,
            "address": None,
            "failure": None,
            "phase": None,
            "tls_verified": None,
            "status_code": None,
            "clock_offset_s": None,
        }
        found = sockets.look_up(host, port, deadline, self.context.stop)
        if found.error is not None:
            row["failure"], row["phase"] = ("timeout" if found.error == "timeout" else "name_not_found"), "dns"
            return row
        at = found.addresses[0]
        ca_file = self.context.ca_files.get(origin(url))
        looked, used = server_look.peek(
            host, at, deadline, self.context.stop, tls=tls, ca_file=ca_file, padding=padding
        )
        self.spend(used)
        row["status_code"] = looked["status_code"]
        row["address"], row["place"] = looked["address"], place_of(looked["address"])
        row["failure"], row["phase"] = looked["failure"], looked["phase"]
        row["tls_verified"], row["clock_offset_s"] = looked["tls_verified"], looked["clock_offset_s"]
        return row

    def _trace(self, text: str, deadline: Deadline) -> list[Any]:
        at = probes.numeric(text, 0)
        if at is None or place_of(text) != "beyond":
            return []
        hops, used = probes.trace(at, _MAX_TTL, 2, 1.6, deadline, self.context.stop)
        self.spend(used)
        return [{"toward": text, "ttl": h.ttl, "address": h.address, "rtt_ms": h.rtt_ms, "said": h.said} for h in hops]

    def _resolvers_beyond(self) -> list[ResolverData]:
        """Return the system's resolvers that answered from beyond the gateway; they prove the path as a router does."""
        return [row for row in self.data["resolvers"] if row["answers"] and row["place"] == "beyond"]

    def _once_more(self, aims: Sequence[str], started: float) -> None:
        """Look for hops again after a pause if none answered: routers limit their error messages.

        Linux spends what it may tell a peer on every packet it refuses, so only a quiet peer is told anything.
        """
        points = [*self.data["references"], *self.data["targets"]]
        # a resolver that answers is no router: what routers say is wanted where nothing else answers
        told = any(p["told_by"] for p in points) or any(h["ttl"] > 1 for h in self.data["hops"])
        if not aims or told or any(p["answers"] for p in points):
            return
        self.context.stop.wait(
            max(0.0, min(started + _QUIET_UNTIL_S - self.clock(), self.context.deadline.remaining()))
        )
        at = probes.numeric(aims[0], 0)
        if at is not None and place_of(aims[0]) == "beyond":
            hops, used = probes.trace(at, 3, 1, 0.9, self.context.deadline, self.context.stop)
            self.spend(used)
            self.data["hops"] += [
                {"toward": aims[0], "ttl": h.ttl, "address": h.address, "rtt_ms": h.rtt_ms, "said": h.said}
                for h in hops
            ]
            self._hop_beyond()

    def _hop_beyond(self) -> None:
        """Return the farthest router beyond the gateway that replied; a gateway's other addresses do not count."""
        own = {self.data["ipv4"], self.data["ipv6"]}
        gateway = self.data["gateway"]
        near = {h["address"] for h in self.data["hops"] if h["ttl"] == 1} if gateway is not None else set()
        if gateway is not None:
            near.add(gateway["address"].partition("%")[0])
        far = [h for h in self.data["hops"] if h["address"] not in near | own and place_of(h["address"]) != "self"]
        far = [h for h in far if (h["ttl"] > 1 or gateway is None) and h["said"] != "reached"]
        for point in self.data["references"] + self.data["targets"]:
            if any(h["said"] == "reached" and h["address"] == point["address"] for h in self.data["hops"]):
                point["answers"], point["failure"] = True, None
        # a router sends few errors a second, and the echoes may have used them up: what it told them counts as well
        told = [p["told_by"] for p in (*self.data["references"], *self.data["targets"]) if p["told_by"]]
        told += [r["address"].rpartition(":")[0].strip("[]") for r in self._resolvers_beyond()]
        told = [address for address in told if address not in near | own]
        self.data["hop_beyond"] = max(far, key=lambda h: h["ttl"])["address"] if far else next(iter(told), None)

    # --- names ----------------------------------------------------------------------------------------------

    def _names(self, pool: ThreadPoolExecutor) -> None:
        hosts = resolvers.hosts_of(self.options)
        fixed = {host: found for host in hosts if (found := fixed_addresses(host))}
        self.data["fixed_names"], self.data["fixed_addresses"] = list(fixed), fixed
        self.data["resolvers"], self.data["names"], used = resolvers.ask(
            self.options,
            self._references(),
            self.context,
            _FIRST_S,
            pool,
            resolv_conf=self.resolv_conf,
            files=self.forwarded,
            record="AAAA" if self.data["ipv4"] is None and self.data["ipv6"] is not None else "A",
        )
        self.spend(used)

    def _web_points(self) -> list[str]:
        """Return where to request a plain page to detect an interception; none if TLS was fine."""
        fine = {s.name for s in self.options.seen if s.code is None}
        failed = {s.name for s in self.options.seen if s.code is not None}
        pages = [aim for aim in self.options.targets if aim.tls]
        if any(aim.name in fine for aim in pages) and not any(aim.name in failed for aim in pages):
            return []
        return list(self._references()[:2])

    def _web(self, text: str, deadline: Deadline) -> PeekData | None:
        at = probes.numeric(text, 80)
        if at is None or place_of(text) != "beyond":
            return None
        looked, used = server_look.peek(text, at, deadline, self.context.stop, tls=False, method="GET")
        self.spend(used)
        return looked

    def _doubts(self, *, again: bool = False) -> list[tuple[str, int, bool, str | None, str | None]]:
        """Return the hosts to test again, each with (host, port, TLS, address, what is known).

        Without an address the name is looked up anew at the second look.
        """
        found: list[tuple[str, int, bool, str | None, str | None]] = []
        seen = {s.name: s for s in self.options.seen}
        room = (MAX_BYTES - self.used - _TRAIN_BYTES) // server_look.TLS_BYTES
        if again:
            left = second_look.SECOND_BYTES - (own_traffic.BYTES if own_traffic.is_suspect(self.data) else 0)
            room = min(4, left // server_look.TLS_BYTES)
        for aim in self.options.targets:
            mine = seen.get(aim.name)
            if way(aim.kind) not in (Way.PAGE, Way.STREAM) or not aim.port or (mine is not None and mine.code is None):
                continue
            used = bare(mine.address) if mine is not None else None
            rows = [row for row in self.data["names"] if row["host"] == aim.host and row["answers"]]
            system = [a for row in rows if row["system"] for a in row["answers"] or []]
            other = [a for row in rows if not row["system"] for a in row["answers"] or []]
            nameless = used is None and not is_ip(aim.host)
            if used is None:
                used = aim.host if is_ip(aim.host) else next(iter(system), None)
            apart = next((a for a in other if a not in system), None)
            # a name without an answer is looked up anew: an address from others would not show that it works again
            if other and not set(other) & set(system) and apart is not None and not (again and nameless):
                found.insert(0, (aim.host, aim.port, aim.tls, apart, None))
            strange = mine.code if mine is not None and (mine.code or "").startswith("tls_") and not again else None
            if again and nameless:
                found.append((aim.host, aim.port, aim.tls, None, None))
            elif used is not None:
                found.append((aim.host, aim.port, aim.tls, used, strange))
        return list(dict.fromkeys(found))[: max(0, min(4, room))]

    def _look(
        self, host: str, port: int, tls: bool, address: str | None, known: str | None, seconds: float = 2.2
    ) -> PeekData | None:
        if address is None:
            named = sockets.look_up(host, port, self.context.deadline.within(seconds), self.context.stop)
            at = next(iter(named.addresses), None)
            if named.error is not None or at is None:
                failure = "timeout" if named.error == "timeout" else "name_not_found"
                return server_look.unnamed(host, port, tls=tls, failure=failure)
        else:
            at = probes.numeric(address, port)
        if at is None:
            return None
        ca_file = self.context.ca_files.get(f"{'https' if tls else 'http'}://{sockets.endpoint(host, port)}")
        deadline = self.context.deadline.within(seconds)
        method = "HEAD" if tls else "GET"
        looked, used = server_look.peek(
            host, at, deadline, self.context.stop, tls=tls, ca_file=ca_file, known=known, method=method
        )
        self.spend(used)
        return looked

    # --- the size of packets, and the two families ----------------------------------------------------------

    def _whole_packets(self) -> WholeData | None:
        """Send a short train of the largest packets to the gateway and a point beyond; record which pass, how fast."""
        points = [p for p in (*self.data["references"], *self.data["targets"]) if p["received"] and p["sent"]]
        stalled = {bare(s.address) for s in self.options.seen if s.code in ("timeout", "http_truncated", "reset")}
        if any(address and ":" in address for address in stalled):
            # the family of the pages that hang comes first: their way may have another limit
            points.sort(key=lambda p: ":" not in p["address"])
        gateway = self.data["gateway"]
        if not points or self.data["mtu"] is None or self.used > MAX_BYTES - _TRAIN_BYTES:
            return None
        whole = min(self.data["mtu"], 1500)
        far = points[0]["address"]
        near = gateway["address"] if gateway is not None and gateway["received"] else None
        rows = []
        for text, count in ((near, _NEAR_TRAIN), (far, _TRAIN)):
            at = None if text is None else probes.numeric(text, 0)
            size = whole - (28 if at is None else ip_header_bytes(at.family) + 8)
            # a satellite and a slow link answer late; what our own deadline cut off was not lost
            slowest = max((ms for ms in points[0]["rtts_ms"] if ms is not None), default=0.0) if text == far else 0.0
            wait_s = max(0.9, 0.3 + 1.5 * slowest / 1000)
            deadline = self.context.deadline.within(wait_s + 0.2)
            train = None
            if at is not None:
                train = probes.burst(at, count, 0.0, wait_s, deadline, self.context.stop, size=size, whole=True)
                self.spend(train.bytes)
                if deadline.expired() and not train.received:
                    train = None
            rows.append(train)
        return {
            "bytes": whole,
            "far": far,
            "gateway_received": None if rows[0] is None else rows[0].received,
            "far_received": None if rows[1] is None else rows[1].received,
            "sent": _TRAIN,
            "far_failure": None if rows[1] is None else rows[1].failure,
            "gateway_bps": rate_bps(rows[0], whole),
            "far_bps": rate_bps(rows[1], whole),
        }

    def _families(self) -> None:
        families: tuple[routes.Family, routes.Family] = ("ipv4", "ipv6")
        for family in families:
            points = [*self.data["references"], *self.data["targets"]]
            # what a check saw earlier, or what was never sent for lack of time, says nothing of this moment
            mine = [p for p in points if (":" in p["address"]) == (family == "ipv6") and p["sent"]]
            row: FamilyData = {
                "routed": routes.default_route(family) is not None,
                "address": self.data[family],
                "asked": len(mine),
                "answered": sum(1 for p in mine if p["answers"]),
            }
            self.data["families"][family] = row
