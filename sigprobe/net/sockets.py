"""Connect and resolve with one deadline, and react to a stop within a tenth of a second."""

from __future__ import annotations

import errno
import os
import queue
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sigprobe.net.limits import Deadline
from sigprobe.record.host_names import is_ip

SLICE_S: Final = 0.1
"""The longest single wait in the kernel, so that a stop is seen soon."""

GetAddrInfo = Callable[..., list[Any]]


class StoppedError(Exception):
    """The run was interrupted while this check waited."""


def wait_slice(deadline: Deadline, stop: threading.Event) -> float:
    """Return seconds to wait now. Raises StoppedError on a stop and TimeoutError once the deadline has passed."""
    if stop.is_set():
        raise StoppedError
    left = deadline.remaining()
    if left <= 0:
        raise TimeoutError
    return min(SLICE_S, left)


STARTED: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EWOULDBLOCK)})


def connect(sock: socket.socket, address: Any, deadline: Deadline, stop: threading.Event) -> None:
    """Connect within the deadline. Raises OSError as `connect` would, TimeoutError, or StoppedError."""
    wait_slice(deadline, stop)
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code in STARTED:
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_WRITE)
            while not selector.select(wait_slice(deadline, stop)):
                pass
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    sock.setblocking(True)


_CODES: Final = {
    **dict.fromkeys((errno.ECONNREFUSED,), "refused"),
    **dict.fromkeys((errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE), "reset"),
    **dict.fromkeys((errno.EHOSTUNREACH, errno.EHOSTDOWN), "host_unreachable"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "permission"),
    **dict.fromkeys(
        # no IPv6 on this device shows as one of the last two
        (errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT),
        "network_unreachable",
    ),
}


def code_of(error: OSError) -> str | None:
    """Return the failure code of a socket error; None when it is no fault of the network or the target."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return _CODES.get(error.errno) if error.errno is not None else None


def reason_of(error: OSError) -> str:
    """Return a socket error in few technical words, such as `ECONNREFUSED`."""
    if error.errno is not None and error.errno in errno.errorcode:
        return errno.errorcode[error.errno]
    return str(error) or type(error).__name__


_CERTIFICATE_CODES: Final = {
    9: "tls_not_yet_valid",
    10: "tls_expired",
    **dict.fromkeys((18, 19, 20, 21), "tls_untrusted"),  # self-signed, or an issuer that is not known
    **dict.fromkeys((62, 64), "tls_hostname"),
}


def certificate_code(verify_code: int, otherwise: str = "tls_failed") -> str:
    """Return the failure code of an OpenSSL verify code (X509_V_ERR_*)."""
    return _CERTIFICATE_CODES.get(verify_code, otherwise)


_TLS_REASONS: Final = {
    **dict.fromkeys(
        ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_SSL_VERSION", "VERSION_TOO_LOW"), "tls_too_old"
    ),
    **dict.fromkeys(
        ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL"), "tls_not_spoken"
    ),
}


def tls_code(error: ssl.SSLError) -> str:
    """Return the failure code of a TLS handshake that failed for another reason than the certificate.

    `tls_refused`: the server ended it with an alert; `tls_too_old`: it has no version of 1.2 or newer;
    `tls_not_spoken`: what answered does not speak TLS.
    """
    reason = error.reason or ""
    alert = "ALERT" in reason or reason.startswith("TLSV1_")  # OpenSSL leaves the word out for some of them
    return _TLS_REASONS.get(reason) or ("tls_refused" if alert else "tls_failed")


# --- names --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """One way to reach a host: the socket family and what `connect` takes."""

    family: socket.AddressFamily
    sockaddr: Any

    def __str__(self) -> str:
        host, port = self.sockaddr[:2]
        return endpoint(host, port)


def endpoint(host: str, port: int) -> str:
    """`192.0.2.1:443`, `[2001:db8::1]:443`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the system's resolver said. Exactly one of `addresses` and `error` is filled; `ms` only on success.

    `error` is the name of the system's error (`EAI_NONAME`), or `timeout`.
    """

    addresses: tuple[Address, ...] = ()
    ms: float | None = None
    error: str | None = None


def look_up(
    host: str,
    port: int,
    deadline: Deadline,
    stop: threading.Event,
    *,
    getaddrinfo: GetAddrInfo = socket.getaddrinfo,
    clock: Callable[[], float] = time.monotonic,
) -> Lookup:
    """Ask the system for the addresses of `host`, as an ordinary program would, in its order.

    `getaddrinfo` knows no deadline, so it runs in a worker that is left behind when it does not come back.
    Raises StoppedError.
    """
    if is_ip(host):
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror as error:  # a scope that is no interface of this device
            return Lookup(error=_gai_name(error))
        return Lookup(_addresses(rows))
    answers: queue.SimpleQueue[Lookup | BaseException] = queue.SimpleQueue()

    def work() -> None:
        start = clock()
        try:
            rows = getaddrinfo(host, port, type=socket.SOCK_STREAM)
            ms = (clock() - start) * 1000
            found = _addresses(rows)
            answers.put(Lookup(found, ms) if found else Lookup(error="EAI_NODATA"))
        except (socket.gaierror, UnicodeError) as error:
            answers.put(Lookup(error=_gai_name(error)))
        except BaseException as error:  # noqa: BLE001 - handed to the caller, who raises it
            answers.put(error)

    threading.Thread(target=work, name=f"lookup-{host}", daemon=True).start()
    while True:
        try:
            answer = answers.get(timeout=wait_slice(deadline, stop))
        except queue.Empty:
            continue
        except TimeoutError:
            return Lookup(error="timeout")
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _addresses(rows: list[Any]) -> tuple[Address, ...]:
    known = (socket.AF_INET, socket.AF_INET6)
    return tuple(dict.fromkeys(Address(row[0], row[4]) for row in rows if row[0] in known))


_GAI: Final = {
    getattr(socket, name): name
    for name in ("EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_NONAME", "EAI_SYSTEM", "EAI_MEMORY", "EAI_FAMILY")
    if hasattr(socket, name)
}


def _gai_name(error: Exception) -> str:
    return _GAI.get(error.errno, str(error)) if isinstance(error, socket.gaierror) else str(error)
