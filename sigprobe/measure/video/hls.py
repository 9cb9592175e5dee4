"""HLS playlists (RFC 8216): what can be played, in which ladder, segment by segment.

A reader of our own instead of the package `m3u8`: it reads the dozen tags a download needs, refuses everything else
with the line that is wrong, and is bounded in bytes, lines and seconds whatever a server sends. `m3u8` is well kept,
but raises whatever `int` and `float` raise on rubbish, has no bounds, and would be one more dependency on every laptop.

Left alone: alternative renditions (EXT-X-MEDIA), I-frame playlists, variables, low-latency parts. Encrypted segments
are downloaded like others, since nothing is ever decoded.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin

from sigprobe.net.urls import check_url

MAX_BYTES: Final = 2_000_000
MAX_LINES: Final = 60_000
MAX_VARIANTS: Final = 100
MAX_SEGMENT_S: Final = 600.0
MAX_INTEGER: Final = 2**63

_ATTRIBUTE: Final = re.compile(r'([A-Z0-9-]{1,64})=("[^"]{0,4000}"|[^",]{0,4000})(?:,|$)')


class PlaylistError(Exception):
    """What was sent is no playlist that can be played; the message says why, with the line."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One rung of a ladder: where its playlist is, and the bit/s that its segments need at most."""

    url: str
    bandwidth_bps: int
    resolution: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A resource, or the part of one: (offset, length) in bytes."""

    url: str
    byte_range: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of media, its number in the stream, its length in seconds, and what must be there before it."""

    part: Part
    number: int
    duration_s: float
    init: Part | None = None


@dataclass(frozen=True, slots=True)
class Master:
    """A ladder, as announced."""

    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class Media:
    """The segments of one rung. `live` means that more may be added: the playlist has no end."""

    segments: tuple[Segment, ...]
    target_s: float
    live: bool


def parse(text: str, url: str) -> Master | Media:
    """Read a playlist that came from `url`. Raises PlaylistError for anything that cannot be played."""
    lines = text.removeprefix("\ufeff").splitlines()
    if len(lines) > MAX_LINES:
        raise PlaylistError(f"more than {MAX_LINES} lines")
    if not lines or lines[0].strip() != "#EXTM3U":
        raise PlaylistError("it does not begin with #EXTM3U")
    if any(line.startswith("#EXT-X-STREAM-INF:") for line in lines):
        return _master(lines, url)
    return _Reader(url).media(lines)


def _master(lines: list[str], url: str) -> Master:
    found: list[Variant] = []
    waiting: tuple[int, str | None] | None = None
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-STREAM-INF":
            given = _attributes(value)
            waiting = _integer(given.get("BANDWIDTH"), number, "BANDWIDTH", 1), _resolution(given.get("RESOLUTION"))
        elif tag in ("#EXTINF", "#EXT-X-TARGETDURATION"):
            raise PlaylistError(f"line {number}: a ladder and segments in one playlist")
        elif line and not line.startswith("#") and waiting is not None:
            found.append(Variant(_absolute(url, line, number), *waiting))
            waiting = None
            if len(found) == MAX_VARIANTS:
                break
    if not found:
        raise PlaylistError("a ladder without a rung")
    # of rungs with the same rate the first one is as good as any
    rungs = {variant.bandwidth_bps: variant for variant in reversed(found)}
    return Master(tuple(rungs[bps] for bps in sorted(rungs)))


class _Reader:
    """One pass over a media playlist: each tag leaves what the next segment needs."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._segments: list[Segment] = []
        self._number = 0
        self._target_s: float | None = None
        self._ended = False
        self._recorded = False
        self._duration_s: float | None = None
        self._range: str | None = None
        self._gap = False
        self._init: Part | None = None
        self._next: dict[str, int] = {}

    def media(self, lines: list[str]) -> Media:
        """Read all lines."""
        for at, raw in enumerate(lines, 1):
            line = raw.strip()
            if line.startswith("#EXT"):
                tag, _, value = line.partition(":")
                self._tag(tag, value, at)
            elif line and not line.startswith("#"):
                self._segment(line, at)
            if self._ended:
                break
        if self._target_s is None and not self._segments:
            raise PlaylistError("neither a ladder nor segments")
        longest = max((segment.duration_s for segment in self._segments), default=1.0)
        return Media(tuple(self._segments), self._target_s or longest, not (self._ended or self._recorded))

    def _tag(self, tag: str, value: str, at: int) -> None:
        if tag == "#EXTINF":
            self._duration_s = _seconds(value.partition(",")[0], at)
        elif tag == "#EXT-X-TARGETDURATION":
            self._target_s = max(0.1, _seconds(value, at))
        elif tag == "#EXT-X-MEDIA-SEQUENCE":
            self._number = _integer(value, at, "EXT-X-MEDIA-SEQUENCE", 0)
        elif tag == "#EXT-X-BYTERANGE":
            self._range = value.strip()
        elif tag == "#EXT-X-GAP":
            self._gap = True
        elif tag == "#EXT-X-MAP":
            given = _attributes(value)
            url = _absolute(self._url, given.get("URI", ""), at)
            text = given.get("BYTERANGE")
            self._init = Part(url, None if text is None else _byte_range(text, 0, at))
        elif tag == "#EXT-X-ENDLIST":
            self._ended = True
        elif tag == "#EXT-X-PLAYLIST-TYPE" and value.strip() == "VOD":
            self._recorded = True  # it must not change any more, with an end tag or without

    def _segment(self, line: str, at: int) -> None:
        if self._duration_s is None:
            raise PlaylistError(f"line {at}: a segment without EXTINF")
        url = _absolute(self._url, line, at)
        part = Part(url)
        if self._range is not None:
            part = Part(url, _byte_range(self._range, self._next.get(url), at))
            assert part.byte_range is not None
            self._next[url] = sum(part.byte_range)
        if not self._gap and self._duration_s > 0:
            self._segments.append(Segment(part, self._number, self._duration_s, self._init))
        self._number += 1
        self._duration_s, self._range, self._gap = None, None, False


def _attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}


def _resolution(text: str | None) -> str | None:
    return text if text is not None and re.fullmatch(r"[0-9]{1,5}x[0-9]{1,5}", text) else None


def _integer(text: str | None, at: int, name: str, least: int) -> int:
    plain = (text or "").strip()
    if not re.fullmatch(r"[0-9]{1,19}", plain) or not least <= int(plain) < MAX_INTEGER:
        raise PlaylistError(f"line {at}: {name} is no number that can be")
    return int(plain)


def _seconds(text: str, at: int) -> float:
    plain = text.strip()
    value = float(plain) if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{0,18})?|\.[0-9]{1,18}", plain) else math.nan
    if not 0 <= value <= MAX_SEGMENT_S:
        raise PlaylistError(f"line {at}: no length in seconds up to {MAX_SEGMENT_S:.0f}")
    return value


def _byte_range(text: str, follows: int | None, at: int) -> tuple[int, int]:
    """`length[@offset]`; without an offset it follows the last range of the same resource."""
    found = re.fullmatch(r"([0-9]{1,18})(?:@([0-9]{1,18}))?", text.strip())
    offset = None if found is None else int(found[2]) if found[2] else follows
    if found is None or offset is None or int(found[1]) == 0:
        raise PlaylistError(f"line {at}: no byte range")
    return offset, int(found[1])


def _absolute(base: str, text: str, at: int) -> str:
    try:
        url = urljoin(base, quote(text.strip(), safe="%/:=&?~#+!$,;'@()*[]-._|^`{}<>"))
        check_url(url)
    except ValueError as error:
        raise PlaylistError(f"line {at}: no address that can be asked for") from error
    if len(url) > 4_000:
        raise PlaylistError(f"line {at}: an address of more than 4,000 characters")
    return url
