"""Send one POST to one collector: TLS always verified, no redirects, no settings from the environment.

The request runs in a thread of its own. So a slow resolver or portal cannot hold the caller beyond its timeout, and a
stop takes effect during the wait.
"""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

if TYPE_CHECKING:
    import requests
    from urllib3.connection import HTTPConnection

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
CONNECT_S: Final = 10.0
STOP_GRACE_S: Final = 2.0
"""How long an answer that is under way may still take after a stop: it spares sending the batch again."""

_SLICE_S: Final = 0.2
_CIPHERS: Final = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
"""Suites with forward secrecy: those that Python chooses by itself. Debian's Python takes OpenSSL's list instead, which
has static RSA and PSK, too."""
_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which Python's ssl does not define


@dataclass(frozen=True, slots=True)
class Collector:
    """Collector as configured, with its token. `allow_unchecked_time` counts only with a CA file of its own."""

    url: str
    token: str | None = None
    ca_file: str | None = None
    allow_unchecked_time: bool = False
    proxy: str | None = None

    def __repr__(self) -> str:
        """Keep the token out of tracebacks and logs."""
        return f"Collector({self.url})"

    @property
    def time_unchecked(self) -> bool:
        """Return True when certificates are accepted regardless of this device's date."""
        return self.allow_unchecked_time and self.ca_file is not None and self.url.lower().startswith("https:")

    def endpoint(self, path: str) -> str:
        """Return the URL of a path below the configured one, which may lack its last slash."""
        return urljoin(self.url if self.url.endswith("/") else self.url + "/", path)


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer to a request, from a collector or not. Header lookup ignores case.

    `rtt_s` is from the call to the answer's headers, `took_s` from the call to the end of its body. `body` is unpacked,
    `wire_bytes` is its size as received.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    rtt_s: float
    took_s: float = 0.0
    wire_bytes: int = 0


class TransportError(Exception):
    """Raised without a complete answer. `reason` is `unreachable`, `timeout`, `reset`, `tls` or `stopped`, `why` a
    failure code."""

    def __init__(self, reason: str, detail: str, why: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.why = why or (reason if reason in ("timeout", "reset") else None)


class Line:
    """Connection in use. Another thread can close it during any wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._twin: socket.socket | None = None
        self._cut = False

    def remember(self, connection: socket.socket) -> socket.socket:
        """Register a new connection. A duplicate is kept, since TLS takes over the first one."""
        with self._lock:
            if self._twin is not None:
                self._twin.close()
            self._twin = connection.dup()
            if self._cut:
                self._shut()
        return connection

    def cut(self) -> None:
        """Close the connection, and every later one of this line."""
        with self._lock:
            self._cut = True
            self._shut()

    def _shut(self) -> None:
        if self._twin is not None:
            with suppress(OSError):
                self._twin.shutdown(socket.SHUT_RDWR)
            self._twin.close()
            self._twin = None


@dataclass(frozen=True, slots=True)
class Channel:
    """Session with one collector and its connection. Not reused after a failure."""

    session: requests.Session
    line: Line

    def close(self) -> None:
        """Close the connection."""
        self.line.cut()
        self.session.close()


def open_channel(collector: Collector) -> Channel:
    """Open a session that uses only the configuration: no proxy, netrc or CA from the environment.

    Raises OSError for a CA file that is missing or holds no certificate.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    line = Line()

    from sigprobe.net.ca_files import load_ca
    from sigprobe.net.http_response import Response
    from sigprobe.net.tls import PipeLikeSocket

    class Plain(HTTPConnection):
        response_class = Response

        def _new_conn(self) -> socket.socket:
            return line.remember(_connect(self))

    class Secure(HTTPSConnection):
        response_class = Response

        def _new_conn(self) -> socket.socket:
            return line.remember(_connect(self))

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    pools: dict[str, Any] = {"http": PlainPool, "https": SecurePool}

    class Watched(HTTPAdapter):
        """Verify with the collector's own CA if configured, and without dates if opted in."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **(kwargs | options))
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(proxy, **(kwargs | options))
            manager.pool_classes_by_scheme = pools
            return manager

        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
            if collector.ca_file is not None:
                conn.ca_certs = None  # the context holds the collector's own CA; the public ones would join it

    options: dict[str, Any] = {}
    if collector.url.lower().startswith("https:"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        if collector.ca_file is not None:
            load_ca(context, collector.ca_file)
            if collector.time_unchecked:
                context.verify_flags |= _NO_CHECK_TIME
        context.sslsocket_class = PipeLikeSocket
        options["ssl_context"] = context
    session = requests.Session()
    session.trust_env = False
    if collector.proxy:
        session.proxies = {"http": collector.proxy, "https": collector.proxy}
    adapter = Watched()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return Channel(session, line)


def _connect(connection: HTTPConnection) -> socket.socket:
    """Connect to the first address that answers: a dead IPv6 path costs a quarter second, not the whole timeout."""
    from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

    from sigprobe.net import sockets
    from sigprobe.net.connect_race import Race
    from sigprobe.net.limits import Deadline

    timeout_s = connection.timeout if isinstance(connection.timeout, int | float) else CONNECT_S
    deadline, stop = Deadline.after(timeout_s), threading.Event()
    late = f"no connection to {connection.host} within {timeout_s:g} s"
    host, port = connection._dns_host, connection.port
    found = sockets.look_up(host, port, deadline, stop, getaddrinfo=socket.getaddrinfo)
    if found.error == "timeout":
        raise ConnectTimeoutError(connection, late)
    if not found.addresses:
        unknown = socket.gaierror(found.error or "no address")
        raise NameResolutionError(connection.host, connection, unknown) from unknown
    race = Race(deadline, stop)
    try:
        sock, _, _ = race.run(found.addresses)
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, late) from error
    except OSError as error:
        raise NewConnectionError(connection, f"Failed to establish a new connection: {error}") from error
    finally:
        race.settle()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(timeout_s)
    return sock


def post(
    channel: Channel,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout_s: float,
    stop: threading.Event | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Reply:
    """Send one body and read the whole answer, at most `MAX_ANSWER_BYTES`, within `timeout_s` in total.

    Returns or raises by then, whatever the network does. A set `stop` shortens the wait to `STOP_GRACE_S`. Raises
    TransportError.
    """
    started = clock()
    box: list[Reply | TransportError] = []
    done = threading.Event()

    def work() -> None:
        try:
            box.append(_exchange(channel.session, url, body, headers, timeout_s, started, clock))
        except TransportError as error:
            box.append(error)
        except Exception as error:  # noqa: BLE001 - a thread must hand over its failure, whatever it is
            box.append(TransportError("reset", _detail(error)))
        finally:
            done.set()

    threading.Thread(target=work, name="post", daemon=True).start()
    until = started + timeout_s
    stopped = False
    try:
        while not done.wait(max(0.0, min(_SLICE_S, until - clock()))) and clock() < until:
            if not stopped and stop is not None and stop.is_set():
                stopped = True
                until = min(until, clock() + STOP_GRACE_S)
    except BaseException:
        channel.line.cut()
        raise
    if not box:
        channel.line.cut()
        raise TransportError("stopped" if stopped else "timeout", f"no whole answer within {timeout_s:.0f} s")
    if isinstance(box[0], TransportError):
        raise box[0]
    return box[0]


def _exchange(
    session: requests.Session,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout_s: float,
    started: float,
    clock: Callable[[], float],
) -> Reply:
    import requests
    import urllib3

    from sigprobe.net import http1

    try:
        answer = session.post(
            url,
            data=body,
            headers=dict(headers),
            timeout=(min(CONNECT_S, timeout_s), timeout_s),
            allow_redirects=False,
            stream=True,
        )
        with answer:
            rtt = clock() - started
            chunks: list[bytes] = []
            size = 0
            # read1 reads chunk by chunk with our own parser; iter_content would use urllib3's
            while chunk := answer.raw.read1(64 * 1024, decode_content=True):
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise TransportError("reset", "the answer is too long")
                if clock() - started > timeout_s:
                    raise TransportError("timeout", "the answer took too long")
            body, crossed = b"".join(chunks), answer.raw.tell()
            return Reply(answer.status_code, answer.headers, body, rtt, clock() - started, crossed)
    except http1.ProtocolError as error:
        raise TransportError("reset", _detail(error), "bad_response") from error
    except requests.exceptions.SSLError as error:
        raise TransportError("tls", _detail(error), _why(error) or "tls_failed") from error
    except requests.exceptions.Timeout as error:
        raise TransportError("timeout", _detail(error)) from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        reason = "unreachable" if _never_connected(error) else "reset"
        raise TransportError(reason, _detail(error), _why(error)) from error


def _never_connected(error: BaseException) -> bool:
    import urllib3

    never = (urllib3.exceptions.NewConnectionError, socket.gaierror, ConnectionRefusedError)
    return any(isinstance(link, never) for link in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception of requests and its causes."""
    link: BaseException | None = error
    for _ in range(8):
        if link is None:
            return
        yield link
        inner = getattr(link, "reason", None) or next((a for a in link.args if isinstance(a, BaseException)), None)
        link = inner if isinstance(inner, BaseException) else link.__cause__


_WHY: Final = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.ENETUNREACH: "network_unreachable",
    errno.EHOSTUNREACH: "host_unreachable",
}


def _why(error: BaseException) -> str | None:
    """Return the failure code for an exception of requests; None without a matching one."""
    from sigprobe.net.sockets import certificate_code, tls_code

    for link in _chain(error):
        if isinstance(link, ssl.SSLCertVerificationError):
            return certificate_code(link.verify_code, "tls_untrusted")
        if isinstance(link, ssl.SSLError) and not isinstance(link, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return tls_code(link)
        if isinstance(link, socket.gaierror):
            return "name_not_found"
        if isinstance(link, OSError) and link.errno in _WHY:
            return _WHY[link.errno]
    return None


def _detail(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
