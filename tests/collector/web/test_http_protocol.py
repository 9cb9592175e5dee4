"""Half-sent heads take no place for long, and give way to whole ones."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import uvicorn

from sigprobe.collector.speedtest.lent_connection import LendingProtocol
from sigprobe.collector.web.http_protocol import Connections


async def app(scope: object, receive: object, send: object) -> None:
    """Answer 200."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]


def run(most: int | None, head_s: float, held: int, wait_s: float) -> tuple[bytes, int]:
    """Hold so many half-sent heads, ask once, wait: the answer, and how many heads are still held."""

    async def scene() -> tuple[bytes, int]:
        config = uvicorn.Config(app, http=LendingProtocol, log_config=None, lifespan="off", ws="none")  # type: ignore[arg-type]
        config.load()
        config.connections = None if most is None else Connections(most=most, most_per_group=most)  # type: ignore[attr-defined]
        config.head_s = head_s  # type: ignore[attr-defined]
        state = uvicorn.Server(config).server_state
        server = await asyncio.get_running_loop().create_server(
            lambda: LendingProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        heads = [await asyncio.open_connection("127.0.0.1", port) for _ in range(held)]
        for _, writer in heads:
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n")
            await writer.drain()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = b""
        with suppress(OSError):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
        await asyncio.sleep(wait_s)
        left = len(state.connections)
        server.close()
        for _, other in [*heads, (reader, writer)]:
            other.transport.abort()
        return answer[:15], left

    return asyncio.run(scene())


def test_half_sent_heads_end() -> None:
    """After its time a half-sent head loses its connection; with a longer time it would still be there."""
    assert run(None, 0.2, 5, 1.0) == (b"HTTP/1.1 200 OK", 0)
    assert run(None, 60, 5, 1.0)[1] == 5, "the control"


def test_half_sent_heads_give_way() -> None:
    """When all places are held by half-sent heads, the oldest makes room for a request."""
    answer, left = run(4, 60, 9, 0.1)
    assert answer == b"HTTP/1.1 200 OK"
    assert left <= 4


def closes_idle(head_s: float, keep_alive_s: int, patience_s: float) -> tuple[bytes, bool]:
    """Ask once over a kept-alive connection and then stay silent: the answer, and whether the server closed it."""

    async def scene() -> tuple[bytes, bool]:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            http=LendingProtocol,
            log_config=None,
            lifespan="off",
            ws="none",
            timeout_keep_alive=keep_alive_s,
        )
        config.load()
        config.head_s = head_s  # type: ignore[attr-defined]
        state = uvicorn.Server(config).server_state
        server = await asyncio.get_running_loop().create_server(
            lambda: LendingProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.readuntil(b"\r\n\r\nok")
        try:
            closed = await asyncio.wait_for(reader.read(1), patience_s) == b""
        except TimeoutError:
            closed = False
        server.close()
        writer.transport.abort()
        return answer[:15], closed

    return asyncio.run(scene())


def test_an_idle_connection_is_closed_after_its_time() -> None:
    """By the time for a head, or by that of a kept-alive connection, whichever is shorter."""
    assert closes_idle(0.2, 60, 30) == (b"HTTP/1.1 200 OK", True)
    assert closes_idle(60, 1, 30) == (b"HTTP/1.1 200 OK", True)
    assert closes_idle(60, 60, 0.5) == (b"HTTP/1.1 200 OK", False), "the control"
