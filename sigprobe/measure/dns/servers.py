"""Parse configured name servers and read the system's."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sigprobe.net.urls import check_url
from sigprobe.record.host_names import ascii_hostname, is_ip
from sigprobe.record.messages import N_, MessageError

if TYPE_CHECKING:
    pass


SYSTEM: Final = "system"


RESOLV_CONF: Final = Path("/etc/resolv.conf")


MAX_SYSTEM_SERVERS: Final = 3  # as many as the C library asks

_NO_SERVER: Final = N_(
    "{value} is not a DNS server: give system, an IP address with or without a port, tls://1.1.1.1 or https://…"
)


def parse_server(text: str) -> tuple[str, int]:
    """Split `1.1.1.1`, `1.1.1.1:5353`, `::1` or `[::1]:53` into address and port. Raises MessageError."""
    host, port = text, "53"
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise MessageError(_NO_SERVER, value=text)
        port = rest[1:] if rest else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not is_ip(host):
        raise MessageError(_NO_SERVER, value=text)
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise MessageError(N_("the port in {value} must be a number from 1 to 65535."), value=text)
    return str(ipaddress.ip_address(host)), int(port)


@dataclass(frozen=True, slots=True)
class Server:
    """One resolver to ask. `protocol` is `dns` (UDP, then TCP), `dot` or `doh`; only DoH has a `url`."""

    protocol: str
    host: str = ""
    port: int = 53
    name: str | None = None
    url: str | None = None


def parse_resolver(text: str) -> Server:
    """Read one entry of `resolvers` other than `system`. Raises MessageError."""
    if text.startswith("https://"):
        try:
            check_url(text)
        except MessageError as error:
            raise MessageError(error.message, value=text) from None
        return Server("doh", url=text)
    if not text.startswith("tls://"):
        return Server("dns", *parse_server(text))
    place, _, name = text.removeprefix("tls://").partition("#")
    if is_ip(place):
        host, port = str(ipaddress.ip_address(place)), 853
    else:
        host, port = parse_server(place if not place.endswith("]") else place + ":853")
    if name:
        try:
            ascii_hostname(name)
        except MessageError as error:
            raise MessageError(error.message, value=name) from None
    return Server("dot", host, port, name or None)


def system_servers(path: Path = RESOLV_CONF) -> list[tuple[str, int]]:
    """Return the name servers of the system's resolv.conf, in order; empty when there are none or there is no file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    words = (line.split() for line in text.splitlines())
    servers = [w[1] for w in words if len(w) >= 2 and w[0] == "nameserver" and is_ip(w[1])]
    return [(server, 53) for server in dict.fromkeys(servers)][:MAX_SYSTEM_SERVERS]
