"""Happy Eyeballs (RFC 8305): a dead address costs a quarter second, and the time of both families is kept."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from typing import Any

import pytest

from sigprobe.measure.http import kind as http
from sigprobe.measure.http.options import Options
from sigprobe.measure.kind import Measured
from sigprobe.net.connect_race import Race, by_turns
from sigprobe.net.limits import Context, Deadline
from sigprobe.net.sockets import Address, Lookup, StoppedError
from sigprobe.upload.transport import Collector, open_channel, post
from tests.support.netns import MARKS, Namespace, namespace
from tests.support.servers.tcp import http_server, page


def four(host: str, port: int = 80) -> Address:
    return Address(socket.AF_INET, (host, port))


def six(host: str, port: int = 80) -> Address:
    return Address(socket.AF_INET6, (host, port, 0, 0))


def test_families_take_turns() -> None:
    """The first one's family first, then one of each; nothing is lost."""
    addresses = [six("::1"), six("::2"), six("::3"), four("10.0.0.1")]
    assert by_turns(addresses) == [six("::1"), four("10.0.0.1"), six("::2"), six("::3")]
    assert by_turns([four("10.0.0.1"), six("::1")]) == [four("10.0.0.1"), six("::1")]
    assert by_turns([]) == []


def test_refusals_are_passed_at_once() -> None:
    """All of them, without a pause; the first error is raised where none is good."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        race = Race(Deadline.after(30), threading.Event())
        begun = time.monotonic()
        sock, address, _ = race.run([*(four(f"127.0.0.{n}", port) for n in range(2, 12)), four("127.0.0.1", port)])
        sock.close()
    assert time.monotonic() - begun < 2
    assert address == four("127.0.0.1", port)
    assert [row.code for row in race.attempts] == ["refused"] * 10 + [None]
    with pytest.raises(ConnectionRefusedError):
        Race(Deadline.after(5), threading.Event()).run([four("127.0.0.1", port), four("127.0.0.2", port)])


def test_a_stop_ends_it() -> None:
    """Ctrl-C is obeyed before any packet."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        Race(Deadline.after(5), stop).run([four("127.0.0.1", 9)])


# --- a black hole -------------------------------------------------------------------------------------------


def in_namespace(dead: str, run: Any) -> Any:
    """Run something where packets to an address are swallowed."""
    with namespace("eyes") as space:
        assert isinstance(space, Namespace)
        space.drop(dead)
        return space.call(run)


def measured(order: str) -> Measured:
    """Fetch a page whose name has ::1 and 127.0.0.1, in this order."""
    with http_server(page()) as server:
        both = {"6": six("::1", server.port), "4": four("127.0.0.1", server.port)}
        found = Lookup(tuple(both[family] for family in order), 1.0)
        return http.measure(
            Options(name="x", url=server.url(host="both.example")),
            Context(Deadline.after(15)),
            resolve=lambda *_: found,
        )


class TestBlackHole:
    pytestmark = MARKS

    def test_a_swallowed_ipv6_costs_a_quarter_second(self) -> None:
        """Not a share of the deadline: IPv4 is used, IPv6 is listed, and its time is null and not 0."""
        got = in_namespace("ip6 daddr ::1", lambda: measured("64"))
        data = got.data
        assert (got.outcome, data["family"]) == ("ok", "ipv4")
        assert 200 <= data["total_ms"] < 2000
        assert [row["failure"] for row in data["addresses_tried"]] == ["timeout", None]
        assert (data["tcp_ipv6_ms"], data["tcp_ipv4_ms"]) == (None, data["tcp_ms"])

    def test_a_swallowed_ipv4_is_not_even_tried(self) -> None:
        """IPv6 answers within its head start."""
        got = in_namespace("ip daddr 127.0.0.1", six_only)
        assert (got.outcome, got.data["family"]) == ("ok", "ipv6")
        assert [row["failure"] for row in got.data["addresses_tried"]] == [None]

    def test_an_upload_passes_a_swallowed_ipv6_as_well(self) -> None:
        """It has ten seconds for each connection, and does not spend them there."""
        took_s, status = in_namespace("ip6 daddr ::1", uploaded)
        assert status == 200
        assert took_s < 3


def six_only() -> Measured:
    with http_server(page(), host="::1") as server:
        found = Lookup((six("::1", server.port), four("127.0.0.1", server.port)), 1.0)
        return http.measure(
            Options(name="x", url=server.url(host="both.example")),
            Context(Deadline.after(15)),
            resolve=lambda *_: found,
        )


def uploaded() -> tuple[float, int]:
    with http_server(page()) as server:
        rows = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
        ]
        socket.getaddrinfo = lambda *_, **__: rows  # type: ignore[assignment]  # in a forked child only
        collector = Collector(server.url(host="both.example"))
        begun = time.monotonic()
        with closing(open_channel(collector)) as channel:
            reply = post(channel, collector.endpoint("v1/batches"), b"x", {}, 20)
        return time.monotonic() - begun, reply.status
