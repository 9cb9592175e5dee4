"""The `video` kind against our own collector, and against servers that are slow, broken, endless or lying."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

import sigprobe.net.http_trace  # noqa: F401 - loaded here, so that no test's deadline pays for it
from sigprobe.measure.kind import Measured
from sigprobe.measure.video import kind
from sigprobe.net import sockets
from sigprobe.net.limits import Context, DataBudget, Deadline, Progress
from sigprobe.net.urls import origin
from sigprobe.words.codes import CODES
from tests.support.servers.speedtests import collector, settings
from tests.support.servers.tcp import Peer, Server, http_server, page, tcp_server

SCHEMA = Draft202012Validator(TypeAdapter(kind.VideoData).json_schema())
Answer = bytes | Callable[[Peer, bytes], object]


def check(url: str, seconds: float = 9, context: Context | None = None, **options: Any) -> Measured:
    """Run one check, and hold its data to the published shape."""
    resolve = options.pop("resolve", sockets.look_up)
    measured = kind.measure(
        kind.Options(name="x", url=url, **options), context or Context(Deadline.after(seconds)), resolve=resolve
    )
    SCHEMA.validate(dict(measured.data))
    assert set(measured.data) == set(kind.VideoData.__annotations__)
    assert measured.failure is None or measured.failure.code in CODES
    assert measured.data["start_failure"] is None or measured.data["start_delay_ms"] is None
    return measured


@contextmanager
def server_of(pages: Mapping[str, Answer]) -> Iterator[Server]:
    """A server that keeps connections open; what it has no answer for is a 404."""
    heads: list[bytes] = []

    def answer(peer: Peer) -> None:
        while head := peer.head():
            heads.append(head)
            found = pages.get(head.split(b" ", 2)[1].decode(), page(b"no", "404 Not Found"))
            if callable(found):
                found(peer, head)
            else:
                peer.send(found)

    with tcp_server(answer) as server:
        server.heads = heads
        yield server


def playlist(*lines: str, end: bool = True) -> bytes:
    return page("\n".join(["#EXTM3U", *lines, *(["#EXT-X-ENDLIST"] if end else [])]).encode())


def segments(count: int, seconds: float = 2.0, name: str = "{}.ts") -> list[str]:
    return [line for n in range(count) for line in (f"#EXTINF:{seconds},", name.format(n))]


def ladder(*rungs: tuple[int, str]) -> bytes:
    return playlist(*(line for bps, url in rungs for line in (f"#EXT-X-STREAM-INF:BANDWIDTH={bps}", url)), end=False)


def code(measured: Measured) -> str | None:
    return None if measured.failure is None else measured.failure.code


def paced(body: bytes, bytes_per_s: float) -> Callable[[Peer, bytes], None]:
    """An answer that leaves at this rate."""

    def answer(peer: Peer, _: bytes) -> None:
        peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        begun = time.monotonic()
        step = max(1, int(bytes_per_s / 50))
        for at in range(0, len(body), step):
            peer.wait(max(0.0, begun + at / bytes_per_s - time.monotonic()))
            peer.send(body[at : at + step])

    return answer


# --- our own collector --------------------------------------------------------------------------------------


def test_nothing_but_our_collector_is_needed() -> None:
    """A collector's address alone plays its ladder: up to the highest rung on a fast way, without a stall."""
    budget = DataBudget()
    seen: list[Progress] = []
    with collector() as url:
        context = Context(Deadline.after(20), budget=budget, progress=seen.append)
        measured = check(url, context=context, media_s=12)
    data = measured.data
    assert measured.outcome == "ok"
    assert (data["ended"], data["segments"], data["media_s"]) == ("media_cap", 6, 12.0)
    assert (data["stalls"], data["stalled_ms"], data["stall_ratio"]) == (0, 0.0, 0.0)
    assert (data["segments_failed"], data["compressed"], data["live"]) == (0, False, False)
    assert data["start_delay_ms"] > data["first_byte_ms"] > 0
    assert data["mean_bitrate_bps"] == data["announced_bitrate_bps"], "segments are as long as announced"
    assert data["rungs"][0]["bandwidth_bps"] == 200_000
    assert data["rungs"][-1]["bandwidth_bps"] == 5_000_000
    assert data["switches"] >= len(data["rungs"]) - 1
    assert data["mean_bitrate_bps"] == round(8 * sum(rung["bytes_received"] for rung in data["rungs"]) / 12)
    assert budget.used_bytes == data["bytes_received"] + data["headers_bytes"] + data["bytes_sent"]
    assert seen[-1].fraction == 1.0
    assert seen[-1].unit == "bps"


def test_the_collectors_token_goes_to_the_collector_only() -> None:
    """Where the collector wants its token it gets it; without one the refusal has its own code."""
    with collector(settings(mode="token")) as url:
        good = check(url, context=Context(Deadline.after(9), tokens={origin(url): "right"}), media_s=2, buffer_s=1)
        assert good.outcome == "ok"
        bad = check(url, media_s=2)
        assert (bad.outcome, code(bad)) == ("failed", "token_refused")
    with server_of({"/a.m3u8": playlist(*segments(1)), "/0.ts": page(b"x" * 100)}) as server:
        check(server.url("/a.m3u8"), context=Context(Deadline.after(9), tokens={origin(url): "right"}), media_s=2)
        assert len(server.heads) == 2
        assert not any(b"right" in head for head in server.heads)


# --- the way it plays ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_way_too_slow_for_the_lowest_rung_gives_stalls() -> None:
    """Half the rate that one second of media needs: playing starts, stands still, and the figures say how much."""
    body = b"x" * 12_500
    answers: dict[str, Answer] = {"/v.m3u8": playlist(*segments(10, 0.5))}
    answers |= {f"/{n}.ts": paced(body, 12_500) for n in range(10)}
    with server_of(answers) as server:
        measured = check(server.url("/v.m3u8"), seconds=25, media_s=4, buffer_s=1)
    data = measured.data
    assert measured.outcome == "ok"
    assert data["ended"] == "media_cap"
    assert data["stalls"] >= 1
    # eight segments of a second each: playing begins after two, and six bring half of what they take
    assert data["start_delay_ms"] >= 1_500
    assert data["stalled_ms"] >= 1_500
    assert data["stall_ratio"] == pytest.approx(data["stalled_ms"] / (data["stalled_ms"] + 4000), abs=0.001)
    assert data["mean_bitrate_bps"] == 200_000
    assert data["segment_bps"] < 130_000
    assert data["announced_bitrate_bps"] is None, "there was no ladder"


@pytest.mark.slow
def test_the_rung_fits_the_rate() -> None:
    """At 2 Mbit/s a ladder of 100 k, 400 k and 40 M is played on the middle rung, after the first segment."""
    answers: dict[str, Answer] = {"/v.m3u8": ladder((100_000, "a/l"), (400_000, "b/l"), (40_000_000, "c/l"))}
    for name, bps in (("a", 100_000), ("b", 400_000), ("c", 40_000_000)):
        answers[f"/{name}/l"] = playlist(*segments(6))
        answers |= {f"/{name}/{n}.ts": paced(b"x" * (bps // 4), 250_000) for n in range(6)}
    with server_of(answers) as server:
        data = check(server.url("/v.m3u8"), seconds=20, media_s=10, max_mb=50).data
        fetched = [head.split(b" ", 2)[1].decode() for head in server.heads]
    assert fetched == ["/v.m3u8", "/a/l", "/a/0.ts", "/b/l", "/b/1.ts", "/b/2.ts", "/b/3.ts", "/b/4.ts"]
    assert data["switches"] == 1
    assert data["rungs_offered"] == 3
    assert data["announced_bitrate_bps"] == (100_000 + 4 * 400_000) // 5


def test_a_broken_rung_is_left_and_the_others_play_on() -> None:
    """What the highest rung does not have is taken from the next; the failures are counted, the viewer sees all."""
    answers: dict[str, Answer] = {"/v.m3u8": ladder((8_000, "a/l"), (16_000, "b/l"))}
    answers["/a/l"] = answers["/b/l"] = playlist(*segments(6))
    answers |= {f"/a/{n}.ts": page(b"x" * 2000) for n in range(6)}
    with server_of(answers) as server:
        measured = check(server.url("/v.m3u8"), media_s=12)
    assert measured.outcome == "ok"
    assert (measured.data["media_s"], measured.data["segments_failed"]) == (12.0, 2)
    assert [(r["bandwidth_bps"], r["segments"], r["failed"]) for r in measured.data["rungs"]] == [
        (8_000, 6, 0),
        (16_000, 0, 2),
    ]


def test_byte_ranges_and_an_init_section() -> None:
    """Ranges are asked for as the playlist says, the init section once; all of it counts as payload."""
    whole = bytes(range(250)) * 12

    def ranged(peer: Peer, head: bytes) -> None:
        first, last = head.partition(b"bytes=")[2].partition(b"\r\n")[0].split(b"-")
        peer.send(page(whole[int(first) : int(last) + 1], "206 Partial Content"))

    lines = ['#EXT-X-MAP:URI="v.mp4",BYTERANGE="100@0"', "#EXTINF:2,", "#EXT-X-BYTERANGE:1000@100", "v.mp4"]
    lines += ["#EXTINF:2,", "#EXT-X-BYTERANGE:1900", "v.mp4"]
    with server_of({"/v.m3u8": playlist(*lines), "/v.mp4": ranged}) as server:
        measured = check(server.url("/v.m3u8"))
        asked = [head.partition(b"Range: ")[2].partition(b"\r\n")[0] for head in server.heads[1:]]
        listed = len(playlist(*lines).partition(b"\r\n\r\n")[2])
    assert measured.outcome == "ok"
    assert measured.data["ended"] == "media_end"
    assert asked == [b"bytes=0-99", b"bytes=100-1099", b"bytes=1100-2999"]
    assert measured.data["bytes_received"] == listed + len(whole)


def test_a_server_that_ignores_ranges_is_found_out() -> None:
    """All of a file for a part of it is no good answer, and is not read to its end."""
    lines = ["#EXTINF:2,", "#EXT-X-BYTERANGE:1000@100", "v.mp4"]
    with server_of({"/v.m3u8": playlist(*lines), "/v.mp4": page(b"x" * 3_000_000)}) as server:
        measured = check(server.url("/v.m3u8"))
    assert (measured.outcome, code(measured)) == ("failed", "bad_response")
    assert measured.data["bytes_received"] < 10_000


@pytest.mark.slow
def test_a_live_video_is_joined_near_its_end_and_loaded_again() -> None:
    """A list that grows by a segment each time is played on as it grows, from three target durations before its end."""
    loads = []

    def growing(peer: Peer, _: bytes) -> None:
        loads.append(time.monotonic())
        upto = 9 + 2 * len(loads)
        lines = [f"#EXT-X-MEDIA-SEQUENCE:{upto - 10}", "#EXT-X-TARGETDURATION:1"]
        lines += [line for n in range(upto - 10, upto) for line in ("#EXTINF:0.5,", f"{n}.ts")]
        peer.send(playlist(*lines, end=False))

    answers: dict[str, Answer] = {f"/{n}.ts": page(b"x" * 1000) for n in range(60)}
    with server_of({**answers, "/v.m3u8": growing}) as server:
        data = check(server.url("/v.m3u8"), seconds=20, media_s=5, buffer_s=1).data
        fetched = [h.split(b" ", 2)[1].decode() for h in server.heads if b".ts" in h]
    assert fetched == [f"/{n}.ts" for n in range(5, 15)]
    assert (data["live"], data["ended"], data["reloads"]) == (True, "media_cap", len(loads) - 1)
    assert 2 <= data["reloads"] <= 6


# --- what goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b"", "reset"),
        (page(b"<html>"), "playlist_invalid"),
        (page(b""), "playlist_invalid"),
        (page(b"\x00\xff" * 5000), "playlist_invalid"),
        (page(b"#EXTM3U\n#EXT-X-ENDLIST"), "playlist_invalid"),
        (page(b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-ENDLIST"), "playlist_invalid"),
        (page(b"no", "404 Not Found"), "http_status"),
        (page(b"no", "503 Busy"), "server_busy"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n#EXTM3U", "http_truncated"),
        (page(b"", "302 Found", "Location: http://elsewhere.invalid/"), "redirect_elsewhere"),
    ],
)
def test_no_playlist_no_playing(answer: bytes, wanted: str) -> None:
    """Whatever else comes has its code; nothing was played, so there is no delay, no stall and no rate."""
    with http_server(answer) as server:
        measured = check(server.url("/v.m3u8"))
    data = measured.data
    assert measured.outcome == ("degraded" if wanted == "redirect_elsewhere" else "failed")
    assert code(measured) == data["start_failure"] == wanted
    assert [data[key] for key in ("start_delay_ms", "stalls", "stalled_ms", "mean_bitrate_bps")] == [None] * 4


def test_a_ladder_that_leads_to_itself_ends() -> None:
    """Each rung is the ladder again: asked for twice, then given up, never followed round and round."""
    with server_of({"/v.m3u8": ladder((1000, "v.m3u8"), (2000, "v.m3u8?2")), "/v.m3u8?2": ladder((1, "x"))}) as server:
        measured = check(server.url("/v.m3u8"), seconds=60)
        assert len(server.heads) <= 6
    assert (measured.outcome, code(measured)) == ("failed", "playlist_invalid")


@pytest.mark.slow
def test_a_live_video_that_stands_still_is_said_to() -> None:
    """A list without end that gets nothing new: what came was played, then it is told apart from a slow way."""
    answers = {"/v.m3u8": playlist("#EXT-X-TARGETDURATION:0.5", *segments(3, 0.5), end=False)}
    answers |= {f"/{n}.ts": page(b"x" * 100) for n in range(3)}
    with server_of(answers) as server:
        measured = check(server.url("/v.m3u8"), seconds=30, media_s=10, buffer_s=1)
    assert (measured.outcome, code(measured)) == ("degraded", "video_incomplete")
    assert measured.failure is not None
    assert "playlist_stale" in (measured.failure.detail or "")
    assert measured.data["media_s"] == 1.5
    assert measured.data["stalls"] == 1


def test_a_cut_in_the_middle_keeps_what_was_played() -> None:
    """Two segments come, then the connection is cut again and again: played in part, and said so."""

    def cut(peer: Peer, _: bytes) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nxxxx")
        peer.reset()

    answers: dict[str, Answer] = {"/v.m3u8": playlist(*segments(5)), "/0.ts": page(b"x" * 1000)}
    answers |= {"/1.ts": page(b"x" * 1000), "/2.ts": cut}
    with server_of(answers) as server:
        measured = check(server.url("/v.m3u8"))
    assert (measured.outcome, code(measured)) == ("degraded", "video_incomplete")
    assert (measured.data["media_s"], measured.data["segments_failed"]) == (4.0, 2)
    assert measured.data["ended"] is None


@pytest.mark.slow
def test_slower_than_a_byte_a_second_ends_with_the_deadline() -> None:
    """A dripping segment: no picture ever, so no delay, and the reason is that it was too slow."""

    def drip(peer: Peer, _: bytes) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while not peer.closing.is_set():
            peer.send(b"x")
            peer.wait(1.2)

    with server_of({"/v.m3u8": playlist(*segments(1)), "/0.ts": drip}) as server:
        measured = check(server.url("/v.m3u8"), seconds=1.5)
    assert (measured.outcome, code(measured)) == ("failed", "too_slow")
    assert (measured.data["ended"], measured.data["start_failure"]) == ("time_cap", "too_slow")


@pytest.mark.slow
def test_a_live_video_cut_off_by_the_time_was_too_short_and_not_slow() -> None:
    """Segments that come faster than they are played, and then a deadline: nothing there was slow."""
    lines = ["#EXT-X-TARGETDURATION:2", *segments(3)]
    answers: dict[str, Answer] = {"/v.m3u8": playlist(*lines, end=False)}
    answers |= {f"/{n}.ts": page(b"x" * 1000) for n in range(3)}
    with server_of(answers) as server:
        measured = check(server.url("/v.m3u8"), seconds=1.5, media_s=60)
    assert (measured.outcome, code(measured)) == ("degraded", "too_short")
    assert (measured.data["ended"], measured.data["stalls"]) == ("time_cap", 0)


def test_more_than_announced_is_capped() -> None:
    """A rung announced with 8 kbit/s that sends without end: no more than `max_mb`, and nothing was played."""

    def flood(peer: Peer, _: bytes) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not peer.closing.is_set():
            peer.send(b"x" * 65536)

    budget = DataBudget()
    with server_of({"/v": ladder((8000, "l")), "/l": playlist(*segments(3)), "/0.ts": flood}) as server:
        measured = check(server.url("/v"), context=Context(Deadline.after(9), budget=budget), max_mb=1)
    assert (measured.outcome, code(measured)) == ("skipped", "data_cap")
    assert budget.used_bytes <= 1_000_000 + 64 * 1024


def test_the_data_budget_is_kept_without_wasting_it() -> None:
    """With little left the lower rungs are taken and nothing is cut half-way; with nothing left: skipped."""
    budget = DataBudget(800_000)
    with collector() as url:
        measured = check(url, context=Context(Deadline.after(9), budget=budget), media_s=20)
        assert measured.outcome == "ok"
        assert measured.data["ended"] == "data_cap"
        assert 0 < measured.data["media_s"] < 20
        assert measured.data["segments_failed"] == 0
        assert budget.used_bytes <= 800_000
        poor = check(url, context=Context(Deadline.after(9), budget=DataBudget(20_000)))
        assert (poor.outcome, code(poor)) == ("skipped", "data_budget")
        none = DataBudget(0)
        assert check(url, context=Context(Deadline.after(9), budget=none)).outcome == "skipped"
        assert none.used_bytes == 0


def test_packed_on_the_way_is_seen() -> None:
    """A box that packs segments changes what crosses the wire: that is what counts, and it is said."""
    answers = {"/v.m3u8": playlist(*segments(2))}
    answers |= {f"/{n}.ts": page(b"z" * 70, "200 OK", "Content-Encoding: gzip") for n in range(2)}
    with server_of(answers) as server:
        data = check(server.url("/v.m3u8")).data
        assert b"Accept-Encoding: identity" in server.heads[0]
    assert data["compressed"] is True
    assert data["rungs"][0]["bytes_received"] == 140


def test_nobody_listens_and_nothing_resolves() -> None:
    """A closed port refuses; a name without an address has its own code."""
    with http_server(page()) as server:
        closed = server.url("/v.m3u8")
    assert code(check(closed)) == "refused"
    nowhere = check("http://x.invalid/v.m3u8", resolve=lambda *_: sockets.Lookup(error="EAI_NONAME"))
    assert (nowhere.outcome, code(nowhere)) == ("failed", "name_not_found")


def test_a_stop_ends_it_at_once() -> None:
    """Ctrl-C in the middle of a segment: skipped, long before the deadline."""
    stop = threading.Event()

    def hang(peer: Peer, _: bytes) -> None:
        stop.set()
        peer.wait()

    with server_of({"/v.m3u8": playlist(*segments(1)), "/0.ts": hang}) as server:
        measured = check(server.url("/v.m3u8"), context=Context(Deadline.after(60), stop=stop))
    assert (measured.outcome, code(measured)) == ("skipped", "interrupted")


@pytest.mark.parametrize("options", [{"url": "rtsp://x/"}, {"media_s": 1}, {"buffer_s": 0}, {"max_mb": 0}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    """What cannot be played is an error of the settings, before anything is sent."""
    with pytest.raises(ValidationError):
        kind.Options(**{"name": "x", "url": "http://x/", **options})


def test_only_an_address_that_ends_in_a_slash_is_a_collectors() -> None:
    """`…/` gets the ladder's path; anything else is asked for as it is."""

    def asked(url: str) -> str:
        return kind.Options(name="x", url=url).playlist_url()

    assert asked("https://c.example/") == "https://c.example/backend/video/master.m3u8"
    assert asked("https://c.example/sub/") == "https://c.example/sub/backend/video/master.m3u8"
    for url in ("https://c.example/v.m3u8", "https://c.example/?v=1", "https://c.example"):
        assert asked(url) == url
