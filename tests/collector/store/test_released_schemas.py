"""Databases of earlier releases are brought to the present schema with nothing lost.

The SQL files in `released/` were dumped from databases that the released code itself made: `sqlite3 .dump` and
`pg_dump --inserts`. The first line of each names the secrets of its probe token, admin token and session.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, create_engine, inspect, select

from sigprobe.collector import store
from sigprobe.collector.access import queries as access_queries
from sigprobe.collector.access.token_check import TokenCheck
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.results import queries as result_queries
from sigprobe.collector.store import schema
from tests.support.collector_client import make_result, page_lines

RELEASED = Path(__file__).parent / "released"
NOW = datetime(2029, 2, 14, 7, 6, tzinfo=UTC)
ANCHOR = datetime(2029, 2, 14, 7, 5, 1, 123000, tzinfo=UTC)
NAMES = ["laptop-1", "boss", "gone"]


def restore(database: str, version: int) -> list[str]:
    """Fill an empty database from the dump of a release; the secrets it holds."""
    engine = database.partition(":")[0]
    text = (RELEASED / f"{engine}-{version}.sql").read_text("utf-8")
    if engine == "sqlite":
        with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as raw:
            raw.executescript(text)
    else:
        psycopg = pytest.importorskip("psycopg")
        with psycopg.connect(database, autocommit=True) as raw:
            raw.execute(text)
    return text.partition("\n")[0].removeprefix("-- secrets: ").split()


def contents(database: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table as it is stored, without our own schema."""
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    try:
        found = MetaData()
        found.reflect(engine)
        with engine.connect() as connection:
            return {
                name: sorted((dict(row) for row in connection.execute(select(table)).mappings()), key=repr)
                for name, table in found.tables.items()
            }
    finally:
        engine.dispose()


def columns_and_indexes(engine: Engine) -> dict[str, Any]:
    """What a database is made of."""
    found = inspect(engine)
    partitions = {name for name in found.get_table_names() if name.startswith("results_")}
    return {
        name: (
            {(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)},
            {(i["name"], tuple(i["column_names"]), bool(i["unique"])) for i in found.get_indexes(name)},
            tuple(found.get_pk_constraint(name)["constrained_columns"]),
        )
        for name in sorted({*found.get_table_names()} - partitions)
    }


@pytest.mark.parametrize("version", [1, 2])
def test_nothing_is_lost(database: str, version: int) -> None:
    """Each row of each table is there afterwards; only a time that was not known may have become known."""
    restore(database, version)
    before = contents(database)
    assert {row["version"] for row in before["schema_version"]} == set(range(1, version + 1)), "the control"
    assert {name: len(before[name]) for name in ("results", "tokens", "sessions", "receive_order")} == {
        "results": 6,
        "tokens": 3,
        "sessions": 2,
        "receive_order": 1,
    }
    assert "sigprobe_migrations" not in before
    store.open_store(database).dispose()
    after = contents(database)
    for name, rows in before.items():
        kept = {repr(list(pick(row, rows[0]).items())) for row in after[name]} if rows else set()
        for row in rows:
            assert repr(list(pick(row, rows[0]).items())) in kept, (name, row)
        if name != "schema_version":
            assert len(after[name]) == (1 if name == "boot_clocks" else len(rows)), name
    assert after["sigprobe_migrations"] == [{"version_num": "0008"}]
    store.open_store(database).dispose()
    assert contents(database) == after, "a second start changes nothing"


def pick(row: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """The columns that were there before, but the one that a step may fill."""
    return {name: row[name] for name in old if name != "corrected_at"}


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_database_is_of_use(database: str, version: int) -> None:
    """Records, tallies, tokens and sessions of a release answer as before, and what is new is stored after them."""
    probe, admin, session = restore(database, version)
    engine = store.open_store(database)
    try:
        lines = page_lines(engine)
        assert [number for number, _ in lines] == [1, 2, 3, 4, 5, 6]
        again = sort_lines(line for _, line in lines).rows
        assert set(ingest_queries.add_results(engine, again, carrier="laptop-1", token_id=None, now=NOW).values()) == {
            "duplicate"
        }
        times = {r.seq: r.corrected_at for r in result_queries.list_newest(engine, result_queries.Filters())}
        # the first began 600 s earlier in the boot whose true time the second tells
        assert (times[1], times[2], times[3]) == (ANCHOR - timedelta(seconds=600), ANCHOR, None)
        assert {tally.subject: dict(tally.counts) for tally in result_queries.read_tallies(engine, "place")} == {
            "3273011001005": {"ok": 2, "failed": 1, "degraded": 1},
            "Posko Désa 🏫": {"ok": 1},
        }
        roles = [getattr(TokenCheck(engine).find(secret), "role", None) for secret in (probe, admin)]
        assert roles == ["probe", "admin"]
        assert access_queries.find_session(engine, session, now=NOW)
        assert not access_queries.find_session(engine, session, now=NOW + timedelta(days=365))
        assert sorted(token.name for token in access_queries.list_tokens(engine)) in (sorted(NAMES), sorted(NAMES[:2]))
        new = make_result(7)
        rows = sort_lines([new.to_line()]).rows
        assert ingest_queries.add_results(engine, rows, carrier="laptop-1", token_id=None, now=NOW) == {
            new.id: "accepted"
        }
        assert [line for _, line in page_lines(engine, after=6)] == [new.to_line()]
    finally:
        engine.dispose()


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_database_becomes_like_a_new_one(
    database: str, version: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Tables, columns and indexes are the same whether a database was brought here or made here."""
    restore(database, version)
    other = f"sqlite:///{tmp_path}/new.db"
    if database.startswith("postgresql"):
        other = request.getfixturevalue("postgres").new_database()
    brought, made = store.open_store(database), store.open_store(other)
    try:
        assert columns_and_indexes(brought) == columns_and_indexes(made)
        assert set(schema.metadata.tables) <= set(columns_and_indexes(made))
    finally:
        brought.dispose()
        made.dispose()
