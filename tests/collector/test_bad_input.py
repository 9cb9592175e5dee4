"""Try what senders and servers do wrong: one id twice at once, tiny batches, old copies, no partition or connection."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import Engine, func, select, text

from sigprobe.collector import store
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.ingest.rows import NewBatch
from sigprobe.collector.rollups.queries import read_sums
from sigprobe.collector.store import partitions
from sigprobe.collector.store.schema import batches
from sigprobe.collector.worker.loop import Worker
from tests.support.collector_client import batch_of, make_result, page_lines
from tests.support.collector_process import Spawn, new_token, run, serve
from tests.support.postgres import Postgres


def test_one_id_in_two_batches_at_once_from_two_processes(spawn: Spawn, postgres: Postgres) -> None:
    """The same line is accepted once and a duplicate once; of two lines one is accepted, the other a conflict."""
    database = postgres.new_database()
    token = new_token("probe", "laptop-1", database)
    servers = [serve(spawn, database) for _ in range(2)]
    barrier = threading.Barrier(2)

    def send(place: int, line: bytes) -> str:
        barrier.wait(60)
        return str(servers[place].post(batch_of(line), token).json()["results"][0]["status"])

    expected: dict[str, bytes | None] = {}
    with ThreadPoolExecutor(2) as pool:
        for turn in range(20):
            one = make_result(turn + 1)
            other = one if turn % 2 else make_result(turn + 1, id=one.id, data={"rtt_median_ms": 1.0})
            lines = [one.to_line(), other.to_line()]
            found = list(pool.map(send, (0, 1), lines))
            assert sorted(found) == ["accepted", "duplicate" if turn % 2 else "conflict"], (turn, found)
            expected[one.id] = lines[found.index("accepted")]
    engine = store.open_store(database)
    worker = Worker(engine)
    worker.publish()
    worker.stop()
    kept = {json.loads(line)["id"]: line for _, line in page_lines(engine, limit=1000)}
    engine.dispose()
    assert kept == expected, "what was acknowledged is what is stored"


def test_ten_thousand_batches_of_one_record(engine: Engine) -> None:
    """Each is a batch of its own: numbered without a gap, summed once, and a repeat leaves no trace."""
    count = 10_000
    now = datetime.now(UTC)
    rows = sort_lines(make_result(n + 1).to_line() for n in range(count)).rows
    for first in range(0, count, 500):
        group = [NewBatch([row], "laptop-1", None, now) for row in rows[first : first + 500]]
        assert all(set(answer.values()) == {"accepted"} for answer in ingest_queries.store_batches(engine, group))
    repeated = ingest_queries.store_batches(engine, [NewBatch([row], "laptop-1", None, now) for row in rows[:500]])
    assert all(set(answer.values()) == {"duplicate"} for answer in repeated)
    worker = Worker(engine)
    assert worker.settle()
    worker.stop()
    with engine.connect() as connection:
        held, last = connection.execute(select(func.count(), func.max(batches.c.published_no))).one()
        sums = read_sums(connection)
    assert (held, last) == (count, count)
    assert sum(n for key, n in sums.counts.items() if key.what == "outcome" and key.key.width_s == 3600) == count


def test_a_receipt_is_true_again_after_a_restore(spawn: Spawn, tmp_path: Path) -> None:
    """What the backup lacks is accepted again, what it has is a duplicate; each is stored once."""
    database, copy = f"sqlite:///{tmp_path}/c.db", tmp_path / "backup.db"
    token = new_token("probe", "laptop-1", database)
    server = serve(spawn, database)
    early, late = batch_of(*(make_result(n) for n in (1, 2))), batch_of(*(make_result(n) for n in (3, 4)))

    def statuses(batch: Any) -> list[str]:
        return [one["status"] for one in server.post(batch, token).json()["results"]]

    assert statuses(early) == ["accepted"] * 2
    assert run("backup", str(copy), database=database).returncode == 0
    assert statuses(late) == ["accepted"] * 2 and statuses(late) == ["duplicate"] * 2
    server.process.kill()
    server.process.wait(20)
    for file in tmp_path.glob("c.db*"):
        file.unlink()
    done = run("restore", str(copy), "--database", database, database=database)
    assert done.returncode == 0, done.stderr
    server = serve(spawn, database)
    assert statuses(late) == ["accepted"] * 2
    assert statuses(early) == ["duplicate"] * 2
    engine = store.open_store(database)
    assert len(page_lines(engine, limit=100)) == 4
    engine.dispose()


def test_a_missing_partition(spawn: Spawn, postgres: Postgres) -> None:
    """Without any table for an id its batch is refused (503), never acknowledged; the worker makes the week anew."""
    database = postgres.new_database()
    token = new_token("probe", "laptop-1", database)
    engine = store.open_store(database)
    worker = Worker(engine)
    assert worker.settle()
    server = serve(spawn, database, "--no-work")
    result = make_result()
    week = partitions.name_of(partitions.week_of(datetime.now(UTC)))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE results DETACH PARTITION results_default"))
        held = connection.execute(text("SELECT to_regclass(:name)"), {"name": week}).scalar()
        connection.execute(text(f"DROP TABLE {week}" if held else "ALTER TABLE results DETACH PARTITION results_first"))
    refused = server.post(batch_of(result), token)
    assert refused.status_code == 503 and int(refused.headers["Retry-After"]) > 0, refused.text
    assert requests.get(server.url + "healthz", timeout=60).status_code == 200
    with engine.begin() as connection:
        if not held:
            connection.execute(text("DROP TABLE results_first"))
        connection.execute(text("ALTER TABLE results ATTACH PARTITION results_default DEFAULT"))
    # into DEFAULT, until the worker makes the week's own
    answer = server.post(batch_of(result), token)
    assert answer.json()["results"][0]["status"] == "accepted"
    worker._done.pop("partitions", None)
    assert worker.settle()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT tableoid::regclass::text FROM results")).scalars().all() == [week]
    again = server.post(batch_of(result), token)
    assert again.json()["results"][0]["status"] == "duplicate"
    worker.stop()
    engine.dispose()


def test_connections_run_out(spawn: Spawn) -> None:
    """A start says so in a sentence; a running collector answers 503, and goes on when there is one again."""
    import psycopg

    server = Postgres()
    held: list[Any] = []
    try:
        with (server.dir / "data" / "postgresql.conf").open("a", encoding="ascii") as conf:
            conf.write("max_connections = 12\nsuperuser_reserved_connections = 0\nmax_wal_senders = 0\n")
        server.start()
        database = server.new_database()
        token = new_token("probe", "laptop-1", database)
        collector = serve(spawn, database, "--no-work")
        assert collector.post(batch_of(make_result(1)), token).status_code == 200
        # take every place, those of the collector's own idle connections, too
        end = time.monotonic() + 60
        control = psycopg.connect(database, autocommit=True)
        held.append(control)
        while True:
            control.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sigprobe'"
            )
            with suppress(psycopg.OperationalError):
                held.append(psycopg.connect(database, autocommit=True))
                continue
            ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sigprobe'"
            if control.execute(ours).fetchone() == (0,):
                break
            assert time.monotonic() < end
        refused = collector.post(batch_of(make_result(2)), token, timeout=60)
        assert refused.status_code == 503 and int(refused.headers["Retry-After"]) > 0, refused.text
        assert requests.get(collector.url + "healthz", timeout=60).status_code == 200
        assert requests.get(collector.url + "readyz", timeout=60).status_code == 503
        started = run("serve", "--port", "0", database=database)
        assert started.returncode == 1 and "too many connections" in started.stderr, started.stderr
        for connection in held:
            connection.close()
        while (answer := collector.post(batch_of(make_result(3)), token, timeout=60)).status_code != 200:
            assert time.monotonic() < end, answer.text
            time.sleep(0.3)
    finally:
        for connection in held:
            connection.close()
        server.close()
