"""Make each cause of the verdict's table, as docs/verdict.md lists them.

A scenario changes a healthy `World` before it is set up and, through `world.after`, once it runs. Modem causes put the
tags in its place, since no modem can be made in a namespace.
"""

from __future__ import annotations

import datetime
from typing import Any

import trustme

from tests.support.clock_shift import shifted_clock
from tests.trials.scenarios.breakage import (
    answer_errors_often,
    as_modem,
    dated_certificate,
    flood,
    later,
    lose,
    narrow,
    unplug,
    victim_of,
)
from tests.trials.scenarios.scenario import tellable, untellable
from tests.trials.scenarios.world import SERVICES, World

# --- none ---------------------------------------------------------------------------------------------------


@tellable("none", "healthy", accepts=("none/icmp_filtered",), core=True)
def healthy(world: World) -> None:
    """Nothing is wrong; in some seeds the gateway or the operator's router answers no ping."""
    if world.rng.random() < 0.3:
        later(world, "isp", "input icmp type echo-request drop")


@tellable("none", "icmp_filtered", core=True)
def icmp_filtered(world: World) -> None:
    later(world, "isp", "forward icmp type echo-request drop")
    if world.rng.random() < 0.5:
        later(world, "gate", "input icmp type echo-request drop")


# --- local --------------------------------------------------------------------------------------------------


@tellable("local", "no_network", core=True)
def no_interface(world: World) -> None:
    def cut(w: World) -> None:
        side = w.rng.choice(("device", "gate"))
        w.spaces[side].ip("link", "set", "eth0" if side == "device" else "lan0", "down")

    world.after.append(cut)


@tellable("local", "no_address", core=True)
def no_address(world: World) -> None:
    def strip(w: World) -> None:
        w.device.ip("address", "flush", "dev", "eth0")
        if w.rng.random() < 0.5:
            w.device.ip("address", "add", "169.254.17.3/16", "dev", "eth0")

    world.after.append(strip)


@tellable("local", "gateway_dead", core=True)
def gateway_dead(world: World) -> None:
    world.after.append(lambda w: w.gate.ip("address", "flush", "dev", "lan0"))


@untellable("local", "gateway_dead", "local/*", accepts=("local/*",))
def gateway_mute(world: World) -> None:
    """The gateway answers ARP and drops the rest, which a firewall of the device does as well."""
    later(world, "gate", "input drop", "forward drop", "output drop")


@tellable("local", "captive_portal", core=True)
def captive_portal(world: World) -> None:
    """A login page at the gateway: pages are redirected, or the names lead there too; the rest is closed."""
    page = f"http://login.{world.rng.choice(('hotspot', 'wifi', 'hotel'))}.example/?next=x"
    world.extra["gate"] = {"web": [{"host": world.gateway, "port": 8080, "status": 302, "location": page}]}
    later(
        world,
        "gate",
        f"nat iifname lan0 ip daddr != {world.gateway} tcp dport 80 dnat ip to {world.gateway}:8080",
        "forward udp dport 53 accept" if world.rng.random() < 0.7 else "forward ct state established accept",
        "forward ip daddr 0.0.0.0/0 ct state new " + world.rng.choice(("drop", "reject")),
    )


@tellable("local", "walled_garden", accepts=("local/quota_used_up",), core=True)
def walled_garden(world: World) -> None:
    """The quota is used up: the operator lets DNS and its own pages pass and sends the rest to its shop."""
    shop = f"http://{world.rng.choice(('isiulang', 'kuota', 'paket'))}.operator.example/beli"
    address = world.resolver
    world.extra["isp"] = {"web": [{"host": address, "port": 8080, "status": 302, "location": shop}]}
    rules = [
        f"nat iifname wan0 tcp dport 80 ip daddr != {address} dnat ip to {address}:8080",
        "forward iifname wan0 udp dport 53 accept",
    ]
    if world.rng.random() < 0.5:
        rules.append("forward icmp type echo-request accept")
    later(world, "isp", *rules, "forward iifname wan0 ct state new drop")


@tellable("local", "clock_wrong", core=True)
def clock_wrong(world: World) -> None:
    """The device's clock is in another year."""
    shift = world.rng.choice(("-9y", "-2y", "+3y", "+11y", "-3d"))
    world.env |= shifted_clock(shift)
    now = datetime.datetime.now(datetime.UTC)
    for name, service in world.services.items():
        begin, end = now - datetime.timedelta(days=60), now + datetime.timedelta(days=300)
        service["cert"] = dated_certificate(world, name, service["fqdn"], begin, end)


# not core: without processor time the trains are spoilt, and it is left open now and then
@tellable("local", "own_traffic")
def own_traffic(world: World) -> None:
    """The device itself fills the queue of its modem, up or down."""
    rate = world.rng.choice((2e6, 4e6, 6e6))
    narrow(world, rate, queue_s=world.rng.uniform(0.25, 0.5))
    flood(world, "device", rate * 1.3)


@tellable("local", "hosts_file", core=True)
def hosts_file(world: World) -> None:
    """A line of the device's hosts file gives a wrong address: of another service, a closed port, or no host."""
    victim, other = (world.services[name] for name in world.rng.sample(SERVICES, 2))
    world.hosts[victim["fqdn"]] = world.rng.choice((other["host"], world.host(60), world.host(99)))


# --- operator -----------------------------------------------------------------------------------------------


@untellable("operator", "operator_resolver", "operator/*", core=True)
def resolver_dead(world: World) -> None:
    world.resolver_silent = True
    if world.rng.random() < 0.7:
        later(world, "isp", "input udp dport 53 drop", "input tcp dport 53 drop")


@untellable("operator", "operator_resolver", "operator/*", core=True)
def resolver_lying(world: World) -> None:
    """One name, or all of them, lead to a block page, or are said not to exist."""
    block = world.resolver
    lied = ["sirekap"] if world.rng.random() < 0.5 else list(SERVICES)
    lie: Any = "NXDOMAIN" if world.rng.random() < 0.4 else [block]
    world.lies = {world.services[n]["fqdn"]: lie for n in lied}
    stranger = trustme.CA(organization_name="Block Page")
    cert = world.cert("block", "block.operator.example", stranger)
    world.extra["isp"] = {"web": [{"host": block, "port": 443, "cert": cert}, {"host": block, "port": 80}]}


@untellable("operator", "operator_resolver", "operator/*")
def forwarded_resolver_dead(world: World) -> None:
    """The same, while the device asks a forwarder of its own, as laptops do."""
    world.forwarder = True
    resolver_dead(world)


@untellable("operator", "operator_resolver", "operator/*", core=True)
def forwarded_resolver_lying(world: World) -> None:
    """The wrong answer comes through a forwarder of the device."""
    world.forwarder = True
    resolver_lying(world)


@untellable("operator", "operator_mtu", core=True)
def mtu_black_hole(world: World) -> None:
    """Packets above a limit vanish in the operator's network without a message."""
    limit = world.rng.choice((1280, 1360, 1420))
    later(world, "isp", f"forward meta length > {limit} drop")


@untellable("operator", "operator_loss", "operator/operator_congestion", accepts=("operator/loss_beyond",), core=True)
def heavy_loss(world: World) -> None:
    world.carrier = True
    lose(world, world.rng.uniform(0.12, 0.3))


@untellable("local", "plan_limit", "operator/operator_congestion", core=True)
def small_rate(world: World) -> None:
    narrow(world, world.rng.choice((96e3, 128e3, 200e3)), queue_s=3)
    world.throughput = True


@tellable("operator", "dead_after_hop", core=True)
def dead_after_hop(world: World) -> None:
    """A router of the operator says for every packet that it has no route."""
    world.ipv6 = False  # else the other family would be a way out
    world.carrier = True
    answer_errors_often(world)
    _no_route(world)


@untellable("operator", "operator_outage", core=True)
def silent_after_hop(world: World) -> None:
    """Nothing comes back from behind the operator's router; used-up quota looks the same."""
    world.ipv6, world.carrier = False, True
    later(world, "isp", "forward iifname wan0 oifname core0 drop")
    _perhaps_without_resolver(world)


@untellable("local", "quota_used_up", core=True)
def modem_no_data(world: World) -> None:
    unplug(world)
    as_modem(world, world.rng.choice(("home", "roaming")), world.rng.uniform(-105, -80))


@untellable("operator", "weak_signal", accepts=("operator/weak_signal",), core=True)
def modem_weak(world: World) -> None:
    unplug(world)
    as_modem(world, "home", world.rng.uniform(-130, -117))


@tellable("operator", "no_signal")
def modem_no_service(world: World) -> None:
    unplug(world)
    as_modem(world, "searching")


# --- service ------------------------------------------------------------------------------------------------


@untellable("service", "service_down", "service/*", core=True)
def refused(world: World) -> None:
    victim_of(world)["off"] = True


@untellable("service", "service_down", "service/*", core=True)
def silent(world: World) -> None:
    victim = victim_of(world)
    if world.rng.random() < 0.4:
        victim["mute"] = True
    else:
        later(world, "net", f"input ip daddr {victim['host']} tcp dport 443 drop")


@tellable("service", "service_error", core=True)
def error_page(world: World) -> None:
    victim_of(world)["status"] = world.rng.choice((500, 502, 503, 504))


@untellable("service", "service_overloaded", "service/*", accepts=("service/service_slow",), core=True)
def slow_under_load(world: World) -> None:
    victim_of(world)["delay_s"] = world.rng.uniform(3.2, 7)


@tellable("service", "service_certificate", core=True)
def expired(world: World) -> None:
    victim = victim_of(world)
    now = datetime.datetime.now(datetime.UTC)
    end = now - datetime.timedelta(days=world.rng.randrange(1, 90))
    victim["cert"] = dated_certificate(world, "expired", victim["fqdn"], end - datetime.timedelta(days=90), end)


@untellable("service", "service_certificate", "service/*")
def other_host(world: World) -> None:
    victim = victim_of(world)
    victim["cert"] = world.cert("other", "another.example")


@untellable("service", "service_name", core=True)
def servfail(world: World) -> None:
    world.zone[world.services["sirekap"]["fqdn"]] = "SERVFAIL"


# --- collector ----------------------------------------------------------------------------------------------


@untellable("collector", "collector_down", core=True)
def collector_down(world: World) -> None:
    if world.rng.random() < 0.5:
        world.collector_on = False
    else:
        later(world, "net", f"input ip daddr {world.services['collector']['host']} drop")


# --- uncertain ----------------------------------------------------------------------------------------------


@untellable("operator", "operator_outage", "local/quota_used_up", core=True)
def nothing_beyond(world: World) -> None:
    """The modem answers and nothing behind it does."""
    unplug(world)


@untellable("local", "site_uplink", "local/quota_used_up", "local/apn_wrong")
def nothing_past_the_gateway(world: World) -> None:
    """The gateway answers and forwards nothing, as a phone does with its data switched off."""
    later(world, "gate", "forward drop", "output oifname wan0 drop")


@untellable("local", "site_firewall", "local/*", "operator/*", core=True)
def interception(world: World) -> None:
    stranger = trustme.CA(organization_name="Gate Inspection")
    for name, service in world.services.items():
        service["cert"] = world.cert(f"fake-{name}", service["fqdn"], stranger)


@untellable("local", "others_here", core=True)
def bufferbloat(world: World) -> None:
    """Others behind the same gateway fill its queue."""
    rate = world.rng.choice((2e6, 4e6, 6e6))
    narrow(world, rate, queue_s=world.rng.uniform(0.25, 0.5))
    flood(world, world.rng.choice(("gate", "net")), rate * 1.3)


@untellable("operator", "ipv6_broken", "operator/*", accepts=("uncertain/ipv6_broken",))
def ipv6_broken(world: World) -> None:
    """IPv6 packets vanish in the operator's network; IPv4 works."""
    _half_six(world)
    later(world, "isp", "forward meta nfproto ipv6 drop")


@untellable("local", "ipv6_broken", "local/*", accepts=("uncertain/ipv6_broken",))
def ipv6_without_route(world: World) -> None:
    """The router of the place announces IPv6 and has no route for it."""
    _half_six(world)
    world.after.append(lambda w: w.gate.run("ip", "-6", "route", "del", "default"))


@untellable("service", "service_down", "service/*", accepts=("service/*",), core=True)
def two_services_down(world: World) -> None:
    for name in world.rng.sample(SERVICES, 2):
        if world.rng.random() < 0.5:
            world.services[name]["off"] = True
        else:
            world.services[name]["status"] = 503


def _no_route(world: World) -> None:
    """Let the operator's router answer that it has no route."""
    if world.rng.random() < 0.5:
        world.after.append(lambda w: w.isp.ip("link", "set", "core0", "down"))
    else:
        world.after.append(lambda w: w.isp.ip("route", "add", "unreachable", "0.0.0.0/1"))
        world.after.append(lambda w: w.isp.ip("route", "add", "unreachable", "128.0.0.0/1"))
        world.after.append(lambda w: w.isp.ip("route", "del", f"{w.core}.0/24"))
    _perhaps_without_resolver(world)


def _perhaps_without_resolver(world: World) -> None:
    if world.rng.random() < 0.5:
        world.resolver_silent = True
        later(world, "isp", "input udp dport 53 drop")


def _half_six(world: World) -> None:
    world.ipv6 = True
    for name in world.rng.sample(SERVICES, 2):
        service = world.services[name]
        world.zone[service["fqdn"]] = [service["host"], f"fd11::{service['host'].rsplit('.', 1)[1]}"]
