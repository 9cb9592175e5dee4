"""Names with IPv6 and IPv4, replies that are too short, and addresses that carry a port."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any

import pytest

from sigprobe.measure.kind import Measured
from sigprobe.measure.ping.kind import Options, measure
from sigprobe.net.icmp import IcmpEcho, checksum
from sigprobe.net.limits import Context, Deadline
from sigprobe.record.result import Outcome
from tests.support.netns import MARKS, Namespace, namespace, pair

pytestmark = MARKS

SIX, FOUR = "fd87:1::2", "10.87.1.2"


def ping_both(space: Namespace, methods: Any = None, **changes: Any) -> Measured:
    """Ping a name with both families, IPv6 first, inside a namespace."""

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (SIX, port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (FOUR, port)),
        ]

    def run() -> Measured:
        given = {"kind": "ping", "name": "t", "address": "both.example", "count": 3, "interval_ms": 10} | changes
        options = Options(**given)
        extra = {} if methods is None else {"methods": methods}
        return measure(options, Context(Deadline.after(options.timeout_s())), lookup=lookup, **extra)

    return space.call(run)


@pytest.mark.parametrize("methods", [None, ["icmp-raw"], ["tcp"]])
def test_a_name_whose_ipv6_is_swallowed_falls_back(methods: Any) -> None:
    """IPv4 is pinged without a loss, and both addresses are listed with what came of them."""
    with pair() as (near, far):
        far.drop(f"ip6 daddr {SIX}")
        got = ping_both(near, methods)
    assert (got.outcome, got.data["family"], got.data["received"]) == (Outcome.OK, "ipv4", 3)
    rows = got.data["addresses_tried"]
    assert [(row["address"], row["failure"]) for row in rows] == [(SIX, "no_reply"), (FOUR, None)]
    assert rows[0]["ms"] >= 240 and rows[1]["ms"] is not None


def test_a_name_whose_ipv6_has_no_route_falls_back_at_once() -> None:
    """What cannot even leave is no reason to wait."""
    with pair() as (near, _):
        near.run("ip", "-6", "addr", "flush", "scope", "global")
        near.run("ip", "-6", "route", "flush", "table", "main")
        got = ping_both(near)
    assert (got.outcome, got.data["family"]) == (Outcome.OK, "ipv4")
    assert got.data["addresses_tried"][0]["failure"] in ("network_unreachable", "host_unreachable")


def test_a_name_with_two_good_families_keeps_the_first() -> None:
    """The system's order decides where both answer."""
    with pair() as (near, _):
        got = ping_both(near)
    assert (got.outcome, got.data["family"]) == (Outcome.OK, "ipv6")
    assert [row["failure"] for row in got.data["addresses_tried"]] == [None]


def test_a_family_that_was_asked_for_is_kept() -> None:
    """Then silence is a result."""
    with pair() as (near, far):
        far.drop(f"ip6 daddr {SIX}")
        got = ping_both(near, family="ipv6", timeout_ms=700)
    assert (got.outcome, got.data["family"], got.data["addresses_tried"]) == (Outcome.FAILED, "ipv6", [])


# --- replies that are too short -----------------------------------------------------------------------------


def answer_echoes(sock: socket.socket, keep: int, spoil: bool) -> None:
    """Answer ICMP echoes with the first `keep` bytes of their payload."""
    while True:
        try:
            packet, source = sock.recvfrom(65535)
        except OSError:
            return
        echo = packet[(packet[0] & 15) * 4 :]
        if echo[0] != 8:
            continue
        ident, seq = struct.unpack_from("!HH", echo, 4)
        payload = bytes(b ^ 0xFF for b in echo[8 : 8 + keep]) if spoil else echo[8 : 8 + keep]
        head = struct.pack("!BBHHH", 0, 0, 0, ident, seq)
        total = checksum(head + payload)
        sock.sendto(struct.pack("!BBHHH", 0, 0, total, ident, seq) + payload, source)


def ping_short(keep: int, method: str, *, spoil: bool = False) -> Measured:
    """Ping a host that sends back `keep` bytes."""

    def run() -> Measured:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
            threading.Thread(target=answer_echoes, args=(sock, keep, spoil), daemon=True).start()
            options = Options(kind="ping", name="t", address="127.0.0.1", count=3, interval_ms=10, timeout_ms=1500)
            return measure(options, Context(Deadline.after(1.5)), methods=[method])

    with namespace("short") as space:
        space.sysctl("net.ipv4.icmp_echo_ignore_all", "1")
        space.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        return space.call(run)


@pytest.mark.parametrize("method", ["icmp-raw", "icmp-dgram"])
@pytest.mark.parametrize("keep", [0, 1, 7, 8, 20])
def test_a_reply_with_less_than_was_sent_counts(keep: int, method: str) -> None:
    """Hosts that cut the payload have answered all the same."""
    got = ping_short(keep, method)
    assert (got.outcome, got.data["received"], got.data["duplicates"]) == (Outcome.OK, 3, 0)


def test_a_reply_with_something_else_in_it_does_not_count() -> None:
    """Bytes that are not the beginning of ours belong to another ping."""
    assert ping_short(7, "icmp-raw", spoil=True).data["received"] == 0


@pytest.mark.parametrize("raw", [True, False])
def test_an_address_with_a_port_is_pinged(raw: bool) -> None:
    """Raw IPv6 sockets refuse a port, so none is handed to them."""

    def run() -> int:
        echo = IcmpEcho(("::1", 443, 0, 0), socket.AF_INET6, 56, raw=raw)
        try:
            echo.send(1)
            return len(echo.receive(1.0))
        finally:
            echo.close()

    with namespace("port") as space:
        space.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        assert space.call(run) == 1
