"""Read a web server's certificate, clock and redirect. No token, no cookie; no body is kept.

It sees what is wrong with a certificate that a proper check refused, so nothing it reads is ever trusted.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Event
from typing import Final
from urllib.parse import urlsplit

import sigprobe
from sigprobe.measure.path.data import PeekData
from sigprobe.net import sockets
from sigprobe.net.http1 import HeadParser, ProtocolError
from sigprobe.net.limits import Deadline
from sigprobe.net.tls import client_context
from sigprobe.net.urls import redirect_target, same_host
from sigprobe.record.plausible_time import is_plausible_timestamp
from sigprobe.record.result import format_time

READ_BYTES: Final = 4096
"""Of a page. The head may be longer: what it says of the place to go to may stand behind many cookies."""
CACHE_DOUBT_S: Final = 60.0
"""From here on a date that came through a proxy may be that of a stored copy."""
_CACHE_MARKS: Final = (
    "x-cache",
    "x-cache-lookup",
    "cf-cache-status",
    "cache-status",
    "x-proxy-cache",
    "x-varnish-cache",
)
_STALE_WARNINGS: Final = ("110", "111", "112", "113")
TLS_BYTES: Final = 6000
"""About what a TLS handshake with its certificates takes, for the data budget."""


def peek(
    host: str,
    address: sockets.Address,
    deadline: Deadline,
    stop: Event,
    *,
    tls: bool,
    ca_file: str | None = None,
    known: str | None = None,
    method: str = "HEAD",
    padding: int = 0,
    wall: Callable[[], float] = time.time,
) -> tuple[PeekData, int]:
    """Request a page of `host` at this address; return the answer and the bytes used. Raises StoppedError.

    With `known`, what an earlier check said against the certificate, it is read without being verified again.
    `padding` bytes in a header make the request so long that it fills whole packets on its way up.
    """
    data = _empty(host, str(address.sockaddr[0]), int(address.sockaddr[1]), tls=tls, failure=known)
    used = 200
    verify = tls and known is None
    while True:
        try:
            data["phase"] = "tcp"
            with socket.socket(address.family, socket.SOCK_STREAM) as plain:
                sockets.connect(plain, address.sockaddr, deadline, stop)
                sock: socket.socket = plain
                if tls:
                    data["phase"] = "tls"
                    used += TLS_BYTES
                    plain.settimeout(max(0.01, deadline.remaining()))
                    sock = client_context(ca_file, verify=verify).wrap_socket(plain, server_hostname=host)
                    data["tls_verified"] = verify
                    _certificate(sock, data)
                data["phase"] = "answer"
                with sock:
                    used += _ask(sock, host, method, padding, data, deadline, wall)
            data["phase"] = None
        except ssl.SSLCertVerificationError as error:
            data["failure"] = sockets.certificate_code(error.verify_code)
            verify = False
            continue  # once more without trust, to see whose certificate it is and what time the server has
        except ssl.SSLError as error:
            data["failure"] = data["failure"] or sockets.tls_code(error)
        except OSError as error:
            data["failure"] = data["failure"] or sockets.code_of(error) or "host_unreachable"
        return data, used


def unnamed(host: str, port: int, *, tls: bool, failure: str) -> PeekData:
    """Return the look at a server whose name had no answer. Its address is empty."""
    data = _empty(host, "", port, tls=tls, failure=failure)
    data["phase"] = "dns"
    return data


def _empty(host: str, address: str, port: int, *, tls: bool, failure: str | None) -> PeekData:
    return {
        "host": host,
        "address": address,
        "port": port,
        "tls": tls,
        "failure": failure,
        "phase": None,
        "tls_verified": None,
        "cert_issuer": None,
        "cert_not_before": None,
        "cert_not_after": None,
        "status_code": None,
        "redirect_host": None,
        "clock_offset_s": None,
        "digest": None,
    }


def _padding(count: int) -> str:
    return f"X-Padding: {'0' * count}\r\n" if count else ""


def _ask(
    sock: socket.socket,
    host: str,
    method: str,
    padding: int,
    data: PeekData,
    deadline: Deadline,
    wall: Callable[[], float],
) -> int:
    request = (
        f"{method} / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sigprobe/{sigprobe.__version__}\r\n"
        # the server's own date is asked for, not that of a cache's copy
        f"Accept: */*\r\nCache-Control: no-cache\r\n{_padding(padding)}Connection: close\r\n\r\n"
    ).encode()
    sock.settimeout(max(0.01, deadline.remaining()))
    # a server that has closed may have said why: the reads below raise that
    with suppress(ssl.SSLEOFError, BrokenPipeError, ConnectionResetError):
        sock.sendall(request)
    parser = HeadParser(method)
    received, body = 0, b""
    try:
        while parser.head is None or (len(body) < READ_BYTES and parser.head.length != len(body)):
            sock.settimeout(max(0.01, deadline.remaining()))
            piece = sock.recv(READ_BYTES)
            received += len(piece)
            if not piece:
                break
            if parser.head is not None:
                body += piece
            else:
                body = parser.feed(piece) or b""
    except ProtocolError:
        data["failure"] = data["failure"] or "bad_response"
        return len(request) + received
    head = parser.head
    if head is None:
        data["failure"] = data["failure"] or ("bad_response" if received else "reset")
        return len(request) + received
    data["status_code"] = head.status
    data["clock_offset_s"] = offset_told(head.headers, wall())
    data["redirect_host"] = _elsewhere(host, head.headers.get("location"))
    if body:
        data["digest"] = hashlib.sha256(body[:READ_BYTES]).hexdigest()[:16]
    return len(request) + received + 100


def clock_offset_s(date: str | None, now_s: float) -> float | None:
    """Return a server's `Date` minus this device's time, in seconds; None without a usable date."""
    if not date:
        return None
    try:
        when = parsedate_to_datetime(date)
        # the header has whole seconds: half of one is the best guess
        return round(when.replace(tzinfo=when.tzinfo or UTC).timestamp() + 0.5 - now_s, 1)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def offset_told(headers: Mapping[str, str], now_s: float) -> float | None:
    """Return the offset by the `Date` of an answer; None if that does not tell the present time.

    `headers` have small names. A cache repeats the date at which it stored an answer, so a cached answer tells nothing;
    a proxy that does not say whether it answered from its cache is believed only where it confirms this clock.
    """
    offset = clock_offset_s(headers.get("date"), now_s)
    if offset is None or _from_cache(headers) or not is_plausible_timestamp(now_s + offset):
        return None
    return None if "via" in headers and abs(offset) > CACHE_DOUBT_S else offset


def _from_cache(headers: Mapping[str, str]) -> bool:
    """Return whether the answer was stored by a cache, by its headers (RFC 9111: `Age`, `Warning`; caches' own)."""
    age = headers.get("age", "0").split(",")[0].strip()
    if age != "0" or headers.get("warning", "").strip()[:3] in _STALE_WARNINGS:
        return True
    marks = ",".join(headers.get(name, "") for name in _CACHE_MARKS).lower()
    return re.search(r"\b(hit|stale|revalidated|updating)\b", marks) is not None


def _elsewhere(host: str, location: str | None) -> str | None:
    """Return the host a redirect leads to when it is another one, `www.` aside."""
    base = f"http://[{host}]/" if ":" in host else f"http://{host}/"
    target = redirect_target(base, 302, {"Location": location or ""})
    other = None if target is None else urlsplit(target).hostname
    return None if other is None or target is None or same_host(base, target) else other[:253]


# --- certificates -------------------------------------------------------------------------------------------


def _certificate(sock: socket.socket, data: PeekData) -> None:
    assert isinstance(sock, ssl.SSLSocket)
    der = sock.getpeercert(binary_form=True)
    if der is None:
        return
    try:
        issuer, start, end = certificate_parts(der)
    except (ValueError, IndexError):
        return
    data["cert_issuer"], data["cert_not_before"], data["cert_not_after"] = issuer[:200] or None, start, end


def certificate_parts(der: bytes) -> tuple[str, str | None, str | None]:
    """Return issuer, start and end of a certificate (RFC 5280); Python reads them of verified ones only.

    Raises ValueError or IndexError for what is no certificate.
    """
    outer = _sequence(der)
    fields = _items(_sequence(outer))
    if fields[0][0] == 0xA0:  # the version, which version 1 leaves out
        fields = fields[1:]
    _serial, _algorithm, issuer, validity = fields[:4]
    names = []
    for _tag, group in _items(issuer[1]):
        for _tag2, pair in _items(group):
            oid, value = _items(pair)[:2]
            if oid[1] in (b"\x55\x04\x0a", b"\x55\x04\x03"):  # organization, common name
                names.append(value[1].decode("utf-16-be" if value[0] == 0x1E else "utf-8", "replace"))
    start, end = (_time(tag, value) for tag, value in _items(validity[1])[:2])
    return ", ".join(names), start, end


def _items(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        tag, length, at = data[0], data[1], 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(data[2 : 2 + size], "big"), 2 + size
        if at + length > len(data):
            raise ValueError("cut short")
        found.append((tag, data[at : at + length]))
        data = data[at + length :]
    return found


def _sequence(data: bytes) -> bytes:
    tag, value = _items(data)[0]
    if tag != 0x30:
        raise ValueError("no sequence")
    return value


def _time(tag: int, value: bytes) -> str | None:
    text = value.decode("ascii", "replace")
    form = "%y%m%d%H%M%SZ" if tag == 0x17 else "%Y%m%d%H%M%SZ"
    try:
        return format_time(datetime.strptime(text, form).replace(tzinfo=UTC))
    except ValueError:
        return None
