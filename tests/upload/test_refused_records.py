"""What a collector refuses alone is set aside only when it is seen to take something else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sigprobe.buffer import Buffer, State
from sigprobe.upload import Backoff
from sigprobe.upload.batch_size import Pace
from tests.support.stand_in_collector import Sent, StandIn, http, problem, put, receipt, standin
from tests.upload.conftest import Draining


def refusing(*bad: str, status: int = 400) -> Callable[[Sent], bytes]:
    """A collector that takes a batch unless one of these is in it."""
    return lambda s: problem(status, f"bad: {status}") if set(bad) & set(s.ids) else receipt(s)


def aside(buffer: Buffer) -> set[str]:
    """The ids that are set aside."""
    return {row.id for row in buffer.rows(State.REJECTED)}


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("count", [1, 2, 5, 1000])
def test_a_refusal_of_everything_condemns_nothing(buffer: Buffer, draining: Draining, status: int, count: int) -> None:
    """Nothing is set aside, little is sent, the failure is remembered; and when it is over everything goes."""
    put(buffer, count)
    with standin(lambda _: problem(status, "no digest")) as server:
        report = draining(server).run()
        assert (report.stopped, report.detail) == ("collector_refuses", "no digest")
        assert (report.rejected, report.pending) == (0, count)
        assert len(server.seen) <= 16
        assert Backoff(draining.path).of(server.url).failures == 1
        assert draining(server).run().stopped == "collector_refuses"
        assert Backoff(draining.path).of(server.url).failures == 2
        assert buffer.stats().rejected == 0
        server.answer = receipt
        report = draining(server).run()
    assert (report.accepted, report.pending, report.stopped) == (count, 0, None)


def test_a_way_that_breaks_in_the_middle_condemns_nothing(buffer: Buffer, draining: Draining) -> None:
    """What was taken before the fault does not speak against what is refused under it."""
    put(buffer, 100)
    with standin(lambda s: receipt(s) if s.number < 2 else problem(400, "no digest")) as server:
        report = draining(server, pace=Pace(10)).run()
        assert (report.accepted, report.rejected, report.pending) == (30, 0, 70)
        assert report.stopped == "collector_refuses"
        server.answer = receipt
        assert draining(server).run().accepted == 70


def test_a_refusal_that_passes_condemns_nothing(buffer: Buffer, draining: Draining) -> None:
    """One that was refused alone is sent once more before it is set aside: a body may have been spoilt on the way."""
    ids = put(buffer, 2)
    seen: list[str] = []

    def answer(sent: Sent) -> bytes:
        if ids[0] in sent.ids and seen.count(ids[0]) < 2:
            seen.append(ids[0])
            return problem(400, "the body is not what Content-Digest says")
        return receipt(sent)

    with standin(answer) as server:
        report = draining(server).run()
    assert (report.accepted, report.rejected, report.pending, report.stopped) == (2, 0, 0, None)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_lone_bad_record_waits_for_a_good_one(buffer: Buffer, draining: Draining, status: int) -> None:
    """Alone it proves nothing; with the next good record it is set aside, and that one is counted once."""
    bad = put(buffer, 1)[0]
    with standin(refusing(bad, status=status)) as server:
        assert draining(server).run().stopped == "collector_refuses"
        assert len(server.seen) == 1
        assert aside(buffer) == set()
        put(buffer, 1)
        report = draining(server).run()
    assert (report.accepted, report.duplicate, report.rejected) == (1, 0, 1)
    assert (report.pending, report.stopped) == (0, None)
    assert aside(buffer) == {bad}


@pytest.mark.parametrize("last", [False, True])
def test_bad_ones_at_an_end_of_the_queue(buffer: Buffer, draining: Draining, last: bool) -> None:
    """However many stand together, first or last: good ones go, all bad ones are set aside, in one drain."""
    ids = put(buffer, 60)
    bad = ids[-20:] if last else ids[:20]
    with standin(refusing(*bad)) as server:
        report = draining(server).run()
    assert (report.accepted, report.duplicate, report.rejected) == (40, 0, 20)
    assert (report.pending, report.stopped) == (0, None)
    assert aside(buffer) == set(bad)
    assert len(server.seen) < 90


def test_the_next_collector_gets_what_the_first_refused(buffer: Buffer, draining: Draining) -> None:
    """A first collector that refuses everything is a failed one; the second judges by itself."""
    ids = put(buffer, 30)
    with standin(lambda _: problem(400, "no digest")) as first, standin(refusing(ids[4])) as second:
        report = draining(first, second).run()
        assert len(first.seen) <= 12
    assert (report.accepted, report.rejected, report.pending, report.stopped) == (29, 1, 0, None)
    assert aside(buffer) == {ids[4]}
    assert [row.collector for row in buffer.rows(State.REJECTED)] == [second.url]


@pytest.mark.parametrize("alone", [2, 3])
def test_a_way_that_is_cut_under_the_judgement(buffer: Buffer, draining: Draining, alone: int) -> None:
    """No answer to the question is no proof: the drain ends, bounded, and the next one finds out."""
    ids = put(buffer, 3)
    server: StandIn

    def answer(sent: Sent) -> bytes:
        if server.sizes.count(1) >= alone:
            return http(502)
        return refusing(ids[0])(sent)

    with standin(answer) as server:
        report = draining(server).run()
        assert (report.stopped, report.rejected) == ("collector_unreachable", 0)
        assert len(server.seen) <= 9
        server.answer = refusing(ids[0])
        put(buffer, 1)
        assert draining(server).run().stopped is None
    assert aside(buffer) == {ids[0]}


def test_the_newest_record_may_prove_it(buffer: Buffer, draining: Draining) -> None:
    """The oldest are all bad: a look at the newest shows that the collector is at work, without halving everything."""
    ids = put(buffer, 40)
    with standin(refusing(*ids[:30])) as server:
        report = draining(server).run()
        assert any(s.ids == [ids[-1]] for s in server.seen[:12])
    assert (report.accepted, report.duplicate, report.rejected, report.pending) == (10, 0, 30, 0)


# --- what is too large at once ------------------------------------------------------------------------------


def test_a_size_that_was_too_large_is_not_sent_again(buffer: Buffer, draining: Draining) -> None:
    """A collector that takes fifty at most is asked once for more, not with every batch."""
    put(buffer, 600)
    with standin(lambda s: problem(413, "too many") if len(s.ids) > 50 else receipt(s)) as server:
        report = draining(server).run()
    assert (report.accepted, report.rejected, report.stopped) == (600, 0, None)
    assert sum(size > 50 for size in server.sizes) == 3, "200, then its two halves"
    assert server.sizes[-8:] == [50] * 8


def test_one_long_record_does_not_make_batches_small(buffer: Buffer, draining: Draining) -> None:
    """413 for a single record is that record's fault: the others go in batches as large as before."""
    ids = put(buffer, 600)
    with standin(refusing(ids[3], status=413)) as server:
        report = draining(server).run()
    assert (report.accepted, report.rejected) == (599, 1)
    assert server.sizes.count(200) == 3
