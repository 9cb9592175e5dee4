"""What works behind the requests is looked at: it makes a collector degraded, never unready."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select, text, update

from sigprobe.collector.health import circumstances
from sigprobe.collector.health.circumstances import Circumstances, look
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.store.schema import batches
from sigprobe.collector.worker.loop import Worker
from sigprobe.collector.worker.schema import jobs, leader
from tests.support.collector_client import Collector, make_result


def receive(engine: Engine, seq: int, when: datetime) -> None:
    rows = sort_lines([make_result(seq).to_line()]).rows
    ingest_queries.add_results(engine, rows, carrier="laptop-1", token_id=None, now=when)


def faults(found: Circumstances) -> dict[str, str]:
    return {name: value for name, value in found.checks().items() if value != "ok"}


@pytest.fixture
def settled(engine: Engine) -> Engine:
    """Return a store whose worker has done all there is to do."""
    worker = Worker(engine)
    assert worker.settle()
    worker.stop()
    return engine


def test_all_is_well(settled: Engine) -> None:
    """After a worker's round nothing is wrong, on both engines."""
    found = look(settled)
    assert faults(found) == {}
    assert (found.partition_ahead_s is None) == (settled.dialect.name == "sqlite")
    assert (found.disk_free_bytes is None) == (settled.dialect.name != "sqlite")


def test_the_worker_is_away(engine: Engine, settled: Engine) -> None:
    """Never seen, and not seen for a while, by the database's clock."""
    with engine.begin() as connection:
        connection.execute(update(leader).values(beat_at=datetime.now(UTC) - timedelta(seconds=100)))
    assert re.fullmatch(r"none was seen for (9\d|1\d\d) s", faults(look(engine))["worker"])
    with engine.begin() as connection:
        connection.execute(delete(leader))
    assert faults(look(engine)) == {"worker": "none was seen yet"}


def test_batches_wait_for_publishing(engine: Engine, settled: Engine) -> None:
    """One that waits for a minute is told; one of a moment ago is not."""
    receive(engine, 1, datetime.now(UTC))
    assert "publishing" not in faults(look(engine))
    with engine.begin() as connection:
        connection.execute(
            update(batches).values(published_no=None, received_at=datetime.now(UTC) - timedelta(seconds=60))
        )
    found = look(engine)
    assert found.unpublished == 1 and "1 batches wait, the oldest for" in faults(found)["publishing"]
    assert found.unsummed == 1


def test_a_job_that_failed(engine: Engine, settled: Engine) -> None:
    """Until it has ended well again."""
    now = datetime.now(UTC)
    with engine.begin() as connection:
        connection.execute(insert(jobs).values(name="mend", failed_at=now, error="DataError"))
    assert faults(look(engine)) == {"jobs": "failed last: mend"}
    with engine.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.name == "mend").values(done_at=now + timedelta(seconds=1)))
    assert faults(look(engine)) == {}


def test_partitions_end_soon(postgres: Any) -> None:
    """A worker that did not run for weeks leaves a few days."""
    from sigprobe.collector import store
    from sigprobe.collector.store import partitions

    engine = store.open_store(postgres.new_database())
    worker = Worker(engine)
    assert worker.settle()
    worker.stop()
    week = partitions.week_of(datetime.now(UTC)) + timedelta(weeks=1)
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {partitions.name_of(week)}"))
    assert re.fullmatch(r"made for [0-6]\.\d days ahead|made for 7\.0 days ahead", faults(look(engine))["partitions"])
    engine.dispose()


def test_the_disk_is_nearly_full(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an SQLite database."""
    usage = type("usage", (), {"free": 40_000_000, "total": 1_000_000_000})
    monkeypatch.setattr(circumstances.shutil, "disk_usage", lambda _path: usage)
    assert look(collector.engine).checks()["disk"] == "40 MB free"


def test_readiness_and_metrics(make_collector: Callable[..., Collector], tmp_path: Path) -> None:
    """A degraded collector answers 200 and names the part; the metrics have the numbers."""
    collector = make_collector()
    Worker(collector.engine).settle()
    collector.send(make_result(1))
    with collector.engine.begin() as connection:
        connection.execute(update(leader).values(beat_at=datetime.now(UTC) - timedelta(seconds=100)))
        assert connection.execute(select(leader.c.one)).all()
    answer = collector.client.get("/readyz")
    assert answer.status_code == 200 and answer.json()["status"] == "degraded"
    assert "none was seen for" in answer.json()["checks"]["worker"] and answer.json()["checks"]["database"] == "ok"
    told = collector.client.get("/metrics").text
    assert "sigprobe_database_up 1.0" in told and "sigprobe_clock_trusted 1.0" in told
    age = re.search(r"^sigprobe_worker_age_seconds (\S+)$", told, re.MULTILINE)
    assert age is not None and float(age[1]) >= 90
    assert "sigprobe_records_total" in told
