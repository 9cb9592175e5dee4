"""Read an upload directly from its socket: counted and discarded, without a parser and without copies.

The web server splits a body into small pieces, with several copies each. That limits an upload to a fraction of the
possible rate. So after a request's head its connection is lent to a protocol that reads into one block. The connection
is given back, with a fresh parser, after the announced number of bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sigprobe.collector.web import kernel_wait
from sigprobe.collector.web.http_protocol import GuardedProtocol

BLOCK_BYTES: Final = 256 * 1024
KEY: Final = "sigprobe.lend"
"""Where a request's scope holds the function that lends its connection; missing with another server."""

_REASONS: Final = {200: "OK", 408: "Request Timeout", 429: "Too Many Requests", 503: "Service Unavailable"}


class LendingProtocol(GuardedProtocol):
    """The guarded protocol, which can lend its connection in the middle of a request's body."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await inner({**scope, KEY: self.lend, kernel_wait.KEY: self.waited_s}, receive, send)

        self.app = app

    def lend(self, length: int, count: Callable[[int], None]) -> Loan | None:
        """Lend the connection until `length` bytes of body have come; None when it cannot be lent now.

        `count` is told of each piece, of what the parser already holds too; what it raises ends the loan.
        """
        cycle, transport = self.cycle, self.transport
        if transport.is_closing() or cycle.waiting_for_100_continue or self.conn.trailing_data[0]:
            return None
        held = len(cycle.body)
        if not cycle.more_body or held > length:
            return None
        loan = Loan(self, length, count)
        transport.set_protocol(loan)
        # for the parser this connection is over, and what the app still sends goes nowhere
        super().connection_lost(ConnectionResetError())
        loan.begin(held)
        return loan


class Loan(asyncio.BufferedProtocol):
    """A lent connection: reads, counts, and ends with a raw answer."""

    def __init__(self, lender: LendingProtocol, length: int, count: Callable[[int], None]) -> None:
        self._lender = lender
        self._transport = lender.transport
        self._left = length
        self._count = count
        self._block = memoryview(bytearray(BLOCK_BYTES))
        self._done: asyncio.Future[None] = lender.loop.create_future()
        self._moved = False

    def begin(self, held: int) -> None:
        """Count what the parser held, and go on reading."""
        self._take(held)
        if not self._done.done() and not self._transport.is_closing():
            self._transport.resume_reading()

    async def finished(self, stall_s: float, least_bps: float = 0.0) -> None:
        """Wait for the last byte or the end of the connection.

        Raises TimeoutError when nothing comes for `stall_s` or the body is slower than `least_bps`, and what `count`
        has raised.
        """
        loop, whole = self._lender.loop, self._left
        began = loop.time()
        while not self._done.done():
            self._moved = False
            await asyncio.wait([self._done], timeout=stall_s)
            behind = (whole - self._left) * 8 < least_bps * (loop.time() - began)
            if not self._done.done() and (behind or not self._moved):
                raise TimeoutError
        self._done.result()

    def answer(self, response: Response) -> None:
        """Answer; after a whole body the connection serves further requests, otherwise it is closed."""
        transport = self._transport
        if transport.is_closing():
            return
        whole = self._left == 0
        reason = _REASONS.get(response.status_code, "")
        lines = [f"HTTP/1.1 {response.status_code} {reason}".encode()]
        lines += [name + b": " + value for name, value in response.raw_headers if name != b"connection"]
        lines.append(b"connection: keep-alive" if whole else b"connection: close")
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        if whole:
            lender = self._lender
            fresh = LendingProtocol(lender.config, lender.server_state, lender.app_state, lender.loop)
            fresh.connection_made(transport)
            transport.set_protocol(fresh)
            transport.write(head + bytes(response.body))
            transport.resume_reading()
        else:
            transport.write(head + bytes(response.body))
            transport.close()

    # --- what the transport calls

    def get_buffer(self, sizehint: int) -> memoryview:
        """Room for the next piece: never beyond this body, since what follows is another request."""
        return self._block[: max(1, min(BLOCK_BYTES, self._left))]

    def buffer_updated(self, nbytes: int) -> None:
        """Count a piece."""
        self._take(nbytes)

    def eof_received(self) -> bool:
        """Return the client has left; the transport may close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: what arrived until then has been counted."""
        if not self._done.done():
            self._done.set_result(None)

    def _take(self, size: int) -> None:
        self._left -= size
        self._moved = True
        try:
            if size:
                self._count(size)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the end
            self._transport.pause_reading()
            if not self._done.done():
                self._done.set_exception(error)
            return
        if self._left == 0:
            # the next request stays in the socket until a parser is there again
            self._transport.pause_reading()
            if not self._done.done():
                self._done.set_result(None)
