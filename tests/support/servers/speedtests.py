"""Run servers for speed tests: the collector's endpoints on a real uvicorn, and a faulty LibreSpeed server."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import fastapi
import uvicorn

from sigprobe.collector.speedtest.api import ThroughputSettings, router
from sigprobe.collector.speedtest.lent_connection import LendingProtocol
from tests.support.servers.tcp import Peer, Server, tcp_server

GARBAGE = bytes(range(256)) * 256


def settings(**changes: Any) -> ThroughputSettings:
    """Return settings with open endpoints, unless changed."""

    async def find_account(_request: object, secret: str) -> str | None:
        return secret if secret.startswith("right") else None

    return ThroughputSettings(**{"mode": "open", "find_account": find_account, **changes})


@contextmanager
def collector(
    chosen: ThroughputSettings | None = None, *, lending: bool = True, tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[str]:
    """Provide the endpoints on uvicorn at a free port of loopback, in a thread; gives the base URL.

    `lending` as the collector itself is served; without it, as any other ASGI server would serve it.
    """
    app = fastapi.FastAPI()
    app.include_router(router(chosen or settings(), **options))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", access_log=False, lifespan="off")
    if lending:
        config.http = LendingProtocol
    if tls is not None:
        config.ssl_context_factory = lambda _config, _default: tls
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    ready = threading.Event()
    startup = server.startup

    async def started(sockets: Any = None) -> None:
        await startup(sockets)
        ready.set()

    server.startup = started  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert ready.wait(10)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join(10)


@dataclass
class Books:
    """Requests that the LibreSpeed server has received."""

    heads: list[str] = field(default_factory=list)
    received: int = 0


Handler = Callable[[Peer, "Books", str], object]


def send_garbage(peer: Peer, books: Books, head: str) -> None:
    """Send an endless chunked body, as PHP servers do: the client has to stop."""
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/octet-stream\r\n\r\n")
    while True:
        peer.send(b"10000\r\n", GARBAGE, b"\r\n")


def take_upload(peer: Peer, books: Books, head: str) -> None:
    """Read the body to its end, then answer."""
    left = content_length(head)
    while left > 0:
        piece = peer.sock.recv(min(left, 65536))
        if not piece:
            return
        left -= len(piece)
        books.received += len(piece)
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n")


def content_length(head: str) -> int:
    """Return the Content-Length of a request; 0 without one."""
    lines = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
    return int(lines[0].partition(":")[2]) if lines else 0


@contextmanager
def librespeed(
    *,
    garbage: Handler = send_garbage,
    upload: Handler = take_upload,
    folder: str = "/",
    suffix: str = ".php",
    tls: ssl.SSLContext | None = None,
) -> Iterator[tuple[Server, Books]]:
    """Provide a server with LibreSpeed's names under `folder`, which reports nothing; anything else is 404."""
    books = Books()

    def answer(peer: Peer) -> None:
        if tls is None:
            serve(peer)
        elif peer.sock.recv(1, socket.MSG_PEEK):  # a latency probe connects and leaves without a word
            with tls.wrap_socket(peer.sock, server_side=True) as secure:
                serve(Peer(secure, peer.closing))

    def serve(peer: Peer) -> None:
        while True:
            head = read_head(peer)
            if not head:
                return
            books.heads.append(head)
            method, path = head.split(" ")[:2]
            path = path.partition("?")[0]
            if path == f"{folder}garbage{suffix}":
                garbage(peer, books, head)
            elif path == f"{folder}empty{suffix}":
                (upload if method == "POST" else take_upload)(peer, books, head)
            else:
                peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone")

    with tcp_server(answer) as server:
        yield server, books


def read_head(peer: Peer) -> str:
    """Return a request's head, byte by byte at its end, so that none of the body is swallowed."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        piece = peer.sock.recv(1)
        if not piece:
            return ""
        data += piece
    return data.decode("latin-1")
