"""Requests that waited too long are refused while all of them wait too long, and only then."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from contextlib import ExitStack

import pytest

from sigprobe.collector.ingest.admission import Gate
from sigprobe.collector.ingest.early_refusal import ENOUGH, START, early_refusal
from sigprobe.collector.ingest.lateness import INTERVAL_S, LEAST, TARGET_S, Lateness
from sigprobe.collector.web.kernel_wait import waited_s

LATE_S = TARGET_S * 2


class Clock:
    """A clock that stands until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_pause_refuses_nobody() -> None:
    """A process that was stopped finds all its requests late at once, and serves them."""
    clock = Clock()
    lateness = Lateness(clock)
    assert not any(lateness.is_too_late(LATE_S) for _ in range(10 * LEAST))


def test_few_late_requests_are_served() -> None:
    """However long it goes on."""
    clock = Clock()
    lateness = Lateness(clock)
    for _ in range(LEAST):
        clock.now += INTERVAL_S
        assert not lateness.is_too_late(LATE_S)


def test_a_queue_that_stands_is_refused_until_it_is_gone() -> None:
    """Late ones are refused once all were late for a while; the first that comes in time ends it."""
    clock = Clock()
    lateness = Lateness(clock)
    for _ in range(LEAST + 1):
        lateness.is_too_late(LATE_S)
    clock.now += INTERVAL_S
    assert all(lateness.is_too_late(LATE_S) for _ in range(100))
    assert not lateness.is_too_late(TARGET_S)
    assert not lateness.is_too_late(LATE_S), "it begins anew"


def test_the_refusal_has_its_retry_after() -> None:
    """It comes before anything of the request was parsed, and is counted."""
    gate, counted = Gate(max_in_flight=2 * ENOUGH, max_bytes=1 << 20, max_storing=8), list[int]()
    look = early_refusal(gate, counted.append)
    with ExitStack() as stack:
        for _ in range(ENOUGH):
            stack.enter_context(gate.admit())
        end = time.monotonic() + 30
        answer = None
        while answer is None and time.monotonic() < end:
            answer = look(START, LATE_S)
        assert answer is not None and answer.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: " in answer
        assert counted == [503]
        assert look(b"GET / HTTP/1.1\r\n", LATE_S) is None, "pages are not refused"
    assert look(START, LATE_S) is None, "with little on its way the late are served"
    assert look(START, 0.0) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says it")
def test_the_kernel_says_how_long_bytes_waited() -> None:
    """Also those of a connection that nobody had accepted yet."""

    async def scene() -> float:
        bound = socket.create_server(("127.0.0.1", 0))
        bound.setblocking(False)
        client = socket.create_connection(bound.getsockname())
        client.sendall(b"hello")
        await asyncio.sleep(0.5)
        heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        class Listener(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport

            def data_received(self, data: bytes) -> None:
                heard.set_result(waited_s(self.transport))

        server = await asyncio.get_running_loop().create_server(Listener, sock=bound)
        try:
            async with asyncio.timeout(30):
                return await heard
        finally:
            client.close()
            server.close()

    assert 0.4 < asyncio.run(scene()) < 60
