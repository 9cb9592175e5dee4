"""Check host names, bring them into one form, and compare them."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from sigprobe.record.messages import N_, MessageError

_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def ascii_hostname(name: str) -> str:
    """Return a host name as it is asked for: punycode for other scripts, no final dot. Raises MessageError for none."""
    wrong = MessageError(
        N_(
            "{value} is not a host name: it takes letters, digits, hyphens and underscores between dots, at most 63 "
            "characters each and 253 in all."
        )
    )
    host = name
    if not name.isascii():
        import idna

        try:
            host = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise wrong from None
    host = host.removesuffix(".")
    if not 1 <= len(host) <= 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise wrong
    return host


def is_ip(text: str) -> bool:
    """Return True for an IPv4 or IPv6 address, the latter with or without a scope."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def bare_name(host: str) -> str:
    """Return a host in ASCII and lower case, without a final dot and `www.`. Raises MessageError for no host name.

    Sites are reached with and without `www.`; a name such as `www.id` keeps it.
    """
    host = host.lower()
    if is_ip(host):
        return host
    name = ascii_hostname(host)
    rest = name.removeprefix("www.")
    return rest if "." in rest else name


def same_name(host: str, other: str) -> bool:
    """Return whether two host names or addresses are one host, with or without `www.`."""
    try:
        return bare_name(host) == bare_name(other)
    except ValueError:
        return False
