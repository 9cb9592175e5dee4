"""Download a segmented video as a player does: choose the next segment and its quality level, and keep the figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sigprobe.measure.video import hls, playout_buffer
from sigprobe.net import http_body, http_client
from sigprobe.net.limits import Progress
from sigprobe.record.result import Failure

if TYPE_CHECKING:
    from sigprobe.measure.video.data import Ended, RungData

LIVE_EDGE: Final = 3.0
"""How many target durations before its end a live video is joined (RFC 8216, 6.3.3)."""
STALE: Final = 3.0
"""After so many target durations without a new segment a live video counts as stopped."""
LEAST_S: Final = 0.5
"""A playback cut off earlier does not show that the way is slow."""
MAX_TRIES: Final = 2
MAX_LISTED: Final = 20


@dataclass(slots=True)
class Rung:
    """State of one quality level. `tries` counts consecutive failures."""

    url: str
    bandwidth_bps: int | None
    resolution: str | None
    media: hls.Media | None = None
    loaded_s: float = 0.0
    grown_s: float = 0.0
    tries: int = 0
    segments: int = 0
    media_s: float = 0.0
    bytes_received: int = 0
    failed: int = 0


class Show:
    """One playback, from the playlist to the figures."""

    def __init__(
        self, client: http_client.Client, connection: http_client.Connection, *, media_s: float, buffer_s: float
    ) -> None:
        self._wanted_s = media_s
        self._buffer_s = buffer_s
        self._client = client
        self._context = client.context
        self._connection = connection
        self._all: list[Rung] = []
        self._rungs: list[Rung] = []
        self.player: playout_buffer.Player | None = None
        self._arrivals: list[tuple[int, float]] = []
        self._inits: set[hls.Part] = set()
        self._number: int | None = None
        self._at_s = 0.0
        self._last: Rung | None = None
        self._switches = 0
        self._reloads = 0
        self._packed: bool | None = None
        self.failure: Failure | None = None
        self.ended: Ended | None = None
        self.payload = 0

    # --- requests -------------------------------------------------------------------------------------------

    def playlist(self, url: str) -> tuple[http_client.Fetched, hls.Master | hls.Media | None]:
        """Fetch and parse a playlist; None, with the failure stored, if that fails."""
        got = self._connection.get(url, max_bytes=hls.MAX_BYTES)
        self.payload += got.bytes_received
        self.failure = _failure(got, self._client.byte_budget)
        if self.failure is not None:
            return got, None
        content = http_body.decoded(got.body, got.encoding or "")
        if content is None or http_body.is_packed(content):
            self.failure = Failure("http_unreadable", f"Content-Encoding {got.encoding or 'missing'}"[:80])
            return got, None
        try:
            return got, hls.parse(content.decode("utf-8", "replace"), got.url)
        except hls.PlaylistError as error:
            self.failure = Failure("playlist_invalid", str(error))
            return got, None

    def _fetch(self, part: hls.Part) -> http_client.Fetched | None:
        """Fetch media; None, with the failure stored, if it is incomplete."""
        most = self._client.byte_budget.left_bytes() if part.byte_range is None else part.byte_range[1]
        got = self._connection.get(part.url, max_bytes=most, keep=False, byte_range=part.byte_range)
        self.payload += got.bytes_received
        self.failure = _failure(got, self._client.byte_budget)
        if got.code is None and part.byte_range is not None and got.status == 200:
            self.failure = Failure("bad_response", "a byte range was asked for, and all of it was sent")
        elif got.code is None and part.byte_range is not None and got.cut:
            self.failure = Failure("bad_response", "more than the byte range that was asked for")
        elif self.failure is None and not got.bytes_received:
            self.failure = Failure("bad_response", "a segment without a byte")
        elif self.failure is None and part.byte_range is not None and got.bytes_received != part.byte_range[1]:
            self.failure = Failure("http_truncated", "less than the byte range that was asked for")
        if got.status is not None:
            self._packed = bool(self._packed) or got.encoding is not None
        return got if self.failure is None else None

    # --- playing --------------------------------------------------------------------------------------------

    def play(self, ladder: hls.Master | hls.Media, url: str, begun_s: float) -> None:
        """Download segments until enough have arrived, no more exist, or a limit is reached."""
        now_s = self._client.clock()
        if isinstance(ladder, hls.Media):
            self._all = [Rung(url, None, None, ladder, now_s, now_s)]
        else:
            self._all = [Rung(v.url, v.bandwidth_bps, v.resolution) for v in ladder.variants]
        self._rungs = list(self._all)
        self.player = playout_buffer.Player(self._buffer_s, begun_s)
        while self._rungs and self.ended is None:
            self.ended = self._limit()
            if self._context.stop.is_set():
                break
            if self.ended is None:
                self._step(self.player)
        if self.ended in ("media_cap", "media_end"):
            self.player.complete(self._client.clock())
        self.player.end(self._client.clock())

    def kept_up(self) -> bool:
        """Return whether media came as fast as it is played, or there was no time to see that it did not."""
        if self.player is None:
            return False
        passed_s = self._client.clock() - self.player.begun_s
        return passed_s < LEAST_S or (self.media_s() >= passed_s and not self.player.stalls)

    def _limit(self) -> Ended | None:
        if self.media_s() >= self._wanted_s:
            return "media_cap"
        if self._client.byte_budget.exhausted():
            return "data_cap"
        return "time_cap" if self._context.deadline.expired() else None

    def _step(self, show: playout_buffer.Player) -> None:
        rung = self._rungs[
            playout_buffer.choose([r.bandwidth_bps for r in self._rungs], playout_buffer.rate_bps(self._arrivals))
        ]
        segment = self._next(rung)
        if segment is None:
            return
        left = self._client.byte_budget.left_bytes()
        while rung.bandwidth_bps is not None and rung.bandwidth_bps / 8 * segment.duration_s > left:
            # a segment that the data left cannot pay for would only be cut
            lower = self._rungs.index(rung) - 1
            if lower < 0:
                self.ended = "data_cap"
                return
            rung = self._rungs[lower]
            found = self._next(rung)
            if found is None:
                return
            segment = found
        self._take(rung, segment, show)

    def _next(self, rung: Rung) -> hls.Segment | None:
        """Return the next segment of a quality level; None after another step: loaded a playlist, waited, gave up."""
        clock = self._client.clock
        media = rung.media
        if media is None:
            self._load(rung)
            return None
        if self._number is None and media.live:
            self._number = _edge(media)
        if media.live or self._number is not None:
            found = next((s for s in media.segments if self._number is not None and s.number >= self._number), None)
        else:
            at_s = 0.0
            found = None
            for segment in media.segments:
                at_s += segment.duration_s
                if at_s > self._at_s + 0.05:
                    found = segment
                    break
        if found is not None:
            return found
        if not media.live:
            if self._at_s:
                self.ended = "media_end"
            else:
                self._give_up(rung, Failure("playlist_invalid", "no segments"))
            return None
        now_s = clock()
        if now_s - rung.grown_s > max(2.0, STALE * media.target_s):
            self._give_up(rung, Failure("playlist_stale", f"nothing new for {now_s - rung.grown_s:.0f} s"))
            return None
        # RFC 8216, 6.3.4: a target duration after a change, half of one after none
        pause_s = media.target_s if rung.grown_s == rung.loaded_s else media.target_s / 2
        wait_s = min(rung.loaded_s + max(0.25, pause_s) - now_s, self._context.deadline.remaining())
        if wait_s > 0:
            self._context.stop.wait(wait_s)
        if not self._context.stop.is_set() and not self._context.deadline.expired():
            self._reloads += 1
            self._load(rung)
        return None

    def _load(self, rung: Rung) -> None:
        _, found = self.playlist(rung.url)
        if isinstance(found, hls.Media):
            before = rung.media
            rung.loaded_s = self._client.clock()
            if before is None or not before.segments or found.segments[-1:] != before.segments[-1:]:
                rung.grown_s = rung.loaded_s
            rung.media = found
        else:
            self._failed(rung, self.failure or Failure("playlist_invalid", "a ladder where segments should be"))

    def _take(self, rung: Rung, segment: hls.Segment, show: playout_buffer.Player) -> None:
        if segment.init is not None and segment.init not in self._inits:
            if self._fetch(segment.init) is None:
                self._failed(rung, self.failure)
                return
            self._inits.add(segment.init)
        got = self._fetch(segment.part)
        if got is None or got.ended_s is None:
            self._failed(rung, self.failure)
            return
        if self._last is not None and self._last is not rung:
            self._switches += 1
        self._last = rung
        rung.tries = 0
        rung.segments += 1
        rung.media_s += segment.duration_s
        rung.bytes_received += got.bytes_received
        self._at_s += segment.duration_s
        if self._number is not None:
            self._number = segment.number + 1
        self._arrivals.append((got.bytes_received, got.ended_s - got.started_s))
        show.arrived(got.ended_s, segment.duration_s)
        fraction = min(1.0, self.media_s() / self._wanted_s)
        self._context.progress(Progress("video", playout_buffer.rate_bps(self._arrivals), "bps", fraction))

    def _failed(self, rung: Rung, failure: Failure | None) -> None:
        """Record a failed request; a quality level that fails again is replaced by the next one."""
        rung.failed += 1
        rung.tries += 1
        self.ended = self._limit()  # what a limit has cut is no fault of the server
        if self.ended is None and rung.tries >= MAX_TRIES:
            self._give_up(rung, failure)

    def _give_up(self, rung: Rung, failure: Failure | None) -> None:
        self._rungs.remove(rung)
        self.failure = failure

    def media_s(self) -> float:
        """Return the seconds of media that arrived complete."""
        return sum(rung.media_s for rung in self._all)

    # --- the account ----------------------------------------------------------------------------------------

    def fill(self, data: dict[str, Any]) -> None:
        """Write the figures into the kind's data."""
        data["ended"] = self.ended
        show = self.player
        if show is None:
            return
        media_s = self.media_s()
        payload = sum(rung.bytes_received for rung in self._all)
        used = [rung for rung in self._all if rung.segments or rung.failed]
        announced = [rung for rung in self._all if rung.segments]
        rate = 8 * sum(count for count, _ in self._arrivals), sum(taken for _, taken in self._arrivals)
        data.update(
            switches=self._switches,
            media_s=round(media_s, 3),
            segments=sum(rung.segments for rung in self._all),
            segments_failed=sum(rung.failed for rung in self._all),
            rungs_offered=len(self._all),
            rungs=[_rung_data(rung) for rung in used[:MAX_LISTED]],
            live=next((rung.media.live for rung in self._all if rung.media is not None), None),
            reloads=self._reloads,
            compressed=self._packed,
            encrypted=_any(rung.media.encrypted for rung in self._all if rung.media is not None),
            lengths_assumed=_any(rung.media.lengths_assumed for rung in self._all if rung.media is not None),
            segment_bps=round(rate[0] / rate[1]) if rate[1] > 0 else None,
            mean_bitrate_bps=round(8 * payload / media_s) if media_s else None,
        )
        if media_s and all(rung.bandwidth_bps is not None for rung in announced):
            total = sum((rung.bandwidth_bps or 0) * rung.media_s for rung in announced)
            data["announced_bitrate_bps"] = round(total / media_s)
        if show.started:
            data["start_delay_ms"] = round((show.start_delay_s or 0.0) * 1000, 3)
            data["stalls"] = show.stalls
            data["stalled_ms"] = round(show.stalled_s * 1000, 3)
            data["stall_ratio"] = round(show.stalled_s / (show.stalled_s + media_s), 4)


def _failure(got: http_client.Fetched, byte_budget: http_client.ByteBudget) -> Failure | None:
    """Return the failure of an answer, with the same codes as the other checks against a collector."""
    found = http_client.failure_of(got, byte_budget)
    if found is None or found.code != "http_status":
        return found
    if got.status in (429, 503):
        return Failure("server_busy", f"status {got.status}")
    return Failure("token_refused", "status 401") if got.status == 401 else found


def _edge(media: hls.Media) -> int | None:
    """Return the number of the segment at which a live video starts; None while it has none."""
    behind_s = 0.0
    for segment in reversed(media.segments):
        behind_s += segment.duration_s
        if behind_s >= LIVE_EDGE * media.target_s:
            return segment.number
    return media.segments[0].number if media.segments else None


def _any(values: Iterable[bool]) -> bool | None:
    """Return whether one of the values is true; None where there are none."""
    found = list(values)
    return any(found) if found else None


def _rung_data(rung: Rung) -> RungData:
    return {
        "bandwidth_bps": rung.bandwidth_bps,
        "resolution": rung.resolution,
        "segments": rung.segments,
        "media_s": round(rung.media_s, 3),
        "bytes_received": rung.bytes_received,
        "failed": rung.failed,
    }
