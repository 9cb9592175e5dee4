"""Numbers that a `ping` check records."""

from __future__ import annotations

from typing_extensions import TypedDict


class TriedFamilyData(TypedDict):
    """One address of a name with two families, and the round trip of one echo to it.

    `failure` is null for an answer; with `no_reply`, `ms` is how long it was waited for.
    """

    address: str
    ms: float | None
    failure: str | None


class PingData(TypedDict):
    """The numbers of one ping check. Times are milliseconds; `rtts_ms` has null for a lost packet.

    `addresses_tried` is empty unless the name has both IPv6 and IPv4 and no family was asked for.
    """

    method: str | None
    method_note: str | None
    family: str | None
    size: int
    df: bool
    path_mtu: int | None
    sent: int
    received: int
    in_flight: int
    duplicates: int
    reordered: int
    late: int
    loss_ratio: float | None
    loss_cause: str | None
    rtt_min_ms: float | None
    rtt_avg_ms: float | None
    rtt_median_ms: float | None
    rtt_max_ms: float | None
    rtt_stddev_ms: float | None
    jitter_ms: float | None
    jitter_method: str
    rtts_ms: list[float | None]
    ttl: int | None
    tcp_port: int | None
    addresses_tried: list[TriedFamilyData]
    bytes_sent: int
    bytes_received: int
