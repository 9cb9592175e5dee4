"""Going on until everything is sent: pauses, splay, a link that comes up, and an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from sigprobe.buffer import Buffer
from sigprobe.upload import Backoff, Collector
from sigprobe.upload.drain_until_sent import drain_until_sent
from sigprobe.upload.jitter import COLLECTOR_S, OWN_LINK_S, after_link_up_s, next_try_s, share
from tests.support.stand_in_collector import portal, put, receipt, standin

URL = "https://c.example/"


class Watching:
    """Stands for `Watch`: notes how long it was asked to wait, and lets the test act meanwhile."""

    def __init__(self, *came_up: bool) -> None:
        self.ways = frozenset({("eth0", "0.0.0.0/0", "192.0.2.1")})
        self.waits: list[float] = []
        self._came_up = list(came_up)
        self.then = lambda: None

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.then()
        return self._came_up.pop(0) if self._came_up else False


def run(buffer: Buffer, path: Path, watch: Watching, collectors: Sequence[Collector], **changes: object) -> object:
    return drain_until_sent(
        buffer,
        lambda: collectors,
        # without jitter: a random wait of nearly 0 s would be over within the same drain
        lambda: Backoff(path, now=changes.pop("now", time.time), uniform=lambda _low, high: high),  # type: ignore[arg-type]
        watch,  # type: ignore[arg-type]
        **changes,  # type: ignore[arg-type]
    )


def test_it_goes_on_until_everything_is_sent(buffer: Buffer, tmp_path: Path) -> None:
    """A portal first, the collector later: it waits, tries again and ends with nothing pending, counts added up."""
    put(buffer, 5)
    watch = Watching(True, False, True)
    with standin(portal) as server:
        tries: list[int] = []

        def then() -> None:
            tries.append(len(server.seen))
            if len(server.seen) == 2:
                server.answer = receipt

        watch.then = then
        report = run(buffer, tmp_path / "b", watch, [Collector(server.url, "t")])
        assert len(server.seen) == 3
    assert (report.accepted, report.pending, report.stopped) == (5, 0, None)  # type: ignore[attr-defined]


def test_a_link_that_comes_up_is_used_within_seconds(buffer: Buffer, tmp_path: Path) -> None:
    """The backoff of the old way is forgiven; only this probe's share of three seconds is held back."""
    put(buffer, 1)
    path = tmp_path / "b"
    backoff = Backoff(path, uniform=lambda _low, high: high)
    with standin() as server:
        for _ in range(8):
            backoff.failed(server.url)
        watch = Watching(True)
        report = run(buffer, path, watch, [Collector(server.url, "t")])
    assert report.stopped is None  # type: ignore[attr-defined]
    assert watch.waits[0] > 600, "the backoff"
    assert watch.waits[1:] == [after_link_up_s(buffer.probe_id)]
    assert watch.waits[1] <= OWN_LINK_S


def test_it_ends_when_its_time_is_up(buffer: Buffer, tmp_path: Path) -> None:
    """`--max-time` bounds it, whatever it waits for."""
    put(buffer, 1)
    now = [0.0]
    watch = Watching()

    def then() -> None:
        now[0] += watch.waits[-1]

    watch.then = then
    with standin(portal) as server:
        report = run(buffer, tmp_path / "b", watch, [Collector(server.url, "t")], limit_s=60.0, clock=lambda: now[0])
    assert now[0] == pytest.approx(60)
    assert report.stopped is not None  # type: ignore[attr-defined]
    assert report.pending == 1  # type: ignore[attr-defined]


def test_a_stop_ends_it(buffer: Buffer, tmp_path: Path) -> None:
    """A stop while it waits ends it at the next look."""
    put(buffer, 1)
    stop = threading.Event()
    watch = Watching()
    watch.then = stop.set
    with standin(portal) as server:
        report = run(buffer, tmp_path / "b", watch, [Collector(server.url, "t")], stop=stop)
    assert len(watch.waits) == 1
    assert report.pending == 1  # type: ignore[attr-defined]


def test_progress_counts_over_all_drains(buffer: Buffer, tmp_path: Path) -> None:
    """What is told goes up from drain to drain, and does not begin anew."""
    put(buffer, 30)
    seen: list[int] = []
    with standin(lambda s: receipt(s, lambda name: "accepted" if s.ids.index(name) < 10 else "retry")) as server:
        watch = Watching(True, False, True, False)
        run(
            buffer,
            tmp_path / "b",
            watch,
            [Collector(server.url, "t")],
            progress=lambda report: seen.append(report.sent),  # type: ignore[attr-defined]
        )
    assert seen == [10, 20, 30]


# --- splay --------------------------------------------------------------------------------------------------


def test_shares_are_fixed_and_lie_all_over() -> None:
    """A probe's share never changes, and those of many fill the range evenly."""
    assert share("a", "x") == share("a", "x")
    assert share("a", "x") != share("a", "y")
    shares = [share(str(number), "x") for number in range(1000)]
    assert min(shares) >= 0
    assert max(shares) < 1
    assert [sum(q <= s * 10 < q + 1 for s in shares) > 60 for q in range(10)] == [True] * 10


def test_only_a_collector_that_was_away_is_spread_over_minutes(tmp_path: Path) -> None:
    """A hiccup is not, and neither is a device whose own link was down."""
    backoff = Backoff(tmp_path / "b", now=lambda: 1e9, uniform=lambda _low, _high: 0.0)
    for _ in range(3):
        backoff.failed(URL)
    assert next_try_s(backoff, [URL], "probe", link_up=True) == 0
    backoff.failed(URL)
    assert next_try_s(backoff, [URL], "probe", link_up=True) == share("probe", "collector") * COLLECTOR_S
    assert next_try_s(backoff, [URL], "probe", link_up=False) == 0
    assert next_try_s(backoff, [URL, "https://d.example/"], "probe", link_up=True) == 0


# --- a collector that leaves some for later -----------------------------------------------------------------


@pytest.mark.parametrize("word", ["retry", "perhaps", None])
def test_what_is_always_put_off_is_sent_ever_less_often(buffer: Buffer, tmp_path: Path, word: str | None) -> None:
    """A collector that keeps a few records waiting is asked a dozen times in two hours, not once a second."""
    ids = put(buffer, 8)
    wall = [1_800_000_000.0]
    watch = Watching()

    def then() -> None:
        wall[0] += watch.waits[-1]

    watch.then = then
    with standin(lambda s: receipt(s, lambda name: word if name in ids[:4] else "accepted")) as server:
        report = drain_until_sent(
            buffer,
            lambda: [Collector(server.url, "t")],
            lambda: Backoff(tmp_path / "b", now=lambda: wall[0], uniform=lambda _low, high: high),
            watch,  # type: ignore[arg-type]
            limit_s=7200.0,
            clock=lambda: wall[0],
        )
        assert len(server.seen) <= 16
    assert (report.accepted, report.pending) == (4, 4)
    assert report.stopped is not None
    assert watch.waits[:4] == [5, 10, 20, pytest.approx(40, abs=301)], "the first made progress, and begins anew"
    assert min(watch.waits[7:-1]) >= 600


def test_progress_keeps_the_waits_short(buffer: Buffer, tmp_path: Path) -> None:
    """One record of ten each time: the base of the backoff between any two, and all are sent."""
    put(buffer, 10)
    wall = [1_800_000_000.0]
    watch = Watching()

    def then() -> None:
        wall[0] += watch.waits[-1]

    watch.then = then
    with standin(lambda s: receipt(s, lambda name: "accepted" if name == s.ids[0] else "retry")) as server:
        report = drain_until_sent(
            buffer,
            lambda: [Collector(server.url, "t")],
            lambda: Backoff(tmp_path / "b", now=lambda: wall[0], uniform=lambda _low, high: high),
            watch,  # type: ignore[arg-type]
            clock=lambda: wall[0],
        )
    assert (report.accepted, report.pending, report.stopped) == (10, 0, None)
    assert watch.waits == [5.0] * 9
