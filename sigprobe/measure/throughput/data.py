"""Define the data that a `throughput` check records."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from sigprobe.record.window import Window

Ended = Literal["converged", "data_cap", "time_cap"]
IntervalKind = Literal["link", "mean", "mean_under_loss"]
AtLeast = Literal["data_cap", "time_cap", "loss"]


class ThroughputData(TypedDict):
    """Rates in bit/s of payload; null where none can be stated, with the reason in `…_failure`. Bytes are payload.
    `wire_bytes` is all that crossed the interface both ways, headers included: what `max_mb` limits.

    `…_ci_bps` is the 95 % interval of the rate, null when too few samples arrived for one or the rate still grew when
    the data cap was reached: then it is what the last round trip carried, and the link carries more. Its kind is in
    `…_interval_kind`. `link`: the constant rate of the link, which a longer test would repeat. `mean`: the mean rate
    of this window on a link that varies; another window may lie outside. `mean_under_loss`: the same where lost
    packets limit the rate, with the lower end at the rate they leave to a long transfer.
    `…_window` holds the rates of single seconds: mean, 10th and 90th percentile, their number, and the pauses of a
    second and more; null for less than a second. `…_at_least` is the reason why the rate is only a lower bound:
    `data_cap` or `time_cap` (still growing at the cap), `loss` (lost packets held it back); null for any other.
    `ended` is the less good of the two directions' reasons. `upload_counted_by`: `server` (bytes that arrived there),
    `tcp_info` (bytes acknowledged), `proxy` (bytes acknowledged by a proxy that keeps uploads until they are whole, so
    the rate is that of the way to it), `client` (the engine's own count). `retransmits` counts segments of the upload.
    `device_busy`: the device was short of processor time meanwhile, so that its rates are lower bounds.
    """

    engine: str
    server: str | None
    streams: int | None
    download_bps: int | None
    download_ci_bps: list[int] | None
    download_interval_kind: NotRequired[IntervalKind | None]
    download_window: NotRequired[Window | None]
    download_at_least: NotRequired[AtLeast | None]
    upload_bps: int | None
    upload_ci_bps: list[int] | None
    upload_interval_kind: NotRequired[IntervalKind | None]
    upload_window: NotRequired[Window | None]
    upload_at_least: NotRequired[AtLeast | None]
    wire_bytes: NotRequired[int | None]
    bytes_received: int
    bytes_sent: int
    download_s: float | None
    upload_s: float | None
    idle_rtt_ms: float | None
    loaded_rtt_ms: float | None
    ended: Ended | None
    ended_download: Ended | None
    ended_upload: Ended | None
    download_failure: str | None
    upload_failure: str | None
    upload_counted_by: Literal["server", "tcp_info", "proxy", "client"] | None
    retransmits: int | None
    device_busy: bool | None


def empty_data(engine: str) -> dict[str, Any]:
    """Return every key of the kind's data with a null value."""
    return {
        **dict.fromkeys(ThroughputData.__annotations__),
        "engine": engine,
        "bytes_received": 0,
        "bytes_sent": 0,
    }
