"""A download over a long way that its data cap ends: who asks for what, and what the rest may say about the speed."""

from __future__ import annotations

import itertools
import re
import socket
import threading
import time
from collections.abc import Callable

import pytest

from sigprobe.measure.throughput.plan import Transfer, TransferPlan
from sigprobe.measure.throughput.server import Server
from sigprobe.measure.throughput.stream import MIB
from sigprobe.measure.throughput.transfer import MOST_OVERHEAD, Direction
from sigprobe.net.limits import Context, Deadline
from sigprobe.net.sockets import Address
from tests.support.servers.speedtests import GARBAGE, Books, Handler, librespeed
from tests.support.servers.tcp import Peer

RTT_S = 0.1
REFUSED = b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: 1\r\n\r\nx"


def download(garbage: Handler, cap_bytes: int, streams: int | None = 8) -> tuple[Transfer, list[int], float]:
    """One direction as over 100 ms: what it gave, the MiB asked for one after the other, its seconds."""
    with librespeed(garbage=garbage) as (server, books):
        address = Address(socket.AF_INET, ("127.0.0.1", server.port))
        target = Server(address, "127.0.0.1", "x", "/", ".php")
        # the plan counts bytes on the wire
        cap = round(cap_bytes * MOST_OVERHEAD)
        plan = TransferPlan(cap_bytes=cap, max_s=6, rtt_s=RTT_S, rest_s=RTT_S * 1.1, streams=streams)
        begun = time.monotonic()
        done = Direction("download", target, plan, Context(Deadline.after(10))).run()
        took_s = time.monotonic() - begun
        asked = [int(found[1]) for head in books.heads if (found := re.search(r"ckSize=(\d+)", head))]
    return done, asked, took_s


def paced(rate_bps: Callable[[int], float], size: Callable[[int], int] = lambda asked: asked) -> Handler:
    """Each connection at its own steady pace, by its number; `size` of the bytes asked for is sent."""
    numbers: dict[int, int] = {}
    count, lock = itertools.count(), threading.Lock()

    def send(peer: Peer, _: Books, head: str) -> None:
        with lock:
            number = numbers.setdefault(id(peer), next(count) if id(peer) not in numbers else 0)
        found = re.search(r"ckSize=(\d+)", head)
        assert found is not None
        total = size(int(found[1]) * MIB)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % total)
        begin, sent = time.monotonic(), 0
        while sent < total and not peer.closing.is_set():
            piece = min(8192, total - sent)
            peer.send(GARBAGE[:piece])
            sent += piece
            peer.wait(max(0.0, begin + sent * 8 / rate_bps(number) - time.monotonic()))

    return send


def test_all_together_ask_for_no_more_than_the_cap() -> None:
    """Nothing is on its way when the cap is reached, since nobody was asked for it."""
    done, asked, _ = download(paced(lambda _: 4e6), 4_500_000)
    assert asked == [1] * 4
    assert done.ended in ("data_cap", "converged")
    assert done.bytes <= 4 * MIB
    assert done.speed is not None and done.speed.bps == pytest.approx(16e6, rel=0.15)


def test_one_slow_stream_is_not_the_speed() -> None:
    """What one slow stream still carries after all others are done is neither waited for nor taken for the link."""
    done, asked, took_s = download(paced(lambda number: 0.5e6 if number == 3 else 16e6), 8_500_000)
    assert 7 <= sum(asked) <= 8, "some is kept for packets that are sent twice"
    assert took_s < 4
    assert done.fault is None and done.speed is not None
    assert done.speed.bps > 60e6


def test_another_asks_where_one_is_refused() -> None:
    """A cap of less than a MiB lets one ask at a time; the next one tries where that one is told to go away."""
    told = threading.Event()
    send = paced(lambda _: 8e6)

    def once(peer: Peer, books: Books, head: str) -> None:
        if told.is_set():
            send(peer, books, head)
        else:
            told.set()
            peer.send(REFUSED)

    done, asked, _ = download(once, 500_000, streams=None)
    assert (done.fault, done.ended) == (None, "data_cap")
    assert 450_000 < done.bytes <= 550_000
    assert asked == [1, 1]


def test_refused_by_everybody_it_ends_at_once_and_says_so() -> None:
    """Streams that wait for their turn keep no dead direction alive."""
    done, _, took_s = download(lambda peer, *_: peer.send(REFUSED), 500_000, streams=None)
    assert done.fault is not None and done.fault.code == "server_busy"
    assert took_s < 2


def test_short_answers_give_their_turn_back() -> None:
    """A server that sends 100 kB whatever is asked for keeps several streams busy until most of the cap is used."""
    done, asked, took_s = download(paced(lambda _: 8e6, lambda _: 100_000), 3_000_000)
    assert len(asked) > 6
    assert done.bytes >= 600_000
    assert done.speed is not None and took_s < 4
