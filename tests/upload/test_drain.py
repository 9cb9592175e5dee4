"""The drain against real sockets: what acknowledges, what is tried again, what is set aside, and what ends it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from sigprobe.buffer import Buffer, State
from sigprobe.protocol import batches
from sigprobe.record.result import format_time
from sigprobe.upload import Backoff, Collector, Mode, TransportError
from sigprobe.upload.batch_size import FIRST_BATCH, LARGEST_BATCH, SMALL_BATCH, Pace
from tests.support.stand_in_collector import Sent, http, portal, problem, put, receipt, standin
from tests.upload.conftest import Draining


class Clock:
    """A monotonic clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# --- acks ---------------------------------------------------------------------------------------------------


def test_everything_goes_and_is_counted(buffer: Buffer, draining: Draining) -> None:
    """All records arrive byte for byte, oldest first, in one connection, with our headers."""
    ids = put(buffer, 450)
    with standin() as server:
        report = draining(server).run()
    assert report.stopped is None
    assert (report.accepted, report.pending, report.collector) == (450, 0, server.url)
    assert server.sizes == [200, 250]
    assert server.connections == 1
    assert [name for sent in server.seen for name in sent.ids] == ids
    assert [row.line for row in buffer.rows(State.ACKED)] == [line for sent in server.seen for line in sent.lines]
    first = server.seen[0]
    assert first.path == "/v1/batches"
    assert first.headers["authorization"] == "Bearer secret"
    assert first.headers["content-digest"] == batches.content_digest(first.body)
    assert report.bytes_sent > sum(len(sent.body) for sent in server.seen)


@pytest.mark.parametrize("status", [200, 201, 204, 302, 400, 401, 403, 413, 422, 429, 503, 511])
def test_an_answer_that_is_not_ours_settles_nothing(buffer: Buffer, draining: Draining, status: int) -> None:
    """The very statuses that mean something from a collector mean nothing from a portal: all stays pending."""
    put(buffer, 3)
    with standin(lambda _: http(status, b'{"status": 400, "title": "no"}', "application/problem+json")) as server:
        report = draining(server).run()
        assert len(server.seen) == 3
    assert report.stopped in ("collector_portal", "collector_unreachable")
    assert buffer.stats().pending == 3
    assert report.refused == []
    assert Backoff(draining.path).asked_wait_s(server.url) == 0


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("no content type", lambda s: receipt(s).replace(b"Content-Type", b"X-Type")),
        ("half of the JSON", lambda s: http(200, receipt(s).partition(b"\r\n\r\n")[2][:60], batches.RECEIPT_TYPE)),
        ("deep nesting", lambda _: http(200, b"[" * 100_000, batches.RECEIPT_TYPE)),
        ("no HTTP", lambda _: b"SSH-2.0-OpenSSH\r\n\r\n"),
        ("five megabytes", lambda _: http(200, b" " * 5_000_000, batches.RECEIPT_TYPE)),
        ("nothing", lambda _: b""),
    ],
)
def test_a_broken_answer_settles_nothing(
    buffer: Buffer, draining: Draining, name: str, answer: Callable[[Sent], bytes]
) -> None:
    """Whatever comes instead of a receipt, the rows stay pending and the drain ends after three tries."""
    put(buffer, 2)
    with standin(answer) as server:
        report = draining(server).run()
    assert len(server.seen) == 3, name
    assert report.stopped is not None
    assert buffer.stats().pending == 2


def test_rows_to_retry_do_not_block_those_behind(buffer: Buffer, draining: Draining) -> None:
    """`retry`, absent and unknown words leave a row pending; the others of the batch and behind it are settled."""
    ids = put(buffer, 250)
    words = {ids[0]: "retry", ids[1]: None, ids[2]: "perhaps"}
    with standin(lambda s: receipt(s, lambda name: words.get(name, batches.ACCEPTED))) as server:
        report = draining(server).run()
    assert (report.accepted, report.pending, report.deferred) == (247, 3, 3)
    assert report.stopped == "collector_busy"
    assert [row.id for row in buffer.peek(10, 10**6)] == ids[:3]


def test_a_whole_batch_to_retry_does_not_block_the_next(buffer: Buffer, draining: Draining) -> None:
    """Even when every row of the first batch is to be sent again later, the second goes."""
    ids = put(buffer, 30)
    later = set(ids[:10])
    with standin(lambda s: receipt(s, lambda name: "retry" if name in later else "accepted")) as server:
        report = draining(server, pace=Pace(10)).run()
    assert (report.accepted, report.pending) == (20, 10)


def test_a_collector_that_takes_nothing_is_left_alone(buffer: Buffer, draining: Draining) -> None:
    """`retry` for everything ends the drain after three batches, and is remembered as a failure."""
    put(buffer, 100)
    with standin(lambda s: receipt(s, lambda _: "retry")) as server:
        report = draining(server, pace=Pace(10)).run()
    assert len(server.seen) == 3
    assert (report.stopped, report.pending) == ("collector_busy", 100)
    assert Backoff(draining.path).of(server.url).failures == 1


# --- refusals of ours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 413, 422])
def test_halving_finds_the_poison_and_sets_only_it_aside(buffer: Buffer, draining: Draining, status: int) -> None:
    """A batch that ours refuses is halved until the bad record is alone; it is kept with the problem's words."""
    ids = put(buffer, 100)
    poison = {ids[17], ids[63]}
    with standin(lambda s: problem(status, f"bad: {status}") if poison & set(s.ids) else receipt(s)) as server:
        report = draining(server).run()
    assert report.stopped is None
    assert (report.accepted, report.rejected, report.pending) == (98, 2, 0)
    aside = list(buffer.rows(State.REJECTED))
    assert {row.id for row in aside} == poison
    assert {row.reason for row in aside} == {f"bad: {status}"}
    assert len(server.seen) < 40


def test_rejected_and_conflict_are_set_aside_with_their_reason(buffer: Buffer, draining: Draining) -> None:
    """The receipt's own word for single records: kept, visible, never in the way."""
    ids = put(buffer, 3)
    words = {ids[0]: "rejected", ids[1]: "conflict"}
    with standin(lambda s: receipt(s, lambda name: words.get(name, "duplicate"))) as server:
        report = draining(server).run()
    assert (report.duplicate, report.rejected, report.pending, report.stopped) == (1, 2, 0, None)
    reasons = [row.reason or "" for row in buffer.rows(State.REJECTED)]
    assert [reason.partition(":")[0] for reason in reasons] == ["rejected", "conflict"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_leads_to_the_next_collector_and_is_said(
    buffer: Buffer, draining: Draining, status: int
) -> None:
    """The records go to the next in the list, and the report names the one that refused."""
    put(buffer, 5)
    with standin(lambda _: problem(status, "revoked")) as first, standin() as second:
        report = draining(first, second).run()
        assert (report.accepted, report.stopped, report.refused) == (5, None, [first.url])
        put(buffer, 1)
        quiet = draining(first, second, mode=Mode.QUIET).run()
        assert len(first.seen) == 1, "left out until the token changes"
        assert (quiet.accepted, quiet.refused) == (1, [first.url])
        put(buffer, 1)
        draining(Collector(first.url, "new"), second, mode=Mode.QUIET).run()
        assert len(first.seen) == 2, "a new token is tried"
        put(buffer, 1)
        draining(first, second).run()
        assert len(first.seen) == 3, "a typed upload asks again"


def test_when_every_token_is_refused_nothing_is_lost(buffer: Buffer, draining: Draining) -> None:
    """The drain ends and says why; a quiet one does not even ask again."""
    put(buffer, 2)
    with standin(lambda _: problem(401)) as server:
        assert draining(server).run().stopped == "collector_token"
        assert draining(server, mode=Mode.QUIET).run().stopped == "collector_token"
        assert len(server.seen) == 1
    assert buffer.pending() == 2


@pytest.mark.parametrize("mode", list(Mode))
def test_a_wish_to_wait_is_obeyed_even_when_typed(buffer: Buffer, draining: Draining, mode: Mode) -> None:
    """`Retry-After: 31536000` is an hour, for a typed upload, too; then the collector is asked again."""
    put(buffer, 2)
    with standin(lambda _: problem(503, "full", Retry_After="31536000")) as server:
        report = draining(server, mode=mode).run()
        assert (len(server.seen), report.stopped) == (1, "collector_busy")
        again = draining(server, mode=mode).run()
        assert (len(server.seen), again.stopped) == (1, "collector_busy")
        assert again.retry_at == pytest.approx(time.time() + 3600, abs=60)
        server.answer = receipt
        hence = Backoff(draining.path, now=lambda: time.time() + 3601)
        assert draining(server, mode=mode, backoff=hence).run().accepted == 2


def test_a_short_wish_is_waited_for(buffer: Buffer, draining: Draining) -> None:
    """A pause that fits into the time of a batch is kept, and the batch sent after it."""
    wall = [1_800_000_000.0]
    put(buffer, 2)

    def pause(seconds: float) -> None:
        wall[0] += seconds

    backoff = Backoff(draining.path, now=lambda: wall[0])
    with standin(lambda s: receipt(s) if s.number else problem(429, Retry_After="7")) as server:
        report = draining(server, backoff=backoff, pause=pause).run()
    assert (report.accepted, report.stopped) == (2, None)
    assert wall[0] - 1_800_000_000.0 == pytest.approx(7, abs=0.1)


# --- tries, backoff, failover -------------------------------------------------------------------------------


def test_typed_tries_three_times_whatever_the_backoff(buffer: Buffer, draining: Draining) -> None:
    """A plain upload ignores backoff, and gives a batch up after three tries."""
    put(buffer, 400)
    with standin(portal) as server:
        for turn in (1, 2):
            assert draining(server).run().stopped == "collector_portal"
            assert len(server.seen) == 3 * turn
    assert server.sizes == [200, 100, 50, 25, 12, 6]


def test_typed_gives_a_batch_thirty_seconds(buffer: Buffer, draining: Draining) -> None:
    """Tries that take long are fewer: all of them together have 30 s, shared among the collectors."""
    clock = Clock()
    limits: list[float] = []

    def slow(_channel: object, _url: str, _body: bytes, _headers: object, seconds: float, _stop: object) -> object:
        limits.append(seconds)
        clock.now += seconds
        raise TransportError("timeout", "made up")

    put(buffer, 1)
    one, two = Collector("http://127.0.0.1:1/"), Collector("http://127.0.0.1:2/")
    report = draining(one, clock=clock, send=slow).run()
    assert limits == [30.0]
    assert clock.now == 130.0
    assert report.stopped == "collector_unreachable"
    limits.clear()
    draining(one, two, clock=clock, send=slow).run()
    assert limits == [15.0, 15.0], "the second must get its turn"
    assert clock.now == 160.0


def test_the_end_of_a_test_has_fifteen_seconds_in_all(buffer: Buffer, draining: Draining) -> None:
    """Requests included: a limit is kept even when every answer comes at its last moment."""
    clock = Clock()

    def slow(channel: object, url: str, body: bytes, headers: dict[str, str], seconds: float, _stop: object) -> object:
        clock.now += min(seconds, 4.0)
        raise TransportError("timeout", "made up")

    put(buffer, 1)
    collectors = [Collector(f"http://127.0.0.1:{port}/") for port in (1, 2, 3, 4, 5)]
    draining(*collectors, clock=clock, send=slow, mode=Mode.QUIET, limit_s=15.0).run()
    assert 100 + 11 < clock.now <= 100 + 15


def test_a_quiet_drain_obeys_the_backoff(buffer: Buffer, draining: Draining) -> None:
    """It tries once, then not before the backoff is over."""
    put(buffer, 1)
    later = Backoff(draining.path, uniform=lambda _low, high: high)
    with standin(portal) as server:
        report = draining(server, mode=Mode.QUIET, backoff=later).run()
        assert len(server.seen) == 1
        assert report.retry_at == pytest.approx(time.time() + 5, abs=2)
        assert draining(server, mode=Mode.QUIET).run().stopped == "collector_unreachable"
        assert len(server.seen) == 1


@pytest.mark.slow
@pytest.mark.parametrize("way", ["refused", "silent", "portal"])
def test_a_dead_collector_means_the_next_one(
    buffer: Buffer, draining: Draining, way: str, free_port: Callable[[], int]
) -> None:
    """Whatever the first does not do, the second has the records well within 60 s, each once."""
    ids = put(buffer, 5)
    begun = time.monotonic()
    with standin(portal, silent=way == "silent") as first, standin() as second:
        dead = Collector(f"http://127.0.0.1:{free_port()}/") if way == "refused" else first
        report = draining(dead, second, limit_s=6.0).run()
    assert time.monotonic() - begun < 6.5
    assert (report.accepted, report.stopped, report.collector) == (5, None, second.url)
    assert sorted(name for sent in second.seen for name in sent.ids) == sorted(ids)


def test_a_dead_first_does_not_slow_every_batch(buffer: Buffer, draining: Draining) -> None:
    """Within one drain a collector that failed stands behind the one that works, until half a minute has passed."""
    clock = Clock()
    put(buffer, 900)

    def answer(sent: Sent) -> bytes:
        clock.now += 12.0
        return receipt(sent)

    with standin(portal) as first, standin(answer) as second:
        draining(first, second, clock=clock, pace=Pace(100)).run()
        assert len(second.seen) >= 6
        assert 2 <= len(first.seen) <= len(second.seen) / 2


def test_back_to_the_first_when_it_lives(buffer: Buffer, draining: Draining) -> None:
    """The list is an order: once the first answers again, it gets the records."""
    put(buffer, 3)
    with standin(portal) as first, standin() as second:
        draining(first, second).run()
        first.answer = receipt
        put(buffer, 3)
        report = draining(first, second).run()
        assert report.collector == first.url
        wall = [time.time()]
        backoff = Backoff(draining.path, now=lambda: wall[0], uniform=lambda _low, high: high)
        backoff.failed(first.url)
        put(buffer, 1)
        assert draining(first, second, mode=Mode.QUIET, backoff=backoff).run().collector == second.url
        wall[0] += 5
        put(buffer, 1)
        assert draining(first, second, mode=Mode.QUIET, backoff=backoff).run().collector == first.url


# --- sizes of batches ---------------------------------------------------------------------------------------


def test_batches_are_small_after_a_failure_and_grow(buffer: Buffer, draining: Draining) -> None:
    """After a failure a half; while they go through, twice as many."""
    put(buffer, 700)
    with standin(lambda s: b"" if s.number == 1 else receipt(s)) as server:
        report = draining(server).run()
    assert report.stopped is None
    assert server.sizes == [200, 400, 200, 300]


def test_the_next_process_begins_small_after_a_failure(buffer: Buffer, draining: Draining) -> None:
    """What a drain learnt of a bad way, the next one knows."""
    put(buffer, 300)
    with standin(portal) as server:
        draining(server, mode=Mode.QUIET).run()
        server.answer = receipt
        draining(server).run()
    assert server.sizes == [200, 100, 200]


def test_a_slow_way_gets_batches_it_can_carry() -> None:
    """A batch is no larger than what goes through in about eight seconds, and never outside 1 to 1,000 records."""
    pace = Pace()
    pace.succeeded(200, 16.0)
    assert pace.records == 100
    pace.succeeded(100, 0.01)
    assert pace.records == FIRST_BATCH
    for _ in range(9):
        pace.succeeded(pace.records, 0.01)
    assert pace.records == LARGEST_BATCH
    pace.failed(20)
    assert pace.records == SMALL_BATCH
    for _ in range(4):
        pace.failed(10)
    assert pace.records == 1
    pace.succeeded(1, 100.0)
    assert pace.records == 1


# --- stops --------------------------------------------------------------------------------------------------


def test_a_stop_keeps_what_was_acknowledged(buffer: Buffer, draining: Draining) -> None:
    """A stop between two batches: the first is acked for good, nothing is called a failure of the collector."""
    put(buffer, 30)
    with standin() as server:
        upload = draining(server, pace=Pace(10))
        upload.progress = lambda _report: upload.stop.set()
        report = upload.run()
    assert (report.accepted, report.pending, report.stopped) == (10, 20, "interrupted")
    assert Backoff(draining.path).of(server.url).failures == 0


def test_ctrl_c_while_an_answer_is_awaited_keeps_what_was_acknowledged(buffer: Buffer, draining: Draining) -> None:
    """The exception comes through, and the acks that were received are on disk."""
    put(buffer, 30)

    def progress(_: object) -> None:
        raise KeyboardInterrupt

    with standin() as server, pytest.raises(KeyboardInterrupt):
        draining(server, pace=Pace(10), progress=progress).run()
    assert buffer.stats().acked == 10
    assert buffer.pending() == 20


def test_it_gives_way_between_batches(buffer: Buffer, draining: Draining) -> None:
    """Told to leave off after a while, it finishes the batch under way and begins no other."""
    clock = Clock()
    put(buffer, 30)

    def answer(sent: Sent) -> bytes:
        clock.now += 6.0
        return receipt(sent)

    with standin(answer) as server:
        report = draining(server, clock=clock, pace=Pace(10), give_way_s=10.0).run()
    assert server.sizes == [10, 13], "13 records are what eight seconds carry at the pace of the first ten"
    assert (report.accepted, report.pending, report.stopped) == (23, 7, "interrupted")


# --- clock --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_clock_is_learnt_from_the_surest_receipt(buffer: Buffer, draining: Draining) -> None:
    """A receipt tells the collector's clock within half the round trip; the quickest exchange counts."""
    put(buffer, 30)
    ahead = timedelta(hours=7)

    def answer(sent: Sent) -> bytes:
        if sent.number == 1:
            time.sleep(1.5)
        return receipt(sent, when=format_time(datetime.now(UTC) + ahead))

    with standin(answer) as server:
        report = draining(server, pace=Pace(10)).run()
    assert report.clock_offset_ms is not None
    assert report.clock_error_ms is not None
    assert abs(report.clock_offset_ms - ahead.total_seconds() * 1000) <= report.clock_error_ms
    assert report.clock_error_ms < 700
    assert report.true_at_boot_s is not None
    now = time.clock_gettime(time.CLOCK_BOOTTIME) + report.true_at_boot_s
    assert now == pytest.approx(time.time() + ahead.total_seconds(), abs=1)


def test_no_stranger_sets_the_clock(buffer: Buffer, draining: Draining) -> None:
    """Only a verified receipt tells the time."""
    put(buffer, 1)
    stale = json.dumps({"receipt": 1, "batch": "x", "digest": "y", "server_time": "2040-01-01T00:00:00Z"}).encode()
    with standin(lambda _: http(200, stale, batches.RECEIPT_TYPE)) as server:
        assert draining(server).run().clock_offset_ms is None


def test_no_collector_is_said(buffer: Buffer, draining: Draining) -> None:
    """Without any collector the drain ends with the reason, not with a wrong one."""
    put(buffer, 1)
    assert draining().run().stopped == "no_collector"
