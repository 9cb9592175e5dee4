"""Write a group of batches to PostgreSQL: one INSERT for the rows of all of them, one for the batches.

Each column is one parameter, an array in binary form; so the statement is short, prepared once, and costs the server no
table of its own. Nothing that all writers share is locked: there is no counter, and no row is updated. Rows go in by
rising id, so two writers that bring the same records wait for each other in one order and never in a circle.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from sigprobe.collector.ingest import packed_values as pack
from sigprobe.collector.ingest.batch_rows import anchors_text, packed_ids, waits
from sigprobe.collector.ingest.rows import BATCH_COLUMNS, RESULT_COLUMNS, NewBatch, NewResult
from sigprobe.collector.store import line_packing
from sigprobe.collector.store.schema import FIRST_ARRIVAL, LOWER_BOUNDS, METRICS, batches, results
from sigprobe.record.result import new_id


def _insert_into(table: str, columns: Sequence[str], more: str = "") -> str:
    values = ", ".join(["%b"] * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({values}){more}"  # noqa: S608 - our own names


_INSERT: Final = _insert_into("results", RESULT_COLUMNS, " ON CONFLICT (id) DO NOTHING")
_INSERT_BATCHES: Final = _insert_into("batches", BATCH_COLUMNS)
_FIND: Final = "SELECT id, batch_id, sha256 FROM results WHERE id = ANY(%s::uuid[])"
_COUNTS: Final = "sigprobe_counts"
"""Whether the insert tells how many rows are new: over several machines, Citus counts those that were there too."""
_IS_SPREAD: Final = "SELECT 1 FROM pg_extension WHERE extname = 'citus'"
_STATEMENT_BYTES: Final = 2 << 20
"""Rows of so many bytes go into one statement: more than half of its `work_mem` would go through a temporary file."""
_LOOK_S: Final = 60.0
"""A process notices after so long that lines are to be compressed from now on."""
_dictionaries: Final[WeakKeyDictionary[Engine, tuple[float, int | None]]] = WeakKeyDictionary()
_BEGAN: Final = datetime(1970, 1, 1, tzinfo=UTC)
_GRAIN: Final = timedelta(microseconds=64)

_RESULT_TYPES: Final = tuple(pack.element_of(results.c[name].type) for name in RESULT_COLUMNS)
_BATCH_TYPES: Final = tuple(pack.element_of(batches.c[name].type) for name in BATCH_COLUMNS)


def write(engine: Engine, group: Sequence[NewBatch]) -> dict[str, bytes | None]:
    """Store what is new, in one transaction. Returns the digests of the ids that were here already.

    No id comes twice in the group. Raises SQLAlchemyError.
    """
    import psycopg

    try:
        raw = engine.raw_connection()
    except psycopg.Error as error:
        raise _wrapped(engine, error) from error
    try:
        dictionary = _dictionary(engine, raw.driver_connection)
        return _write(raw.driver_connection, group, raw.info, dictionary)
    except psycopg.Error as error:
        with suppress(psycopg.Error):
            raw.rollback()
        if raw.driver_connection.closed:  # type: ignore[union-attr]
            raw.invalidate()
        raise _wrapped(engine, error) from error
    finally:
        raw.close()


def _wrapped(engine: Engine, error: Exception) -> BaseException:
    """Return the driver's error as the rest of the collector knows it."""
    import psycopg

    return DBAPIError.instance(None, None, error, psycopg.Error, dialect=engine.dialect)


def _dictionary(engine: Engine, connection: Any) -> int | None:
    """Return the number of the dictionary that lines are compressed with, None while they are stored as they are."""
    looked_at, number = _dictionaries.get(engine, (float("-inf"), None))
    if time.monotonic() - looked_at > _LOOK_S:
        number = line_packing.remember_all(connection.execute(line_packing.QUERY))
        _dictionaries[engine] = (time.monotonic(), number)
    return number


def _write(
    connection: Any, group: Sequence[NewBatch], info: dict[Any, Any], dictionary: int | None
) -> dict[str, bytes | None]:
    names = [new_id() for _ in group]
    if _COUNTS not in info:
        pack.register(connection)
        info[_COUNTS] = connection.execute(_IS_SPREAD).fetchone() is None
    cursor = connection.cursor()
    stored = sum(_insert(cursor, _INSERT, _RESULT_TYPES, part) for part in _parts(_results(group, names, dictionary)))
    total = sum(len(batch.rows) for batch in group)
    known = {} if info[_COUNTS] and stored == total else _stored_before(cursor, group, names)
    rows = [
        (name, batch, [row for row in batch.rows if row.id not in known] if known else batch.rows)
        for name, batch in zip(names, group, strict=True)
    ]
    if any(fresh for _, _, fresh in rows):
        _insert(cursor, _INSERT_BATCHES, _BATCH_TYPES, [_batch(*row) for row in rows if row[2]])
    connection.commit()
    return known


def _insert(cursor: Any, statement: str, types: Sequence[int], rows: Sequence[Sequence[bytes]]) -> int:
    """Insert rows of packed fields. Returns how many the server counts."""
    columns = zip(*rows, strict=True)
    arrays = [pack.array(element, column) for element, column in zip(types, columns, strict=True)]
    cursor.execute(statement, arrays, prepare=True)
    return int(cursor.rowcount)


def _parts(rows: Iterator[list[bytes]]) -> Iterator[list[list[bytes]]]:
    """Yield all rows by rising id, as many at a time as go into one statement."""
    part: list[list[bytes]] = []
    size = 0
    for row in sorted(rows, key=itemgetter(0)):
        length = sum(map(len, row))
        if part and size + length > _STATEMENT_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += length
    if part:
        yield part


def _stored_before(cursor: Any, group: Sequence[NewBatch], names: Sequence[str]) -> dict[str, bytes | None]:
    ids = [row.id for batch in group for row in batch.rows]
    cursor.execute(_FIND, (ids,))
    found = {str(name): (str(batch), bytes(digest)) for name, batch, digest in cursor.fetchall()}
    ours = set(names)
    known: dict[str, bytes | None] = {}
    for name in ids:
        batch, digest = found.get(name, ("", None))
        if batch not in ours:
            known[name] = digest
    return known


def _results(group: Sequence[NewBatch], names: Sequence[str], dictionary: int | None = None) -> Iterator[list[bytes]]:
    for name, batch in zip(names, group, strict=True):
        received = pack.time(batch.received_at)
        carrier = pack.text(batch.carrier)
        packed_name = pack.uuid(name)
        arrival = arrival_no(batch.received_at)
        for place, row in enumerate(batch.rows):
            line = row.line if dictionary is None else line_packing.pack(row.line, dictionary)
            yield _result(row, line, received, carrier, packed_name, arrival + place, place)


def arrival_no(when: datetime) -> int:
    """Return a number that grows with time and differs between batches; a batch has room for 5,000 after it."""
    return max(FIRST_ARRIVAL, (when - _BEGAN) // _GRAIN << 16 | secrets.randbelow(60_000))


def _result(
    row: NewResult, line: bytes, received: bytes, carrier: bytes, batch: bytes, receive_no: int, place: int
) -> list[bytes]:
    text, uuid, int8, float8, when = pack.text, pack.uuid, pack.int8, pack.float8, pack.time
    waiting = waits(row)
    metrics, at_least = row.metrics, row.at_least
    return [
        uuid(row.id),
        int8(receive_no),
        uuid(row.probe_id),
        uuid(row.stream_id),
        int8(row.seq),
        uuid(row.run_id),
        text(row.kind),
        int8(row.kind_version),
        int8(row.schema),
        text(row.tps_id),
        text(row.regency),
        text(row.site),
        text(row.operator_plmn),
        text(row.operator_name),
        text(row.outcome),
        text(row.failure_code),
        text(row.verdict_owner),
        text(row.verdict_cause),
        float8(row.lat),
        float8(row.lon),
        when(row.started_at),
        received,
        when(row.corrected_at),
        text(row.boot_id) if waiting else pack.NULL,
        float8(row.since_boot_s) if waiting else pack.NULL,
        carrier,
        pack.raw(line),
        pack.raw(row.sha256),
        batch,
        pack.int4(place),
        text(row.target),
        *[float8(metrics.get(name)) for name in METRICS],
        *[pack.flag(metric in at_least) if metric in metrics else pack.NULL for metric in LOWER_BOUNDS],
        float8(row.next_contact_s),
    ]


def _batch(name: str, batch: NewBatch, fresh: Sequence[NewResult]) -> list[bytes]:
    return [
        pack.uuid(name),
        pack.text(batch.carrier),
        pack.uuid(batch.token_id),
        pack.time(batch.received_at),
        pack.int4(len(batch.rows)),
        pack.raw(packed_ids(fresh)),
        pack.text(anchors_text(fresh)),
        pack.NULL,
        pack.flag(False),
    ]
