"""Read this device's links without sending anything: interfaces, addresses, neighbours, counters.

Linux first; elsewhere unavailable values are None or empty. Everything is read for the caller's own network namespace:
`/proc/net` and socket calls follow it, `/sys` does not.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sigprobe.net import routes

# linux/sockios.h, linux/if.h, linux/if_arp.h
_SIOCGIFFLAGS: Final = 0x8913
_SIOCGIFADDR: Final = 0x8915
_SIOCGIFMTU: Final = 0x8921
_IFF_UP: Final = 0x1
_IFF_LOOPBACK: Final = 0x8
_IFF_RUNNING: Final = 0x40
_ARP_COMPLETE: Final = 0x2


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface other than loopback. `running` is false without a carrier. Link-local addresses do not count."""

    name: str
    up: bool
    running: bool
    mtu: int | None
    ipv4: str | None
    ipv6: str | None


def interfaces(proc: Path = routes.PROC) -> list[Interface] | None:
    """Return all interfaces but loopback; None where the system cannot be asked."""
    try:
        from fcntl import ioctl

        names = [name for _index, name in socket.if_nameindex()]
    except (ImportError, OSError, AttributeError):
        return None
    six = _ipv6_addresses(proc)
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:

        def ask(request: int, name: str) -> bytes | None:
            try:
                return ioctl(handle.fileno(), request, struct.pack("16s24x", name.encode()[:15]))
            except OSError:
                return None

        for name in names:
            answer = ask(_SIOCGIFFLAGS, name)
            flags = 0 if answer is None else struct.unpack_from("H", answer, 16)[0]
            if flags & _IFF_LOOPBACK:
                continue
            mtu, address = ask(_SIOCGIFMTU, name), ask(_SIOCGIFADDR, name)
            four = None if address is None else socket.inet_ntoa(address[20:24])
            found.append(
                Interface(
                    name,
                    bool(flags & _IFF_UP),
                    bool(flags & _IFF_RUNNING),
                    None if mtu is None else int(struct.unpack_from("i", mtu, 16)[0]),
                    None if four is None or ipaddress.ip_address(four).is_link_local else four,
                    six.get(name),
                )
            )
    return found


def _ipv6_addresses(proc: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _lines(proc / "net" / "if_inet6"):
        words = line.split()
        try:
            address = ipaddress.IPv6Address(bytes.fromhex(words[0]))
        except (ValueError, IndexError):
            continue
        if len(words) == 6 and not address.is_link_local and not address.is_loopback:
            found.setdefault(words[5], str(address))
    return found


def neighbour_answers(address: str, proc: Path = routes.PROC) -> bool | None:
    """Return whether a neighbour has answered ARP (IPv4); None if it was not asked, or is unknown."""
    for line in _lines(proc / "net" / "arp")[1:]:
        words = line.split()
        if len(words) >= 6 and words[0] == address:
            try:
                return bool(int(words[2], 16) & _ARP_COMPLETE)
            except ValueError:
                return None
    return None


def traffic(interface: str, proc: Path = routes.PROC) -> routes.Counters | None:
    """Return the byte counters of an interface of this namespace, or None."""
    for line in _lines(proc / "net" / "dev"):
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and name.strip() == interface and len(words) >= 9:
            try:
                return routes.Counters(int(words[0]), int(words[8]))
            except ValueError:
                return None
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
