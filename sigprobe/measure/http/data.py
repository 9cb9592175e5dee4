"""Numbers that an `http` check records."""

from __future__ import annotations

from typing_extensions import TypedDict


class TriedData(TypedDict):
    """One address a connection was tried to; `failure` is its code, null for the address that was used.

    `slower`: another address was faster; `ms` is then its handshake, or the time without an answer.
    """

    address: str
    ms: float
    failure: str | None


class HttpData(TypedDict):
    """One fetch. The phases are defined in `net/http_trace.py`; with redirects they are the last request's.

    `total_ms` runs from before the lookup to the last byte read, redirects included. `bytes_received` is the
    body as sent (before any content decoding), `headers_bytes` what else arrived above TLS, `body_bytes` the decoded
    body (null where its encoding cannot be undone), `bytes_sent` the request. `body_cut` is true when the body went on
    beyond `max_kb` or the data budget. `tcp_ipv4_ms` and `tcp_ipv6_ms` are the shortest connect over either family,
    null where none came about.
    `location` is where a redirect points, `redirect_host` its host where that is another one than was asked.
    """

    status_code: int | None
    dns_ms: float | None
    tcp_ms: float | None
    tls_ms: float | None
    send_ms: float | None
    ttfb_ms: float | None
    total_ms: float | None
    bytes_received: int | None
    bytes_sent: int | None
    headers_bytes: int | None
    body_bytes: int | None
    body_cut: bool | None
    text_found: bool | None
    http_version: str | None
    family: str | None
    address: str | None
    addresses_tried: list[TriedData]
    tcp_ipv4_ms: float | None
    tcp_ipv6_ms: float | None
    tls_version: str | None
    tls_cipher: str | None
    cert_not_after: str | None
    cert_issuer: str | None
    location: str | None
    redirect_host: str | None
    redirects_followed: int | None
    proxy: str | None
