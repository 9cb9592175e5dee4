"""Batches that are refused from their first bytes: a whole answer, read by a client that is still sending."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import uvicorn

from sigprobe.collector.ingest.admission import Gate
from sigprobe.collector.ingest.early_refusal import answer, early_refusal
from sigprobe.collector.speedtest.lent_connection import LendingProtocol
from sigprobe.collector.web import http_protocol
from sigprobe.collector.web.http_protocol import Connections
from sigprobe.protocol import batches
from tests.collector.web.test_http_protocol import app
from tests.support.taken_away import taken_away

REFUSED = answer(503, "the collector is busy", 7)
SIZE = 400_000
HEAD = f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n\r\n".encode()


def talk(client: Callable[[socket.socket], bytes], look: Callable[[bytes, float], bytes | None]) -> tuple[bytes, int]:
    """What a client hears, and how many connections are left afterwards."""

    async def scene() -> tuple[bytes, int]:
        config = uvicorn.Config(app, http=LendingProtocol, log_config=None, lifespan="off", ws="none")  # type: ignore[arg-type]
        config.load()
        book = Connections(most=10, most_per_group=10)
        config.connections = book  # type: ignore[attr-defined]
        config.early_refusal = look  # type: ignore[attr-defined]
        state = uvicorn.Server(config).server_state
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: LendingProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )

        def ask() -> bytes:
            with socket.create_connection(server.sockets[0].getsockname(), 10) as sock:
                return client(sock)

        try:
            heard = await asyncio.to_thread(ask)
        finally:
            end = loop.time() + 10
            while (book.open or book.lingering or state.connections) and loop.time() < end:
                await asyncio.sleep(0.01)
            server.close()
        return heard, book.open + book.lingering + len(state.connections)

    return asyncio.run(scene())


def read_all(sock: socket.socket) -> bytes:
    heard = b""
    while piece := sock.recv(65_536):
        heard += piece
    return heard


def slowly(sock: socket.socket) -> bytes:
    """Send a body in pieces, over a while, and read only then: as most clients do."""
    sock.sendall(HEAD)
    for _ in range(10):
        time.sleep(0.03)
        sock.sendall(b"x" * (SIZE // 10))
    return read_all(sock)


def test_the_answer_is_heard_by_a_client_that_still_sends() -> None:
    """The connection stays until the body has come; closed at once, the client could not even send it."""
    assert talk(slowly, lambda _data, _waited_s: REFUSED) == (REFUSED, 0)
    with taken_away(http_protocol, "MOST_LINGERING", 0), pytest.raises(OSError, match=r"reset|Broken pipe"):
        talk(slowly, lambda _data, _waited_s: REFUSED)


def test_a_small_batch_is_answered_and_closed_at_once() -> None:
    """Its body came with the head: nothing lingers, and nothing waits for its sender."""

    def client(sock: socket.socket) -> bytes:
        sock.sendall(HEAD.replace(str(SIZE).encode(), b"5") + b"abcde")
        return read_all(sock)

    assert talk(client, lambda _data, _waited_s: REFUSED) == (REFUSED, 0)


def test_a_client_that_promises_and_sends_nothing_loses_its_connection() -> None:
    """The time for the rest is short."""

    def client(sock: socket.socket) -> bytes:
        sock.sendall(HEAD)
        heard = sock.recv(65_536)
        try:
            return heard + read_all(sock)
        except ConnectionResetError:
            return heard

    with taken_away(http_protocol, "LINGER_S", 0.1):
        assert talk(client, lambda _data, _waited_s: REFUSED) == (REFUSED, 0)


def test_only_batches_are_refused_and_only_without_room(caplog: pytest.LogCaptureFixture) -> None:
    """Pages, health and speed tests go on; so do batches while there is room for any."""
    gate = Gate(max_in_flight=1, max_bytes=100, max_storing=1)
    counted: list[int] = []
    look = early_refusal(gate, counted.append)
    caplog.set_level(logging.WARNING, "sigprobe")
    assert look(HEAD, 0.0) is None
    with ExitStack() as held:
        held.enter_context(gate.admit())
        for other in (b"GET / HTTP/1.1", b"POST /login HTTP/1.1", b"GET /healthz HTTP/1.1", b"POST /v1/batchesx", b"P"):
            assert look(other, 0.0) is None
        refused = look(HEAD, 0.0)
        assert refused is not None
    head, _, body = refused.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: " in head
    assert batches.read_problem(503, batches.PROBLEM_TYPE, body) is not None
    assert (counted, gate.shed, len(caplog.records)) == ([503], 1, 1)
    assert look(HEAD, 0.0) is None
