"""Describe a speed-test server: its endpoints, their requests, and the meaning of their refusals."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from sigprobe.measure.throughput.connection import FaultError
from sigprobe.net.challenge import challenge
from sigprobe.net.cookies import ChainCookies
from sigprobe.net.http1 import Head
from sigprobe.net.sockets import Address


@dataclass(frozen=True, slots=True)
class Server:
    """The server to measure against: the address that answered, its host name, and the paths of its endpoints."""

    address: Address
    host: str
    authority: str
    path: str
    suffix: str
    tls: ssl.SSLContext | None = None
    token: str | None = None
    ours: bool = False
    cookies: ChainCookies | None = None
    """Set by the redirects that led here; kept for this measurement only."""

    def request(self, method: str, name: str, query: str = "", *lines: str) -> bytes:
        """Return the head of a request to one of the endpoints."""
        scheme = "https" if self.tls else "http"
        cookie = self.cookies and self.cookies.header(f"{scheme}://{self.authority}{self.path}{name}{self.suffix}")
        head = [
            f"{method} {self.path}{name}{self.suffix}{'?' + query if query else ''} HTTP/1.1",
            f"Host: {self.authority}",
            "User-Agent: sigprobe",
            "Accept: */*",
            "Accept-Encoding: identity",
            *([f"Authorization: Bearer {self.token}"] if self.token else []),
            *([f"Cookie: {cookie}"] if cookie else []),
            *lines,
        ]
        return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")


def check_status(head: Head) -> None:
    """Raise FaultError for an answer that is not a speed test's."""
    status = head.status
    mark = challenge(head.headers)
    if mark is not None:
        raise FaultError("http_challenge", f"HTTP {status}, {mark}", status)
    if status in (200, 204):
        return
    if status in (429, 503):
        wait = head.headers.get("retry-after")
        raise FaultError("server_busy", f"HTTP {status}" + (f", Retry-After {wait}" if wait else ""), status)
    if status in (401, 403):
        raise FaultError("token_refused", f"HTTP {status}", status)
    if status in (404, 405, 410) or 300 <= status < 400:
        raise FaultError("no_endpoint", f"HTTP {status}", status)
    raise FaultError("bad_response", f"HTTP {status}", status)
