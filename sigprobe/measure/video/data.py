"""Shapes of the numbers that a `video` check records."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from sigprobe.measure.http.data import TriedData

Ended = Literal["media_cap", "media_end", "data_cap", "time_cap"]


class RungData(TypedDict):
    """One quality level that was used: its announced values, and its results. `failed` counts requests."""

    bandwidth_bps: int | None
    resolution: str | None
    segments: int
    media_s: float
    bytes_received: int
    failed: int


class VideoData(TypedDict):
    """What a viewer would have seen. The phases are those of the first request, for the playlist.

    `start_delay_ms` runs from before the lookup until `buffer_s` of media had come; it is null, and `start_failure`
    says why, when that never was. `stalled_ms` is the time that playing stood still after it had begun, `stall_ratio`
    its part of stalls and played media together. `mean_bitrate_bps` is the payload of the media that was downloaded
    over its playing time, `announced_bitrate_bps` the same by what the ladder announced. `segment_bps` is the rate at
    which segments came. Payload is counted as it crossed the wire, playlists included; `compressed` says whether any
    segment was packed on the way. `rungs_offered` is 1 where there is no ladder.
    `encrypted` says that segments are; nothing is decrypted. `lengths_assumed` says that segments announce no length.
    """

    status_code: int | None
    dns_ms: float | None
    tcp_ms: float | None
    tls_ms: float | None
    send_ms: float | None
    ttfb_ms: float | None
    first_byte_ms: float | None
    start_delay_ms: float | None
    start_failure: str | None
    stalls: int | None
    stalled_ms: float | None
    stall_ratio: float | None
    mean_bitrate_bps: int | None
    announced_bitrate_bps: int | None
    segment_bps: int | None
    switches: int | None
    media_s: float | None
    segments: int | None
    segments_failed: int | None
    rungs_offered: int | None
    rungs: list[RungData]
    live: bool | None
    reloads: int | None
    compressed: bool | None
    encrypted: bool | None
    lengths_assumed: bool | None
    bytes_received: int
    bytes_sent: int
    headers_bytes: int
    connections: int | None
    ended: Ended | None
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


def empty_data() -> dict[str, Any]:
    """Return every key of the kind's data, with nothing known yet."""
    return {
        **dict.fromkeys(VideoData.__annotations__),
        "rungs": [],
        "addresses_tried": [],
        **dict.fromkeys(("bytes_received", "bytes_sent", "headers_bytes"), 0),
    }
