"""Values that we pack ourselves arrive as they were, NULL among them, and large groups go in several statements."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest

from sigprobe.collector import store
from sigprobe.collector.ingest import packed_values as pack
from sigprobe.collector.ingest import postgresql_writer
from sigprobe.collector.ingest.queries import add_results
from sigprobe.collector.ingest.records import sort_lines
from tests.support.collector_client import make_result, page_lines
from tests.support.postgres import Postgres

ID = "0198f0aa-1111-7222-8333-444455556666"
WHEN = datetime(2029, 2, 14, 7, 5, 1, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("element", "fields", "read"),
    [
        (16, [pack.flag(True), pack.NULL, pack.flag(False)], [True, None, False]),
        (17, [pack.raw(b"\x00\xff"), pack.NULL, pack.raw(b"")], [b"\x00\xff", None, b""]),
        (20, [pack.int8(2**62), pack.int8(None), pack.int8(-1)], [2**62, None, -1]),
        (23, [pack.int4(7), pack.int4(None)], [7, None]),
        (25, [pack.text("Jalan “é” \U0001f4f6"), pack.text(None), pack.text("")], ["Jalan “é” \U0001f4f6", None, ""]),
        (701, [pack.float8(-6.91474), pack.float8(None)], [-6.91474, None]),
        (1184, [pack.time(WHEN), pack.time(None)], [WHEN, None]),
        (2950, [pack.uuid(ID), pack.uuid(None)], [UUID(ID), None]),
    ],
)
def test_an_array_arrives_as_it_was(postgres: Postgres, element: int, fields: list[bytes], read: list[Any]) -> None:
    """Each type that a column has, with NULL in between."""
    with psycopg.connect(postgres.new_database()) as connection:
        pack.register(connection)
        rows = connection.execute("SELECT * FROM unnest(%b)", [pack.array(element, fields)]).fetchall()
    assert [row[0] for row in rows] == read


def test_a_large_group_goes_in_several_statements(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of more bytes than one statement takes are stored whole and once, by rising id over all statements."""
    engine = store.open_store(postgres.new_database())
    monkeypatch.setattr(postgresql_writer, "_STATEMENT_BYTES", 4_000)
    rng = random.Random(13)
    lines = [make_result(n, data={"note": rng.randbytes(1_000).hex()}).to_line() for n in range(1, 31)]
    rows = sort_lines(reversed(lines)).rows
    parts: list[list[bytes]] = []
    real = postgresql_writer._insert

    def counted(cursor: Any, statement: str, types: Any, part: Any) -> int:
        if "INTO results" in statement:
            parts.append([row[0] for row in part])
        return real(cursor, statement, types, part)

    monkeypatch.setattr(postgresql_writer, "_insert", counted)
    try:
        for status in ("accepted", "duplicate"):
            found = add_results(engine, rows, carrier="laptop-1", token_id=None, now=datetime.now(UTC))
            assert set(found.values()) == {status} and len(found) == 30
        assert len(page_lines(engine, after=0, limit=100)) == 30
    finally:
        engine.dispose()
    first = parts[: len(parts) // 2]
    assert len(first) > 5
    assert [name for part in first for name in part] == sorted(pack.uuid(row.id) for row in rows)
