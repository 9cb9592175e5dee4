"""Count the rollups anew from the stored rows, and report every difference.

The whole count reads all rows once. A sample reads the rows of some stations (TPS and sites) by their index and
compares what the rollups hold about those stations; it takes seconds on a database of any size.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, func, or_, select, tuple_

from sigprobe.collector.rollups import queries as rollups
from sigprobe.collector.rollups import retention
from sigprobe.collector.rollups.schema import members
from sigprobe.collector.rollups.sums import MemberKey, Sums
from sigprobe.collector.store.chunks import chunks
from sigprobe.collector.store.schema import SUMMED_ALONE, batches, results, tallies
from sigprobe.collector.worker import summing
from sigprobe.collector.worker.contributions import COLUMNS, contribution

_PAGE: Final = 2_000
_KEYS: Final = 200
_EXAMPLES: Final = 20


@dataclass(slots=True)
class Recount:
    """Rows counted, entries of the rollups compared, and how many of them differ, with a few examples."""

    rows: int = 0
    entries: int = 0
    different: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, what: object, stored: int, counted: int) -> None:
        """Note one entry that was compared."""
        self.entries += 1
        if stored != counted:
            self.different += 1
            if len(self.examples) < _EXAMPLES:
                self.examples.append(f"{what}: stored {stored}, counted {counted}")


def check_whole(engine: Engine, progress: Callable[[int], None] = lambda _rows: None) -> Recount:
    """Compare all entries with a fresh count of all rows that are part of the rollups. Raises SQLAlchemyError."""
    found = Recount()
    counted = Sums()
    with _snapshot(engine) as connection:
        for row in _summed_rows(connection):
            counted.add(contribution(row))
            found.rows += 1
            if found.rows % _PAGE == 0:
                progress(found.rows)
        stored = rollups.read_sums(connection)
        gone = _gone(connection)
    for name in ("counts", "bins", "bounds", "members", "failed"):
        there, fresh = getattr(stored, name), getattr(counted, name)
        for key in there.keys() | fresh.keys():
            if retention.is_gone(gone, key.key):
                continue
            found.note(key, there[key], fresh[key])
    return found


def check_sample(engine: Engine, stations: int, *, seed: int | None = None) -> Recount:
    """Compare the entries of so many stations, drawn at random, with a fresh count of their rows."""
    found = Recount()
    rng = random.Random(seed)  # noqa: S311 - a sample, no secret
    with _snapshot(engine) as connection:
        names = list(
            connection.execute(select(tallies.c.subject).where(tallies.c.scope == "place").distinct()).scalars()
        )
        for name in rng.sample(names, min(stations, len(names))):
            counted = Sums()
            for row in connection.execute(_of_station(name)):
                counted.add(contribution(row))
                found.rows += 1
            stored = _members(connection, list(counted.members))
            gone = _gone(connection)
            for key, n in counted.members.items():
                if retention.is_gone(gone, key.key):
                    continue
                there = stored.get(key, (0, 0))
                found.note(key, there[0], n)
                found.note((*key, "failed"), there[1], counted.failed[key])
    return found


def _gone(connection: Connection) -> dict[int, int]:
    """Return for each width the time before which its sums have been dropped: there is nothing to compare."""
    return {kept.width_s: kept.dropped_before_s for kept in retention.read(connection)}


def _snapshot(engine: Engine) -> Connection:
    level = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    connection = engine.connect().execution_options(**level)
    if engine.dialect.name != "sqlite":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    return connection


_SUMMED: Final = or_(batches.c.summed, results.c.batch_id == SUMMED_ALONE)


def _summed_rows(connection: Connection) -> Iterator[Row[Any]]:
    query = select(*COLUMNS).select_from(results.outerjoin(batches, batches.c.id == results.c.batch_id)).where(_SUMMED)
    last: str | None = None
    while True:
        page = query if last is None else query.where(results.c.id > last)
        rows = connection.execute(page.order_by(results.c.id).limit(_PAGE)).all()
        yield from rows
        if len(rows) < _PAGE:
            return
        last = rows[-1].id


def _of_station(name: str) -> Any:
    # a site counts only where a record names no TPS
    return (
        select(*COLUMNS)
        .select_from(results.outerjoin(batches, batches.c.id == results.c.batch_id))
        .where(_SUMMED, or_(results.c.tps_id == name, results.c.tps_id.is_(None) & (results.c.site == name)))
    )


def _members(connection: Connection, keys: list[MemberKey]) -> dict[MemberKey, tuple[int, int]]:
    columns = list(members.primary_key.columns)
    found: dict[MemberKey, tuple[int, int]] = {}
    for part in chunks(keys, _KEYS):
        flat = [(*key.key, key.station, key.probe) for key in part]
        by_flat = dict(zip(flat, part, strict=True))
        for row in connection.execute(select(members).where(tuple_(*columns).in_(flat))):
            values = row._mapping
            key = tuple(values[column] for column in columns)
            found[by_flat[key]] = (row.n, row.n_failed)
    return found


def count(engine: Engine) -> int:
    """Return how many results are stored."""
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(results)).scalar_one())


def behind(engine: Engine) -> int:
    """Return how many batches are not part of the rollups yet: they are in no comparison."""
    with engine.connect() as connection:
        return summing.unsummed(connection)
