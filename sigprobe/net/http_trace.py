"""Time the phases of an HTTP request, and end it at the check's deadline.

It imports requests and urllib3 at the top, so it is itself imported only by a check that runs. The phases:

- `dns_ms`: the system's lookup of the host; null for an address.
- `tcp_ms`: connect to the address that answered, from SYN to established; other addresses are listed apart.
- `tls_ms`: the handshake, certificate check included, from ClientHello until the connection is usable.
- `send_ms`: from handing the request to the kernel until all of it is handed over.
- `ttfb_ms`: from there until the first byte of the answer was read.

Every wait in the kernel is at most a tenth of a second, so a server that drips a byte a second is cut at the
deadline and a stop is obeyed.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from sigprobe.net import http1, sockets, tls
from sigprobe.net.connect_race import Attempt, Race
from sigprobe.net.http_response import Response
from sigprobe.net.limits import DataBudget, Deadline, rounded
from sigprobe.record.result import format_time

MAX_ADDRESSES: Final = 16

T = TypeVar("T")
Resolve = Callable[[str, int, Deadline, threading.Event], sockets.Lookup]


class FetchError(Exception):
    """Raised for a failed fetch: a failure code and a technical detail. Not an OSError: no library rewrites it."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class LimitError(Exception):
    """Raised when the allowed bytes have arrived."""


@dataclass(slots=True)
class Trace:
    """Times, addresses and bytes of one request. Bytes are those above TLS; `max_bytes` limits the received ones."""

    deadline: Deadline
    stop: threading.Event
    budget: DataBudget
    max_bytes: int
    resolve: Resolve = sockets.look_up
    clock: Callable[[], float] = time.monotonic
    context: ssl.SSLContext | None = None

    phase: str = "dns"
    dns_ms: float | None = None
    tcp_ms: float | None = None
    tls_ms: float | None = None
    send_ms: float | None = None
    ttfb_ms: float | None = None
    tried: list[Attempt] = field(default_factory=list)
    address: sockets.Address | None = None
    tls_version: str | None = None
    tls_cipher: str | None = None
    cert_not_after: str | None = None
    cert_issuer: str | None = None
    first_byte_s: float | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    _race: Race | None = None
    _opened: float | None = None
    _last_read: float | None = None
    _send_start: float | None = None
    _send_end: float | None = None

    def total_ms(self) -> float | None:
        """From before the lookup until the last byte, or the end, was read."""
        if self._opened is None or self._last_read is None:
            return None
        return (self._last_read - self._opened) * 1000

    def way(self) -> dict[str, Any]:
        """Path facts of the request, under the names that every kind over HTTP has."""
        self.settle()
        return {
            "dns_ms": rounded(self.dns_ms),
            "tcp_ms": rounded(self.tcp_ms),
            "tls_ms": rounded(self.tls_ms),
            "send_ms": rounded(self.send_ms),
            "ttfb_ms": rounded(self.ttfb_ms),
            "family": None if self.address is None else ("ipv6" if self.address.family == socket.AF_INET6 else "ipv4"),
            "address": None if self.address is None else str(self.address),
            "addresses_tried": [
                {"address": str(t.address), "ms": round(t.ms, 3), "failure": t.code} for t in self.tried
            ],
            "tcp_ipv4_ms": self._family_ms(socket.AF_INET),
            "tcp_ipv6_ms": self._family_ms(socket.AF_INET6),
            "tls_version": self.tls_version,
            "tls_cipher": self.tls_cipher,
            "cert_not_after": self.cert_not_after,
        }

    def _family_ms(self, family: int) -> float | None:
        """Return the shortest connect over one family; None when there was none."""
        return rounded(min((t.ms for t in self.tried if t.connected and t.address.family == family), default=None))

    def settle(self) -> None:
        """Close connections that lost the race, and note the times of those that completed."""
        if self._race is not None:
            self._race.settle()

    def renew(self) -> None:
        """Reset the times for the next request on the connection."""
        self.phase = "send"
        self.send_ms = self.ttfb_ms = self.first_byte_s = self._send_start = self._send_end = None

    def open(self, host: str, port: int) -> socket.socket:
        """Look the host up and connect to the first of its addresses that answers (RFC 8305)."""
        self._opened = self.clock()
        try:
            found = self.resolve(host, port, self.deadline, self.stop)
        except sockets.StoppedError:
            raise FetchError("interrupted", "dns") from None
        self.dns_ms = found.ms
        if found.error == "timeout":
            raise FetchError("timeout", "dns: the system's resolver did not answer in time")
        if found.error is not None or not found.addresses:
            raise FetchError("name_not_found", found.error)
        self.phase = "tcp"
        self.settle()
        self._race = Race(self.deadline, self.stop, make=_plain_socket, clock=self.clock)
        self._race.attempts = self.tried
        try:
            sock, self.address, self.tcp_ms = self._race.run(found.addresses[:MAX_ADDRESSES])
        except sockets.StoppedError:
            raise FetchError("interrupted", "tcp") from None
        except OSError as error:
            raise self._failed(error) from None
        assert isinstance(sock, PlainSocket)
        sock.trace = self
        return sock

    def secure(self, sock: socket.socket, host: str) -> ssl.SSLSocket:
        """Shake hands over TLS and keep what the certificate says. The host is verified, always."""
        self.phase = "tls"
        assert self.context is not None
        wrapped = self.context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        assert isinstance(wrapped, SecureSocket)
        wrapped.trace = self
        try:
            start = self.clock()
            self._until_done(wrapped, wrapped.do_handshake)
            self.tls_ms = (self.clock() - start) * 1000
        except BaseException:
            wrapped.close()
            raise
        self.tls_version = wrapped.version()
        cipher = wrapped.cipher()
        self.tls_cipher = cipher[0] if cipher else None
        self.cert_not_after, self.cert_issuer = certificate_facts(wrapped.getpeercert() or {})
        return wrapped

    def send(self, sock: socket.socket, count: int, call: Callable[[], None]) -> None:
        """Write the request, or a part of it."""
        self.phase = "send"
        sock.settimeout(max(self.deadline.remaining(), 0.001))
        start = self.clock()
        if self._send_start is None:
            self._send_start = start
        try:
            call()
        except (BrokenPipeError, ConnectionResetError):
            raise  # the layer above goes on, since the server may have answered before it closed
        except OSError as error:
            raise self._failed(error) from error
        self._send_end = self.clock()
        self.send_ms = (self._send_end - self._send_start) * 1000
        self.bytes_sent += count
        self.budget.spend(count)
        self.phase = "wait"

    def receive(self, sock: socket.socket, wanted: int, call: Callable[[int], int]) -> int:
        """Read at most `wanted` bytes. Raises LimitError when no more may arrive."""
        room = self.max_bytes - self.bytes_received
        if room <= 0:
            raise LimitError
        size = min(wanted, room)
        count = self._until_done(sock, lambda: call(size))
        self._last_read = self.clock()
        if self.ttfb_ms is None and self._send_end is not None and count:
            self.first_byte_s = self._last_read
            self.ttfb_ms = (self._last_read - self._send_end) * 1000
            self.phase = "answer"
        self.bytes_received += count
        self.budget.spend(count)
        return count

    def _until_done(self, sock: socket.socket, call: Callable[[], T]) -> T:
        while True:
            try:
                sock.settimeout(sockets.wait_slice(self.deadline, self.stop))
            except sockets.StoppedError:
                raise FetchError("interrupted", self.phase) from None
            except TimeoutError as error:
                raise self._failed(error) from None
            try:
                return call()
            except TimeoutError:
                continue
            except OSError as error:
                raise self._failed(error) from error

    def _failed(self, error: OSError) -> FetchError:
        if isinstance(error, TimeoutError):
            return FetchError("timeout", f"in phase {self.phase}")
        if isinstance(error, ssl.SSLCertVerificationError):
            return FetchError(sockets.certificate_code(error.verify_code), error.verify_message)
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return FetchError("reset", f"closed in phase {self.phase}")
        if isinstance(error, ssl.SSLError):
            return FetchError(sockets.tls_code(error), error.reason or str(error))
        code = sockets.code_of(error)
        if code is None:  # this device's own trouble, such as too many open files
            raise RuntimeError(sockets.reason_of(error)) from error
        return FetchError(code, f"{sockets.reason_of(error)} in phase {self.phase}")


def _plain_socket(address: sockets.Address) -> socket.socket:
    sock = PlainSocket(address.family, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class PlainSocket(socket.socket):
    """A TCP socket whose every read and write goes through its trace."""

    trace: Trace

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Write all of `data`."""
        self.trace.send(self, len(data), lambda: socket.socket.sendall(self, data, flags))

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Read into `buffer`."""
        return self.trace.receive(
            self, nbytes or len(buffer), lambda count: socket.socket.recv_into(self, buffer, count, flags)
        )


class SecureSocket(tls.PipeLikeSocket):
    """A TLS socket whose every read and write goes through its trace."""

    trace: Trace

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Write all of `data`."""
        self.trace.send(self, len(data), lambda: tls.PipeLikeSocket.sendall(self, data, flags))

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Read into `buffer`."""
        return self.trace.receive(
            self, nbytes or len(buffer), lambda count: ssl.SSLSocket.recv_into(self, buffer, count, flags)
        )


def secure_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Return a verifying client context of this module's sockets. Raises FetchError when the CA file cannot be read."""
    try:
        context = tls.client_context(ca_file)
    except OSError as error:  # a file that holds no certificate is an SSLError, which is one, too
        raise FetchError("tls_failed", f"CA file: {sockets.reason_of(error)}") from error
    context.sslsocket_class = SecureSocket
    return context


def certificate_facts(certificate: Any) -> tuple[str | None, str | None]:
    """Return the end of a certificate as RFC 3339 UTC and its issuer's name, from what `getpeercert` gives."""
    text = certificate.get("notAfter")
    end = None if text is None else datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
    names = dict(pair for part in certificate.get("issuer", ()) for pair in part)
    issuer = ", ".join(names[key] for key in ("organizationName", "commonName") if key in names)
    return None if end is None else format_time(end), issuer[:200] or None


def protocol_error(error: BaseException) -> FetchError:
    """Map an HTTP library's error for an unusable answer to a failure code."""
    causes = [error]
    while len(causes) < 8:
        last = causes[-1]
        inner = next((arg for arg in last.args if isinstance(arg, BaseException)), None)
        following = inner or last.__cause__ or last.__context__
        if following is None:
            break
        causes.append(following)
    for cause in causes:
        if isinstance(cause, http.client.IncompleteRead | urllib3.exceptions.IncompleteRead):
            return FetchError("http_truncated", "the body ended too early")
        if isinstance(cause, http.client.RemoteDisconnected):
            return FetchError("reset", "closed without an answer")
        if isinstance(cause, http1.ProtocolError):
            return FetchError("bad_response", str(cause))
    return FetchError("bad_response", type(causes[-1]).__name__)


class _PlainConnection(HTTPConnection):
    trace: ClassVar[Trace]
    response_class = Response

    def _new_conn(self) -> socket.socket:
        return self.trace.open(self._dns_host, self.port)


class _SecureConnection(HTTPSConnection):
    trace: ClassVar[Trace]
    response_class = Response

    def connect(self) -> None:
        # urllib3's own connects and shakes hands in one step, with one timeout for each
        self.sock = self.trace.open(self._dns_host, self.port)
        self.sock = self.trace.secure(self.sock, self.host)
        self.is_verified = True


class _TracedAdapter(HTTPAdapter):
    """An adapter for one request: its connections belong to one trace and are never pooled for another."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **kwargs)
        kept = {"trace": self._trace}
        plain = type("PlainConnection", (_PlainConnection,), kept)
        secure = type("SecureConnection", (_SecureConnection,), kept)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }


class _TracedSession(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """No redirect here: requests would read the whole body first, however long it is."""
        return


def session(trace: Trace) -> requests.Session:
    """Return a fresh session for one request: nothing from the environment, no cookies, no retries, no redirects.

    The answer's body is unread when used with `stream=True`; close the session to close the connection.
    """
    from http.cookiejar import DefaultCookiePolicy

    fresh = _TracedSession()
    fresh.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # net/cookies.py keeps those of a chain
    fresh.trust_env = False
    fresh.headers.clear()
    fresh.adapters.clear()
    adapter = _TracedAdapter(trace)
    fresh.mount("http://", adapter)
    fresh.mount("https://", adapter)
    return fresh
