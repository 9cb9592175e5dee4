"""Parse IP addresses in the notations of records, settings and requests."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_ip(host: str) -> IpAddress | None:
    """Return the address of `127.0.0.1`, `::1`, `[::1]`, `fe80::1%eth0`; None for a name.

    An IPv4 address mapped into IPv6 (`::ffff:127.0.0.1`) becomes the IPv4 address.
    """
    bare = host.removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_loopback(host: str) -> bool:
    """Return True for a host that is always this device: `localhost`, 127.0.0.0/8 and ::1, in any notation."""
    if host.lower().removesuffix(".") == "localhost":
        return True
    address = parse_ip(host)
    return address is not None and address.is_loopback
