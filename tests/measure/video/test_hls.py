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
    ("attributes", "rate"),
    [
        ("BANDWIDTH=1280000", 1_280_000),
        ('BANDWIDTH="1280000"', 1_280_000),
        ("BANDWIDTH = 1280000 , RESOLUTION=1x1", 1_280_000),
        ('CODECS="avc1,mp4a", BANDWIDTH=1280000', 1_280_000),
        ("BANDWIDTH=1280000.0", 1_280_000),
        ("BANDWIDTH=1.28e6", 1_280_000),
        ("BANDWIDTH=None,AVERAGE-BANDWIDTH=900000", 900_000),
        ("RESOLUTION=1920x1080", None),
        ("BANDWIDTH=None", None),
        ("BANDWIDTH=", None),
        ("BANDWIDTH=-1", None),
        ("BANDWIDTH=0", None),
        ("BANDWIDTH=nan", None),
        ("BANDWIDTH=1e300", None),
        ("BANDWIDTH=" + "9" * 50, None),
        ('NAME="BANDWIDTH=5,"', None),
    ],
)
def test_a_rung_without_a_usable_rate_is_a_rung(attributes: str, rate: int | None) -> None:
    """Players play it; its rate is not known, which is not 0."""
    found = parse(f"#EXTM3U\n#EXT-X-STREAM-INF:{attributes}\na.m3u8\n", URL)
    assert isinstance(found, Master)
    assert [(v.bandwidth_bps, v.url) for v in found.variants] == [(rate, "http://h/live/a.m3u8")]


def test_rungs_of_unknown_rate_come_last_and_all_of_them() -> None:
    """They are tried when nothing else is left."""
    lines = ["#EXT-X-STREAM-INF:", "a", "#EXT-X-STREAM-INF:BANDWIDTH=5", "b", "#EXT-X-STREAM-INF:BANDWIDTH=x", "c"]
    found = parse("\n".join(["#EXTM3U", *lines]), URL)
    assert isinstance(found, Master)
    assert [v.url[-1] for v in found.variants] == ["b", "a", "c"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85"])
def test_only_line_ends_end_lines(odd: str, end: str) -> None:
    """What Python's splitlines takes for a line end may stand in a title."""
    found = parse(end.join(["#EXTM3U", f"#EXTINF:10,a{odd}b", "s.ts?x=1", "#EXT-X-ENDLIST", ""]), URL)
    assert isinstance(found, Media)
    assert [(s.part.url, s.duration_s) for s in found.segments] == [("http://h/live/s.ts?x=1", 10.0)]


@pytest.mark.parametrize("first", ['#EXTM3U x-tvg-url="http://z"', "\ufeff#EXTM3U", "\n\n #EXTM3U ", "#EXTM3U\t"])
def test_first_lines_of_every_shape(first: str) -> None:
    """Attributes, blanks and a byte order mark."""
    found = parse(f"{first}\n#EXTINF:10,\ns.ts\n#EXT-X-ENDLIST\n", URL)
    assert isinstance(found, Media) and len(found.segments) == 1


@pytest.mark.parametrize("length", ["-1", '-1 tvg-id="a"', "", "nan", "None", "-0.5"])
def test_a_segment_of_unknown_length_counts_as_the_target_duration(length: str) -> None:
    """As players assume; that it was assumed is said."""
    found = media("#EXT-X-TARGETDURATION:4", f"#EXTINF:{length},title", "a.ts", "#EXTINF:3,", "b.ts")
    assert [s.duration_s for s in found.segments] == [4.0, 3.0]
    assert found.lengths_assumed
    assert not media("#EXTINF:3,", "b.ts").lengths_assumed


def test_odd_numbers_of_other_tags_are_passed_over() -> None:
    """A sequence number or a target duration that is none is as good as missing."""
    found = media("#EXT-X-MEDIA-SEQUENCE:None", "#EXT-X-TARGETDURATION:x", "#EXTINF: 3.5s ,", "a.ts", "stray.ts")
    assert [(s.number, s.duration_s) for s in found.segments] == [(0, 3.5)]
    assert found.target_s == 3.5


@pytest.mark.parametrize(("key", "encrypted"), [("AES-128", True), ("SAMPLE-AES", True), ("NONE", False)])
def test_encryption_is_said(key: str, encrypted: bool) -> None:
    """The segments are downloaded all the same."""
    found = media(f'#EXT-X-KEY:METHOD={key},URI="k"', "#EXTINF:2,", "a.ts")
    assert (found.encrypted, len(found.segments)) == (encrypted, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "EXTM3U\n",
        "#EXTM3U",
        "#EXTM3U\n#EXT-X-ENDLIST",
        "#EXTM3U\na.ts",
        "#EXTM3U\n#EXTINF:1e9,\na.ts",
        "#EXTM3U\n#EXTINF:" + "9" * 5000 + ",\na.ts",
        "#EXTM3U\n#EXTINF:2,\nftp://x/a.ts",
        "#EXTM3U\n#EXTINF:2,\nhttp://[bad/a.ts",
        "#EXTM3U\n#EXTINF:2,\nhttp://u:p@h/a.ts",
        "#EXTM3U\n#EXTINF:2,\n#EXT-X-BYTERANGE:10\na.ts",
        "#EXTM3U\n#EXTINF:2,\n#EXT-X-BYTERANGE:0@0\na.ts",
        "#EXTM3U\n#EXT-X-MAP:BYTERANGE=x\n#EXTINF:2,\na.ts",
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
