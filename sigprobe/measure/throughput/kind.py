"""Kind `throughput`: how fast data goes down and up, within a number of bytes and seconds."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from sigprobe.measure.kind import CommonOptions, Estimate, Kind, Measured
from sigprobe.net.limits import Context
from sigprobe.record.result import Failure, Outcome

MB: Final = 1_000_000
SPARE_S: Final = 10.0
"""For the name, the connection and the latency at rest, beside the two directions."""


class Options(CommonOptions):
    """What a throughput target may say. `max_mb` is for both directions together, `max_s` for each.

    `url` is an http or https address for engine `http`, `host:port` for engine `iperf3`.
    """

    kind: Literal["throughput"] = "throughput"
    engine: Literal["http", "speedtest", "iperf3"] = "http"
    url: Annotated[str, Field(max_length=2000)] | None = None
    direction: Literal["both", "download", "upload"] = "both"
    streams: Annotated[int, Field(ge=1, le=16)] | None = None
    max_mb: Annotated[int, Field(ge=1, le=10_000)] = 30
    max_s: Annotated[float, Field(gt=0, le=120)] = 8

    @model_validator(mode="after")
    def _url_fits(self) -> Self:
        if self.engine == "http":
            parts = urlsplit(self.url or "")
            if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
                raise ValueError("url must be an http or https address for engine http")
            _ = parts.port  # raises ValueError when it is no port
        if self.engine == "iperf3":
            from sigprobe.measure.throughput.iperf3 import host_port

            host_port(self.url or "")
        return self

    def default_timeout_s(self) -> float:
        """Both directions and some time around them."""
        return 2 * self.max_s + SPARE_S

    def configured_address(self) -> str:
        """The URL without userinfo, query and fragment; the engine's service where there is no URL."""
        if self.url is None:
            return "speedtest.net"
        if self.engine == "iperf3":
            return self.url.removeprefix("iperf3://").rstrip("/")
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def estimate(self) -> Estimate:
        """All of `max_mb`; the seconds of the directions asked for, and two for the rest."""
        ways = 2 if self.direction == "both" else 1
        return Estimate(min(self.timeout_s(), ways * self.max_s + 2), self.max_mb * MB)


Ended = Literal["converged", "data_cap", "time_cap"]


class ThroughputData(TypedDict):
    """Rates in bit/s of payload; null where none can be stated, with the reason in `…_failure`. Bytes are payload.

    `…_ci_bps` is the 95 % interval of the rate, null when too few samples arrived for one or the rate still grew when
    the data cap was reached: then it is what the last round trip carried, and the link carries more. `ended` is the
    less good of the two directions' reasons. `upload_counted_by`: `server` (bytes that arrived there), `tcp_info`
    (bytes acknowledged), `client` (the engine's own count). `retransmits` counts segments of the upload.
    """

    engine: str
    server: str | None
    streams: int | None
    download_bps: int | None
    download_ci_bps: list[int] | None
    upload_bps: int | None
    upload_ci_bps: list[int] | None
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
    upload_counted_by: Literal["server", "tcp_info", "client"] | None
    retransmits: int | None


def empty_data(engine: str) -> dict[str, Any]:
    """Every key of the kind's data, with nothing known yet."""
    return {
        **dict.fromkeys(ThroughputData.__annotations__),
        "engine": engine,
        "bytes_received": 0,
        "bytes_sent": 0,
    }


def measure(options: Options, context: Context) -> Measured:
    """Measure with the engine asked for. Raises nothing for a target that fails."""
    data = empty_data(options.engine)
    if context.stop.is_set():
        return Measured(Outcome.SKIPPED, data, Failure("interrupted"))
    if context.budget.exhausted():
        return Measured(Outcome.SKIPPED, data, Failure("data_budget"))
    limits: dict[str, Any] = {
        "direction": options.direction,
        "streams": options.streams,
        "max_bytes": options.max_mb * MB,
        "max_s": options.max_s,
    }
    if options.engine == "speedtest":
        from sigprobe.measure.throughput import speedtest

        return speedtest.measure(data, context, **limits)
    if options.engine == "iperf3":
        from sigprobe.measure.throughput import iperf3

        return iperf3.measure(data, context, url=options.url or "", **limits)
    from sigprobe.measure.throughput import http_engine

    return http_engine.measure(data, context, url=options.url or "", **limits)


KIND: Final = Kind(
    "throughput",
    1,
    Options,
    ThroughputData,
    measure,
    "Download and upload speed, bounded in bytes and seconds",
    exclusive=True,
)
