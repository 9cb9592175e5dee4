"""The store keeps each record once and for good, the same way on SQLite and on PostgreSQL 15."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text

from sigprobe.collector import store
from sigprobe.collector.access import queries as access_queries
from sigprobe.collector.access.token_check import TokenCheck
from sigprobe.collector.health import queries as health_queries
from sigprobe.collector.incidents import schema as incidents_schema
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.ingest.rows import NewResult
from sigprobe.collector.results import queries as result_queries
from sigprobe.collector.results.queries import Filters
from sigprobe.collector.rollups import schema as rollups_schema
from sigprobe.collector.store import engine as engine_module
from sigprobe.collector.store import schema, shared_state
from sigprobe.collector.store.engine import sqlite_driver
from sigprobe.collector.store.migrations import HEAD
from sigprobe.collector.worker import schema as worker_schema
from sigprobe.record.result import Result
from tests.support.collector_client import failed_result, make_result, page_lines, settle

NOW = datetime(2029, 2, 14, 7, 6, tzinfo=UTC)


def rows_of(*results: Result) -> list[NewResult]:
    return list(sort_lines(result.to_line() for result in results).rows)


def add(engine: Engine, *results: Result, now: datetime = NOW) -> list[str]:
    rows = rows_of(*results)
    stored = ingest_queries.add_results(engine, rows, carrier="laptop-1", token_id=None, now=now)
    return [stored[row.id] for row in rows]


def test_once_for_good(engine: Engine) -> None:
    """The same record again changes nothing; other bytes under its id are a conflict and change nothing either."""
    first = make_result()
    assert add(engine, first) == ["accepted"]
    assert add(engine, first, make_result(2)) == ["duplicate", "accepted"]
    changed = make_result(id=first.id, data={"rtt_median_ms": 1.0})
    assert add(engine, changed) == ["conflict"]
    lines = [line for _, line in page_lines(engine)]
    assert lines[0] == first.to_line()
    assert len(lines) == 2


def test_columns_for_the_monitoring_centre(engine: Engine) -> None:
    """What the centre asks for stands in columns: place, regency, operator, outcome, cause, position, times."""
    result = failed_result("timeout")
    run = make_result(
        kind="run", data={"verdict": {"owner": "operator", "cause": "no_internet"}}, started_at="2029-02-14T07:05:01Z"
    )
    add(engine, result, run)
    with engine.connect() as connection:
        row, other = connection.execute(text("SELECT * FROM results ORDER BY receive_no")).mappings().all()
    assert (row["tps_id"], row["regency"], row["operator_plmn"], row["operator_name"]) == (
        "3273011001005",
        "3273",
        "51010",
        "Telkomsel",
    )
    assert (row["outcome"], row["failure_code"], row["verdict_owner"]) == ("failed", "timeout", None)
    assert (other["verdict_owner"], other["verdict_cause"]) == ("operator", "no_internet")
    assert (row["lat"], row["lon"], row["carrier"]) == (-6.91474, 107.60981, "laptop-1")
    assert row["corrected_at"] is None
    found = result_queries.find_result(engine, result.id)
    assert found is not None
    assert (found.received_at, found.started_at.isoformat()) == (NOW, "2029-02-14T07:05:01.123000+00:00")


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59Z"])
def test_any_clock(engine: Engine, when: str) -> None:
    """A device that claims the first or the last year of the calendar is stored and read back."""
    result = make_result(started_at=when)
    assert add(engine, result) == ["accepted"]
    assert result_queries.list_newest(engine, Filters())[0].started_at.year == int(when[:4])


def test_filters_and_paging(engine: Engine) -> None:
    """The newest come first; TPS, operator by name or PLMN, and outcome narrow the list."""
    results = [make_result(n) for n in range(1, 6)] + [failed_result(seq=6)]
    add(engine, *results)
    newest = result_queries.list_newest(engine, Filters(), limit=2)
    assert [r.id for r in newest] == [results[5].id, results[4].id]
    assert [r.id for r in result_queries.list_newest(engine, Filters(), before=newest[-1].receive_no, limit=1)] == [
        results[3].id
    ]
    assert len(result_queries.list_newest(engine, Filters(operator="51010"))) == 6
    assert len(result_queries.list_newest(engine, Filters(operator="Telkomsel", outcome="failed"))) == 1
    assert result_queries.list_newest(engine, Filters(tps_id="0000000000000")) == []


def test_tallies_count_each_check_once(engine: Engine) -> None:
    """Counts by outcome leave out run records and what comes again."""
    first, second = make_result(), failed_result(seq=2)
    add(engine, first, second, make_result(3, kind="run"))
    later = datetime(2029, 2, 15, tzinfo=UTC)
    add(engine, first, make_result(4), now=later)
    settle(engine)
    (place,) = result_queries.read_tallies(engine, "place")
    assert (place.subject, dict(place.counts), place.last_received_at) == (
        "3273011001005",
        {"ok": 2, "failed": 1},
        later,
    )
    assert [t.subject for t in result_queries.read_tallies(engine, "operator")] == ["Telkomsel"]


def test_cursor_misses_nothing_under_concurrent_writers(engine: Engine) -> None:
    """A reader who follows the receive order while four writers commit sees every record once."""
    total = 4 * 30
    failures: list[BaseException] = []

    def write(worker: int) -> None:
        try:
            for n in range(10):
                add(engine, *(make_result(1 + worker * 100 + n * 3 + k) for k in range(3)))
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    seen: list[bytes] = []
    after = 0
    while True:
        done = not any(writer.is_alive() for writer in writers)
        page = page_lines(engine, after=after, limit=7)
        seen.extend(line for _, line in page)
        after = page[-1][0] if page else after
        if done and not page:
            break
    for writer in writers:
        writer.join()
    assert not failures
    assert len(seen) == len(set(seen)) == total


def test_writers_wait_for_nobody(postgres: object) -> None:
    """On PostgreSQL one writer that hangs before its COMMIT keeps no other from storing, nor readers from reading."""
    engine = store.open_store(postgres.new_database())  # type: ignore[attr-defined]
    first, second = make_result(1), make_result(2)
    try:
        with engine.begin() as slow:
            # what a writer holds in the middle of its transaction
            slow.execute(text("CREATE TEMPORARY TABLE mine AS SELECT 1"))
            slow.execute(
                text(
                    "INSERT INTO batches (id, carrier, received_at, n, ids, summed) "
                    "VALUES (gen_random_uuid(), 'slow', now(), 1, '', false)"
                )
            )
            assert add(engine, first) == ["accepted"]
            assert [line for _, line in page_lines(engine)] == [first.to_line()]
        add(engine, second)
        assert [line for _, line in page_lines(engine)][-1] == second.to_line()
    finally:
        engine.dispose()


def test_same_schema_as_the_migrations_make(engine: Engine) -> None:
    """The tables that the code uses are the tables that the migrations leave behind."""
    found = inspect(engine)
    wanted = {
        name: table
        for part in (schema, shared_state, rollups_schema, worker_schema, incidents_schema)
        for name, table in part.metadata.tables.items()
    }
    partitions = {name for name in found.get_table_names() if name.startswith("results_")}
    assert set(found.get_table_names()) - partitions == {*wanted, "sigprobe_migrations"}
    for name, table in wanted.items():
        columns = {c["name"]: bool(c["nullable"]) for c in found.get_columns(name)}
        assert columns == {c.name: bool(c.nullable) for c in table.columns}, name
        indexes = {i["name"]: i["column_names"] for i in found.get_indexes(name) if not i.get("duplicates_constraint")}
        assert indexes == {str(i.name): [c.name for c in i.columns] for i in table.indexes}, name


def test_opening_again_changes_nothing(database: str) -> None:
    """A second start finds the database current and keeps what is in it."""
    for expected in (["accepted"], ["duplicate"]):
        engine = store.open_store(database)
        try:
            assert add(engine, make_result(id="0190a5c0-0000-7000-8000-0000000000cc", run_id=_RUN)) == expected
        finally:
            engine.dispose()


_RUN = "0190a5c0-0000-7000-8000-0000000000dd"


def test_starts_at_once(database: str) -> None:
    """Several processes that start together on an empty database migrate it once."""
    engines: list[Engine] = []
    failures: list[BaseException] = []

    def start() -> None:
        try:
            engines.append(store.open_store(database))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert not failures
        assert len(engines) == 4
        assert health_queries.last_number(engines[0]) == 0
    finally:
        for engine in engines:
            engine.dispose()


def test_newer_database_is_refused(database: str) -> None:
    """A database of a newer version is left alone, and the sentence says to update."""
    engine = store.open_store(database)
    with engine.begin() as connection:
        connection.execute(schema.schema_version.insert().values(version=int(HEAD) + 1, title="future", applied_at=NOW))
    engine.dispose()
    with pytest.raises(store.StoreError, match="newer sigprobe"):
        store.open_store(database)


def test_tokens(engine: Engine) -> None:
    """A token works until it is revoked, is kept as a digest only, and its name is free again afterwards."""
    secret = access_queries.create_token(engine, "laptop-1", access_queries.PROBE)
    found = TokenCheck(engine).find(secret)
    assert found is not None
    assert (found.name, found.role, found.last_used_at) == ("laptop-1", "probe", None)
    with pytest.raises(access_queries.NameTakenError):
        access_queries.create_token(engine, "laptop-1", access_queries.ADMIN)
    ingest_queries.add_results(engine, rows_of(make_result()), carrier=found.name, token_id=found.id, now=NOW)
    settle(engine)
    assert access_queries.list_tokens(engine)[0].last_used_at == NOW
    assert access_queries.revoke_token(engine, "laptop-1")
    assert not access_queries.revoke_token(engine, "laptop-1")
    assert TokenCheck(engine).find(secret) is None
    access_queries.create_token(engine, "laptop-1", access_queries.PROBE)
    with engine.connect() as connection:
        hashes = connection.execute(text("SELECT hash FROM tokens")).scalars().all()
    assert secret not in "".join(hashes)


def test_sessions(engine: Engine) -> None:
    """A one-time link opens one session; a session ends with its time, its token, or by signing out."""
    once = access_queries.create_once(engine, now=NOW)
    assert not access_queries.find_session(engine, once, now=NOW)
    session = access_queries.spend_once(engine, once, now=NOW)
    assert session is not None
    assert access_queries.spend_once(engine, once, now=NOW) is None
    assert access_queries.find_session(engine, session, now=NOW)
    assert not access_queries.find_session(engine, session, now=NOW.replace(day=15))
    late = access_queries.create_once(engine, now=NOW)
    assert access_queries.spend_once(engine, late, now=NOW.replace(minute=17)) is None
    secret = access_queries.create_token(engine, "boss", access_queries.ADMIN)
    token = TokenCheck(engine).find(secret)
    assert token is not None
    session = access_queries.open_session(engine, token.id, now=NOW)
    assert access_queries.find_session(engine, session, now=NOW)
    access_queries.revoke_token(engine, "boss")
    assert not access_queries.find_session(engine, session, now=NOW)
    other = access_queries.spend_once(engine, access_queries.create_once(engine, now=NOW), now=NOW)
    assert other is not None
    access_queries.close_session(engine, other)
    assert not access_queries.find_session(engine, other, now=NOW)


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[tuple[Engine, Path]]:
    path = tmp_path / "collector.db"
    engine = store.open_store(f"sqlite:///{path}")
    yield engine, path
    engine.dispose()


def test_sqlite_is_in_its_durable_mode(sqlite_store: tuple[Engine, Path]) -> None:
    """Every connection runs in WAL mode with FULL on a SQLite that is safe with it, and the file is private."""
    engine, path = sqlite_store
    safe = sqlite_driver().sqlite_version_info >= (3, 51, 3)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == ("wal" if safe else "truncate")
        assert connection.execute(text("PRAGMA synchronous")).scalar() == (2 if safe else 3)
    assert path.stat().st_mode & 0o077 == 0


def test_an_unfixed_sqlite_is_taken_out_of_wal_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a SQLite that may lose commits in WAL mode, a file in that mode is brought back before any write."""
    path = tmp_path / "wal.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("CREATE TABLE other (x)")
    monkeypatch.setattr(engine_module, "sqlite_driver", lambda: sqlite3)
    monkeypatch.setattr(engine_module, "_WAL_IS_SAFE", (99, 0, 0))
    engine = store.open_store(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "truncate"
            assert connection.execute(text("PRAGMA synchronous")).scalar() == 3
    finally:
        engine.dispose()


def test_readers_do_not_stop_a_writer(sqlite_store: tuple[Engine, Path]) -> None:
    """A writer commits while a reader is in the middle of its result; a rollback journal would make it wait."""
    engine, _ = sqlite_store
    if sqlite_driver().sqlite_version_info < (3, 51, 3):
        pytest.skip("this SQLite has no safe WAL mode")
    add(engine, *(make_result(n) for n in range(3)))
    with engine.connect() as reader:
        rows = reader.execute(text("SELECT id FROM results"))
        rows.fetchone()
        assert add(engine, make_result(9)) == ["accepted"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://x/y", "sqlite:///FILE or postgresql://"),
        ("sqlite://", "Give the database as a file"),
        ("sqlite:////proc/none/x.db", "There is no directory /proc/none"),
        ("sqlite:////proc/version", "cannot be used|cannot be opened"),
        ("postgresql://sigprobe:hunter2@127.0.0.1:1/none", "cannot be used"),
    ],
)
def test_unusable_databases_get_one_sentence(url: str, message: str) -> None:
    """What cannot be opened is said in one sentence, and never with the password."""
    with pytest.raises(store.StoreError, match=message) as caught:
        store.open_store(url)
    assert "hunter2" not in str(caught.value)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """A file that is no database is refused and left as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all, but long enough to be looked at as one\n" * 20)
    before = path.read_bytes()
    with pytest.raises(store.StoreError, match="cannot be used"):
        store.open_store(f"sqlite:///{path}")
    assert path.read_bytes() == before
