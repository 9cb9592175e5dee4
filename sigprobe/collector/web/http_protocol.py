"""Serve HTTP with deadlines: for heads, for idle connections, for answers that nobody reads, and with bounded numbers.

uvicorn waits for a request's head without end. Half-sent heads would so take every file descriptor. Here a head has
`HEAD_S`; and when connections run out, one that still waits for its head gives way to a new one.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sigprobe.collector.web.client_address import group_of
from sigprobe.collector.web.kernel_wait import waited_s
from sigprobe.record.addresses import is_loopback

HEAD_S: Final = 15.0
"""Time for a whole request head, from its connection or its first byte on."""

UNREAD_S: Final = 30.0
"""A client that takes nothing of its answer for so long loses its connection."""


LINGER_S: Final = 3.0
"""So long the rest of a refused request may still come, on at most `MOST_LINGERING` connections."""

MOST_LINGERING: Final = 256

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*(?:\r\n|$)", re.IGNORECASE)


class Counted(Protocol):
    """A connection as the book of connections knows it."""

    group: str
    limited: bool

    def give_way(self) -> None:
        """Close at once, to make room."""


class Connections:
    """The open connections of one process: those that wait for a head can be closed to make room."""

    def __init__(self, *, most: int, most_per_group: int) -> None:
        self._most = most
        self._most_per_group = most_per_group
        self._groups: dict[str, set[Counted]] = {}
        self._waiting: OrderedDict[Counted, None] = OrderedDict()
        self.open = 0
        self.refused = 0
        self.lingering = 0
        """Connections that are answered already, and whose request still comes."""

    def enter(self, connection: Counted) -> bool:
        """Count a new connection; False when there is no room for it, even by closing one that waits."""
        group = self._groups.setdefault(connection.group, set())
        full = connection.limited and len(group) >= self._most_per_group
        if full or self.open >= self._most:
            oldest = next((item for item in self._waiting if not full or item.group == connection.group), None)
            if oldest is None:
                self.refused += 1
                if not group:
                    del self._groups[connection.group]
                return False
            oldest.give_way()
        self._groups.setdefault(connection.group, set()).add(connection)
        self.open += 1
        return True

    def has_fresh(self) -> bool:
        """Return whether a connection waits for its first head, or is still in its handshake."""
        return any(getattr(connection, "cycle", None) is None for connection in self._waiting)

    def leave(self, connection: Counted) -> None:
        """Count a connection that has ended."""
        group = self._groups.get(connection.group)
        if group is None or connection not in group:
            return
        group.discard(connection)
        if not group:
            del self._groups[connection.group]
        self._waiting.pop(connection, None)
        self.open -= 1

    def wait(self, connection: Counted, *, waits: bool) -> None:
        """Note whether a connection waits for a head."""
        if waits:
            self._waiting.setdefault(connection)
        else:
            self._waiting.pop(connection, None)


class _Lingering(asyncio.Protocol):
    """Discard the rest of a refused request: closed before it has come, the answer would be lost with it."""

    def __init__(self, refused: GuardedProtocol, left: int) -> None:
        self._transport = refused.transport
        self._book = refused._book
        self._left = left
        if self._book is not None:
            self._book.lingering += 1
        self._deadline = refused.loop.call_later(LINGER_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Count what comes."""
        self._left -= len(data)
        if self._left <= 0:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._deadline.cancel()
        if self._book is not None:
            self._book.lingering -= 1


def _body_left(data: bytes) -> int:
    """Return how many bytes of a request are still to come, as its head says; 1 where it does not."""
    head, end, body = data.partition(b"\r\n\r\n")
    declared = _LENGTH.search(head)
    if not end or declared is None:
        return 1
    return max(0, int(declared[1]) - len(body))


class GuardedProtocol(H11Protocol):
    """uvicorn's own protocol with deadlines and a bounded number of connections."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.group = ""
        self.limited = False
        self._deadline: asyncio.TimerHandle | None = None
        self._book = cast("Connections | None", getattr(self.config, "connections", None))
        self._head_s = cast(float, getattr(self.config, "head_s", HEAD_S))
        self._look = cast("Callable[[bytes, float], bytes | None] | None", getattr(self.config, "early_refusal", None))
        self.waited_s = 0.0
        """How long the present request waited in the kernel."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there is no room; the head's time runs from now."""
        super().connection_made(transport)
        peer = self.client[0] if self.client else ""
        self.group = group_of(peer)
        # a proxy of ours, or this machine, speaks for many
        self.limited = not is_loopback(peer) and not getattr(self.config, "behind_proxy", False)
        if self._book is not None and not self._book.enter(self):
            self.connections.discard(self)
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._end_wait()
        if self._book is not None:
            self._book.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on. A byte of the next head does not lengthen the time that it has."""
        fresh = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if fresh and self._look is not None and (self.cycle is None or self.cycle.response_complete):
            self.waited_s = waited_s(self.transport)
            refusal = self._look(data, self.waited_s)
            if refusal is not None:
                self._refuse(refusal, data)
                return
        super().data_received(data)
        if fresh:
            # the first byte of a head: its time runs from here
            self._end_wait()
        self._watch()

    def _refuse(self, answer: bytes, data: bytes) -> None:
        """Answer a request from its first bytes, and close once the rest of it has come."""
        transport = self.transport
        left = _body_left(data)
        if left and (self._book is None or self._book.lingering < MOST_LINGERING):
            transport.set_protocol(_Lingering(self, left))
        # for the parser this connection is over
        GuardedProtocol.connection_lost(self, ConnectionResetError())
        transport.write(answer)
        if transport.get_protocol() is self:
            transport.close()
            self._watch_unread(transport.get_write_buffer_size())

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self.transport.is_closing():
            # what is left to send has its time too
            self._watch_unread(self.transport.get_write_buffer_size())
        else:
            self._watch()

    def give_way(self) -> None:
        """Close at once, to make room."""
        if self._book is not None:
            self._book.leave(self)
        self._end_wait()
        self.transport.abort()

    def _watch(self) -> None:
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.transport.is_closing():
            self._end_wait()
        elif self._deadline is None:
            self._await_head()

    def _await_head(self) -> None:
        self._deadline = self.loop.call_later(self._head_s, self._too_late)
        if self._book is not None:
            self._book.wait(self, waits=True)

    def _end_wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._book is not None:
            self._book.wait(self, waits=False)

    def _too_late(self) -> None:
        self._deadline = None
        if self.conn.our_state is h11.IDLE or self.conn.our_state is h11.DONE:
            self.transport.close()
            self._watch_unread(self.transport.get_write_buffer_size())

    def _watch_unread(self, size: int) -> None:
        """Abort a closing connection whose client takes nothing of what is left to send."""
        if size:
            self.loop.call_later(UNREAD_S, self._check_unread, size)

    def _check_unread(self, before: int) -> None:
        size = self.transport.get_write_buffer_size()
        if size >= before > 0:
            self.transport.abort()
        else:
            self._watch_unread(size)
