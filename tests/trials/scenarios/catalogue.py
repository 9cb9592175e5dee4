"""Every cause of the table, made for real: who is to blame, what it is, and how to bring it about.

A scenario changes a healthy `World` before it is set up and, through `world.after`, once it runs. The causes that only
a modem can tell (`modem_*`) put the tags in its place: no modem can be made in a namespace.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import trustme

from tests.support.link_emulator import Way
from tests.trials.scenarios.world import SERVICES, World, authority

NOISE: Final = Path(__file__).with_name("noise.py")


@dataclass(frozen=True)
class Scenario:
    """A ground truth and the way to it."""

    name: str
    owner: str
    cause: str
    make: Callable[[World], None]


_ALL: list[Scenario] = []


def scenario(owner: str, cause: str) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    def keep(make: Callable[[World], None]) -> Callable[[World], None]:
        _ALL.append(Scenario(make.__name__, owner, cause, make))
        return make

    return keep


def _nft(world: World, place: str, *rules: str) -> None:
    space = world.spaces[place]
    space.run("nft", "add", "table", "inet", "s")
    for hook in ("input", "forward", "output"):
        space.run("nft", "add", "chain", "inet", "s", hook, f"{{ type filter hook {hook} priority 0 ; }}")
    space.run("nft", "add", "chain", "inet", "s", "nat", "{ type nat hook prerouting priority -100 ; }")
    for rule in rules:
        space.run("nft", "add", "rule", "inet", "s", *rule.split())


def _later(world: World, place: str, *rules: str) -> None:
    world.after.append(lambda w: _nft(w, place, *rules))


# --- none ---------------------------------------------------------------------------------------------------


@scenario("none", "healthy")
def healthy(world: World) -> None:
    """Nothing is wrong; in some seeds the gateway or the operator's router answers no ping."""
    if world.rng.random() < 0.3:
        _later(world, "isp", "input icmp type echo-request drop")


@scenario("none", "icmp_filtered")
def icmp_filtered(world: World) -> None:
    _later(world, "isp", "forward icmp type echo-request drop")
    if world.rng.random() < 0.5:
        _later(world, "gate", "input icmp type echo-request drop")


# --- local --------------------------------------------------------------------------------------------------


@scenario("local", "no_network")
def no_interface(world: World) -> None:
    def cut(w: World) -> None:
        side = w.rng.choice(("device", "gate"))
        w.spaces[side].ip("link", "set", "eth0" if side == "device" else "lan0", "down")

    world.after.append(cut)


@scenario("local", "no_address")
def no_address(world: World) -> None:
    def strip(w: World) -> None:
        w.device.ip("address", "flush", "dev", "eth0")
        if w.rng.random() < 0.5:
            w.device.ip("address", "add", "169.254.17.3/16", "dev", "eth0")

    world.after.append(strip)


@scenario("local", "gateway_dead")
def gateway_dead(world: World) -> None:
    if world.rng.random() < 0.6:
        world.after.append(lambda w: w.gate.ip("address", "flush", "dev", "lan0"))
    else:
        _later(world, "gate", "input drop", "forward drop", "output drop")


@scenario("local", "captive_portal")
def captive_portal(world: World) -> None:
    """A login page at the gateway: pages are redirected, or the names lead there too; the rest is closed."""
    page = f"http://login.{world.rng.choice(('hotspot', 'wifi', 'hotel'))}.example/?next=x"
    world.extra["gate"] = {"web": [{"host": world.gateway, "port": 8080, "status": 302, "location": page}]}
    _later(
        world,
        "gate",
        f"nat iifname lan0 ip daddr != {world.gateway} tcp dport 80 dnat ip to {world.gateway}:8080",
        "forward udp dport 53 accept" if world.rng.random() < 0.7 else "forward ct state established accept",
        "forward ip daddr 0.0.0.0/0 ct state new " + world.rng.choice(("drop", "reject")),
    )


@scenario("local", "walled_garden")
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
    _later(world, "isp", *rules, "forward iifname wan0 ct state new drop")


@scenario("local", "clock_wrong")
def clock_wrong(world: World) -> None:
    """The device believes to be in another year."""
    shift = world.rng.choice(("-9y", "-2y", "+3y", "+11y", "-3d"))
    world.env |= {
        "LD_PRELOAD": "/usr/$LIB/faketime/libfaketimeMT.so.1",
        "FAKETIME": shift,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        "DONT_FAKE_MONOTONIC": "1",
    }
    now = datetime.datetime.now(datetime.UTC)
    for name, service in world.services.items():
        begin, end = now - datetime.timedelta(days=60), now + datetime.timedelta(days=300)
        service["cert"] = _dated(world, name, service["fqdn"], begin, end)


@scenario("local", "own_traffic")
def own_traffic(world: World) -> None:
    """The device itself fills the queue of its modem, up or down."""
    rate = world.rng.choice((2e6, 4e6, 6e6))
    _narrow(world, rate, queue_s=world.rng.uniform(0.25, 0.5))
    _flood(world, "device", "net", rate * 1.3)


@scenario("local", "hosts_file")
def hosts_file(world: World) -> None:
    """A line of the device's hosts file sends a service elsewhere: to another service, a closed port, or nobody."""
    victim, other = (world.services[name] for name in world.rng.sample(SERVICES, 2))
    world.hosts[victim["fqdn"]] = world.rng.choice((other["host"], world.host(60), world.host(99)))


# --- operator -----------------------------------------------------------------------------------------------


@scenario("operator", "resolver_dead")
def resolver_dead(world: World) -> None:
    world.resolver_silent = True
    if world.rng.random() < 0.7:
        _later(world, "isp", "input udp dport 53 drop", "input tcp dport 53 drop")


@scenario("operator", "resolver_lying")
def resolver_lying(world: World) -> None:
    """One name, or all of them, lead to a block page, or are said not to exist."""
    block = world.resolver
    lied = ["sirekap"] if world.rng.random() < 0.5 else list(SERVICES)
    lie: Any = "NXDOMAIN" if world.rng.random() < 0.4 else [block]
    world.lies = {world.services[n]["fqdn"]: lie for n in lied}
    stranger = trustme.CA(organization_name="Block Page")
    cert = world.cert("block", "block.operator.example", stranger)
    world.extra["isp"] = {"web": [{"host": block, "port": 443, "cert": cert}, {"host": block, "port": 80}]}


@scenario("operator", "resolver_dead")
def forwarded_resolver_dead(world: World) -> None:
    """The same, while the device asks a forwarder of its own, as laptops do."""
    world.forwarder = True
    resolver_dead(world)


@scenario("operator", "resolver_lying")
def forwarded_resolver_lying(world: World) -> None:
    """The lie comes through a forwarder of the device."""
    world.forwarder = True
    resolver_lying(world)


@scenario("operator", "mtu_black_hole")
def mtu_black_hole(world: World) -> None:
    """Packets above a limit vanish in the operator's network, and nobody is told."""
    limit = world.rng.choice((1280, 1360, 1420))
    _later(world, "isp", f"forward meta length > {limit} drop")


@scenario("operator", "loss_beyond")
def heavy_loss(world: World) -> None:
    share = world.rng.uniform(0.12, 0.3)
    world.up, world.down = replace(world.up, loss=share / 2), replace(world.down, loss=share)


@scenario("operator", "slow_beyond")
def small_rate(world: World) -> None:
    _narrow(world, world.rng.choice((96e3, 128e3, 200e3)), queue_s=3)
    world.throughput = True


@scenario("operator", "dead_after_hop")
def dead_after_hop(world: World) -> None:
    world.ipv6 = False  # else the other family would be a way out
    way = world.rng.choice(("drop", "link", "unreachable"))
    if way == "drop":
        _later(world, "isp", "forward iifname wan0 oifname core0 drop")
    elif way == "link":
        world.after.append(lambda w: w.isp.ip("link", "set", "core0", "down"))
    else:
        world.after.append(lambda w: w.isp.ip("route", "add", "unreachable", "0.0.0.0/1"))
        world.after.append(lambda w: w.isp.ip("route", "add", "unreachable", "128.0.0.0/1"))
        world.after.append(lambda w: w.isp.ip("route", "del", f"{w.core}.0/24"))
    if world.rng.random() < 0.5:
        world.resolver_silent = True
        _later(world, "isp", "input udp dport 53 drop")


@scenario("operator", "modem_no_data")
def modem_no_data(world: World) -> None:
    _unplugged(world)
    world.modem = {"registration": world.rng.choice(("home", "roaming")), "rsrp_dbm": world.rng.uniform(-105, -80)}


@scenario("operator", "weak_signal")
def modem_weak(world: World) -> None:
    _unplugged(world)
    world.modem = {"registration": "home", "rsrp_dbm": world.rng.uniform(-130, -117)}


@scenario("operator", "no_signal")
def modem_no_service(world: World) -> None:
    _unplugged(world)
    world.modem = {"registration": "searching"}


# --- service ------------------------------------------------------------------------------------------------


def _victim(world: World) -> dict[str, Any]:
    return world.services[world.rng.choice(SERVICES)]


@scenario("service", "service_refused")
def refused(world: World) -> None:
    _victim(world)["off"] = True


@scenario("service", "service_silent")
def silent(world: World) -> None:
    victim = _victim(world)
    if world.rng.random() < 0.4:
        victim["mute"] = True
    else:
        _later(world, "net", f"input ip daddr {victim['host']} tcp dport 443 drop")


@scenario("service", "service_error")
def error_page(world: World) -> None:
    _victim(world)["status"] = world.rng.choice((500, 502, 503, 504))


@scenario("service", "service_slow")
def slow_under_load(world: World) -> None:
    _victim(world)["delay_s"] = world.rng.uniform(3.2, 7)


@scenario("service", "service_certificate")
def expired(world: World) -> None:
    victim = _victim(world)
    now = datetime.datetime.now(datetime.UTC)
    end = now - datetime.timedelta(days=world.rng.randrange(1, 90))
    victim["cert"] = _dated(world, "expired", victim["fqdn"], end - datetime.timedelta(days=90), end)


@scenario("service", "service_certificate")
def other_host(world: World) -> None:
    victim = _victim(world)
    victim["cert"] = world.cert("other", "another.example")


@scenario("service", "service_name")
def servfail(world: World) -> None:
    world.zone[world.services["sirekap"]["fqdn"]] = "SERVFAIL"


# --- collector ----------------------------------------------------------------------------------------------


@scenario("collector", "collector_down")
def collector_down(world: World) -> None:
    if world.rng.random() < 0.5:
        world.collector_on = False
    else:
        _later(world, "net", f"input ip daddr {world.services['collector']['host']} drop")


# --- uncertain ----------------------------------------------------------------------------------------------


@scenario("uncertain", "no_way_beyond")
def nothing_beyond(world: World) -> None:
    """The gateway answers and nothing behind it does: an operator's fault, or a phone with data off."""
    if world.rng.random() < 0.5:
        _unplugged(world)
    else:
        _later(world, "gate", "forward drop", "output oifname wan0 drop")


@scenario("uncertain", "interception")
def interception(world: World) -> None:
    stranger = trustme.CA(organization_name="Gate Inspection")
    for name, service in world.services.items():
        service["cert"] = world.cert(f"fake-{name}", service["fqdn"], stranger)


@scenario("uncertain", "queue_by_others")
def bufferbloat(world: World) -> None:
    """Others behind the same gateway fill its queue."""
    rate = world.rng.choice((2e6, 4e6, 6e6))
    _narrow(world, rate, queue_s=world.rng.uniform(0.25, 0.5))
    _flood(world, world.rng.choice(("gate", "net")), "", rate * 1.3)


@scenario("uncertain", "ipv6_broken")
def ipv6_broken(world: World) -> None:
    world.ipv6 = True
    for name in world.rng.sample(SERVICES, 2):
        service = world.services[name]
        service["off6"] = True
        world.zone[service["fqdn"]] = [service["host"], f"fd11::{service['host'].rsplit('.', 1)[1]}"]
    way = world.rng.choice(("drop", "noroute"))
    if way == "drop":
        _later(world, "isp", "forward meta nfproto ipv6 drop")
    else:
        world.after.append(lambda w: w.gate.run("ip", "-6", "route", "del", "default"))


@scenario("uncertain", "several_targets_failed")
def two_services_down(world: World) -> None:
    for name in world.rng.sample(SERVICES, 2):
        if world.rng.random() < 0.5:
            world.services[name]["off"] = True
        else:
            world.services[name]["status"] = 503


# --- helpers ------------------------------------------------------------------------------------------------


def _dated(world: World, name: str, host: str, begin: datetime.datetime, end: datetime.datetime) -> str:
    """A certificate of our CA with both its dates set, which trustme alone cannot do."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    made = authority().issue_cert(host, not_after=end)
    old = x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes())
    key = load_pem_private_key(authority().private_key_pem.bytes(), None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    new = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    path = world.folder / f"dated-{name}.pem"
    path.write_bytes(made.private_key_pem.bytes() + new.public_bytes(serialization.Encoding.PEM))
    return str(path)


def _unplugged(world: World) -> None:
    """The modem answers; what goes out by it goes nowhere."""

    def cut(w: World) -> None:
        assert w.wire is not None
        w.wire.set(up=Way(loss=1), down=Way(loss=1))

    world.after.append(cut)


def _narrow(world: World, rate_bps: float, queue_s: float) -> None:
    queue = max(15_000, int(rate_bps * queue_s / 8))
    world.up = replace(world.up, rate_bps=rate_bps, queue_bytes=queue, loss=0)
    world.down = replace(world.down, rate_bps=rate_bps, queue_bytes=queue, loss=0)


def _flood(world: World, source: str, sink: str, rate_bps: float) -> None:
    """Steady UDP from one namespace over the link between gateway and operator, with a wave of its own."""
    del sink
    to = world.host(60) if source != "net" else world.gateway
    world.background.append((source, [sys.executable, str(NOISE), to, str(rate_bps), str(world.seed)]))


SCENARIOS: Final = tuple(_ALL)
