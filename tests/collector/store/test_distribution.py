"""The large tables over several machines: the same results, the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from sigprobe.collector import store
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.results import queries as results_queries
from sigprobe.collector.store import distribution
from sigprobe.collector.worker.loop import Worker
from sigprobe.record.result import Result
from tests.support import citus
from tests.support.collector_client import make_result
from tests.support.collector_process import run


def add(engine: Engine, records: list[Result]) -> list[str]:
    rows = sort_lines([record.to_line() for record in records]).rows
    found = ingest_queries.add_results(engine, rows, carrier="laptop-1", token_id=None, now=datetime.now(UTC))
    return list(found.values())


@pytest.fixture
def cluster() -> Iterator[Engine]:
    engine = store.open_store(citus.new_database())
    yield engine
    engine.dispose()


@pytest.mark.citus
@pytest.mark.process
def test_spread_with_what_is_there(cluster: Engine) -> None:
    """Rows of before move to the shards, later ones go there: each once, published and summed."""
    before = [make_result(n) for n in range(1, 41)]
    assert set(add(cluster, before)) == {"accepted"}
    worker = Worker(cluster)
    assert worker.settle()
    done = distribution.distribute(cluster, 8)
    assert done.new == ("results", "rollup_counts", "rollup_bins", "rollup_members") and done.machines >= 2
    later = [make_result(n) for n in range(101, 141)]
    assert set(add(cluster, [*before[:5], *later])) == {"accepted", "duplicate"}
    assert set(add(cluster, later)) == {"duplicate"}
    assert set(add(cluster, [make_result(999, id=later[0].id)])) == {"conflict"}
    assert worker.settle()
    worker.stop()
    with cluster.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM results")) == 80
        assert connection.scalar(text("SELECT count(*) FROM batches WHERE published_no IS NULL OR NOT summed")) == 0
        failed = connection.execute(text("SELECT name, error FROM worker_jobs WHERE failed_at IS NOT NULL")).all()
        assert failed == []
        machines = connection.scalar(text("SELECT count(DISTINCT nodename || nodeport) FROM citus_shards"))
        assert machines is not None and machines >= 2, "the shards lie on several machines"
    newest = results_queries.list_newest(cluster, results_queries.Filters(), limit=1000)
    assert {stored.id for stored in newest} == {record.id for record in (*before, *later)}
    again = distribution.distribute(cluster, 8)
    assert again.new == () and again.shards == done.shards


@pytest.mark.process
@pytest.mark.parametrize(("engine_name", "told"), [("sqlite", "Only PostgreSQL"), ("postgresql", "CREATE EXTENSION")])
def test_what_cannot_be_spread(engine_name: str, told: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """SQLite, and a PostgreSQL without the extension: said, and nothing is changed."""
    url = f"sqlite:///{tmp_path}/c.db"
    if engine_name == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
    done = run("database", "distribute", database=url)
    assert done.returncode == 1 and told in done.stderr and "Citus" in done.stderr
