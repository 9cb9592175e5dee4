"""Kind `video`: download a segmented video (HLS, RFC 8216) as a player would, and say what its viewer would see.

The playlists are read by `measure/hls.py`, the playing is kept account of by `measure/player.py`; nothing is decoded,
so any bytes do. With a collector as its target it needs no video at all: that one serves a ladder of random bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field
from typing_extensions import TypedDict

from sigprobe.measure.http.kind import TriedData
from sigprobe.measure.kind import CommonOptions, Estimate, Kind, Measured
from sigprobe.measure.video.data import Ended, RungData
from sigprobe.net import http_client, sockets
from sigprobe.net.limits import Context, Progress
from sigprobe.net.urls import TargetUrl, shown_url
from sigprobe.record.result import Failure, Outcome

if TYPE_CHECKING:
    from sigprobe.measure.video.playback import Show

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
        """Twice as long as the media takes to play, and some time around it."""
        return 2 * self.media_s + SPARE_S

    def configured_address(self) -> str:
        """The URL without fragment and query values."""
        return shown_url(self.url)

    def playlist_url(self) -> str:
        """Where the ladder is."""
        parts = urlsplit(self.url)
        return (
            self.url + OUR_LADDER if parts.path.endswith("/") and not parts.query and not parts.fragment else self.url
        )

    def estimate(self) -> Estimate:
        """All of `max_mb`, which only a fast link uses."""
        return Estimate(self.timeout_s(), self.max_mb * MB)


class VideoData(TypedDict):
    """What a viewer would have seen. The phases are those of the first request, for the playlist.

    `start_delay_ms` runs from before the lookup until `buffer_s` of media had come; it is null, and `start_failure`
    says why, when that never was. `stalled_ms` is the time that playing stood still after it had begun, `stall_ratio`
    its part of stalls and played media together. `mean_bitrate_bps` is the payload of the media that was downloaded
    over its playing time, `announced_bitrate_bps` the same by what the ladder announced. `segment_bps` is the rate at
    which segments came. Payload is counted as it crossed the wire, playlists included; `compressed` says whether any
    segment was packed on the way. `rungs_offered` is 1 where there is no ladder.
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
    bytes_received: int
    bytes_sent: int
    headers_bytes: int
    connections: int | None
    ended: Ended | None
    family: str | None
    address: str | None
    addresses_tried: list[TriedData]
    tls_version: str | None
    cert_not_after: str | None
    location: str | None
    redirect_host: str | None
    redirects_followed: int | None


def empty_data() -> dict[str, Any]:
    """Every key of the kind's data, with nothing known yet."""
    return {
        **dict.fromkeys(VideoData.__annotations__),
        "rungs": [],
        "addresses_tried": [],
        **dict.fromkeys(("bytes_received", "bytes_sent", "headers_bytes"), 0),
    }


def measure(
    options: Options,
    context: Context,
    *,
    resolve: http_client.Resolve = sockets.look_up,
    clock: Callable[[], float] = time.monotonic,
) -> Measured:
    """Play the video as far as seconds, bytes and the deadline allow. A server that fails in any way is a result.

    A collector's token goes to that collector's origin and to no other, wherever a playlist points.
    """
    data = empty_data()
    if context.stop.is_set():
        return Measured(Outcome.SKIPPED, data, Failure("interrupted"))
    if context.budget.exhausted():
        return Measured(Outcome.SKIPPED, data, Failure("data_budget"))
    from sigprobe.measure.video.playback import Show

    context.progress(Progress("video", None, None, 0.0))
    purse = http_client.Purse(options.max_mb * MB, context.budget)
    client = http_client.Client(
        context, purse, accept_encoding="identity", with_tokens=True, resolve=resolve, clock=clock
    )
    with http_client.Connection(client) as connection:
        show = Show(client, connection, media_s=options.media_s, buffer_s=options.buffer_s)
        first, ladder = show.playlist(options.playlist_url())
        http_client.fill_first(data, first, connection.trace)
        if ladder is not None:
            show.play(ladder, first.url, first.started_s)
        show.fill(data)
        http_client.fill_totals(data, [connection], show.payload)
    return _outcome(show, options.media_s, data, context, purse)


def _outcome(show: Show, wanted_s: float, data: dict[str, Any], context: Context, purse: http_client.Purse) -> Measured:
    """Judge: all that was asked for, a part of it, or nothing that plays."""
    started = show.player is not None and show.player.started
    failure, used = show.failure, data["address"]
    if context.stop.is_set():
        failure = Failure("interrupted")
    elif show.ended in ("media_cap", "media_end"):
        return Measured(Outcome.OK, data, None, used)
    elif show.ended is not None:
        code = {"data_cap": purse.reason(), "time_cap": "too_slow" if show.payload else "timeout"}[show.ended]
        failure = Failure(code, f"{show.media_s():.1f} of {wanted_s:g} s of media, {show.payload} bytes")
    failure = failure or Failure("playlist_invalid", "no rung could be played")
    if not started:
        data["start_failure"] = failure.code
    if failure.code == "interrupted" or (not started and failure.code in ("data_budget", "data_cap")):
        return Measured(Outcome.SKIPPED, data, failure, used)
    if show.ended == "data_cap":
        return Measured(Outcome.OK, data, None, used)  # what the data allowed was played
    if started and show.ended is None:
        failure = Failure("video_incomplete", f"{failure.code}: {failure.detail}"[:300])
    if started or failure.code == "redirect_elsewhere":
        return Measured(Outcome.DEGRADED, data, failure, used)
    return Measured(Outcome.FAILED, data, failure, used)


KIND: Final = Kind(
    "video",
    1,
    Options,
    VideoData,
    measure,
    "A segmented video at a ladder of bit rates: start delay, stalls, mean bit rate",
    exclusive=True,
)
