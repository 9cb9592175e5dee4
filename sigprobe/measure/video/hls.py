"""Parse HLS playlists (RFC 8216): the quality levels, and the segments of each.

A reader of our own instead of the package `m3u8`: it reads the dozen tags a download needs, refuses everything else
with the line that is wrong, and is bounded in bytes, lines and seconds whatever a server sends. `m3u8` is well kept,
but raises whatever `int` and `float` raise on rubbish, has no bounds, and would be one more dependency on every laptop.

What players let pass passes here: a rung without a usable BANDWIDTH, a segment of unknown length (`EXTINF:-1`), odd
numbers in tags, and characters in a title that Python, but no player, takes for the end of a line.

Left alone: alternative renditions (EXT-X-MEDIA), I-frame playlists, variables, low-latency parts. Encrypted segments
are downloaded like others, since nothing is ever decoded; `encrypted` says that they are.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urljoin

from sigprobe.net.urls import check_url

MAX_BYTES: Final = 2_000_000
MAX_LINES: Final = 60_000
MAX_VARIANTS: Final = 100
MAX_SEGMENT_S: Final = 600.0
MAX_INTEGER: Final = 2**63

DEFAULT_SEGMENT_S: Final = 10.0
"""Length of a segment that announces none, in a playlist without EXT-X-TARGETDURATION."""

_LINE_END: Final = re.compile(r"\r\n|\n|\r")  # str.splitlines knows eight more
_ATTRIBUTE: Final = re.compile(r'([A-Za-z0-9-]{1,64})\s*=\s*("[^"]{0,4000}"|[^",]{0,4000})\s*(?:,|$)')
_NUMBER: Final = re.compile(r"(?:[0-9]{1,20}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,3})?")


class PlaylistError(Exception):
    """The answer is not a playable playlist; the message names the reason and the line."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One quality level: its playlist, and the bit/s that its segments need at most (None: not announced)."""

    url: str
    bandwidth_bps: int | None
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
    """The quality levels, as announced."""

    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class Media:
    """The segments of one rung. `live` means that more may be added: the playlist has no end.

    `lengths_assumed` means that segments announce no length and count as the target duration.
    """

    segments: tuple[Segment, ...]
    target_s: float
    live: bool
    encrypted: bool = False
    lengths_assumed: bool = False


def parse(text: str, url: str) -> Master | Media:
    """Read a playlist that came from `url`. Raises PlaylistError for anything that cannot be played."""
    lines = _LINE_END.split(text.removeprefix("\ufeff"), MAX_LINES)
    if len(lines) > MAX_LINES:
        raise PlaylistError(f"more than {MAX_LINES} lines")
    # attributes may follow, as in IPTV lists
    if not next((line.strip() for line in lines if line.strip()), "").startswith("#EXTM3U"):
        raise PlaylistError("it does not begin with #EXTM3U")
    if any(line.lstrip().startswith("#EXT-X-STREAM-INF:") for line in lines):
        return _master(lines, url)
    return _Reader(url).media(lines)


def _master(lines: list[str], url: str) -> Master:
    found: list[Variant] = []
    waiting: tuple[int | None, str | None] | None = None
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-STREAM-INF":
            given = _attributes(value)
            rate = _rate_bps(given.get("BANDWIDTH")) or _rate_bps(given.get("AVERAGE-BANDWIDTH"))
            waiting = rate, _resolution(given.get("RESOLUTION"))
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
    rungs = {variant.bandwidth_bps: variant for variant in reversed(found) if variant.bandwidth_bps is not None}
    unknown = {variant.url: variant for variant in found if variant.bandwidth_bps is None}
    return Master((*(rungs[bps] for bps in sorted(rungs)), *unknown.values()))


class _Reader:
    """Parse a media playlist in one pass: tags set values for the next segment."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._segments: list[Segment] = []
        self._number = 0
        self._target_s: float | None = None
        self._ended = False
        self._recorded = False
        self._begun = False
        self._duration_s: float | None = None
        self._encrypted = False
        self._range: str | None = None
        self._gap = False
        self._init: Part | None = None
        self._next: dict[str, int] = {}

    def media(self, lines: list[str]) -> Media:
        """Parse all lines."""
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
        known = [segment.duration_s for segment in self._segments if segment.duration_s >= 0]
        target_s = self._target_s or max(known, default=DEFAULT_SEGMENT_S if self._segments else 1.0)
        assumed = len(known) < len(self._segments)
        segments = [s if s.duration_s >= 0 else replace(s, duration_s=target_s) for s in self._segments]
        live = not (self._ended or self._recorded)
        return Media(tuple(segments), target_s, live, self._encrypted, assumed)

    def _tag(self, tag: str, value: str, at: int) -> None:
        if tag == "#EXTINF":
            self._begun, self._duration_s = True, _seconds(value.partition(",")[0], at)
        elif tag == "#EXT-X-TARGETDURATION":
            length_s = _seconds(value, at)
            self._target_s = None if length_s is None else max(0.1, length_s)
        elif tag == "#EXT-X-MEDIA-SEQUENCE":
            self._number = _integer(value)
        elif tag == "#EXT-X-KEY":
            self._encrypted = self._encrypted or _attributes(value).get("METHOD", "NONE").upper() != "NONE"
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
        if not self._begun:
            return  # players pass over an address without EXTINF
        url = _absolute(self._url, line, at)
        part = Part(url)
        if self._range is not None:
            part = Part(url, _byte_range(self._range, self._next.get(url), at))
            assert part.byte_range is not None
            self._next[url] = sum(part.byte_range)
        if not self._gap and self._duration_s != 0:
            length_s = -1.0 if self._duration_s is None else self._duration_s
            self._segments.append(Segment(part, self._number, length_s, self._init))
        self._number += 1
        self._begun, self._duration_s, self._range, self._gap = False, None, None, False


def _attributes(text: str) -> dict[str, str]:
    return {name.upper(): value.strip().strip('"') for name, value in _ATTRIBUTE.findall(text)}


def _resolution(text: str | None) -> str | None:
    return text if text is not None and re.fullmatch(r"[0-9]{1,5}x[0-9]{1,5}", text) else None


def _rate_bps(text: str | None) -> int | None:
    """Return a rate in bit/s; None for `None`, 0, negative and absurd values, which encoders do write."""
    plain = (text or "").strip()
    value = float(plain) if _NUMBER.fullmatch(plain) else math.nan
    return round(value) if 1 <= value < MAX_INTEGER else None


def _integer(text: str) -> int:
    """Return a sequence number; 0 if it is not a number, as for a missing tag."""
    plain = text.strip()
    return int(plain) if re.fullmatch(r"[0-9]{1,18}", plain) else 0


def _seconds(text: str, at: int) -> float | None:
    """Return a length in seconds; None where none is announced (`-1`, empty, no number)."""
    found = _NUMBER.match(text.strip())
    if found is None:
        if re.fullmatch(r"[0-9]{21,}.*", text.strip(), re.S):
            raise PlaylistError(f"line {at}: no length in seconds up to {MAX_SEGMENT_S:.0f}")
        return None
    value = float(found[0])
    if not value <= MAX_SEGMENT_S:
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
