"""Run a proxy on loopback that cuts, resets, delays and throttles connections.

It knows just enough HTTP/1.1 to tell one exchange from the next, so that a cut can be placed at any byte of any
request or reply, and it counts every byte that went over its wire, those of lost tries too.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

Side = Literal["request", "reply"]
SIDES: Final[tuple[Side, ...]] = ("request", "reply")

_PIECE: Final = 1_200
_LENGTH: Final = re.compile(rb"^content-length:\s*(\d+)", re.IGNORECASE | re.MULTILINE)
_LINGER_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Cut:
    """Place of a cut in an exchange: after `byte` bytes, or after a `share` (0 to 1) of a message's length.

    `reset` ends it with RST, else with FIN. A cut behind the last byte lets the message pass and ends the connection.
    """

    side: Side
    byte: int = 0
    share: float | None = None
    reset: bool = False

    def place(self, length: int) -> int:
        """Return the byte after which a message of `length` bytes is cut."""
        return min(length, self.byte if self.share is None else round(self.share * length))


Plan = Callable[[int], Cut | None]


def untouched(_: int) -> Cut | None:
    """Cut nothing."""
    return None


def only(number: int, cut: Cut | None) -> Plan:
    """Cut this one exchange and no other."""
    return lambda n: cut if n == number else None


class _CutError(Exception):
    pass


class Proxy:
    """A proxy in its own thread, as a context manager. `plan` is asked once per exchange, counted from 0.

    `rate_bps` is the link's rate in bits per second, each direction by itself and shared by all connections;
    `delay_s` is added to each message. `drop` is a header, in small letters, that does not reach the collector. `plan`,
    `upstream`, `rate_bps`, `delay_s`, `drop` may be changed while it runs.
    """

    def __init__(
        self,
        upstream: int,
        plan: Plan = untouched,
        *,
        rate_bps: float | None = None,
        delay_s: float = 0.0,
        on_cut: Callable[[], None] | None = None,
        drop: bytes | None = None,
    ) -> None:
        self.upstream = upstream
        self.plan = plan
        self.rate_bps = rate_bps
        self.delay_s = delay_s
        self.on_cut = on_cut
        self.drop = drop
        self.port = 0
        self.connections = 0
        self.exchanges = 0
        self.cuts = 0
        self.bytes: dict[Side, int] = {"request": 0, "reply": 0}
        self.lengths: dict[Side, int] = {"request": 0, "reply": 0}
        """The length of the last whole message each way, head and body: where cuts can be placed."""
        self._free_at: dict[Side, float] = {"request": 0.0, "reply": 0.0}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Return the collector's address as seen through the proxy."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def total_bytes(self) -> int:
        """Return the bytes sent over the wire in both directions, with failed attempts."""
        return sum(self.bytes.values())

    def __enter__(self) -> Proxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=16 * 1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        ends = [writer]
        reset = False
        try:
            upstream, onward = await asyncio.open_connection("127.0.0.1", self.upstream, limit=16 * 1024)
            ends.append(onward)
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if self.drop is not None:
                    lines = head.split(b"\r\n")
                    head = b"\r\n".join(line for line in lines if line.partition(b":")[0].lower() != self.drop)
                cut = self.plan(self.exchanges)
                self.exchanges += 1
                reset = cut is not None and cut.reset
                await self._message("request", head, reader, onward, cut)
                head = await upstream.readuntil(b"\r\n\r\n")
                await self._message("reply", head, upstream, writer, cut)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            reset = False  # one end has left by itself
        except _CutError:
            self.cuts += 1
            if self.on_cut is not None:
                await asyncio.to_thread(self.on_cut)
        finally:
            for end in ends:
                _leave(end, reset=reset)

    async def _message(
        self, side: Side, head: bytes, source: asyncio.StreamReader, sink: asyncio.StreamWriter, cut: Cut | None
    ) -> None:
        """Forward one message in pieces, up to the cut."""
        found = _LENGTH.search(head)
        length = len(head) + (int(found[1]) if found is not None else 0)
        end = cut.place(length) if cut is not None and cut.side == side else None
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        waiting, carried = head, 0
        while True:
            piece = waiting[:_PIECE] if end is None else waiting[: min(_PIECE, end - carried)]
            waiting = waiting[len(piece) :]
            await self._pace(side, len(piece))
            sink.write(piece)
            await sink.drain()
            carried += len(piece)
            self.bytes[side] += len(piece)
            if end is not None and carried >= end:
                raise _CutError
            if carried >= length:
                break
            if not waiting:
                waiting = await source.read(min(_PIECE, length - carried))
                if not waiting:
                    raise asyncio.IncompleteReadError(b"", None)
        self.lengths[side] = length

    async def _pace(self, side: Side, size: int) -> None:
        if self.rate_bps is None:
            return
        now = self._loop.time()
        self._free_at[side] = max(now, self._free_at[side]) + size * 8 / self.rate_bps
        await asyncio.sleep(self._free_at[side] - now)


def _leave(end: asyncio.StreamWriter, *, reset: bool) -> None:
    with suppress(OSError):
        if reset:
            raw = end.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            end.transport.abort()
        else:
            end.close()
