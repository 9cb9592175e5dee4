"""Make situations on the way that look alike: whose a router is, loss, packet sizes, own traffic, routes, modems."""

from __future__ import annotations

from typing import Any

from tests.trials.scenarios.breakage import (
    answer_errors_often,
    as_modem,
    both_at,
    filter_packets,
    flood,
    later,
    lose,
    narrow,
    silence_beyond,
    unplug,
)
from tests.trials.scenarios.scenario import tellable, untellable
from tests.trials.scenarios.world import World

# --- 5: whose a router or a resolver is ----------------------------------------------------------------------


def _far_router(world: World, carrier: bool) -> None:
    world.ipv6, world.carrier, world.resolver_silent = False, carrier, True
    later(world, "isp", "input udp dport 53 drop", "input tcp dport 53 drop")


@untellable("local", "site_uplink", "local/*", kind="5 whose", core=True)
def campus_router_without_route(world: World) -> None:
    """A second router of the place, with a private address, says that it has no route."""
    _far_router(world, carrier=False)
    world.after.append(lambda w: w.isp.ip("link", "set", "core0", "down"))


@untellable("local", "site_uplink", "local/*", kind="5 whose")
def campus_router_silent(world: World) -> None:
    """A second router of the place forwards nothing and says nothing."""
    _far_router(world, carrier=False)
    silence_beyond(world)


@tellable("operator", "dead_after_hop", kind="5 whose")
def operator_router_without_route(world: World) -> None:
    """A router of the shared range says that it has no route, and no resolver answers."""
    _far_router(world, carrier=True)
    answer_errors_often(world)
    world.after.append(lambda w: w.isp.ip("link", "set", "core0", "down"))


@untellable("operator", "operator_outage", "operator/*", accepts=("operator/dead_after_hop",), kind="5 whose")
def operator_router_that_seldom_answers(world: World) -> None:
    """The same router limits its errors, so that the message may not be seen."""
    _far_router(world, carrier=True)
    world.after.append(lambda w: w.isp.ip("link", "set", "core0", "down"))


@untellable("local", "quota_used_up", kind="5 whose")
def quota_dropped_after_the_hop(world: World) -> None:
    """The operator drops everything silently behind its first router, since the quota is used up."""
    world.ipv6, world.carrier = False, True
    silence_beyond(world)


def _house_resolver(world: World, **spec: Any) -> None:
    """A name server of the house, in another subnet than the gateway's."""
    world.resolver_at = "172.20.5.53"
    world.gate_addresses = [world.resolver_at]
    if spec:
        world.extra["gate"] = {"dns": [{"host": world.resolver_at, "zone": spec["zone"]}]}


@untellable("local", "site_resolver", "local/*", kind="5 whose", core=True)
def house_resolver_dead(world: World) -> None:
    """The house's own name server, in another subnet, is silent."""
    _house_resolver(world)
    later(world, "gate", "input ip daddr 172.20.5.53 drop")


@untellable("local", "site_resolver", "local/*", kind="5 whose")
def house_resolver_blocks(world: World) -> None:
    """The house's own name server tells 0.0.0.0 for one name."""
    _house_resolver(world, zone={**world.zone, world.services["sirekap"]["fqdn"]: ["0.0.0.0"]})


@untellable("local", "site_resolver", "local/*", kind="5 whose")
def chosen_resolver_dead(world: World) -> None:
    """A public name server that was set by hand does not answer."""
    world.resolver_at = world.host(60)
    later(world, "net", f"input ip daddr {world.host(60)} udp dport 53 drop")


@untellable("operator", "operator_resolver", "operator/*", accepts=("operator/resolver_dead",), kind="5 whose")
def modem_resolver_dead(world: World) -> None:
    """The resolver that came with the operator's address on a modem is silent."""
    world.resolver_silent, world.carrier = True, True
    later(world, "isp", "input udp dport 53 drop", "input tcp dport 53 drop")
    as_modem(world, rsrp_dbm=-90.0)


# --- 6: loss of echoes ---------------------------------------------------------------------------------------


@tellable("none", "healthy", accepts=("none/*",), kind="6 loss", core=True)
def policed_echoes(world: World) -> None:
    """A router lets few echoes a second pass; nothing else is lost."""
    later(world, "isp", "forward icmp type echo-request limit rate over 4/second burst 4 packets drop")


@tellable("none", "healthy", accepts=("none/*",), kind="6 loss")
def policed_icmp(world: World) -> None:
    """Every kind of ICMP is limited, on the router and through it."""
    limit = "ip protocol icmp limit rate over 5/second burst 5 packets drop"
    later(world, "isp", f"forward {limit}", f"input {limit}", f"output {limit}")


@untellable("local", "site_loss", "local/*", kind="6 loss", core=True)
def mesh_loss(world: World) -> None:
    """A mesh link of the place, behind the gateway, loses packets."""
    world.carrier = False
    lose(world, world.rng.uniform(0.15, 0.3))


@untellable("operator", "operator_loss", "operator/*", accepts=("operator/loss_beyond",), kind="6 loss")
def modem_loss(world: World) -> None:
    """The operator's link loses packets; the device itself is the modem."""
    world.carrier = True
    lose(world, world.rng.uniform(0.15, 0.3))
    as_modem(world, rsrp_dbm=-88.0)


@tellable("none", "recovered", accepts=("none/*", "uncertain/*"), kind="6 loss")
def loss_for_a_moment(world: World) -> None:
    """A third of all packets is lost for three seconds, and none after that."""
    start = world.rng.uniform(0.0, 2.0)
    both_at(world, start, loss=0.35)
    both_at(world, start + 3, loss=0)


# --- 7: large packets ----------------------------------------------------------------------------------------


@untellable("operator", "operator_mtu", kind="7 MTU", core=True)
def large_packets_lost_upwards(world: World) -> None:
    """Large packets vanish on their way up; pages load."""
    later(world, "isp", f"forward iifname wan0 meta length > {world.rng.choice((1200, 1300, 1400))} drop")


@tellable("none", "healthy", accepts=("none/*",), kind="7 MTU")
def large_echoes_filtered(world: World) -> None:
    """Only large echoes are dropped, everything else passes at any size."""
    later(world, "isp", "forward icmp type echo-request meta length > 1000 drop")


@untellable("local", "site_mtu", kind="7 MTU")
def site_router_mtu(world: World) -> None:
    """The router of the place drops large packets without a message."""
    later(world, "gate", f"forward meta length > {world.rng.choice((1280, 1360, 1420))} drop")


@untellable("operator", "operator_mtu", accepts=("operator/mtu_black_hole",), kind="7 MTU")
def modem_mtu(world: World) -> None:
    """The operator drops large packets; the device itself is the modem."""
    world.carrier = True
    later(world, "isp", f"forward meta length > {world.rng.choice((1280, 1360, 1420))} drop")
    as_modem(world, rsrp_dbm=-90.0)


# --- 8: own traffic ------------------------------------------------------------------------------------------


@untellable(
    "operator", "operator_loss", "operator/*", accepts=("operator/loss_beyond",), kind="8 own traffic", core=True
)
def call_on_a_lossy_link(world: World) -> None:
    """A call of 0.6 Mbit/s runs on a link of 20 Mbit/s that loses a quarter of all packets."""
    world.carrier = True
    narrow(world, 20e6, queue_s=0.2)
    lose(world, 0.25)
    flood(world, "device", 0.6e6)


@tellable("none", "healthy", accepts=("none/*",), kind="8 own traffic")
def call_on_a_good_link(world: World) -> None:
    """The same call on a link that loses nothing."""
    narrow(world, 20e6, queue_s=0.2)
    flood(world, "device", 0.6e6)


@untellable("operator", "operator_loss", "operator/*", accepts=("operator/loss_beyond",), kind="8 own traffic")
def backup_on_a_lossy_link(world: World) -> None:
    """A backup of 3 Mbit/s runs on a link of 20 Mbit/s that loses a quarter of all packets."""
    world.carrier = True
    narrow(world, 20e6, queue_s=0.2)
    lose(world, 0.25)
    flood(world, "device", 3e6)


# --- 8: a device without processor time ----------------------------------------------------------------------


@untellable("local", "device_busy", accepts=("none/healthy",), kind="8 own traffic", core=True)
def device_that_freezes(world: World) -> None:
    """The device stands still for most of each second, as with full memory; the link is fast."""
    world.throughput = True
    narrow(world, 20e6, queue_s=0.3)
    world.stopped, world.stop_every_s = world.rng.uniform(0.96, 0.98), world.rng.uniform(0.9, 1.2)


@tellable("none", "healthy", accepts=("none/*", "uncertain/below_need"), kind="8 own traffic")
def device_held_back(world: World) -> None:
    """A limit stops the probe for a third of the time: everything arrives well enough."""
    world.throughput = True
    world.stopped = world.rng.uniform(0.2, 0.35)


# --- 9: routes -----------------------------------------------------------------------------------------------


@tellable("none", "healthy", accepts=("none/*",), kind="9 routes", core=True)
def route_without_gateway(world: World) -> None:
    """The default route has an interface and no gateway; everything answers."""
    world.direct = True


@untellable("operator", "operator_outage", "local/quota_used_up", kind="9 routes")
def route_without_gateway_and_nothing_beyond(world: World) -> None:
    """The same route, and nothing answers."""
    world.direct, world.ipv6 = True, False
    unplug(world)


@untellable("local", "site_uplink", "local/*", never=("local/no_network",), kind="9 routes", core=True)
def gateway_without_route(world: World) -> None:
    """The gateway says that the network is unreachable: its own uplink is gone."""
    world.ipv6 = False
    world.after.append(lambda w: w.gate.run("ip", "route", "del", "default"))


@tellable("none", "healthy", accepts=("none/*",), kind="9 routes")
def both_families(world: World) -> None:
    """Names have addresses of both families, and both work."""
    world.ipv6 = world.six_services = True


# --- 12: modems ----------------------------------------------------------------------------------------------


@untellable("local", "quota_used_up", kind="12 modem", core=True)
def modem_quota(world: World) -> None:
    """The modem is registered with a good signal, and the operator drops everything: no quota is left."""
    world.carrier, world.ipv6 = True, False
    silence_beyond(world)
    as_modem(world, rsrp_dbm=-85.0)


@untellable("operator", "operator_outage", kind="12 modem")
def modem_outage(world: World) -> None:
    """The same signs, while the operator's core network is down."""
    unplug(world)
    as_modem(world, rsrp_dbm=-85.0)


@untellable("local", "apn_wrong", kind="12 modem")
def modem_apn(world: World) -> None:
    """The same signs, with a wrong access point name."""
    unplug(world)
    as_modem(world, "home", -92.0)


@untellable("local", "quota_used_up", kind="12 modem")
def modem_quota_in_a_weak_signal(world: World) -> None:
    """The signal is weak, and nothing passes since no quota is left."""
    world.carrier, world.ipv6 = True, False
    silence_beyond(world)
    as_modem(world, rsrp_dbm=-119.0)


@untellable("local", "sim_inactive", kind="12 modem")
def modem_denied_for_its_sim(world: World) -> None:
    """The network denies the registration, since the SIM is not active."""
    unplug(world)
    as_modem(world, "denied")


@untellable("local", "imei_unregistered", kind="12 modem")
def modem_denied_for_its_imei(world: World) -> None:
    """The network denies the registration, since the device is not registered."""
    unplug(world)
    as_modem(world, "denied")


@tellable("local", "walled_garden", accepts=("local/*",), kind="12 modem")
def modem_quota_with_its_page(world: World) -> None:
    """The quota is used up, and the operator redirects plain pages to its shop."""
    shop = {"host": world.resolver, "port": 8080, "status": 302, "location": "http://kuota.operator.example/"}
    world.extra["isp"] = {"web": [shop]}

    def close(w: World) -> None:
        to = f"nat iifname wan0 ip daddr != {w.resolver} tcp dport 80 dnat ip to {w.resolver}:8080"
        filter_packets(w, "isp", to, "forward iifname wan0 udp dport 53 accept", "forward iifname wan0 drop")

    world.after.append(close)
    as_modem(world, rsrp_dbm=-85.0)
