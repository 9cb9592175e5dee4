"""Read stored lines in the order of readers, without gaps.

On SQLite each row has its number. On PostgreSQL the worker numbers whole batches (`worker/publishing.py`); rows from
before batches were kept have their own numbers, and both sorts share one sequence of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection, Engine, Select, select

from sigprobe.collector.store.batch_rows import rows_of
from sigprobe.collector.store.schema import FIRST_ARRIVAL, batches, results
from sigprobe.collector.store.text import sound_text


@dataclass(frozen=True, slots=True)
class Line:
    """A stored line with its number and its record's id."""

    number: int
    id: str
    line: bytes


def snapshot(engine: Engine) -> Connection:
    """Return a connection whose statements all see one state of the database."""
    level = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    return engine.connect().execution_options(**level)


def read_lines(connection: Connection, *, after: int, limit: int, tps_id: str | None = None) -> list[Line]:
    """Return at most `limit` lines after number `after`. Several statements: give it a `snapshot`."""
    place = None if tps_id is None else sound_text(tps_id)
    query = numbered_query(after, limit, place)
    found = [Line(row.receive_no, row.id, bytes(row.line)) for row in connection.execute(query)]
    if connection.dialect.name == "sqlite":
        return found
    if place is not None:
        rows = connection.execute(place_query(after, limit, place))
        found += [Line(row.number, row.id, bytes(row.line)) for row in rows]
    else:
        found += islice(_of_batches(connection, after), limit)
    return sorted(found, key=lambda line: line.number)[:limit]


def id_at(connection: Connection, number: int) -> str | None:
    """Return the id of the record with this number; None where there is none."""
    if number >= FIRST_ARRIVAL:
        return None
    name = connection.execute(select(results.c.id).where(results.c.receive_no == number)).scalar()
    if name is not None or connection.dialect.name == "sqlite":
        return None if name is None else str(name)
    line = next(_of_batches(connection, number - 1), None)
    return line.id if line is not None and line.number == number else None


def numbered_query(after: int, limit: int, tps_id: str | None) -> Select[tuple[int, str, bytes]]:
    """Return the query for rows that have their own number."""
    query = (
        select(results.c.receive_no, results.c.id, results.c.line)
        .where(results.c.receive_no > after, results.c.receive_no < FIRST_ARRIVAL)
        .order_by(results.c.receive_no)
        .limit(limit)
    )
    return query if tps_id is None else query.where(results.c.tps_id == tps_id)


def place_query(after: int, limit: int, tps_id: str) -> Select[tuple[int, str, bytes]]:
    """Return the query for the rows of one TPS in published batches."""
    number = (batches.c.published_no - batches.c.n + 1 + results.c.place).label("number")
    return (
        select(number, results.c.id, results.c.line)
        .select_from(results.join(batches, batches.c.id == results.c.batch_id))
        .where(results.c.tps_id == tps_id, batches.c.published_no > after, number > after)
        .order_by(number)
        .limit(limit)
    )


def _of_batches(connection: Connection, after: int) -> Iterator[Line]:
    """Yield the lines of published batches after a number, a group of batches at a time."""
    while True:
        group = connection.execute(
            select(batches.c.id, batches.c.published_no, batches.c.n, batches.c.ids)
            .where(batches.c.published_no > after)
            .order_by(batches.c.published_no)
            .limit(64)
        ).all()
        if not group:
            return
        first = {row.id: row.published_no - row.n + 1 for row in group}
        columns = (results.c.id, results.c.batch_id, results.c.place, results.c.line)
        lines = [
            Line(first[row.batch_id] + row.place, row.id, bytes(row.line))
            for row in rows_of(connection, group, *columns)
        ]
        lines.sort(key=lambda line: line.number)
        yield from (line for line in lines if line.number > after)
        after = group[-1].published_no
