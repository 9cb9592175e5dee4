"""HLS playlists: what RFC 8216 means by them, and rubbish."""

from __future__ import annotations

import random

import pytest

from sigprobe.measure.video.hls import Master, Media, Part, PlaylistError, parse

URL = "http://h/live/list.m3u8?t=1"


def media(*lines: str) -> Media:
    found = parse("\n".join(["#EXTM3U", *lines]), URL)
    assert isinstance(found, Media)
    return found


def test_a_ladder_is_read_lowest_first() -> None:
    """Rungs stand in the order of their rates, with absolute addresses; of two with one rate the first counts."""
    found = parse(
        "\ufeff#EXTM3U\r\n#EXT-X-VERSION:4\r\n\r\n"
        '#EXT-X-STREAM-INF:AUDIO="a,b",BANDWIDTH=3000000,CODECS="avc1,mp4a",RESOLUTION=1280x720\r\nhi/x.m3u8\r\n'
        "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=i.m3u8\r\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=400000\r\n#a comment\r\n/lo.m3u8?q=1\r\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=400000\r\n/backup.m3u8\r\n",
        URL,
    )
    assert isinstance(found, Master)
    assert [(v.bandwidth_bps, v.resolution, v.url) for v in found.variants] == [
        (400_000, None, "http://h/lo.m3u8?q=1"),
        (3_000_000, "1280x720", "http://h/live/hi/x.m3u8"),
    ]


def test_segments_have_numbers_lengths_and_addresses() -> None:
    """Sequence numbers go on from the announced one, also over a gap; the end tag ends it."""
    found = media(
        "#EXT-X-TARGETDURATION:6",
        "#EXT-X-MEDIA-SEQUENCE:7",
        "#EXTINF:5.5,title, with comma",
        "a.ts",
        "#EXT-X-GAP",
        "#EXTINF:6,",
        "missing.ts",
        "#EXT-X-DISCONTINUITY",
        "#EXTINF:6.006",
        "https://cdn.example/c.ts",
        "#EXT-X-ENDLIST",
        "#EXTINF:6,",
        "after.ts",
    )
    assert [(s.number, s.duration_s, s.part.url) for s in found.segments] == [
        (7, 5.5, "http://h/live/a.ts"),
        (9, 6.006, "https://cdn.example/c.ts"),
    ]
    assert (found.live, found.target_s) == (False, 6.0)


def test_byte_ranges_follow_each_other() -> None:
    """A range without an offset begins where the last one of the same resource ended; so does an init section."""
    found = media(
        '#EXT-X-MAP:URI="v.mp4",BYTERANGE="100@0"',
        "#EXTINF:2,",
        "#EXT-X-BYTERANGE:1000@100",
        "v.mp4",
        "#EXTINF:2,",
        "#EXT-X-BYTERANGE:500",
        "v.mp4",
        "#EXT-X-ENDLIST",
    )
    assert [s.part.byte_range for s in found.segments] == [(100, 1000), (1100, 500)]
    assert found.segments[0].init == Part("http://h/live/v.mp4", (0, 100))


def test_without_an_end_it_is_live_but_a_recording_is_not() -> None:
    """A playlist may grow unless it ends, or says that it is a finished recording."""
    lines = ["#EXT-X-TARGETDURATION:2", "#EXTINF:2,", "a.ts"]
    assert media(*lines).live
    assert not media("#EXT-X-PLAYLIST-TYPE:VOD", *lines).live
    assert not media(*lines, "#EXT-X-ENDLIST").live


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "EXTM3U\n",
        "#EXTM3U",
        "#EXTM3U\n#EXT-X-ENDLIST",
        "#EXTM3U\na.ts",
        "#EXTM3U\n#EXTINF:nan,\na.ts",
        "#EXTM3U\n#EXTINF:-1,\na.ts",
        "#EXTM3U\n#EXTINF:1e9,\na.ts",
        "#EXTM3U\n#EXTINF:" + "9" * 5000 + ",\na.ts",
        "#EXTM3U\n#EXTINF:2,\nftp://x/a.ts",
        "#EXTM3U\n#EXTINF:2,\nhttp://[bad/a.ts",
        "#EXTM3U\n#EXTINF:2,\nhttp://u:p@h/a.ts",
        "#EXTM3U\n#EXTINF:2,\n#EXT-X-BYTERANGE:10\na.ts",
        "#EXTM3U\n#EXTINF:2,\n#EXT-X-BYTERANGE:0@0\na.ts",
        "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:" + "9" * 40 + "\n#EXTINF:2,\na.ts",
        "#EXTM3U\n#EXT-X-MAP:BYTERANGE=x\n#EXTINF:2,\na.ts",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=0\na.m3u8",
        "#EXTM3U\n#EXT-X-STREAM-INF:\na.m3u8",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n#EXTINF:2,\nb",
        "#EXTM3U\n" + "\n" * 70_000,
    ],
)
def test_what_cannot_be_played_is_refused(text: str) -> None:
    """Each is one error with a reason, never anything else."""
    with pytest.raises(PlaylistError, match=r"\w"):
        parse(text, URL)


def test_rubbish_raises_nothing_else() -> None:
    """Random mixtures of tags, numbers and bytes are either a playlist or refused."""
    dice = random.Random(1)
    pieces = [
        *("#EXTM3U\n", "#EXTINF:", "#EXT-X-STREAM-INF:", "BANDWIDTH=", "#EXT-X-BYTERANGE:", "#EXT-X-MAP:", "URI="),
        *("#EXT-X-TARGETDURATION:", "#EXT-X-MEDIA-SEQUENCE:", "#EXT-X-ENDLIST\n", "\n", ",", "@", '"', "2", "-1", "٣"),
        *("1e5", "nan", "a.ts\n", "//[", "http://", "\x00", "\ud800", "é", "%", "\u2028", "²"),
    ]
    read = 0
    for _ in range(5000):
        try:
            parse("#EXTM3U\n" + "".join(dice.choices(pieces, k=dice.randint(1, 30))), URL)
            read += 1
        except PlaylistError:
            pass
    assert read
