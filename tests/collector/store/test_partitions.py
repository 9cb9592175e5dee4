"""Weekly partitions: made ahead, right for every clock, and made late without losing a row."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from sigprobe.collector import store
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.store import partitions
from sigprobe.collector.worker.loop import Worker
from sigprobe.protocol import batches
from sigprobe.record.result import new_id
from tests.support.collector_client import Collector, make_result, page_lines
from tests.support.postgres import Postgres

NOW = datetime.now(UTC)


@pytest.fixture
def partitioned(postgres: Postgres) -> Iterator[Engine]:
    """A fresh database on PostgreSQL."""
    engine = store.open_store(postgres.new_database())
    yield engine
    engine.dispose()


def where(engine: Engine) -> dict[str, int]:
    """How many rows each partition holds."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT tableoid::regclass::text, count(*) FROM results GROUP BY 1")).all()
    return {name: int(count) for name, count in rows}


def add(engine: Engine, *ids: str) -> list[str]:
    """Store one record under each id."""
    rows = sort_lines(make_result(n + 1, id=name).to_line() for n, name in enumerate(ids)).rows
    stored = ingest_queries.add_results(engine, rows, carrier="laptop-1", token_id=None, now=NOW)
    return [stored[name] for name in ids]


def id_at(when: datetime) -> str:
    return new_id(when.timestamp())


def test_any_clock_has_its_place_and_meets_it_again(partitioned: Engine) -> None:
    """Ids of 1970, of today and of 2087 are stored, and the second time each is a duplicate."""
    worker = Worker(partitioned)
    assert worker.settle()
    worker.stop()
    ids = [
        new_id(0),
        id_at(NOW - timedelta(weeks=300)),
        id_at(NOW),
        id_at(partitions.week_of(NOW) + timedelta(days=9)),
        id_at(datetime(2087, 1, 1, tzinfo=UTC)),
    ]
    rows = sort_lines([make_result(n + 1, id=name).to_line() for n, name in enumerate(ids)]).rows
    for expected in ("accepted", "duplicate"):
        stored = ingest_queries.add_results(partitioned, rows, carrier="laptop-1", token_id=None, now=NOW)
        assert set(stored.values()) == {expected}
    held = where(partitioned)
    assert held["results_default"] == 1, held
    assert held["results_first"] == 3, held
    assert held[partitions.name_of(partitions.week_of(NOW) + timedelta(weeks=1))] == 1, held


def test_the_worker_makes_them_ahead(partitioned: Engine) -> None:
    """Five weeks from now on have a partition, and making them again makes nothing."""
    worker = Worker(partitioned)
    assert worker.settle()
    worker.stop()
    with partitioned.connect() as connection:
        assert partitions.weeks_to_make(connection, NOW) == []
        in_two_months = partitions.weeks_to_make(connection, NOW + timedelta(weeks=8))
    assert len(in_two_months) == partitions.WEEKS_AHEAD + 1


def test_made_late_it_takes_its_rows_from_default(partitioned: Engine) -> None:
    """Without a worker for a while rows go to DEFAULT; the late partition takes them, and once stays once."""
    week = partitions.week_of(NOW) + timedelta(weeks=30)
    ids = [id_at(week + timedelta(days=n)) for n in range(7)]
    far = id_at(week + timedelta(weeks=3))
    assert set(add(partitioned, *ids, far)) == {"accepted"}
    assert where(partitioned) == {"results_default": 8}
    with partitioned.begin() as connection:
        assert partitions.make(connection, week) == 7
    assert where(partitioned) == {partitions.name_of(week): 7, "results_default": 1}
    rows = sort_lines(line for _, line in page_lines(partitioned)).rows
    again = ingest_queries.add_results(partitioned, rows, carrier="laptop-1", token_id=None, now=NOW)
    assert list(again.values()) == ["duplicate"] * 8


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("00000000-0000-0000-0000-000000000000", batches.REJECTED),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", batches.REJECTED),
        (str(uuid.UUID("0190a5c0-0000-4000-8000-0000000000bb")), batches.REJECTED),
        ("0190a5c0-0000-7000-0000-0000000000bb", batches.REJECTED),
        ("00000000-0000-7000-8000-000000000000", batches.ACCEPTED),
    ],
)
def test_ids_that_no_device_makes(collector: Collector, name: str, status: str) -> None:
    """An id that is no UUIDv7 is refused alone, with the reason; 1970 by itself is no reason."""
    good = make_result(2)
    answer = collector.send(make_result(1, id=name), good)
    assert answer == {name: status, good.id: batches.ACCEPTED}
