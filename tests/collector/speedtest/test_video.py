"""The collector's synthetic video, over real sockets, with an ordinary HTTP client."""

from __future__ import annotations

import zlib

import pytest
import requests

from sigprobe.collector.speedtest.video import RUNGS
from sigprobe.measure.video.hls import Master, Media, parse
from tests.support.servers.speedtests import collector, settings


def read(url: str) -> Master | Media:
    answer = requests.get(url, timeout=5)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/vnd.apple.mpegurl"
    assert answer.headers["Cache-Control"] == "no-store, no-transform"
    return parse(answer.text, url)


@pytest.mark.parametrize(("query", "seconds"), [("", 60), ("?s=7", 8), ("?s=0", 2), ("?s=999999", 600), ("?s=x", 60)])
def test_every_rung_has_the_seconds_asked_for(query: str, seconds: int) -> None:
    """The ladder names all rungs, and each of them is as long as asked, 60 s unless told, 600 s at most."""
    with collector() as url:
        found = read(url + "backend/video/master.m3u8" + query)
        assert isinstance(found, Master)
        assert [v.bandwidth_bps for v in found.variants] == [bps for bps, _ in RUNGS.values()]
        for rung in found.variants:
            media = read(rung.url)
            assert isinstance(media, Media)
            assert not media.live
            assert sum(segment.duration_s for segment in media.segments) == seconds


def test_a_segment_is_as_long_as_announced_and_cannot_be_compressed() -> None:
    """Two seconds of each rung are exactly its rate, and no zip makes them smaller; other origins may ask."""
    with collector() as url, requests.Session() as client:
        for name, (bps, _) in RUNGS.items():
            answer = client.get(url + f"backend/video/{name}/29.ts", timeout=5)
            assert len(answer.content) * 8 == 2 * bps
            assert answer.headers["Content-Type"] == "video/mp2t"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert len(zlib.compress(answer.content)) >= len(answer.content)
        assert client.options(url + "backend/video/240p/0.ts", timeout=5).status_code == 204


@pytest.mark.parametrize("path", ["9p/media.m3u8", "240p/300.ts", "240p/-1.ts", "240p/x.ts", "9p/0.ts", "x.m3u8"])
def test_what_is_not_there_is_a_404(path: str) -> None:
    """Rungs and segments that were never announced do not exist."""
    with collector() as url:
        assert requests.get(url + "backend/video/" + path, timeout=5).status_code == 404


def test_it_stands_behind_the_same_guards() -> None:
    """Token, mode and the day's allowance hold for the video as for the speed test; half a segment is never sent."""
    with collector(settings(mode="token")) as url:
        for path in ("master.m3u8", "240p/media.m3u8", "240p/0.ts"):
            assert requests.get(url + "backend/video/" + path, timeout=5).status_code == 401
            right = {"Authorization": "Bearer right"}
            assert requests.get(url + "backend/video/" + path, headers=right, timeout=5).status_code == 200
    with collector(settings(mode="off")) as url:
        assert requests.get(url + "backend/video/master.m3u8", timeout=5).status_code == 404
    with collector(settings(daily_mb=2), address_of=lambda _: "192.0.2.1") as url:
        big = url + "backend/video/1080p/0.ts"
        assert [requests.get(big, timeout=5).status_code for _ in range(2)] == [200, 429]
        small = requests.get(url + "backend/video/240p/0.ts", timeout=5)
        assert (small.status_code, len(small.content)) == (200, 100_000)
