"""Describe the points on the path: the place of an address, and the result of a burst of packets to it."""

from __future__ import annotations

import ipaddress
import statistics
from concurrent.futures import Future
from typing import TypeVar

from sigprobe.measure.path import probes
from sigprobe.measure.path.data import PointData
from sigprobe.net import routes as link
from sigprobe.net import sockets

T = TypeVar("T")


def place_of(address: str) -> str:
    """Return the place of an address by the kernel's routes: `self`, `link` (no router in between) or `beyond`."""
    plain = address.partition("%")[0]
    try:
        ip = ipaddress.ip_address(plain)
    except ValueError:
        return "beyond"
    if ip.is_loopback or link.local_address(plain) == plain:
        return "self"
    if ip.is_link_local or plain == (link.default_gateway() or "").partition("%")[0]:
        return "link"
    routes = link.routes("ipv4" if ip.version == 4 else "ipv6")
    fitting = [r for r in routes if ip in r.network]
    best = min(fitting, key=lambda r: (-r.network.prefixlen, r.metric), default=None)
    return "link" if best is not None and best.gateway is None and best.network.prefixlen > 0 else "beyond"


def told(address: str) -> PointData:
    """Return a target that its own check has tested; nothing was sent to it here."""
    return {
        "address": address,
        "place": "beyond",
        "answers": True,
        "sent": 0,
        "received": 0,
        "rtt_min_ms": None,
        "rtt_median_ms": None,
        "rtts_ms": [],
        "tcp": {},
        "tcp_ms": None,
        "told_by": None,
        "failure": None,
    }


def done(future: Future[T]) -> T | None:
    """Return the result of one part; None if the run was stopped."""
    try:
        return future.result()
    except sockets.StoppedError:
        return None


def bare(address: str | None) -> str | None:
    """Return `192.0.2.1:443` or `[2001:db8::1]:443` without the port."""
    if not address:
        return None
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def least_ms(echoes: probes.Burst) -> float | None:
    """Return the shortest round trip in milliseconds; None when nothing came back."""
    return min((r for r in echoes.rtts_ms if r is not None), default=None)


def median_ms(echoes: probes.Burst) -> float | None:
    """Return the middle round trip in milliseconds; None when nothing came back."""
    seen = [r for r in echoes.rtts_ms if r is not None]
    return round(statistics.median(seen), 3) if seen else None


def rate_bps(train: probes.Burst | None, packet_bytes: int) -> int | None:
    """Return the rate at which a train of packets was spread, in bit/s; None without a train."""
    return None if train is None else probes.spread_rate_bps(train.arrivals_s, packet_bytes)
