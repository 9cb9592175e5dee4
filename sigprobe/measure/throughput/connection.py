"""Run many non-blocking HTTP/1.1 connections in one thread.

A life is a generator: it yields the event it waits for and gets back the events that came. One thread for all
streams means one place where bytes are counted, where the cap is checked and where time is read, so that the numbers
belong together; it also reads a loopback link faster than threads that hand one lock around.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import struct
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Final

from sigprobe.measure.throughput import tcp_info
from sigprobe.net.http1 import ChunkParser, Head, HeadParser, ProtocolError
from sigprobe.net.limits import DataBudget
from sigprobe.net.sockets import Address, certificate_code, code_of, reason_of, tls_code

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE

Life = Generator[int, int, None]


class FaultError(Exception):
    """A failed connection: a failure code and a technical detail."""

    def __init__(self, code: str, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status


def as_fault(error: OSError) -> FaultError:
    """Return the failure code of a socket or TLS error."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return FaultError(certificate_code(error.verify_code, "tls_untrusted"), error.verify_message)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return FaultError("reset", "the connection was closed")
    if isinstance(error, ssl.SSLError):
        return FaultError(tls_code(error), error.reason or str(error))
    return FaultError(code_of(error) or "reset", reason_of(error))


class Connection:
    """A socket to `address`, wrapped in TLS if `tls` is given; its methods are parts of generators."""

    def __init__(self, address: Address, host: str, tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self.host = host
        self.tls = tls
        self.sock: socket.socket | None = None
        self.rest = b""

    def open(self) -> Life:
        """Connect, then shake hands."""
        sock = socket.socket(self.address.family, socket.SOCK_STREAM)
        self.sock = sock
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(self.address.sockaddr)
        if code:
            with suppress(BlockingIOError):
                _raise(code)
            yield WRITE
            _raise(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        if self.tls is None:
            return
        secure = self.tls.wrap_socket(sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = secure
        while True:
            try:
                secure.do_handshake()
                return
            except ssl.SSLWantReadError:
                yield READ
            except ssl.SSLWantWriteError:
                yield WRITE

    def send_all(self, data: bytes) -> Life:
        """Send all of a small message."""
        view = memoryview(data)
        while view:
            count = self.send(view)
            view = view[count:]
            if count == 0:
                yield WRITE

    def send(self, view: memoryview) -> int:
        """Send what fits now; return the bytes, 0 if none."""
        try:
            return self._open_sock().send(view)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0
        except (ssl.SSLEOFError, BrokenPipeError, ConnectionResetError):
            self._raise_alert()
            raise

    def _raise_alert(self) -> None:
        """Raise the alert with which a TLS 1.3 server refused this client after the handshake, if there is one."""
        if isinstance(self.sock, ssl.SSLSocket):
            try:
                self.sock.recv(1)
            except ssl.SSLError as error:
                if tls_code(error) == "tls_refused":
                    raise
            except OSError:
                return

    def receive_into(self, view: memoryview) -> int | None:
        """Receive what has arrived; None if nothing has, 0 if the other end has closed."""
        if self.rest:
            count = min(len(self.rest), len(view))
            view[:count] = self.rest[:count]
            self.rest = self.rest[count:]
            return count
        try:
            return self._open_sock().recv_into(view)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLZeroReturnError:
            return 0

    def head(self, method: str = "GET") -> Generator[int, int, Head]:
        """Read the head of an answer; bytes behind it stay for the body."""
        parser = HeadParser(method)
        view = memoryview(bytearray(4096))
        while True:
            count = self.receive_into(view)
            if count is None:
                yield READ
                continue
            if count == 0:
                raise FaultError("reset", "closed before it answered")
            try:
                rest = parser.feed(view[:count])
            except ProtocolError as error:
                raise FaultError("bad_response", str(error)) from None
            if rest is not None:
                self.rest = rest + self.rest
                assert parser.head is not None
                return parser.head

    def body(self, head: Head, view: memoryview, got: Callable[[int], int], keep: bytearray | None = None) -> Life:
        """Read a body into `view` over and over; `got` counts payload bytes and says how many are still wanted.

        `keep` takes the payload itself.
        """
        chunks = ChunkParser() if head.chunked else None
        left = head.length
        while left != 0 and not (chunks and chunks.done):
            wanted = got(0)  # asked for each time: other streams use the same room
            if wanted <= 0 and not (chunks and chunks.payload_done):
                return
            most = min(len(view), max(1, wanted) if left is None else min(wanted, left))
            count = self.receive_into(view[:most])
            if count is None:
                yield READ
                continue
            if count == 0:
                if left is None and (chunks is None or chunks.payload_done):
                    return
                raise FaultError("reset", "closed in the middle of its answer")
            if left is not None:
                left -= count
            if chunks is None:
                if keep is not None:
                    keep += view[:count]
                got(count)
            else:
                got(_feed(chunks, view[:count], keep))
                if chunks.unused:
                    self.rest = bytes(view[count - chunks.unused : count]) + self.rest
            if left != 0 and not self.rest and not (chunks and chunks.done):
                # one receive per turn: the other streams, the clock and the cap all wait their turn
                yield READ

    def pending(self) -> bool:
        """Return True when TLS has decrypted bytes that the selector cannot see."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def fileno(self) -> int:
        """Return the file descriptor, -1 before `open` and after `close`."""
        return -1 if self.sock is None else self.sock.fileno()

    def spend(self, budget: DataBudget) -> None:
        """Count what has crossed the interface for it."""
        info = tcp_info.read(self.sock) if self.sock is not None and self.sock.fileno() >= 0 else None
        if info is not None:
            budget.spend_wire(info.wire)

    def close(self) -> None:
        """Cut the connection at once: what waits in the buffers is thrown away, not sent at the user's cost."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()

    def _open_sock(self) -> socket.socket:
        if self.sock is None:
            raise FaultError("internal", "not connected")
        return self.sock


def _raise(code: int) -> None:
    if code:
        raise OSError(code, os.strerror(code))


def _feed(chunks: ChunkParser, piece: memoryview, keep: bytearray | None) -> int:
    try:
        return chunks.feed(piece, keep)
    except ProtocolError as error:
        raise FaultError("bad_response", str(error)) from None


class Loop:
    """Drives lives until somebody closes them."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._selector = selectors.DefaultSelector()
        self._running: dict[Connection, tuple[Life, int, Callable[[FaultError | None], None]]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def start(self, connection: Connection, life: Life, ended: Callable[[FaultError | None], None]) -> None:
        """Begin a life; `ended` is told when it is over, with what went wrong or None."""
        self._running[connection] = (life, 0, ended)
        self._advance(connection, 0)

    def poke(self, connection: Connection) -> None:
        """Let a life take a step without an event: what it waited for beside its socket has come."""
        if connection in self._running:
            self._advance(connection, 0)

    def turn(self, timeout_s: float) -> None:
        """Wait for events and let each life that has one take a step."""
        if not self._selector.get_map():
            self._sleep(max(0.0, timeout_s))
            return
        for key, events in self._selector.select(max(0.0, timeout_s)):
            if key.data in self._running:
                self._advance(key.data, events)

    def stop(self, connection: Connection) -> None:
        """End a life early, without telling."""
        entry = self._running.pop(connection, None)
        if entry is not None:
            entry[0].close()
            self._forget(connection)

    def close(self) -> None:
        """End every life and cut its connection."""
        for connection in list(self._running):
            self.stop(connection)
            connection.close()
        self._selector.close()

    def _advance(self, connection: Connection, events: int) -> None:
        life, registered, ended = self._running[connection]
        fault: FaultError | None = None
        try:
            wanted = life.send(events) if registered else next(life)
            while wanted == READ and connection.pending():
                wanted = life.send(READ)
        except StopIteration:
            pass
        except FaultError as error:
            fault = error
        except OSError as error:
            fault = as_fault(error)
        else:
            if not registered:
                self._selector.register(connection.fileno(), wanted, connection)
            elif wanted != registered:
                self._selector.modify(connection.fileno(), wanted, connection)
            self._running[connection] = (life, wanted, ended)
            return
        del self._running[connection]
        self._forget(connection)
        ended(fault)

    def _forget(self, connection: Connection) -> None:
        if connection.fileno() >= 0:
            with suppress(KeyError, ValueError):
                self._selector.unregister(connection.fileno())
