"""Settings of a `throughput` target."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, model_validator

from sigprobe.measure.kind import CommonOptions, Estimate
from sigprobe.net.limits import OVERHEAD
from sigprobe.record.messages import N_, MessageError

MB: Final = 1_000_000
SPARE_S: Final = 10.0
"""For the name, the connection and the latency at rest, beside the two directions."""


class Options(CommonOptions):
    """The settings of a throughput target. `max_mb` is for both directions together, `max_s` for each.

    `max_mb` counts bytes on the wire, headers included, as the data budget does.

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
            wrong = MessageError(N_("url must start with http:// or https:// for engine: http."))
            try:
                parts = urlsplit(self.url or "")
                port = parts.port
            except ValueError:
                raise wrong from None
            if parts.scheme.lower() not in ("http", "https") or not parts.hostname or port == 0:
                raise wrong
        if self.engine == "iperf3":
            from sigprobe.measure.throughput.iperf3 import host_port

            host_port(self.url or "")
        return self

    def default_timeout_s(self) -> float:
        """Return the time of both directions and some seconds around them."""
        return 2 * self.max_s + SPARE_S

    def configured_address(self) -> str:
        """Return the URL without userinfo, query and fragment; the engine's service where there is no URL."""
        if self.url is None:
            return "speedtest.net"
        if self.engine == "iperf3":
            return self.url.removeprefix("iperf3://").rstrip("/")
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def estimate(self) -> Estimate:
        """Return all of `max_mb`, and the seconds of the requested directions plus two."""
        ways = 2 if self.direction == "both" else 1
        return Estimate(min(self.timeout_s(), ways * self.max_s + 2), int(self.max_mb * MB / OVERHEAD))
