"""Five-minute sums go after their time; hourly sums, results and every comparison of them stay exact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.rollups import queries, retention
from sigprobe.collector.rollups.sums import FIVE_MINUTES, HOUR
from sigprobe.collector.worker import erasing, recount
from sigprobe.collector.worker.loop import Worker
from sigprobe.record.result import format_time
from tests.support.collector_client import PROBE_ID, make_result
from tests.support.collector_process import run


def add(engine: Engine, days_ago: Sequence[float]) -> None:
    """Store a check of each age, and sum it up."""
    now = datetime.now(UTC)
    lines = [
        make_result(n + 1, started_at=format_time(now - timedelta(days=days))).to_line()
        for n, days in enumerate(days_ago)
    ]
    stored = ingest_queries.add_results(engine, sort_lines(lines).rows, carrier="laptop-1", token_id=None, now=now)
    assert set(stored.values()) == {"accepted"}
    worker = Worker(engine)
    assert worker.settle()
    worker.stop()


def summed(engine: Engine) -> dict[int, int]:
    """How many checks the sums of each width hold."""
    with engine.connect() as connection:
        found = queries.read_sums(connection)
    widths = {FIVE_MINUTES: 0, HOUR: 0}
    for key, n in found.counts.items():
        if key.what == "outcome":
            widths[key.key.width_s] += n
    return widths


def drop(engine: Engine) -> int:
    """Let the job do all that is due; how many buckets went."""
    steps = 0
    with engine.connect().execution_options(write=True) as connection:
        while retention.drop_step(connection):
            steps += 1
    return steps


def set_days(engine: Engine, days: int) -> None:
    """Keep five-minute sums for so many days."""
    with engine.execution_options(write=True).begin() as connection:
        retention.keep(connection, FIVE_MINUTES, days * 86_400)


def test_old_buckets_go_and_the_rest_is_exact(engine: Engine) -> None:
    """After a week the five minutes are gone, the hours are not, and a recount finds no difference."""
    set_days(engine, 100)
    add(engine, [0.1, 1, 6.9, 7.1, 8, 30])
    assert summed(engine) == {FIVE_MINUTES: 6, HOUR: 6}
    set_days(engine, 7)
    assert drop(engine) == 3 and drop(engine) == 0
    assert summed(engine) == {FIVE_MINUTES: 3, HOUR: 6}
    assert recount.check_whole(engine).different == 0
    assert recount.check_sample(engine, 5).different == 0


def test_what_comes_later_changes_nothing_that_is_gone(engine: Engine) -> None:
    """A backlog of before, and an erasure, count in the hours alone: no bucket comes back, none falls below zero."""
    set_days(engine, 7)
    drop(engine)
    add(engine, [1, 8, 20])
    assert summed(engine) == {FIVE_MINUTES: 1, HOUR: 3}
    assert recount.check_whole(engine).different == 0
    assert erasing.erase_probe(engine, PROBE_ID) == 3
    assert summed(engine) == {FIVE_MINUTES: 0, HOUR: 0}
    with engine.connect() as connection:
        found = queries.read_sums(connection)
    assert not any(found.counts.values()) and not any(found.members.values())


def test_a_longer_time_does_not_bring_anything_back(engine: Engine) -> None:
    """What was dropped stays dropped, so no bucket is ever half a bucket."""
    set_days(engine, 7)
    drop(engine)
    set_days(engine, 100)
    add(engine, [1, 8])
    assert summed(engine) == {FIVE_MINUTES: 1, HOUR: 2}


def test_the_worker_does_it(engine: Engine) -> None:
    """The job is part of each round that is due."""
    set_days(engine, 100)
    add(engine, [1, 8])
    set_days(engine, 7)
    worker = Worker(engine)
    assert worker.settle()
    worker.stop()
    assert summed(engine) == {FIVE_MINUTES: 1, HOUR: 2}


def test_the_command_shows_and_sets(engine: Engine, database: str) -> None:
    """`--dry-run` says what would go and changes nothing; the setting is in the database, for all workers."""
    set_days(engine, 100)
    add(engine, [1, 8])

    def said(*args: str) -> dict[str, object]:
        done = run("retention", *args, "--json", database=database)
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found

    assert (said()["five_minutes_days"], said()["due_rows"]) == (100, 0)
    tried = said("--five-minutes", "7", "--dry-run")
    assert tried["five_minutes_days"] == 7 and tried["due_rows"] != 0
    assert said()["five_minutes_days"] == 100 and summed(engine)[FIVE_MINUTES] == 2
    assert said("--five-minutes", "7")["due_rows"] == tried["due_rows"]
    assert said()["five_minutes_days"] == 7
    shown = run("retention", database=database).stdout
    assert "kept for 7 days" in shown and f"drops {tried['due_rows']} rows" in shown
    assert run("retention", "--five-minutes", "0", database=database).returncode == 2
