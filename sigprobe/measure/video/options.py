"""Settings of a `video` target."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field

from sigprobe.measure.kind import CommonOptions, Estimate
from sigprobe.net.urls import TargetUrl, shown_url

MB: Final = 1_000_000
SPARE_S: Final = 10.0
"""For the name, the connection and the playlists, beside the media."""
OUR_LADDER: Final = "backend/video/master.m3u8"


class Options(CommonOptions):
    """Keys of a `video` target. A `url` that ends in `/` is a collector's, which serves a ladder of its own.

    `media_s` is how much of the video is downloaded, in seconds of playing; `buffer_s` must lie ahead before playing
    begins, or goes on after a stall.
    """

    kind: Literal["video"] = "video"
    url: TargetUrl
    media_s: Annotated[float, Field(ge=2, le=280)] = 20
    buffer_s: Annotated[float, Field(ge=0.5, le=30)] = 4
    max_mb: Annotated[int, Field(ge=1, le=1000)] = 10

    def default_timeout_s(self) -> float:
        """Return twice the playing time of the media, and some seconds more."""
        return 2 * self.media_s + SPARE_S

    def configured_address(self) -> str:
        """Return the URL without fragment and query values."""
        return shown_url(self.url)

    def playlist_url(self) -> str:
        """Return the URL of the playlist."""
        parts = urlsplit(self.url)
        return (
            self.url + OUR_LADDER if parts.path.endswith("/") and not parts.query and not parts.fragment else self.url
        )

    def estimate(self) -> Estimate:
        """Return all of `max_mb`, which only a fast link uses."""
        return Estimate(self.timeout_s(), self.max_mb * MB)
