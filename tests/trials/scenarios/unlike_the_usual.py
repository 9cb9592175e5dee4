"""Make situations that are rare or new: odd portals, two routes, VPNs, IPv6 alone, filters of schools, slow radio.

No rule was written for one of them alone. Each asks of the rules whether something that looks like a known cause is
called that cause wrongly.
"""

from __future__ import annotations

import datetime
import sys
from dataclasses import replace
from typing import Final

import trustme

from tests.support.clock_shift import shifted_clock
from tests.support.link_emulator import Way
from tests.trials.scenarios.breakage import (
    NOISE,
    as_modem,
    at,
    dated_certificate,
    filter_packets,
    flood,
    later,
    narrow,
    silence_beyond,
    victim_of,
)
from tests.trials.scenarios.scenario import tellable, untellable
from tests.trials.scenarios.world import SERVICES, World

KIND: Final = "unusual"
FINE: Final = ("none/*",)
OVER: Final = ("none/*", "uncertain/*")

# --- portals -------------------------------------------------------------------------------------------------


def _closed_but_for_names(world: World) -> tuple[str, ...]:
    return ("forward udp dport 53 accept", "forward ct state established accept", "forward drop")


@tellable("local", "captive_portal", kind=KIND)
def portal_by_511(world: World) -> None:
    """A login page answers every plain page with 511; the rest is dropped."""
    world.extra["gate"] = {"web": [{"host": world.gateway, "port": 8080, "status": 511, "body": "Silakan masuk"}]}
    to = f"nat iifname lan0 ip daddr != {world.gateway} tcp dport 80 dnat ip to {world.gateway}:8080"
    world.ipv6 = False
    later(world, "gate", to, *_closed_but_for_names(world))


@tellable("local", "captive_portal", accepts=("local/*",), kind=KIND)
def portal_on_six_alone(world: World) -> None:
    """The link has IPv6 alone, and plain pages are redirected to the hotel's login."""
    world.ipv6 = world.six_services = world.six_only = True
    world.resolver_at = "fd11::101"
    page = {"host": "fd10::1", "port": 8080, "status": 302, "location": "http://login.hotel.example/"}
    world.extra["gate"] = {"web": [page]}
    world.after.append(lambda w: w.device.ip("-4", "address", "flush", "dev", "eth0"))
    later(
        world,
        "gate",
        "nat iifname lan0 ip6 daddr != fd10::1 tcp dport 80 dnat ip6 to [fd10::1]:8080",
        *_closed_but_for_names(world),
    )


@untellable("local", "captive_portal", kind=KIND)
def portal_with_its_own_certificate(world: World) -> None:
    """A login page answers on the TLS port of every host with its own certificate; plain pages are dropped."""
    world.ipv6 = False
    cert = world.cert("portal", "login.hotspot.example", trustme.CA(organization_name="Hotspot"))
    world.extra["gate"] = {"web": [{"host": world.gateway, "port": 8443, "cert": cert}]}
    to = f"nat iifname lan0 ip daddr != {world.gateway} tcp dport 443 dnat ip to {world.gateway}:8443"
    later(world, "gate", to, *_closed_but_for_names(world))


# --- filters of a school, an office or a laptop --------------------------------------------------------------


@untellable("local", "site_firewall", kind=KIND)
def proxy_is_required(world: World) -> None:
    """The school lets pages pass through its proxy alone; names and echoes are answered."""
    later(world, "gate", "forward tcp dport { 80, 443 } drop")


@untellable("local", "site_firewall", kind=KIND)
def proxy_is_required_and_the_rest_refused(world: World) -> None:
    """The same, and the school's firewall refuses other connections."""
    later(world, "gate", "forward tcp dport { 80, 443 } reject with tcp reset")


@tellable("none", "healthy", accepts=FINE, kind=KIND)
def proxy_in_the_environment(world: World) -> None:
    """A variable of the environment names a proxy that is gone; the connection itself works."""
    dead = f"http://{world.gateway}:3128"
    world.env |= {"HTTP_PROXY": dead, "HTTPS_PROXY": dead, "https_proxy": dead, "http_proxy": dead, "ALL_PROXY": dead}


@untellable("local", "site_firewall", kind=KIND)
def school_inspects_some_hosts(world: World) -> None:
    """A box of the school signs the certificates of two hosts; a third is exempt."""
    stranger = trustme.CA(organization_name="School Inspection")
    for name in world.rng.sample(SERVICES, 2):
        service = world.services[name]
        service["cert"] = world.cert(f"school-{name}", service["fqdn"], stranger)


@untellable("local", "site_firewall", kind=KIND)
def school_blocks_two_hosts(world: World) -> None:
    """The school's router drops everything to two hosts; a third works."""
    hosts = ", ".join(world.services[name]["host"] for name in world.rng.sample(SERVICES, 2))
    later(world, "gate", f"forward ip daddr {{ {hosts} }} drop")


@untellable("operator", "operator_filter", kind=KIND)
def operator_blocks_two_hosts(world: World) -> None:
    """The operator drops everything to two hosts; a third works."""
    hosts = ", ".join(world.services[name]["host"] for name in world.rng.sample(SERVICES, 2))
    later(world, "isp", f"forward ip daddr {{ {hosts} }} drop")


@untellable("local", "site_firewall", kind=KIND)
def laptop_firewall_blocks_tls(world: World) -> None:
    """A firewall program of the laptop drops every connection to port 443."""
    later(world, "device", "output tcp dport 443 drop")


@tellable("none", "healthy", accepts=FINE, kind=KIND)
def site_without_echoes(world: World) -> None:
    """The school's firewall drops every echo, to itself and through it; pages work."""
    later(world, "gate", "input icmp type echo-request drop", "forward icmp type echo-request drop")


# --- names ---------------------------------------------------------------------------------------------------


@tellable("none", "healthy", accepts=FINE, kind=KIND)
def secured_names_blocked(world: World) -> None:
    """Name servers over TLS and HTTPS are blocked; ordinary ones answer."""
    world.secure_resolver = True
    one, other = world.references
    later(world, "isp", "forward tcp dport 853 drop", f"forward ip daddr {{ {one}, {other} }} tcp dport 443 drop")


@tellable("none", "healthy", accepts=FINE, kind=KIND)
def missing_names_lead_to_advertisements(world: World) -> None:
    """The operator's resolver tells the address of an advertising server for names that do not exist."""
    world.lies = {"*": [world.resolver]}
    world.extra["isp"] = {"web": [{"host": world.resolver, "port": 80, "body": "Iklan"}]}


@untellable("service", "service_name", kind=KIND)
def name_gone_and_advertisements_instead(world: World) -> None:
    """The same, and the name of one service is gone."""
    missing_names_lead_to_advertisements(world)
    world.zone[world.services["sirekap"]["fqdn"]] = "NXDOMAIN"
    world.lies[world.services["sirekap"]["fqdn"]] = [world.resolver]


@tellable("none", "healthy", accepts=FINE, kind=KIND)
def port_53_answered_honestly(world: World) -> None:
    """The operator answers all of port 53 itself, and tells the truth."""
    to = f"dnat ip to {world.resolver}:53"
    later(world, "isp", f"nat iifname wan0 udp dport 53 {to}", f"nat iifname wan0 tcp dport 53 {to}")


@tellable("local", "device_resolver", kind=KIND)
def no_resolver_configured(world: World) -> None:
    """The device has no name server in its settings; addresses answer."""
    world.resolver_at = "127.0.0.1"


# --- plans and ports -----------------------------------------------------------------------------------------


@tellable("none", "healthy", accepts=FINE, kind=KIND)
def plan_without_udp(world: World) -> None:
    """The plan drops UDP but for names: no HTTP/3, no calls; pages work over TCP."""
    later(world, "isp", "forward udp dport != 53 drop")


@tellable("none", "healthy", accepts=FINE, kind=KIND)
def dialled_line_that_tells_its_size(world: World) -> None:
    """A line with packets of 1,492 bytes at most, whose router says so: common with PPPoE."""
    world.after.append(lambda w: [space.ip("link", "set", "wan0", "mtu", "1492") for space in (w.gate, w.isp)])


@untellable("local", "site_loss", "local/site_uplink", accepts=("uncertain/slow_target", "none/healthy"), kind=KIND)
def router_table_full(world: World) -> None:
    """The router of the place has no room for most new connections."""
    busy = "numgen random mod 10 < 6 drop"
    later(
        world,
        "gate",
        f"forward iifname lan0 tcp flags & (syn|ack) == syn {busy}",
        f"forward iifname lan0 meta l4proto udp ct state new {busy}",
    )


# --- routes of the laptop ------------------------------------------------------------------------------------


def _tunnel(w: World, *routes: str) -> None:
    w.device.run("ip", "tuntap", "add", "dev", "tun0", "mode", "tun")
    w.device.ip("address", "add", "10.8.0.2/24", "dev", "tun0")
    w.device.ip("link", "set", "tun0", "up")
    w.background.append(("device", [sys.executable, "-c", HOLD_TUNNEL]))
    for route in routes:
        w.device.ip("route", "replace", route, "dev", "tun0")


HOLD_TUNNEL: Final = (
    "import fcntl, struct\n"
    "tunnel = open('/dev/net/tun', 'r+b', buffering=0)\n"
    "fcntl.ioctl(tunnel, 0x400454CA, struct.pack('16sH22x', b'tun0', 0x1001))\n"
    "while True:\n    tunnel.read(2000)\n"
)
"""A VPN program whose far end is gone: it takes packets and brings none."""


@untellable("local", "vpn", accepts=("local/vpn",), kind=KIND)
def vpn_beside_the_usual_route(world: World) -> None:
    """A VPN program leads everything into its tunnel by two routes, and its far end is gone."""
    world.ipv6 = False
    world.after.append(lambda w: _tunnel(w, "0.0.0.0/1", "128.0.0.0/1"))


@untellable("local", "vpn", accepts=("local/vpn",), kind=KIND)
def vpn_with_the_only_route(world: World) -> None:
    """A VPN program has replaced the default route, and its far end is gone."""
    world.ipv6 = False
    world.after.append(lambda w: _tunnel(w, "default"))


def _second_link(w: World, metric: str, usual: str) -> None:
    """Give the device another link with a default route of its own; the gateway there is gone."""
    w.device.ip("link", "add", "eth1", "type", "veth", "peer", "name", "end1")
    for link in ("eth1", "end1"):
        w.device.ip("link", "set", link, "up")
    w.device.ip("address", "add", "172.31.9.2/24", "dev", "eth1")
    w.device.ip("route", "del", "default")
    w.device.ip("route", "add", "default", "via", f"{w.lan}.1", "metric", usual)
    w.device.ip("route", "add", "default", "via", "172.31.9.1", "metric", metric)


@tellable("local", "gateway_dead", accepts=("local/*",), kind=KIND)
def two_routes_and_the_better_one_is_dead(world: World) -> None:
    """Two default routes: the preferred one leads to a gateway that is gone, the other works."""
    world.ipv6 = False
    world.after.append(lambda w: _second_link(w, "100", "600"))


@tellable("none", "healthy", accepts=FINE, kind=KIND)
def two_routes_and_the_worse_one_is_dead(world: World) -> None:
    """Two default routes: the preferred one works."""
    world.after.append(lambda w: _second_link(w, "600", "100"))


def _stick(world: World) -> None:
    """A USB modem that translates addresses itself and looks like a router."""
    world.lan, world.carrier = "192.168.8", True
    world.after.append(lambda w: filter_packets(w, "gate"))


@tellable("none", "healthy", accepts=FINE, kind=KIND)
def modem_stick_works(world: World) -> None:
    """A USB modem at 192.168.8.1 works."""
    _stick(world)


@untellable("local", "quota_used_up", kind=KIND)
def modem_stick_without_quota(world: World) -> None:
    """The same without quota: the operator drops everything."""
    world.ipv6 = False
    _stick(world)
    silence_beyond(world)


# --- IPv6 ----------------------------------------------------------------------------------------------------


@untellable("operator", "operator_mtu", kind=KIND)
def large_packets_lost_on_six_alone(world: World) -> None:
    """Names have both families; large packets of IPv6 vanish, those of IPv4 pass."""
    world.ipv6 = world.six_services = True
    later(world, "isp", "forward meta nfproto ipv6 meta length > 1340 drop")


@untellable("local", "site_uplink", kind=KIND)
def six_by_a_router_that_is_gone(world: World) -> None:
    """A neighbour announced itself as IPv6 router and is gone; IPv4 works for everything."""
    world.ipv6 = world.six_services = True
    world.after.append(lambda w: w.device.run("ip", "-6", "route", "replace", "default", "via", "fd10::99"))


@untellable("operator", "operator_outage", kind=KIND)
def four_broken_beside_six(world: World) -> None:
    """The translation of IPv4 is broken, and everything has IPv6."""
    world.ipv6 = world.six_services = True
    world.resolver_at = "fd11::101"
    later(world, "isp", "forward meta nfproto ipv4 drop")


# --- services and their networks -----------------------------------------------------------------------------


@tellable("none", "healthy", accepts=OVER, kind=KIND)
def one_copy_of_a_service_is_down(world: World) -> None:
    """A name has two addresses; the first refuses, the second works, as programs notice by themselves."""
    victim = victim_of(world)
    world.zone[victim["fqdn"]] = [world.host(60), victim["host"]]


@untellable("service", "service_down", kind=KIND)
def copy_near_the_operator_is_down(world: World) -> None:
    """The operator's resolver tells a copy of the service that is down; others tell one that works."""
    victim = world.services["sirekap"]
    world.lies = {victim["fqdn"]: [world.host(60)]}


@untellable("service", "service_down", kind=KIND)
def two_services_behind_one_front(world: World) -> None:
    """Two services have the same front server, which is down; a third works."""
    for name in world.rng.sample(SERVICES, 2):
        world.services[name]["off"] = True


@untellable("collector", "collector_down", "collector/*", accepts=("collector/*",), kind=KIND)
def collector_certificate_out_of_date(world: World) -> None:
    """The collector's own certificate has expired."""
    collector = world.services["collector"]
    end = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=3)
    collector["cert"] = dated_certificate(world, "old", collector["fqdn"], end - datetime.timedelta(days=90), end)


@tellable("service", "service_certificate", kind=KIND)
def certificate_of_tomorrow(world: World) -> None:
    """One service has a certificate that is valid from tomorrow on."""
    victim = victim_of(world)
    begin = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    victim["cert"] = dated_certificate(world, "early", victim["fqdn"], begin, begin + datetime.timedelta(days=90))


# --- clocks --------------------------------------------------------------------------------------------------


@tellable("local", "clock_wrong", kind=KIND)
def clock_in_another_time_zone(world: World) -> None:
    """The clock is hours off, as when local time was set as UTC; certificates from today are not valid yet."""
    world.env |= shifted_clock(world.rng.choice(("-9h", "-8h", "-7h", "+7h", "+8h", "+9h")))
    now = datetime.datetime.now(datetime.UTC)
    for name, service in world.services.items():
        begin, end = now - datetime.timedelta(hours=2), now + datetime.timedelta(days=89)
        service["cert"] = dated_certificate(world, name, service["fqdn"], begin, end)


# --- radio ---------------------------------------------------------------------------------------------------


@untellable(
    "operator", "operator_congestion", "operator/*", "local/plan_limit", accepts=("uncertain/below_need",), kind=KIND
)
def packet_radio_of_the_first_kind(world: World) -> None:
    """GPRS: round trips of five seconds, 30 kbit/s."""
    slow = Way(delay_ms=2400, jitter_ms=200, rate_bps=30e3, queue_bytes=30_000)
    world.up = world.down = slow
    world.carrier = True
    as_modem(world, rsrp_dbm=-100.0)


@untellable("local", "site_loss", kind=KIND)
def weak_wireless_of_the_place(world: World) -> None:
    """The radio link between the laptop and the router loses a quarter of all packets."""
    lost = "numgen random mod 100 < 25 drop"
    later(world, "gate", f"input iifname lan0 {lost}", f"forward iifname lan0 {lost}")


# --- traffic -------------------------------------------------------------------------------------------------


def _download(world: World, rate_bps: float) -> None:
    world.background.append(("net", [sys.executable, str(NOISE), f"{world.lan}.23", str(rate_bps), str(world.seed)]))


@untellable("local", "own_traffic", accepts=("local/own_traffic",), kind=KIND)
def own_download(world: World) -> None:
    """The device itself receives more than the link carries."""
    rate = world.rng.choice((2e6, 4e6, 6e6))
    narrow(world, rate, queue_s=world.rng.uniform(0.25, 0.5))
    _download(world, rate * 1.3)


@untellable("local", "others_here", never=("local/own_traffic",), kind=KIND)
def own_download_beside_others_upload(world: World) -> None:
    """The device receives 6 of 20 Mbit/s while others fill the 2 Mbit/s of the other direction."""
    world.down = replace(world.down, rate_bps=20e6, queue_bytes=500_000, loss=0)
    world.up = replace(world.up, rate_bps=2e6, queue_bytes=100_000, loss=0)
    _download(world, 6e6)
    flood(world, "gate", 2.6e6)


@untellable("local", "others_here", never=("local/own_traffic",), kind=KIND)
def small_upload_beside_others(world: World) -> None:
    """The device sends 0.5 of 4 Mbit/s while others fill the rest."""
    narrow(world, 4e6, queue_s=0.4)
    flood(world, "device", 0.5e6)
    flood(world, "gate", 4.7e6)


@untellable("local", "own_traffic", "operator/operator_congestion", accepts=("local/own_traffic", "none/*"), kind=KIND)
def own_upload_that_ends(world: World) -> None:
    """The link is narrow in the first seconds only, as when a radio recovers; the device sends all the time."""
    rate = 3e6
    up, down = world.up, world.down
    narrow(world, rate, queue_s=0.4)
    flood(world, "device", rate * 1.2)
    at(world, 6.0, replace(up, rate_bps=30e6, queue_bytes=400_000), down)
