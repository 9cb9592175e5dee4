"""Numbers that a `web` check records."""

from __future__ import annotations

from typing import Any, Final, Literal

from typing_extensions import TypedDict

from sigprobe.measure.http.data import TriedData


class ResourceData(TypedDict):
    """One resource: what it is for, its status, the ms from its request to its last byte, its payload as sent.

    `failure` is null for a complete one; `http_status` is complete too, but with an error status.
    """

    url: str
    use: str
    status_code: int | None
    ms: float | None
    bytes_received: int
    compressed: bool | None
    failure: str | None


class WebData(TypedDict):
    """A page and its resources. The phases are those of `net/http_trace.py`, of the page's last request.

    `first_byte_ms`, `page_ms` and `total_ms` run from before the lookup to the page's first byte, its last byte, and
    the last byte of everything; `total_ms` is null, and `total_failure` says why, when something did not come whole.
    Payload is counted as it crossed the wire: `page_bytes`, and with the resources `bytes_received`;
    `page_compressed` and `resources_compressed` say how much of it was packed on the way. `headers_bytes` is what
    else arrived above TLS. `resources_left_out` were named by the page and not begun, because of `max_resources`,
    the data or the time. `resources` lists those that failed first, then the slowest, without query values.
    """

    status_code: int | None
    dns_ms: float | None
    tcp_ms: float | None
    tls_ms: float | None
    send_ms: float | None
    ttfb_ms: float | None
    first_byte_ms: float | None
    page_ms: float | None
    total_ms: float | None
    total_failure: str | None
    page_bytes: int | None
    page_compressed: bool | None
    bytes_received: int
    bytes_sent: int
    headers_bytes: int
    resources_found: int | None
    resources_fetched: int | None
    resources_failed: int | None
    resources_left_out: int | None
    resources_compressed: int | None
    other_host_resources: int | None
    other_hosts: int | None
    connections: int | None
    resources: list[ResourceData]
    ended: Literal["complete", "resource_cap", "data_cap", "time_cap"] | None
    family: str | None
    address: str | None
    addresses_tried: list[TriedData]
    tcp_ipv4_ms: float | None
    tcp_ipv6_ms: float | None
    tls_version: str | None
    tls_cipher: str | None
    cert_not_after: str | None
    location: str | None
    redirect_host: str | None
    redirects_followed: int | None


_LISTS: Final = ("addresses_tried", "resources")


_COUNTS: Final = ("bytes_received", "bytes_sent", "headers_bytes", "connections")


def empty_data() -> dict[str, Any]:
    """Return every key of the kind's data, with nothing known yet."""
    return {
        **dict.fromkeys(WebData.__annotations__),
        **{name: [] for name in _LISTS},
        **dict.fromkeys(_COUNTS, 0),
    }
