"""The rollups hold each record once: under late batches, repeats, corrections, erasures, and steps cut short."""

from __future__ import annotations

import random
import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text

from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.results.queries import read_tallies
from sigprobe.collector.rollups import queries as rollups
from sigprobe.collector.rollups.histogram import quantile
from sigprobe.collector.rollups.schema import counts, members
from sigprobe.collector.rollups.sums import HOUR
from sigprobe.collector.store.schema import batches, results, tallies
from sigprobe.collector.worker import recount, summing
from sigprobe.collector.worker.erasing import erase_probe
from sigprobe.record.result import Clock, Failure, Outcome, Result, Tags, format_time
from tests.support.collector_client import Collector, make_result, settle

NOON = datetime(2029, 2, 14, 5, 0, tzinfo=UTC)
PROBES = [f"0190a5c0-0000-4000-8000-0000000000b{n}" for n in range(4)]


def draw(rng: random.Random, seq: int) -> Result:
    """One record of some probe at some TPS; its clock may be known, unknown or twenty years slow."""
    began = NOON + timedelta(seconds=rng.randrange(7200))
    knows = rng.random() < 0.3
    slow = rng.random() < 0.5
    offset = timedelta(days=20 * 365) if slow else timedelta()
    clock = Clock(
        rng.randrange(1, 7200) * 1_000_000_000, None, None, offset.total_seconds() * 1000 if knows else None, 50.0
    )
    failed = rng.random() < 0.3
    return make_result(
        seq,
        boot_id=f"boot-{rng.randrange(3)}-{slow}",
        probe_id=rng.choice(PROBES),
        stream_id=str(uuid.UUID(int=rng.getrandbits(128))),
        started_at=format_time(began - offset),
        kind=rng.choice(["ping", "run", "throughput"]),
        outcome=Outcome.FAILED if failed else Outcome.OK,
        failure=Failure("timeout") if failed else None,
        data={} if failed else {"rtt_median_ms": rng.uniform(1, 300), "download_bps": rng.uniform(1e5, 1e8)},
        tags=Tags(tps_id=f"327301100100{rng.randrange(1, 5)}", clock=clock),
    )


def send(engine: Engine, sent: list[Result], carrier: str = "laptop-1") -> None:
    """Store one batch."""
    rows = sort_lines(result.to_line() for result in sent).rows
    ingest_queries.add_results(engine, rows, carrier=carrier, token_id=None, now=datetime.now(UTC))


def hold_exact(engine: Engine) -> recount.Recount:
    """The rollups equal a fresh count of all rows, and so do the tallies."""
    found = recount.check_whole(engine)
    assert found.different == 0, found.examples
    with engine.connect() as connection:
        counted = connection.execute(
            select(results.c.tps_id, results.c.outcome, func.count())
            .where(results.c.kind != "run")
            .group_by(results.c.tps_id, results.c.outcome)
        ).all()
        query = select(tallies.c.subject, tallies.c.outcome, tallies.c.count).where(tallies.c.scope == "place")
        assert sorted(map(tuple, counted)) == sorted(map(tuple, connection.execute(query)))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_events_counts_each_record_once(engine: Engine, seed: int) -> None:
    """Batches, repeats, anchors that come late and erased probes, with the worker at work at any moment."""
    rng = random.Random(seed)
    drawn = [draw(rng, n + 1) for n in range(60)]
    for _ in range(12):
        send(engine, rng.sample(drawn, rng.randrange(1, 9)))
        if rng.random() < 0.4:
            settle(engine)
    send(engine, drawn)
    settle(engine)
    found = hold_exact(engine)
    assert (found.rows, found.entries > 100) == (60, True)
    gone = sum(result.probe_id == PROBES[0] for result in drawn)
    assert erase_probe(engine, PROBES[0]) == gone
    assert hold_exact(engine).rows == 60 - gone
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).where(members.c.probe == PROBES[0])).scalar_one() == 0
        assert connection.execute(select(func.count()).where(members.c.n <= 0)).scalar_one() == 0


def test_a_late_anchor_moves_a_record_to_its_true_hour(engine: Engine) -> None:
    """A record of a slow clock counts where it came in until its boot's clock is known, then where it belongs."""

    def timed(seq: int, offset_ms: float | None) -> Result:
        clock = Clock(seq * 60_000_000_000, None, None, offset_ms, 50.0)
        tags = Tags(tps_id="3273011001005", clock=clock)
        return make_result(seq, boot_id="b", started_at="2009-01-01T00:00:00.000Z", tags=tags)

    def hours() -> set[int]:
        with engine.connect() as connection:
            query = select(members.c.start_s).where(members.c.width_s == HOUR, members.c.n > 0)
            return set(connection.execute(query).scalars())

    send(engine, [timed(1, None)])
    settle(engine)
    now = int(datetime.now(UTC).timestamp())
    assert all(abs(hour - now) < 2 * HOUR for hour in hours())
    began = datetime(2009, 1, 1, tzinfo=UTC)
    send(engine, [timed(2, (NOON - began).total_seconds() * 1000)])
    settle(engine)
    assert hours() == {int(NOON.timestamp()) - HOUR, int(NOON.timestamp())}
    hold_exact(engine)


def fail(*_: Any) -> None:
    """Stand in for a process that ends here."""
    raise LookupError


def test_a_step_that_is_cut_short_leaves_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of a step was done when it failed, the next one adds the batch once."""
    rng = random.Random(5)
    send(engine, [draw(rng, n + 1) for n in range(30)])
    for name in ("_count", "_note_use", "_doubled"):
        with monkeypatch.context() as patch, engine.connect().execution_options(write=True) as connection:
            patch.setattr(summing, name, fail)
            if engine.dialect.name != "sqlite":
                summing_publish(engine)
            with pytest.raises(LookupError):
                summing.add_batches(connection)
    assert recount.behind(engine) == 1
    settle(engine)
    assert hold_exact(engine).rows == 30


def summing_publish(engine: Engine) -> None:
    """Number what waits."""
    from sigprobe.collector.worker import publishing

    with engine.connect() as connection:
        publishing.publish(connection)


def test_two_workers_at_once_add_each_batch_once(engine: Engine) -> None:
    """Even without the lead, which keeps workers apart, the mark on a batch is taken by one alone."""
    rng = random.Random(6)
    for n in range(20):
        send(engine, [draw(rng, n * 10 + k + 1) for k in range(4)])
    threads = [threading.Thread(target=settle, args=(engine,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle(engine)
    assert hold_exact(engine).rows == 80


def test_a_difference_is_found(engine: Engine) -> None:
    """The control: one count too many is found by the whole count, one station's by a sample of all stations."""
    rng = random.Random(7)
    send(engine, [draw(rng, n + 1) for n in range(40)])
    settle(engine)
    assert recount.check_sample(engine, 10, seed=1).different == 0
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(text("UPDATE rollup_counts SET n = n + 1 WHERE what = 'outcome' AND value = 'ok'"))
    assert recount.check_whole(engine).different > 0
    assert recount.check_sample(engine, 10, seed=1).different == 0
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(members.update().values(n=members.c.n + 1))
    found = recount.check_sample(engine, 10, seed=1)
    assert found.different > 0
    assert "stored" in found.examples[0]


def test_metrics_come_from_columns_with_their_bounds(collector: Collector) -> None:
    """A rate that is only a lower bound is one in the histogram, and makes no plain median of itself."""
    ended = {"engine": "http", "ended_download": "data_cap", "download_bps": 9e6, "download_at_least": True}
    plain = {"engine": "http", "download_bps": 3e6}
    began = datetime.now(UTC)
    made = [
        make_result(n, kind="throughput", data=data, started_at=format_time(began))
        for n, data in enumerate((ended, ended, plain), start=1)
    ]
    collector.send(*made)
    with collector.engine.connect() as connection:
        stored = connection.execute(select(results.c.download_bps, results.c.download_at_least)).all()
        first = int(began.timestamp())
        bins = rollups.histogram(connection, "download_bps", HOUR, first - HOUR, first + 1)
    assert sorted(map(tuple, stored)) == [(3e6, False), (9e6, True), (9e6, True)]
    assert sum(part.n for part in bins) == 3
    assert sum(part.n_at_least for part in bins) == 2
    median = quantile(bins)
    assert median is not None
    assert median.at_least


def test_rows_of_the_version_before_are_added_too(engine: Engine) -> None:
    """What a program without batches stores is added row by row, with its columns filled, once."""
    rng = random.Random(8)
    drawn = [draw(rng, n + 1) for n in range(20)]
    send(engine, drawn)
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(batches.delete())
        unknown = dict.fromkeys(("batch_id", "place", "target", "latency_ms", "download_bps"))
        connection.execute(results.update().values(**unknown))
    settle(engine)
    assert recount.check_whole(engine).different == 0
    with engine.connect() as connection:
        filled = connection.execute(select(func.count()).where(results.c.target == "gateway")).scalar_one()
        metrics = connection.execute(select(func.count()).where(results.c.latency_ms.is_not(None))).scalar_one()
        assert connection.execute(select(func.count()).select_from(counts)).scalar_one() > 0
    assert filled == 20
    assert metrics == sum(result.kind == "ping" and result.outcome is Outcome.OK for result in drawn)
    settle(engine)
    assert recount.check_whole(engine).rows == 20
    assert read_tallies(engine, "place") == [], "the version before has counted them itself"


def test_a_repeat_under_other_bytes_adds_nothing(engine: Engine) -> None:
    """A conflict is not stored, so it is not counted."""
    one = make_result(1)
    send(engine, [one])
    send(engine, [replace(one, data={"rtt_median_ms": 1.0})])
    settle(engine)
    assert hold_exact(engine).rows == 1
