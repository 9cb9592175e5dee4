"""Run the app: bind first, say the address once it answers, stop in order on a signal."""

from __future__ import annotations

import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from sigprobe.collector.speedtest.lent_connection import LendingProtocol

GRACE_S = 10


class ServeError(Exception):
    """The server cannot start; the message is one sentence that says why."""


def bind(host: str, port: int) -> socket.socket:
    """A listening-to-be socket at this address. Raises ServeError with the reason."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise ServeError(f"the address {host} is not known on this machine") from error
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(2048)
    except OSError as error:
        bound.close()
        raise ServeError(f"{host} port {port} cannot be used: {error.strerror}") from error
    bound.set_inheritable(False)
    return bound


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """The server's TLS: 1.2 at least. Raises ServeError when certificate or key cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # an empty password: a protected key must be an error, not a prompt that nobody sees
        context.load_cert_chain(cert, key, password="")
    except OSError as error:
        # ssl.SSLError is an OSError too; its text names the routine, which helps nobody
        reason = "the two do not belong together, or one is no PEM file" if isinstance(error, ssl.SSLError) else None
        raise ServeError(
            f"certificate {cert} and key {key} cannot be used: {reason or error.strerror or error}"
        ) from error
    return context


def run(app: ASGIApp, bound: socket.socket, *, tls: ssl.SSLContext | None, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, finishing what is under way for at most `GRACE_S`. Returns when it is over."""
    config = uvicorn.Config(
        app,
        http=LendingProtocol,
        log_config=None,
        access_log=False,  # an address may hold a one-time secret
        proxy_headers=False,  # who the client is, is decided in one place: access.client_address
        server_header=False,
        ws="none",
        lifespan="off",
        timeout_keep_alive=15,
        timeout_graceful_shutdown=GRACE_S,
        ssl_context_factory=None if tls is None else (lambda _config, _default: tls),
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

    # uvicorn raises the signal again after its orderly stop; that must not end us half-way with a traceback
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        Server(config).run(sockets=[bound])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
