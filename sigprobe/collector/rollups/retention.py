"""Drop five-minute sums after a time. Hourly sums, and the results themselves, stay.

`dropped_before_s` only grows. Sums of buckets before it are neither added nor taken out any more: a late result, a
correction or an erasure changes the hourly sums alone there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, extract, func, select, update

from sigprobe.collector.rollups.schema import bins, counts, members, retention
from sigprobe.collector.rollups.sums import Key

LEAST_S: Final = 86_400
"""Five-minute sums are what is shown of today: they are kept for a day at least."""

_TABLES: Final = (counts, bins, members)


@dataclass(frozen=True, slots=True)
class Kept:
    """How long sums of a width are kept, and before which time they have been dropped."""

    width_s: int
    keep_s: int
    dropped_before_s: int


def read(connection: Connection) -> list[Kept]:
    """Return what is kept for a time only."""
    return [Kept(*row) for row in connection.execute(select(retention).order_by(retention.c.width_s))]


def horizons(connection: Connection) -> Mapping[int, int]:
    """Return for each width the time before which its sums are gone; until COMMIT nothing more is dropped."""
    query = select(retention.c.width_s, retention.c.dropped_before_s).with_for_update(read=True)
    return {row.width_s: row.dropped_before_s for row in connection.execute(query)}


def is_gone(gone: Mapping[int, int], key: Key) -> bool:
    """Return whether a bucket has been dropped; `gone` is what `horizons` returns."""
    return key.start_s < gone.get(key.width_s, 0)


def keep(connection: Connection, width_s: int, keep_s: int) -> None:
    """Keep sums of this width for so long from now on. What has been dropped does not come back."""
    connection.execute(update(retention).where(retention.c.width_s == width_s).values(keep_s=max(LEAST_S, keep_s)))


def due(connection: Connection, kept: Kept) -> int:
    """Return the time before which sums may go now, by the database's clock."""
    clock = func.strftime("%s", "now") if connection.dialect.name == "sqlite" else extract("epoch", func.now())
    now_s = int(connection.execute(select(clock)).scalar_one())
    first_s = now_s - kept.keep_s
    return max(kept.dropped_before_s, first_s - first_s % kept.width_s)


def count_due(connection: Connection) -> int:
    """Return how many rows would be dropped now."""
    total = 0
    for kept in read(connection):
        before_s = due(connection, kept)
        for table in _TABLES:
            query = select(func.count()).where(table.c.width_s == kept.width_s, table.c.start_s < before_s)
            total += int(connection.execute(query).scalar_one())
    return total


def drop_step(connection: Connection) -> bool:
    """Drop the oldest bucket that is due, in a transaction of its own; True when there may be more."""
    with connection.begin():
        for kept in read(connection):
            before_s = due(connection, kept)
            # first this, under its lock: nothing is added behind us
            connection.execute(
                update(retention)
                .where(retention.c.width_s == kept.width_s, retention.c.dropped_before_s < before_s)
                .values(dropped_before_s=before_s)
            )
            oldest = [
                connection.execute(select(func.min(table.c.start_s)).where(table.c.width_s == kept.width_s)).scalar()
                for table in _TABLES
            ]
            start_s = min((int(found) for found in oldest if found is not None), default=before_s)
            if start_s < before_s:
                for table in _TABLES:
                    connection.execute(delete(table).where(table.c.width_s == kept.width_s, table.c.start_s == start_s))
                return True
    return False
