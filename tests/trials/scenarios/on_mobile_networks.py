"""Make situations of Indonesian mobile networks: SIMs, quota, radio states, crowds, hotspots, IPv6-only links."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.support.link_emulator import Way
from tests.trials.scenarios.breakage import (
    as_modem,
    at,
    both_at,
    filter_packets,
    flood,
    later,
    narrow,
    silence_beyond,
)
from tests.trials.scenarios.scenario import tellable, untellable
from tests.trials.scenarios.world import SERVICES, World

OVER = ("none/*", "uncertain/*")


# --- two SIMs ------------------------------------------------------------------------------------------------


@tellable("none", "recovered", accepts=OVER, kind="mobile", core=True)
def second_sim_takes_over(world: World) -> None:
    """The first SIM is lost in the middle of the run; the second works after four seconds."""
    start = world.rng.uniform(0.5, 2.5)
    both_at(world, start, loss=1)
    both_at(world, start + 4, delay_ms=world.up.delay_ms + 30)
    as_modem(world, rsrp_dbm=-90.0)


@untellable("local", "quota_used_up", "local/*", "operator/operator_outage", kind="mobile")
def second_sim_without_quota(world: World) -> None:
    """The second SIM takes over in the middle of the run and has no quota."""
    both_at(world, world.rng.uniform(0.3, 1.1), loss=1)
    as_modem(world, rsrp_dbm=-90.0)


# --- quota and SIM -------------------------------------------------------------------------------------------


def _only_free(world: World) -> str:
    free = world.services[world.rng.choice(SERVICES)]["host"]
    world.ipv6, world.carrier = False, True
    return f"forward iifname wan0 ip daddr {free} accept"


@untellable("local", "quota_used_up", "local/*", kind="mobile", core=True)
def free_apps_only(world: World) -> None:
    """The quota is used up; one service is free of charge and the rest is dropped silently."""
    later(world, "isp", _only_free(world), "forward iifname wan0 drop")


@tellable("local", "walled_garden", accepts=("local/*",), kind="mobile")
def free_apps_and_a_shop(world: World) -> None:
    """The same, and plain pages are redirected to the operator's shop."""
    shop = {"host": world.resolver, "port": 8080, "status": 302, "location": "http://isiulang.operator.example/"}
    world.extra["isp"] = {"web": [shop]}
    to = f"nat iifname wan0 ip daddr != {world.resolver} tcp dport 80 dnat ip to {world.resolver}:8080"
    later(world, "isp", to, _only_free(world), "forward iifname wan0 udp dport 53 accept", "forward iifname wan0 drop")


@untellable("local", "sim_inactive", "local/quota_used_up", kind="mobile")
def sim_in_its_grace_period(world: World) -> None:
    """The SIM is in its grace period: registered, names are answered, no data passes."""
    world.carrier, world.ipv6 = True, False
    later(world, "isp", "forward iifname wan0 udp dport 53 accept", "forward iifname wan0 drop")
    as_modem(world, rsrp_dbm=-90.0)


def _shop(world: World, name: str) -> str:
    """Return the rule that leads plain pages to a page of the operator."""
    page = {"host": world.resolver, "port": 8080, "status": 302, "location": f"http://{name}.operator.example/"}
    world.extra["isp"] = {"web": [page]}
    return f"nat iifname wan0 ip daddr != {world.resolver} tcp dport 80 dnat ip to {world.resolver}:8080"


@tellable("local", "walled_garden", accepts=("local/*",), kind="mobile")
def sim_in_its_grace_period_with_a_page(world: World) -> None:
    """The same, and plain pages lead to one that offers to extend the card."""
    world.carrier, world.ipv6 = True, False
    names = "forward iifname wan0 udp dport 53 accept"
    later(world, "isp", _shop(world, "masaaktif"), names, "forward iifname wan0 drop")
    as_modem(world, rsrp_dbm=-90.0)


@untellable("local", "quota_used_up", kind="mobile")
def hotspot_without_quota(world: World) -> None:
    """Another phone's hotspot has used up its own quota."""
    world.lan, world.carrier, world.ipv6 = "192.168.43", True, False
    silence_beyond(world)


@tellable("local", "walled_garden", accepts=("local/*",), kind="mobile")
def hotspot_without_quota_with_a_page(world: World) -> None:
    """The same, and the operator leads plain pages of the phone's guests to its shop, too."""
    world.lan, world.carrier, world.ipv6 = "192.168.43", True, False
    names = "forward iifname wan0 udp dport 53 accept"
    later(world, "isp", _shop(world, "paket"), names, "forward iifname wan0 drop")


@untellable("local", "others_here", accepts=("none/*", "uncertain/*"), kind="mobile")
def hotspot_with_a_backup_that_ends(world: World) -> None:
    """The phone's backup leaves room from the sixth second of the test on."""
    up, down = world.up, world.down
    hotspot_with_a_backup(world)
    at(world, 6.0, up, down)


@untellable("local", "others_here", kind="mobile")
def hotspot_with_a_backup(world: World) -> None:
    """The phone that is the hotspot uploads its backup, which our counters do not see."""
    world.lan = "192.168.43"
    narrow(world, 3e6, queue_s=0.4)
    flood(world, "gate", 3.9e6)


# --- radio ---------------------------------------------------------------------------------------------------


@untellable(
    "operator", "operator_congestion", "operator/*", "local/plan_limit",
    accepts=("uncertain/below_need",), never=("uncertain/queue_by_others",), kind="mobile",
)  # fmt: skip
def fallback_to_2g(world: World) -> None:
    """A call takes the modem to 2G: two seconds of nothing, then 50 kbit/s at 700 ms."""
    slow = Way(delay_ms=350, rate_bps=50e3, queue_bytes=30_000)
    both_at(world, 0.6, loss=1)
    at(world, 2.6, slow, slow)
    as_modem(world, rsrp_dbm=-95.0)


@tellable("none", "recovered", accepts=OVER, kind="mobile")
def fallback_to_2g_and_back(world: World) -> None:
    """A call takes the modem to 2G for six seconds."""
    slow = Way(delay_ms=350, rate_bps=50e3, queue_bytes=30_000)
    usual = (world.up, world.down)
    at(world, 0.6, slow, slow)
    at(world, 6.6, *usual)
    as_modem(world, rsrp_dbm=-95.0)


def _asleep(world: World, state: Way) -> None:
    final = (world.up, world.down)

    def sleep(w: World) -> None:
        assert w.wire is not None
        w.wire.set(up=state, down=final[1])

    world.after.append(sleep)
    at(world, world.rng.uniform(2.0, 3.0), *final)


@tellable("none", "healthy", accepts=OVER, kind="mobile")
def radio_asleep_packets_late(world: World) -> None:
    """The radio sleeps: the first packets arrive over two seconds late."""
    _asleep(world, replace(world.up, delay_ms=2300, jitter_ms=0))


@tellable("none", "healthy", accepts=OVER, kind="mobile", core=True)
def radio_asleep_packets_lost(world: World) -> None:
    """The radio sleeps: the first packets are lost."""
    _asleep(world, Way(loss=1))


def _crowd(world: World) -> None:
    for step in range(40):
        delay = world.rng.choice((150, 300, 600, 1200))
        wave = Way(delay_ms=delay, jitter_ms=delay / 3, loss=world.rng.choice((0, 0.02, 0.1, 0.25)), rate_bps=1e6)
        at(world, step * 2.0, wave, wave)


@untellable("operator", "operator_congestion", "operator/*", accepts=("operator/*",), kind="mobile")
def voting_day_crowd(world: World) -> None:
    """Good signal, round trips of 300 to 3,000 ms and loss in waves: the cell is full."""
    _crowd(world)
    as_modem(world, rsrp_dbm=-80.0)


@untellable("operator", "operator_congestion", "operator/*", "local/others_here", kind="mobile")
def voting_day_crowd_behind_a_router(world: World) -> None:
    """The same behind a router, where others of the place could cause it as well."""
    _crowd(world)


@untellable("operator", "operator_congestion", "operator/*", kind="mobile")
def shared_ports_exhausted(world: World) -> None:
    """The operator's address translation has no port left for most new connections."""
    world.carrier = True
    busy = "numgen random mod 10 < 6 drop"
    later(
        world,
        "isp",
        f"forward iifname wan0 tcp flags & (syn|ack) == syn {busy}",
        f"forward iifname wan0 meta l4proto udp ct state new {busy}",
    )


@untellable("operator", "operator_congestion", "operator/*", kind="mobile")
def shared_ports_exhausted_as_the_router_says(world: World) -> None:
    """The same, and the operator's router reports that it cannot pass the packet on."""
    world.carrier = True
    busy = "numgen random mod 10 < 6 reject with icmp type host-unreachable"
    later(world, "isp", f"forward iifname wan0 tcp flags & (syn|ack) == syn {busy}")


@tellable(
    "none", "healthy", accepts=("none/*", "uncertain/below_need"), never=("uncertain/queue_by_others",), kind="mobile"
)
def satellite(world: World) -> None:
    """A satellite's steady 650 ms; nothing is lost and nothing waits."""
    world.up = Way(delay_ms=325, jitter_ms=4, rate_bps=8e6, queue_bytes=400_000)
    world.down = world.up


# --- IPv6-only links -----------------------------------------------------------------------------------------


def _six_only(world: World) -> None:
    world.ipv6 = world.six_services = world.six_only = True
    world.resolver_at = "fd11::101"
    world.after.append(lambda w: w.device.ip("-4", "address", "flush", "dev", "eth0"))


@tellable("none", "healthy", accepts=("none/*",), kind="mobile", core=True)
def six_only(world: World) -> None:
    """The link has IPv6 alone, and every service has an IPv6 address."""
    _six_only(world)


@tellable("none", "healthy", accepts=("none/*",), kind="mobile")
def six_with_translated_four(world: World) -> None:
    """IPv6, and IPv4 through an interface without a gateway, as 464XLAT makes it."""
    world.ipv6 = world.six_services = world.direct = True


@untellable("operator", "operator_mtu", "operator/*", kind="mobile")
def six_only_and_large_packets_lost(world: World) -> None:
    """IPv6 alone, and large packets vanish with their "too big" messages."""
    _six_only(world)
    later(world, "isp", "forward meta nfproto ipv6 meta length > 1340 drop")


@untellable("operator", "operator_mtu", kind="mobile")
def translated_four_and_large_packets_lost(world: World) -> None:
    """IPv4 through an interface without a gateway beside IPv6; large packets of both vanish."""
    six_with_translated_four(world)
    later(world, "isp", "forward meta length > 1340 drop")


# --- routers and caches of the place and the operator --------------------------------------------------------


def _forwarder_of_the_site(world: World, **spec: Any) -> None:
    world.resolver_at = world.gateway
    world.extra["gate"] = {"forward": [{"host": world.gateway, "to": world.resolver, **spec}]}


@untellable("local", "site_resolver", "operator/operator_resolver", "local/*", accepts=("none/*",), kind="mobile")
def forwarder_without_six(world: World) -> None:
    """The router's forwarder never answers questions for IPv6 addresses."""
    _forwarder_of_the_site(world, drop=["AAAA"])


@untellable("local", "site_resolver", "operator/operator_resolver", "local/*", kind="mobile")
def forwarder_without_large_answers(world: World) -> None:
    """The router's forwarder drops answers above 512 bytes, as one service's name has."""
    service = world.services["sirekap"]
    world.zone[service["fqdn"]] = [service["host"], *(world.host(number) for number in range(150, 190))]
    _forwarder_of_the_site(world, max_bytes=512)


@tellable("none", "healthy", accepts=("none/*",), kind="mobile")
def forwarder_of_the_router(world: World) -> None:
    """The router's forwarder answers everything."""
    _forwarder_of_the_site(world)


@tellable("none", "healthy", accepts=("none/*", "uncertain/below_need"), kind="mobile")
def compressing_cache(world: World) -> None:
    """A cache of the operator answers plain pages; the measured rate is the cache's."""
    world.throughput = True
    world.extra["isp"] = {"web": [{"host": world.resolver, "port": 8080, "headers": {"Via": "1.1 cache", "Age": "60"}}]}
    later(world, "isp", f"nat iifname wan0 tcp dport 80 dnat ip to {world.resolver}:8080")


@tellable("none", "healthy", accepts=("none/*", "uncertain/below_need"), kind="mobile")
def compressing_cache_without_marks(world: World) -> None:
    """The same from a cache that does not say so."""
    world.throughput = True
    world.extra["isp"] = {"web": [{"host": world.resolver, "port": 8080}]}
    later(world, "isp", f"nat iifname wan0 tcp dport 80 dnat ip to {world.resolver}:8080")


def _closed_later(world: World, *rules: str) -> None:
    world.timeline.append((world.rng.uniform(0.3, 1.1), lambda w: filter_packets(w, "gate", *rules)))


@untellable("local", "site_firewall", "local/*", kind="mobile")
def time_limit_of_the_school(world: World) -> None:
    """The school's router stops forwarding for this device in the middle of the run."""
    _closed_later(world, f"forward ip saddr {world.lan}.23 drop")


@untellable("local", "captive_portal", "local/*", accepts=("local/*",), kind="mobile")
def time_limit_of_the_school_with_a_page(world: World) -> None:
    """The same, and plain pages are redirected to the router's own page."""
    page = {"host": world.gateway, "port": 8080, "status": 302, "location": "http://hotspot.sekolah.example/habis"}
    world.extra["gate"] = {"web": [page]}
    to = f"nat iifname lan0 ip daddr != {world.gateway} tcp dport 80 dnat ip to {world.gateway}:8080"
    _closed_later(world, to, f"forward ip saddr {world.lan}.23 drop")
