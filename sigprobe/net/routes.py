"""Read interfaces, routes, the gateway and byte counters from the kernel.

Linux first, from `/proc` and `/sys`; elsewhere every function returns None. No packet is ever sent.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Family = Literal["ipv4", "ipv6"]

PROC: Final = Path("/proc")
SYS: Final = Path("/sys")

# linux/route.h
_RTF_UP: Final = 0x0001
_RTF_GATEWAY: Final = 0x0002
_RTF_REJECT: Final = 0x0200

_ARPHRD_ETHER: Final = "1"
_PHONE_DRIVERS: Final = frozenset({"rndis_host", "ipheth"})


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the main table. `gateway` is None on a link without one (many modems)."""

    family: Family
    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    interface: str
    gateway: str | None
    metric: int


@dataclass(frozen=True, slots=True)
class Counters:
    """Bytes an interface has carried since it came up, link-layer headers included."""

    rx_bytes: int
    tx_bytes: int


def routes(family: Family, proc: Path = PROC) -> list[Route]:
    """Return the usable routes of the main table; empty when the kernel does not tell."""
    name, parse = ("route", _ipv4_route) if family == "ipv4" else ("ipv6_route", _ipv6_route)
    found = (parse(line) for line in _lines(proc / "net" / name))
    return [route for route in found if route is not None]


def default_route(family: Family, proc: Path = PROC) -> Route | None:
    """Return the default route with the lowest metric, or None."""
    candidates = [route for route in routes(family, proc) if route.network.prefixlen == 0]
    return min(candidates, key=lambda route: route.metric, default=None)


def main_route(proc: Path = PROC) -> Route | None:
    """Return the default route most traffic takes: IPv4's, else IPv6's."""
    return default_route("ipv4", proc) or default_route("ipv6", proc)


def default_gateway(family: Family | None = None, proc: Path = PROC) -> str | None:
    """Return the address of the default gateway, with its zone when link-local (`fe80::1%wlan0`); None without one."""
    for wanted in ("ipv4", "ipv6") if family is None else (family,):
        route = default_route(wanted, proc)
        if route is not None and route.gateway is not None:
            scoped = route.family == "ipv6" and ipaddress.ip_address(route.gateway).is_link_local
            return f"{route.gateway}%{route.interface}" if scoped else route.gateway
    return None


def families(proc: Path = PROC) -> Literal["ipv4", "ipv6", "both"] | None:
    """Return the address families that have a default route; None when there is none, or it is not known."""
    four = default_route("ipv4", proc) is not None
    six = default_route("ipv6", proc) is not None
    if four and six:
        return "both"
    return "ipv4" if four else "ipv6" if six else None


def local_address(destination: str) -> str | None:
    """Return the source address packets to an IP address would carry; None when there is no way there.

    A connected UDP socket asks the kernel for the route and sends nothing.
    """
    try:
        info = socket.getaddrinfo(destination, 9, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0]
        with socket.socket(info[0], info[1]) as probe:
            probe.connect(info[4])
            return str(probe.getsockname()[0]).partition("%")[0]
    except OSError:
        return None


def interface_for(destination: str, proc: Path = PROC) -> str | None:
    """Return the interface that packets to an IP address leave by; None when there is no way, or it is not known."""
    bare, _, zone = destination.partition("%")
    source = local_address(destination)
    if source is None:
        return None
    if zone:
        return zone
    address = ipaddress.ip_address(bare)
    if address.is_loopback or source == str(address):
        return "lo" if proc.joinpath("net").exists() else None
    fitting = [r for r in routes("ipv4" if address.version == 4 else "ipv6", proc) if address in r.network]
    best = min(fitting, key=lambda route: (-route.network.prefixlen, route.metric), default=None)
    return None if best is None else best.interface


def access(interface: str, sys: Path = SYS) -> Literal["wifi", "cellular", "ethernet"] | None:
    """Return the access type of an interface; None if it is unknown.

    A phone's USB tethering looks like Ethernet but may be anything behind the phone, so it is None.
    """
    home = sys / "class" / "net" / interface
    if not home.is_dir():
        return None
    devtype = next((line.partition("=")[2] for line in _lines(home / "uevent") if line.startswith("DEVTYPE=")), "")
    if devtype == "wlan" or (home / "wireless").exists() or (home / "phy80211").exists():
        return "wifi"
    if devtype == "wwan" or interface.startswith(("wwan", "wwp", "wwx", "rmnet")):
        return "cellular"
    if (home / "device" / "driver").resolve().name in _PHONE_DRIVERS:
        return None
    return "ethernet" if devtype in ("", "vlan", "bond") and _text(home / "type") == _ARPHRD_ETHER else None


def is_tunnel(interface: str, sys: Path = SYS) -> bool:
    """Return whether an interface is one of a VPN program: a TUN or TAP device, or WireGuard."""
    home = sys / "class" / "net" / interface
    return (home / "tun_flags").exists() or "DEVTYPE=wireguard" in _lines(home / "uevent")


def counters(interface: str, sys: Path = SYS) -> Counters | None:
    """Return the byte counters of an interface, or None."""
    home = sys / "class" / "net" / interface / "statistics"
    try:
        return Counters(int(_text(home / "rx_bytes") or ""), int(_text(home / "tx_bytes") or ""))
    except ValueError:
        return None


def _ipv4_route(line: str) -> Route | None:
    try:
        name, network, gateway, flags_text, _refs, _use, metric, mask = line.split()[:8]
        flags = int(flags_text, 16)
        if not flags & _RTF_UP or flags & _RTF_REJECT:
            return None
        return Route(
            "ipv4",
            ipaddress.IPv4Network(f"{_ipv4(network)}/{_ipv4(mask)}", strict=False),
            name,
            _ipv4(gateway) if flags & _RTF_GATEWAY else None,
            int(metric),
        )
    except (ValueError, struct.error):
        return None  # the heading, or a line of a kernel we do not know


def _ipv6_route(line: str) -> Route | None:
    try:
        network, prefix, _src, _splen, gateway, metric, _refs, _use, flags_text, name = line.split()[:10]
        flags = int(flags_text, 16)
        if not flags & _RTF_UP or flags & _RTF_REJECT or name == "lo":
            return None
        return Route(
            "ipv6",
            ipaddress.IPv6Network((bytes.fromhex(network), int(prefix, 16)), strict=False),
            name,
            str(ipaddress.IPv6Address(bytes.fromhex(gateway))) if flags & _RTF_GATEWAY else None,
            int(metric, 16),
        )
    except ValueError:
        return None


def _ipv4(text: str) -> str:
    # the kernel prints the network-order word as a number of the host's own byte order
    return socket.inet_ntoa(struct.pack("=L", int(text, 16)))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _lines(path: Path) -> list[str]:
    return (_text(path) or "").splitlines()
