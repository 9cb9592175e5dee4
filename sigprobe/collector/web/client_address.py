"""Read the client's address: the one place for logs, limits and throttles."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Literal

from starlette.requests import HTTPConnection

ForwardedHeader = Literal["x-forwarded-for", "forwarded"]

_KEY: Final = "sigprobe.client"
_WITH_PORT: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?")
_ELEMENT: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,\s]+))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Client:
    """A client: its address as text, the group that limits count (IPv6: its /64), and whether it is this machine."""

    address: str
    group: str
    loopback: bool


def client_of(connection: HTTPConnection, *, behind_proxy: bool, header: ForwardedHeader = "x-forwarded-for") -> Client:
    """Return the client of a request.

    Behind a proxy the last forwarded entry counts, since only our proxy wrote it; nothing is loopback then. An
    entry that is no address counts as the proxy itself.
    """
    known = connection.scope.get(_KEY)
    if isinstance(known, Client):
        return known
    peer = connection.client.host if connection.client else ""
    found = parse_address(peer)
    if behind_proxy:
        # several header lines of one name read as one list (RFC 9110, 5.3)
        found = _forwarded(",".join(connection.headers.getlist(header)), header) or found
    text = str(found) if found is not None else peer[:64]
    client = Client(text, group_of(text), found is not None and found.is_loopback and not behind_proxy)
    connection.scope[_KEY] = client
    return client


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address with or without brackets, port and zone; None for anything else. IPv4 inside IPv6 reads as IPv4."""
    text = text.strip()
    found = _WITH_PORT.fullmatch(text)
    bare = (found["six"] or found["four"]) if found else text
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def group_of(text: str) -> str:
    """Return what limits count: an IPv4 address, or the /64 of an IPv6 address, since one client has all of it."""
    address = parse_address(text)
    if address is None:
        return text[:64]
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


def _forwarded(value: str, header: ForwardedHeader) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if header == "x-forwarded-for":
        return parse_address(value.rpartition(",")[2])
    elements = _ELEMENT.findall(value)
    found = _FOR.search(elements[-1].strip()) if elements else None
    return None if found is None else parse_address(found[1] or found[2] or "")
