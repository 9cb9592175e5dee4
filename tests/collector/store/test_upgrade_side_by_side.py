"""A running collector of the release goes on beside new ones on the migrated tables, and nothing is lost or doubled.

`released/writer-2.sql` holds the statements that the released writer sends.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, select, text

from sigprobe.collector import store
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.results import queries as result_queries
from sigprobe.collector.store import schema
from sigprobe.collector.worker.loop import Worker
from sigprobe.record.result import Result
from tests.collector.store.test_released_schemas import NOW, RELEASED, restore
from tests.support.collector_client import make_result, page_lines
from tests.support.collector_process import run

_TYPES = {column.name: column.type for table in (schema.results, schema.tallies) for column in table.columns}


def released(connection: Connection, result: Result, when: datetime) -> str:
    """Store a record as the release does; its answer."""
    lines = (RELEASED / "writer-2.sql").read_text("utf-8").splitlines()
    statements = "\n".join(line for line in lines if not line.startswith("--")).split(";")
    (row,) = sort_lines([result.to_line()]).rows
    values = {name: getattr(row, name, None) for name in _TYPES} | {
        "received_at": when,
        "carrier": "laptop-1",
        "scope": "place",
        "subject": row.tps_id,
    }

    def execute(statement: str, **more: Any) -> Any:
        named = re.findall(r":(\w+)", statement)
        bound = text(statement).bindparams(*(bindparam(name, type_=_TYPES[name]) for name in named))
        return connection.execute(bound, {name: (values | more)[name] for name in named})

    number, insert, digest, count = statements
    inserted = execute(insert, receive_no=execute(number).scalar_one()).first()
    if inserted is None:
        return "duplicate" if bytes(execute(digest).one().sha256) == row.sha256 else "conflict"
    execute(count)
    return "accepted"


def new(engine: Engine, *stored: Result, when: datetime = NOW) -> list[str]:
    """Store records as the present version does; its answers."""
    rows = sort_lines([result.to_line() for result in stored]).rows
    found = ingest_queries.add_results(engine, rows, carrier="laptop-1", token_id=None, now=when)
    return [found[result.id] for result in stored]


def test_old_and_new_writers_store_each_record_once(database: str) -> None:
    """They take turns, meet each other's records, and the worker gives readers and sums all of them, each once."""
    restore(database, 2)
    engine = store.open_store(database)
    worker = Worker(engine)
    try:
        written: list[Result] = []
        for turn in range(6):
            when = NOW + timedelta(seconds=turn)
            ours, theirs = make_result(100 + turn), make_result(200 + turn)
            assert new(engine, ours, when=when) == ["accepted"]
            with engine.execution_options(write=True).begin() as connection:
                assert released(connection, theirs, when) == "accepted"
                assert released(connection, ours, when) == "duplicate"
                changed = make_result(900, id=theirs.id, data={"rtt_median_ms": 1.0})
                assert released(connection, changed, when) == "conflict"
            assert new(engine, theirs) == ["duplicate"]
            assert new(engine, changed) == ["conflict"]
            written += [ours, theirs]
            if turn % 2:
                assert worker.settle()
        assert worker.settle()
        lines = [json.loads(line)["id"] for _, line in page_lines(engine, limit=1000)]
        assert sorted(lines[6:]) == sorted(result.id for result in written)
        assert len(lines) == len(set(lines)) == 6 + len(written)
        numbers = [number for number, _ in page_lines(engine, limit=1000)]
        assert numbers == sorted(set(numbers)), "no number was given out twice"
        (tally,) = [t for t in result_queries.read_tallies(engine, "place") if t.subject == "3273011001005"]
        assert tally.counts["ok"] == 2 + len(written)
        with engine.connect() as connection:
            assert connection.scalar(select(schema.results.c.id).where(schema.results.c.batch_id.is_(None))) is None
    finally:
        worker.stop()
        engine.dispose()
    checked = run("check", "--json", database=database)
    found = json.loads(checked.stdout)
    assert (checked.returncode, found["results"], found["different"]) == (0, 18, 0)


def test_an_old_writer_in_the_middle_holds_up_no_new_one(postgres: Any) -> None:
    """The release numbers its records under one lock; a new writer takes no part in that, and commits beside it."""
    database = postgres.new_database()
    restore(database, 2)
    engine = store.open_store(database)
    worker = Worker(engine)
    try:
        with engine.begin() as open_transaction:
            assert released(open_transaction, make_result(300), datetime.now(UTC)) == "accepted"
            # it would wait for ten seconds, and fail
            with engine.begin() as other:
                other.execute(text("SET LOCAL lock_timeout = '100ms'"))
                other.execute(text("SELECT 1"))
            assert new(engine, make_result(301)) == ["accepted"]
        assert worker.settle()
        assert len(page_lines(engine, limit=1000)) == 8
    finally:
        worker.stop()
        engine.dispose()
