"""Engine `http` against what a network may put in its way: dead addresses, servers that hardly move, compression."""

from __future__ import annotations

import socket
import zlib
from typing import Any

import sigprobe.measure.throughput.http_engine  # noqa: F401 - loaded here, so that no test's deadline pays for it
from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput import http_engine as engine
from sigprobe.measure.throughput import kind
from sigprobe.net.limits import Context, Deadline
from sigprobe.record.result import Outcome
from tests.support.netns import MARKS, namespace
from tests.support.servers.speedtests import Books, content_length, librespeed
from tests.support.servers.tcp import Peer

pytestmark = MARKS


def test_what_is_sent_cannot_be_compressed_on_the_way() -> None:
    """A box that compresses uploads gains nothing: what arrives is as large packed as it was."""
    seen = bytearray()

    def take(peer: Peer, books: Books, head: str) -> None:
        left = min(content_length(head), 300_000)
        while left > 0 and (piece := peer.sock.recv(min(left, 65_536))):
            seen.extend(piece)
            left -= len(piece)
        peer.wait()

    with librespeed(upload=take) as (server, _):
        options = kind.Options(name="x", url=server.url(), direction="upload", max_mb=1, max_s=0.5, streams=1)
        kind.measure(options, Context(Deadline.after(5)))
    assert len(seen) > 100_000
    assert len(zlib.compress(bytes(seen))) > 0.99 * len(seen)


def test_less_than_a_byte_a_second_is_no_speed() -> None:
    """One byte, and no other within the time there is: null and `too_slow`, never a rate made of one byte."""

    def one(peer: Peer, books: Books, head: str) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
        peer.wait()

    with librespeed(garbage=one) as (server, _):
        options = kind.Options(name="x", url=server.url(), direction="download", max_mb=1, max_s=1.2)
        measured = kind.measure(options, Context(Deadline.after(8)))
    assert measured.outcome is Outcome.FAILED
    assert measured.failure is not None and measured.failure.code == "too_slow"
    assert measured.data["download_bps"] is None


def test_nine_silent_addresses_of_ten_cost_seconds_not_timeouts() -> None:
    """Addresses that swallow everything are tried beside each other: the tenth is measured within its time."""

    def run() -> Measured:
        with librespeed() as (server, _):
            rows: list[Any] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", 9)) for n in range(2, 11)]
            rows.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)))
            return engine.measure(
                kind.empty_data("http"),
                Context(Deadline.after(10)),
                url=server.url(host="ten.example"),
                direction="download",
                streams=2,
                max_bytes=10**6,
                max_s=1,
                getaddrinfo=lambda *_, **__: rows,
            )

    with namespace("ten") as space:
        space.drop("ip daddr 127.0.0.2-127.0.0.10")
        measured = space.call(run)
    assert measured.outcome is Outcome.OK, measured.failure
    assert measured.data["download_bps"]


def test_a_name_without_addresses_is_not_found() -> None:
    """A lookup that answers with nothing is a name that was not found, before any byte is sent."""
    measured = engine.measure(
        kind.empty_data("http"),
        Context(Deadline.after(5)),
        url="http://empty.example/",
        direction="both",
        streams=None,
        max_bytes=10**6,
        max_s=1,
        getaddrinfo=lambda *_, **__: [],
    )
    assert measured.failure is not None and measured.failure.code == "name_not_found"
    assert measured.data["bytes_sent"] == measured.data["bytes_received"] == 0
