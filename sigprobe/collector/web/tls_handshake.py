"""Do the TLS handshake of a new connection under the same limits as a request's head.

asyncio's own server tells a protocol of a connection only after the handshake. Connections that never begin one would
then be counted nowhere, and could take every file descriptor. Here each is counted from its first moment, and one that
has not finished its handshake gives way when connections run out.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

from sigprobe.collector.web.client_address import group_of
from sigprobe.collector.web.http_protocol import Connections
from sigprobe.record.addresses import is_loopback

HANDSHAKE_S: Final = 15.0


class Handshake(asyncio.Protocol):
    """A connection until its handshake is done; then the protocol that `make` returns has it."""

    def __init__(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        tls: ssl.SSLContext,
        *,
        connections: Connections,
        behind_proxy: bool,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.group = ""
        self.limited = False
        self._make = make
        self._tls = tls
        self._book = connections
        self._behind_proxy = behind_proxy
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        self._eof = self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection and begin, unless there is no room."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else ""
        self.group = group_of(address)
        self.limited = not is_loopback(address) and not self._behind_proxy
        if not self._book.enter(self):
            transport.abort()
            return
        self._book.wait(self, waits=True)
        self._task = self._loop.create_task(self._shake(transport))

    def data_received(self, data: bytes) -> None:
        """Keep what comes in the moment between handshake and handing over."""
        self._early.append(data)

    def eof_received(self) -> bool:
        """Note that the client sends no more."""
        self._eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of the connection."""
        self._lost = True
        self._book.leave(self)

    def give_way(self) -> None:
        """Close at once, to make room."""
        self._book.leave(self)
        if self._transport is not None:
            self._transport.abort()

    async def _shake(self, transport: asyncio.Transport) -> None:
        try:
            secured = await self._loop.start_tls(
                transport, self, self._tls, server_side=True, ssl_handshake_timeout=HANDSHAKE_S
            )
        except (OSError, asyncio.CancelledError):
            # no TLS, no certificate that the client likes, too late, or gone
            transport.abort()
            return
        finally:
            self._book.leave(self)
        if secured is None or self._lost or secured.is_closing():
            transport.abort()
            return
        protocol = self._make()
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        if isinstance(protocol, asyncio.Protocol):
            for data in self._early:
                protocol.data_received(data)
            if self._eof and not protocol.eof_received():
                secured.close()
