"""Compress the lines of a PostgreSQL database that was begun by an earlier version, in small steps.

From the first step on, writers compress what is new; each step then goes through a page of what is here. A line that is
compressed already is left out, so an interrupted run is simply begun again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    LargeBinary,
    bindparam,
    func,
    insert,
    select,
    text,
    type_coerce,
    update,
)

from sigprobe.collector.store import line_packing
from sigprobe.collector.store.schema import line_dictionaries, results

_PAGE: Final = 500


class NotCompressibleError(Exception):
    """Raised for SQLite, whose lines stay as they are."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """Lines that were compressed now, and their bytes before and after."""

    lines: int
    before: int
    after: int


def left(engine: Engine) -> int:
    """Return how many lines are stored as they came."""
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        return int(connection.scalar(select(func.count()).select_from(results).where(_plain())) or 0)


def compact(engine: Engine, progress: Callable[[int], None] = lambda _done: None) -> Compacted:
    """Compress from now on, and what is here. Raises NotCompressibleError."""
    if engine.dialect.name != "postgresql":
        raise NotCompressibleError
    with engine.begin() as connection:
        number = _begin(connection)
    lines = before = after = 0
    last: str | None = None
    while True:
        with engine.begin() as connection:
            # a repeat passes over all that is done before it finds a page
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            raw = type_coerce(results.c.line, LargeBinary).label("raw")
            query = select(results.c.id, raw).where(_plain()).order_by(results.c.id).limit(_PAGE)
            rows = connection.execute(query if last is None else query.where(results.c.id > last)).all()
            if not rows:
                return Compacted(lines, before, after)
            last = rows[-1].id
            lines_now = [(row.id, bytes(row.raw)) for row in rows]
            packed = [(name, line, line_packing.pack(line, number)) for name, line in lines_now]
            shorter = [(name, line, frame) for name, line, frame in packed if frame is not line]
            if shorter:
                connection.execute(
                    update(results)
                    .where(results.c.id == bindparam("row"))
                    .values(line=bindparam("frame", type_=LargeBinary)),
                    [{"row": name, "frame": frame} for name, _line, frame in shorter],
                )
        lines += len(shorter)
        before += sum(len(line) for _, line, _ in shorter)
        after += sum(len(frame) for _, _, frame in shorter)
        progress(lines)


def _plain() -> ColumnElement[bool]:
    first: ColumnElement[int] = func.get_byte(type_coerce(results.c.line, LargeBinary), 0)
    # no line of a probe begins with the first byte of a compressed one
    return first != line_packing.MAGIC[0]


def _begin(connection: Connection) -> int:
    found = line_packing.learn(connection)
    if found is not None:
        return found
    number, content = line_packing.shipped()
    connection.execute(insert(line_dictionaries).values(number=number, content=content, since=datetime.now(UTC)))
    return number
