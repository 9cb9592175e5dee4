"""Sockets and names with one deadline for everything, and a stop that is obeyed within a tenth of a second."""

from __future__ import annotations

import errno
import ipaddress
import os
import queue
import re
import selectors
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sigprobe.net.limits import Deadline

SLICE_S: Final = 0.1
"""The longest single wait in the kernel, so that a stop is seen soon."""

GetAddrInfo = Callable[..., list[Any]]


class StoppedError(Exception):
    """The run was interrupted while this check waited."""


def wait_slice(deadline: Deadline, stop: threading.Event) -> float:
    """Seconds to wait now. Raises StoppedError on a stop and TimeoutError once the deadline has passed."""
    if stop.is_set():
        raise StoppedError
    left = deadline.remaining()
    if left <= 0:
        raise TimeoutError
    return min(SLICE_S, left)


_STARTED: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EWOULDBLOCK)})


def connect(sock: socket.socket, address: Any, deadline: Deadline, stop: threading.Event) -> None:
    """Connect within the deadline. Raises OSError as `connect` would, TimeoutError, or StoppedError."""
    wait_slice(deadline, stop)
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code in _STARTED:
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
    """The failure code of a socket error; None when it is no fault of the network or the target."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return _CODES.get(error.errno) if error.errno is not None else None


def reason_of(error: OSError) -> str:
    """A socket error in few technical words, such as `ECONNREFUSED`."""
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
    """The failure code of an OpenSSL verify code (X509_V_ERR_*)."""
    return _CERTIFICATE_CODES.get(verify_code, otherwise)


_TLS_REASONS: Final = {
    **dict.fromkeys(
        ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_SSL_VERSION", "VERSION_TOO_LOW"), "tls_too_old"
    ),
    **dict.fromkeys(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL"), "tls_not_spoken"),
}


def tls_code(error: ssl.SSLError) -> str:
    """The failure code of a TLS handshake that failed for another reason than the certificate.

    `tls_refused`: the server ended it with an alert; `tls_too_old`: it has no version of 1.2 or newer;
    `tls_not_spoken`: what answered does not speak TLS.
    """
    reason = error.reason or ""
    return _TLS_REASONS.get(reason) or ("tls_refused" if "ALERT" in reason else "tls_failed")


# --- several addresses --------------------------------------------------------------------------------------

STAGGER_S: Final = 0.25
"""The head start of one address before the next is tried (RFC 8305, 5)."""


@dataclass(slots=True)
class Attempt:
    """One connect to one address. `code` is None for the one that is used, `slower` for one that was overtaken."""

    address: Address
    ms: float
    code: str | None
    connected: bool = False


@dataclass(slots=True)
class _Pending:
    sock: socket.socket
    address: Address
    started_s: float


def by_turns(addresses: Sequence[Address]) -> list[Address]:
    """The addresses with the families by turns, the first one's family first (RFC 8305, 4)."""
    first = [a for a in addresses if a.family == addresses[0].family]
    others = [a for a in addresses if a.family != addresses[0].family]
    mixed: list[Address] = []
    for index in range(max(len(first), len(others))):
        mixed += first[index : index + 1] + others[index : index + 1]
    return mixed


class Race:
    """Connect to several addresses, each a quarter second after the one before; the first that answers wins.

    `attempts` lists them in the order of their start. Connections that were overtaken stay open until `settle`, so
    that the time of the other family is known as well.
    """

    def __init__(
        self,
        deadline: Deadline,
        stop: threading.Event,
        *,
        make: Callable[[Address], socket.socket] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.attempts: list[Attempt] = []
        self._deadline = deadline
        self._stop = stop
        self._make = make or (lambda address: socket.socket(address.family, socket.SOCK_STREAM))
        self._clock = clock
        self._overtaken: list[tuple[_Pending, Attempt]] = []
        self._won_s = 0.0

    def run(self, addresses: Sequence[Address]) -> tuple[socket.socket, Address, float]:
        """Return the connected socket, its address and its ms. Raises the first OSError, TimeoutError, StoppedError."""
        waiting = by_turns(addresses)
        stagger_s = min(STAGGER_S, self._deadline.remaining() / (len(waiting) + 2))
        pending: dict[int, _Pending] = {}
        rows: dict[Address, Attempt] = {}
        first_error: OSError | None = None
        next_s = self._clock()
        with selectors.DefaultSelector() as selector:
            try:
                while waiting or pending:
                    now = self._clock()
                    if waiting and (now >= next_s or not pending):
                        address = waiting.pop(0)
                        row = rows[address] = Attempt(address, 0.0, None)
                        self.attempts.append(row)
                        next_s = now + stagger_s
                        try:
                            one = self._start(address)
                        except OSError as error:
                            first_error = first_error or error
                            row.code = code_of(error) or "host_unreachable"
                            next_s = now
                            continue
                        pending[one.sock.fileno()] = one
                        selector.register(one.sock, selectors.EVENT_WRITE)
                    slice_s = wait_slice(self._deadline, self._stop)
                    if waiting:
                        slice_s = min(slice_s, max(0.0, next_s - self._clock()))
                    for key, _ in selector.select(slice_s):
                        now = self._clock()
                        one = pending.pop(key.fd)
                        selector.unregister(one.sock)
                        row = rows[one.address]
                        row.ms = (now - one.started_s) * 1000
                        code = one.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                        if code == 0:
                            one.sock.setblocking(True)
                            self._won_s, row.connected = row.ms / 1000, True
                            self._note_overtaken(pending, rows, now)
                            return one.sock, one.address, row.ms
                        one.sock.close()
                        error = OSError(code, os.strerror(code))
                        first_error = first_error or error
                        row.code = code_of(error) or "host_unreachable"
                        next_s = now
            except TimeoutError:
                self._give_up(pending, rows, "timeout")
                raise first_error or TimeoutError() from None
            except BaseException:
                self._give_up(pending, rows, "interrupted")
                raise
        assert first_error is not None
        raise first_error

    def settle(self) -> None:
        """Close what was overtaken. One that has connected meanwhile gets the time its handshake took.

        One that was silent for much longer than the winner took counts as `timeout`, else as `slower`.
        """
        for one, attempt in self._overtaken:
            took_s = _handshake_s(one.sock)
            waited_s = self._clock() - one.started_s
            attempt.connected = took_s is not None
            attempt.ms = (waited_s if took_s is None else took_s) * 1000
            if took_s is None and waited_s >= max(0.8 * STAGGER_S, 5 * self._won_s):
                attempt.code = "timeout"
            one.sock.close()
        self._overtaken.clear()

    def _start(self, address: Address) -> _Pending:
        sock = self._make(address)
        try:
            sock.setblocking(False)
            started_s = self._clock()
            code = sock.connect_ex(address.sockaddr)
            if code and code not in _STARTED:
                raise OSError(code, os.strerror(code))
        except BaseException:
            sock.close()
            raise
        return _Pending(sock, address, started_s)

    def _note_overtaken(self, pending: dict[int, _Pending], rows: dict[Address, Attempt], now: float) -> None:
        for one in pending.values():
            row = rows[one.address]
            row.ms, row.code = (now - one.started_s) * 1000, "slower"
            self._overtaken.append((one, row))

    def _give_up(self, pending: dict[int, _Pending], rows: dict[Address, Attempt], code: str) -> None:
        for one in pending.values():
            row = rows[one.address]
            row.ms, row.code = (self._clock() - one.started_s) * 1000, code
            one.sock.close()


_TCP_INFO_RTT: Final = 68
"""Offset of `tcpi_rtt` (microseconds) in Linux' `struct tcp_info`."""


def _handshake_s(sock: socket.socket) -> float | None:
    """The round trip that the kernel took from a finished handshake; None while there is none, or no such number."""
    try:
        sock.getpeername()
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    except (OSError, AttributeError):
        return None
    if len(info) < _TCP_INFO_RTT + 4:
        return None
    return int.from_bytes(info[_TCP_INFO_RTT : _TCP_INFO_RTT + 4], sys.byteorder) / 1e6 or None


# --- names --------------------------------------------------------------------------------------------------

_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def ascii_hostname(name: str) -> str:
    """A host name as it is asked for: punycode for other scripts, no final dot. Raises ValueError for none."""
    host = name
    if not name.isascii():
        import idna

        try:
            host = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(f"not a host name: {error}") from error
    host = host.removesuffix(".")
    if not 1 <= len(host) <= 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise ValueError("not a host name: labels of letters, digits, - and _, at most 63 characters each, 253 in all")
    return host


def is_ip(text: str) -> bool:
    """True for an IPv4 or IPv6 address, the latter with or without a scope."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


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
