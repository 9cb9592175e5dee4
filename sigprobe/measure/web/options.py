"""Settings of a `web` target."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from sigprobe.measure.kind import CommonOptions, Estimate
from sigprobe.net.urls import TargetUrl, shown_url

MB: Final = 1_000_000


class Options(CommonOptions):
    """Keys of a `web` target. `max_mb` bounds page and resources together, both directions."""

    kind: Literal["web"] = "web"
    url: TargetUrl
    connections: Annotated[int, Field(ge=1, le=16)] = 6
    max_resources: Annotated[int, Field(ge=0, le=1000)] = 100
    max_mb: Annotated[int, Field(ge=1, le=200)] = 10

    def default_timeout_s(self) -> float:
        """Return half a minute: users do not wait longer for a page."""
        return 30.0

    def configured_address(self) -> str:
        """Return the URL without fragment and query values."""
        return shown_url(self.url)

    def estimate(self) -> Estimate:
        """Return all of `max_mb`, though most pages are far below it."""
        return Estimate(self.timeout_s(), self.max_mb * MB)
