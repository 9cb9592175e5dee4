"""Kind `video`: download a segmented video (HLS, RFC 8216) as a player would, and report the viewing experience.

The playlists are read by `hls.py`, the playing is kept account of by `playback.py`; nothing is decoded,
so any bytes do. With a collector as its target it needs no video at all: that one serves a ladder of random bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sigprobe.measure.kind import Kind, Measured
from sigprobe.measure.video.data import VideoData, empty_data
from sigprobe.measure.video.options import MB, Options
from sigprobe.net import http_client, sockets
from sigprobe.net.limits import Context, Progress
from sigprobe.record.result import Failure, Outcome

if TYPE_CHECKING:
    from sigprobe.measure.video.playback import Show


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
    byte_budget = http_client.ByteBudget(options.max_mb * MB, context.budget)
    client = http_client.Client(
        context, byte_budget, accept_encoding="identity", with_tokens=True, resolve=resolve, clock=clock
    )
    with http_client.Connection(client) as connection:
        show = Show(client, connection, media_s=options.media_s, buffer_s=options.buffer_s)
        first, ladder = show.playlist(options.playlist_url())
        http_client.fill_first(data, first, connection.trace)
        if ladder is not None:
            show.play(ladder, first.url, first.started_s)
        show.fill(data)
        http_client.fill_totals(data, [connection], show.payload)
    return _outcome(show, options.media_s, data, context, byte_budget)


def _outcome(
    show: Show, wanted_s: float, data: dict[str, Any], context: Context, byte_budget: http_client.ByteBudget
) -> Measured:
    """Return the outcome: everything requested was played, a part of it, or nothing."""
    started = show.player is not None and show.player.started
    failure, used = show.failure, data["address"]
    if context.stop.is_set():
        failure = Failure("interrupted")
    elif show.ended in ("media_cap", "media_end"):
        return Measured(Outcome.OK, data, None, used)
    elif show.ended is not None:
        late = "timeout" if not show.payload else "too_short" if show.kept_up() else "too_slow"
        code = {"data_cap": byte_budget.reason(), "time_cap": late}[show.ended]
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
    if started or failure.code in ("redirect_elsewhere", "http_challenge", "http_unreadable"):
        return Measured(Outcome.DEGRADED, data, failure, used)
    return Measured(Outcome.FAILED, data, failure, used)


KIND: Final = Kind(
    "video",
    1,
    Options,
    VideoData,
    measure,
    exclusive=True,
)
