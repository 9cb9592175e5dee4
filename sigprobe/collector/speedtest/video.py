"""Serve a video of random bytes at several bit rates: HLS playlists (RFC 8216) for the check `video`.

It has no picture: every segment has exactly the length of its announced rate, and cannot be compressed on the way. HLS
players can download it; none will show a picture.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

PLAYLIST_TYPE: Final = "application/vnd.apple.mpegurl"
SEGMENT_TYPE: Final = "video/mp2t"
SEGMENT_S: Final = 2
DEFAULT_S: Final = 60
MAX_S: Final = 600

RUNGS: Final[Mapping[str, tuple[int, str]]] = {
    "144p": (200_000, "256x144"),
    "240p": (400_000, "426x240"),
    "360p": (800_000, "640x360"),
    "480p": (1_500_000, "854x480"),
    "720p": (3_000_000, "1280x720"),
    "1080p": (5_000_000, "1920x1080"),
}
"""Bit/s and picture size of each rung, by name."""

PATHS: Final = ("/video/master.m3u8", "/video/{rung}/media.m3u8", "/video/{rung}/{number}.ts")

Admit = Callable[[Request], Awaitable[Response | None]]
Segment = Callable[[Request, int], Awaitable[Response]]
Problem = Callable[[int, str], Response]

_LENGTH: Final = {
    "name": "s",
    "in": "query",
    "schema": {"type": "integer", "minimum": SEGMENT_S, "maximum": MAX_S, "default": DEFAULT_S},
    "description": "seconds of video; what is beyond the limits counts as the limit",
}
_RUNG: Final = {"name": "rung", "in": "path", "required": True, "schema": {"type": "string", "enum": list(RUNGS)}}
_NUMBER: Final = {"name": "number", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}


def master(seconds: int) -> str:
    """Return the ladder; each rung's address carries the seconds on."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-INDEPENDENT-SEGMENTS"]
    for name, (bps, size) in RUNGS.items():
        lines += [f"#EXT-X-STREAM-INF:BANDWIDTH={bps},RESOLUTION={size}", f"{name}/media.m3u8?s={seconds}"]
    return "\n".join(lines) + "\n"


def media(seconds: int) -> str:
    """Return the segments of any rung: `SEGMENT_S` each, the last one, too."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{SEGMENT_S}", "#EXT-X-PLAYLIST-TYPE:VOD"]
    for number in range(math.ceil(seconds / SEGMENT_S)):
        lines += [f"#EXTINF:{SEGMENT_S}.0,", f"{number}.ts"]
    return "\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n"


def add_routes(
    routes: APIRouter,
    admit: Admit,
    segment: Segment,
    *,
    problem: Problem,
    headers: Mapping[str, str],
    responses: dict[int | str, dict[str, Any]],
) -> None:
    """Add the video to the speed-test endpoints, with their admission and limits; only segments count as data."""

    def playlist(text: str) -> Response:
        return Response(text, headers=dict(headers), media_type=PLAYLIST_TYPE)

    async def video_master(request: Request) -> Response:
        """Return the ladder of a synthetic video of `s` seconds."""
        return await admit(request) or playlist(master(_seconds(request)))

    async def video_media(request: Request) -> Response:
        """Return the segments of one rung."""
        refusal = await admit(request)
        if refusal is None and request.path_params["rung"] not in RUNGS:
            refusal = problem(404, "there is no such rung")
        return refusal or playlist(media(_seconds(request)))

    async def video_segment(request: Request) -> Response:
        """Random bytes, as many as two seconds of the rung take."""
        refusal = await admit(request)
        if refusal is not None:
            return refusal
        name, number = request.path_params["rung"], request.path_params["number"]
        if name not in RUNGS or not re.fullmatch(r"[0-9]{1,4}", number) or int(number) * SEGMENT_S >= MAX_S:
            return problem(404, "there is no such segment")
        return await segment(request, RUNGS[name][0] * SEGMENT_S // 8)

    missing: dict[int | str, dict[str, Any]] = {
        404: {**responses[400], "description": "There is no such rung or segment"}
    }
    endpoints = ((video_master, [_LENGTH]), (video_media, [_RUNG, _LENGTH]), (video_segment, [_RUNG, _NUMBER]))
    for path, (endpoint, parameters) in zip(PATHS, endpoints, strict=True):
        routes.add_api_route(
            path,
            endpoint,
            methods=["GET"],
            response_class=Response,
            responses={**responses, **(missing if "{" in path else {})},
            openapi_extra={"parameters": parameters},
        )


def _seconds(request: Request) -> int:
    text = request.query_params.get("s", "")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        return DEFAULT_S
    return min(max(int(text), SEGMENT_S), MAX_S)
