"""No reader misses or doubles a record: beside writers that hang, after a restore, and with cursors of before."""

from __future__ import annotations

import base64
import random
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sigprobe.collector import store
from sigprobe.collector.backup import sqlite_file
from sigprobe.collector.ingest import postgresql_writer
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.store import epochs
from sigprobe.collector.worker.loop import Worker
from tests.support.collector_client import Collector, batch_of, make_result, page_lines, settle
from tests.support.postgres import Postgres
from tests.trials.faults.trial import hold


def pages(collector: Collector, cursor: str | None = None, limit: int = 2) -> tuple[list[str], str | None]:
    """The ids from a cursor on, and the last cursor that was given out."""
    found: list[str] = []
    last = cursor
    while True:
        answer = collector.get("/v1/results", limit=limit, **({} if cursor is None else {"cursor": cursor}))
        assert answer.status_code == 200, answer.text
        found += [record["id"] for record in answer.json()["results"]]
        cursor = answer.json()["next"]
        if cursor is None:
            return found, last
        last = cursor


def test_the_order_has_no_gaps_beside_writers_that_hang(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers hold their transactions open for different times, and a reader that follows sees each record once."""
    engine = store.open_store(postgres.new_database())
    rng = random.Random(13)
    total, writers = 90, 3
    real = postgresql_writer._insert

    def slow(cursor: Any, statement: str, types: Sequence[int], rows: Sequence[Sequence[bytes]]) -> int:
        count = real(cursor, statement, types, rows)
        if "INTO batches" in statement:  # the batch has its time of receipt and is not committed
            threading.Event().wait(rng.uniform(0, 0.05))
        return count

    monkeypatch.setattr(postgresql_writer, "_insert", slow)

    def write(worker: int) -> None:
        for n in range(total // writers):
            send(engine, make_result(1 + worker * 1000 + n).to_line())

    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[bytes] = []
    after = 0
    while True:
        done = not any(thread.is_alive() for thread in threads)
        page = page_lines(engine, after=after, limit=5)
        assert [number for number, _ in page] == sorted(number for number, _ in page)
        seen += [line for _, line in page]
        after = page[-1][0] if page else after
        if done and not page:
            break
    engine.dispose()
    assert len(seen) == len(set(seen)) == total


def test_the_control_by_time_of_receipt_misses_some(postgres: Postgres) -> None:
    """Paging by what a writer knows before its COMMIT, as a number of its own, loses what commits late."""
    engine = store.open_store(postgres.new_database())
    early, late = make_result(1), make_result(2)
    try:
        with engine.begin() as slow:
            slow.execute(text("CREATE TABLE naive (number serial, name text)"))
        with engine.begin() as slow:
            slow.execute(text("INSERT INTO naive (name) VALUES (:n)"), {"n": early.id})
            with engine.begin() as quick:
                quick.execute(text("INSERT INTO naive (name) VALUES (:n)"), {"n": late.id})
            with engine.connect() as reader:
                first = reader.execute(text("SELECT number, name FROM naive ORDER BY number")).all()
        with engine.connect() as reader:
            query = text("SELECT name FROM naive WHERE number > :after")
            rest = reader.execute(query, {"after": first[-1].number}).scalars().all()
        with pytest.raises(AssertionError, match="missed"):
            hold(early.id in {*rest, *(row.name for row in first)}, "missed")
    finally:
        engine.dispose()


def send(engine: Engine, *lines: bytes) -> None:
    """Store lines as one batch."""
    from datetime import UTC, datetime

    rows = sort_lines(lines).rows
    ingest_queries.add_results(engine, rows, carrier="laptop-1", token_id=None, now=datetime.now(UTC))


def test_cursors_of_a_restored_copy(tmp_path: Path, make_collector: Callable[..., Collector]) -> None:
    """Up to the backup a cursor goes on; beyond it the answer is 410 with the place where both copies agree."""
    collector = make_collector()
    first = [make_result(n) for n in range(1, 6)]
    collector.send(*first)
    path = Path(str(collector.engine.url.database))
    ids, middle = pages(collector)
    assert ids == [result.id for result in first]
    sqlite_file.back_up(path, tmp_path / "copy.db")
    lost = [make_result(n) for n in range(6, 10)]
    collector.send(*lost)
    _, ahead = pages(collector)
    assert ahead != middle
    collector.worker.stop()
    collector.engine.dispose()
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "copy.db", path)
    restored = make_collector(store.open_store(f"sqlite:///{path}"))
    new = [make_result(n) for n in range(20, 25)]
    restored.send(*new)
    assert pages(restored, middle)[0] == [first[-1].id, *(result.id for result in new)]
    gone = restored.get("/v1/results", cursor=ahead)
    assert gone.status_code == 410
    resume = gone.json()["detail"].split("cursor=")[1].split(",")[0]
    assert pages(restored, resume)[0] == [result.id for result in new]


def test_an_unmarked_copy_is_noticed_by_the_id(engine: Engine, make_collector: Callable[..., Collector]) -> None:
    """Even where nothing tells that the database went back, a number that now belongs to another record does."""
    collector = make_collector(engine)
    collector.send(*(make_result(n) for n in range(1, 7)))
    _, cursor = pages(collector)
    with engine.execution_options(write=True).begin() as connection:
        for table in ("results", "batches"):
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text("UPDATE receive_order SET last_no = 0"))
    assert collector.get("/v1/results", cursor=cursor).status_code == 410, "beyond what is here"
    collector.send(*(make_result(n) for n in range(1, 9)))
    answer = collector.get("/v1/results", cursor=cursor)
    assert (answer.status_code, "without a cursor" in answer.json()["detail"]) == (410, True)


def test_a_new_epoch_keeps_what_both_have(engine: Engine, make_collector: Callable[..., Collector]) -> None:
    """A failover that lost nothing: cursors of before go on as if nothing had happened."""
    collector = make_collector(engine)
    first = [make_result(n) for n in range(1, 5)]
    collector.send(*first)
    _, cursor = pages(collector)
    epochs.begin(engine)
    later = make_result(9)
    collector.send(later)
    found, _ = pages(collector, cursor)
    assert found[-1] == later.id
    assert set(found) <= {later.id, *(result.id for result in first)}


def test_cursors_of_the_version_before(engine: Engine, make_collector: Callable[..., Collector]) -> None:
    """A cursor that held only a number goes on; one beyond the last number does not."""
    collector = make_collector(engine)
    results = [make_result(n) for n in range(1, 6)]
    collector.send(*results)
    for number, status in ((2, 200), (5, 200), (6, 410), (2**62, 410)):
        word = base64.urlsafe_b64encode(f"1:{number}".encode()).decode().rstrip("=")
        answer = collector.get("/v1/results", cursor=word)
        assert answer.status_code == status, number
        if number == 2:
            assert [record["id"] for record in answer.json()["results"]] == [result.id for result in results[2:]]


def test_a_promoted_copy_begins_an_epoch(postgres: Postgres) -> None:
    """The timeline of a promoted or restored PostgreSQL is part of what tells copies apart."""
    engine = store.open_store(postgres.new_database())
    try:
        with engine.connect() as connection:
            before, mark = epochs.current(connection), epochs.fingerprint(connection)
        assert ":00000001:" in mark
        with engine.begin() as connection:
            connection.execute(text("UPDATE epochs SET fingerprint = replace(fingerprint, ':00000001:', ':00000000:')"))
        send(engine, make_result(1).to_line())
        settle(engine)
        with engine.connect() as connection:
            assert epochs.current(connection) != before
            first_no = connection.execute(text("SELECT first_no FROM epochs ORDER BY number DESC LIMIT 1")).scalar()
        assert first_no == 0, "the epoch began before the worker gave a number"
    finally:
        engine.dispose()


def test_readers_follow_their_own_worker(postgres: Postgres, make_collector: Callable[..., Collector]) -> None:
    """With the worker in the same process a reader finds at once what was acknowledged."""
    collector = make_collector(store.open_store(postgres.new_database()))
    result = make_result()
    assert collector.post(batch_of(result)).status_code == 200
    assert [record["id"] for record in collector.get("/v1/results").json()["results"]] == [result.id]
    other = Worker(collector.engine, "other")
    assert not other.round()
    other.stop()
