"""Run the app: bind first, print the address once it answers, stop in order on a signal."""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from sigprobe.collector.speedtest.lent_connection import LendingProtocol
from sigprobe.collector.web.http_protocol import Connections
from sigprobe.collector.web.tls_handshake import Handshake
from sigprobe.record.messages import N_, MessageError

GRACE_S = 10
FRESH_S = 2.0
"""A process that ends waits so long for the first request of connections that it has accepted."""

SWITCH_S = 0.0005
_ACCEPT_AT_ONCE = 128
_ACCEPT_AMONG_OTHERS = 4
_MOST_FILES = 65_536
_MOST_CONNECTIONS = 8192

_UNUSABLE: Final = N_("Port {port} of {host} cannot be used: {reason}.")
_REFUSED: Final = {
    errno.EADDRINUSE: N_(
        "Port {port} of {host} is already in use, perhaps by another collector. Stop that, or give another --port."
    ),
    errno.EADDRNOTAVAIL: N_(
        "{host} is not an address of this machine. Give --host an IP address of this machine, or 0.0.0.0 for all."
    ),
    errno.EACCES: N_("This user may not use port {port}. Give a --port from 1024 on."),
}
_NO_PAIR: Final = N_(
    "Certificate {cert} and key {key} cannot be used: they do not belong together, or one is not a PEM file."
)
_NO_CERTIFICATE: Final = N_("Certificate {cert} and key {key} cannot be used: {reason}.")

log = logging.getLogger(__name__)


class ServeError(MessageError):
    """Raised when the server cannot start; the message has the reason and the remedy.

    A value that is an exception is told by its cause. `technical` is the system's own text, for `-v`.
    """

    def __init__(self, message: str, technical: str = "", **values: object) -> None:
        super().__init__(message, **values)
        self.technical = technical


class _Listener(socket.socket):
    """A socket whose queue of connections to accept keeps its length, whatever asyncio asks for.

    asyncio accepts as many connections at once as it listens for. The kernel's own queue may be long: it holds no file
    descriptors of ours.
    """

    def listen(self, _backlog: int = 0, /) -> None:
        super().listen(2048)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket at this address. Raises ServeError with the reason."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise ServeError(
            N_(
                "{host} is not an address of this machine. Give --host an IP address of this machine, or 0.0.0.0 for "
                "all."
            ),
            str(error),
            host=host,
        ) from error
    bound = _Listener(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen()
    except OSError as error:
        bound.close()
        raise ServeError(
            _REFUSED.get(error.errno or 0, _UNUSABLE), str(error), host=host, port=port, reason=error
        ) from error
    bound.set_inheritable(False)
    return bound


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Return the server's TLS: 1.2 at least. Raises ServeError when certificate or key cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # an empty password: a protected key must be an error, not an invisible prompt
        context.load_cert_chain(cert, key, password="")
    except OSError as error:
        # ssl.SSLError is an OSError too; its text names only an internal routine
        text = _NO_PAIR if isinstance(error, ssl.SSLError) else _NO_CERTIFICATE
        raise ServeError(text, str(error), cert=cert, key=key, reason=error) from error
    return context


def raise_file_limit() -> int:
    """Allow this process as many open files as the system lets it have; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _MOST_FILES if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft
    return wanted


def connection_limits(files: int) -> Connections:
    """Return how many connections fit beside the database, the log and those that wait to be accepted."""
    most = max(16, min(_MOST_CONNECTIONS, files - min(files // 2, 3 * _ACCEPT_AT_ONCE + 64)))
    return Connections(most=most, most_per_group=max(16, most // 4))


def run(
    app: ASGIApp,
    bound: socket.socket,
    *,
    tls: ssl.SSLContext | None,
    ready: Callable[[], None],
    behind_proxy: bool = False,
    parent: int | None = None,
    each_second: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish running requests for at most `GRACE_S`. Returns at the end.

    One of several processes on this socket has a `parent`: a pipe that ends with it, and then so does this process.
    `each_second` is called meanwhile.
    """
    config = uvicorn.Config(
        app,
        http=LendingProtocol,
        # uvicorn takes uvloop where it happens to be installed; its transports are not those that ours build on
        loop="asyncio",
        log_config=None,
        access_log=False,  # an address may hold a one-time secret
        proxy_headers=False,  # the client's address is read in one place: web.client_address
        server_header=False,
        ws="none",
        lifespan="off",
        timeout_keep_alive=15,
        timeout_graceful_shutdown=GRACE_S,
        # asyncio accepts as many at once as it listens for; more of them than file descriptors would exhaust those, and
        # what one process takes at once the others cannot
        backlog=_ACCEPT_AT_ONCE if parent is None else _ACCEPT_AMONG_OTHERS,
        ssl_context_factory=None if tls is None else (lambda _config, _default: tls),
    )
    connections = connection_limits(raise_file_limit())
    config.connections = connections  # type: ignore[attr-defined] # read by GuardedProtocol
    config.behind_proxy = behind_proxy  # type: ignore[attr-defined]
    config.early_refusal = getattr(getattr(app, "state", None), "early_refusal", None)  # type: ignore[attr-defined]

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(_loop_fault)
            if tls is not None:
                plain = loop.create_server

                def create_server(make: Any, *, ssl: Any, **options: Any) -> Any:
                    shake = functools.partial(
                        Handshake, make, tls, connections=connections, behind_proxy=behind_proxy, loop=loop
                    )
                    return plain(shake, **options)

                loop.create_server = create_server  # type: ignore[method-assign, assignment]
            await super().startup(sockets)
            if self.started:
                if parent is not None:
                    loop.add_reader(parent, self._end_with_parent, parent)
                    self._beat = loop.create_task(_each_second(each_second))
                ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            if parent is not None:
                # others go on accepting: those that this process has accepted must not find it gone
                for server in self.servers:
                    server.close()
                until_s = asyncio.get_running_loop().time() + FRESH_S
                while connections.has_fresh() and asyncio.get_running_loop().time() < until_s:
                    await asyncio.sleep(0.02)
            await super().shutdown(sockets)

        def _end_with_parent(self, parent: int) -> None:
            asyncio.get_running_loop().remove_reader(parent)
            self.should_exit = True

    # each call into the database gives the interpreter up; while the event loop is busy with refusals, the thread gets
    # it back only after this time, which is ten times as long by default
    sys.setswitchinterval(SWITCH_S)
    server = Server(config)

    def stop(_number: int, _frame: object) -> None:
        server.should_exit = True

    # uvicorn has handlers of its own only while it serves, and raises the signal again after its orderly stop: neither
    # may a signal before that be lost, nor may the one after it end us with a traceback
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[bound])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _each_second(step: Callable[[], None]) -> None:
    while True:
        step()
        await asyncio.sleep(1)


def _loop_fault(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what asyncio could not hand to anybody: one line, rate-limited by the log, no traceback for lack of room."""
    error = context.get("exception")
    short = isinstance(error, OSError)
    log.error(
        "event loop: %s",
        context.get("message", "fault"),
        extra={"reason": type(error).__name__ if error else None, "errno": getattr(error, "errno", None)},
        exc_info=None if short or error is None else error,
    )
