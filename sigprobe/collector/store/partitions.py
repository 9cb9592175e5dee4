"""Make the weekly partitions of `results` ahead of time (PostgreSQL).

The partition of a record follows from its id alone, which holds the time at which its device made it. So an id meets
the same partition however often it comes, and its primary key refuses the second copy for good. Ids from wrong clocks
go to the DEFAULT partition. When a week's partition is made late, rows that went there meanwhile are moved into it.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, text

WEEKS_AHEAD: Final = 5
_WEEK: Final = timedelta(weeks=1)


def week_of(when: datetime) -> datetime:
    """Return the Monday on which the week of `when` began, in UTC."""
    day = when.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def first_id(when: datetime) -> str:
    """Return the smallest UUIDv7 that a device can make at that time."""
    return str(uuid.UUID(int=int(when.timestamp() * 1000) << 80))


def name_of(week: datetime) -> str:
    """Return the name of a week's partition."""
    return f"results_{week:%Y%m%d}"


def weeks_to_make(connection: Connection, now: datetime) -> list[datetime]:
    """Return the weeks from the present one to `WEEKS_AHEAD` that have no partition yet."""
    made = set(
        connection.execute(
            text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'results'::regclass")
        ).scalars()
    )
    first_end = connection.execute(
        text(
            "SELECT substring(pg_get_expr(relpartbound, oid) FROM 'TO \\(''([0-9a-f-]+)''\\)') FROM pg_class "
            "WHERE relname = 'results_first' AND relispartition"
        )
    ).scalar()
    weeks = [week_of(now) + n * _WEEK for n in range(WEEKS_AHEAD + 1)]
    return [w for w in weeks if name_of(w) not in made and (first_end is None or first_id(w) >= str(first_end))]


def make(connection: Connection, week: datetime) -> int:
    """Make one week's partition inside the caller's transaction. Returns how many rows moved out of DEFAULT."""
    first, end = first_id(week), first_id(week + _WEEK)
    where = f"results_default WHERE id >= '{first}' AND id < '{end}'"
    moved = connection.execute(text(f"SELECT count(*) FROM {where}")).scalar_one()  # noqa: S608 - our own text
    if moved:
        for statement in (
            "LOCK TABLE results_default IN ACCESS EXCLUSIVE MODE",
            f"CREATE TEMPORARY TABLE moving ON COMMIT DROP AS SELECT * FROM {where}",  # noqa: S608
            f"DELETE FROM {where}",  # noqa: S608
        ):
            connection.execute(text(statement))
    connection.execute(
        text(f"CREATE TABLE {name_of(week)} PARTITION OF results FOR VALUES FROM ('{first}') TO ('{end}')")
    )
    if moved:
        connection.execute(text("INSERT INTO results SELECT * FROM moving"))
    return int(moved)
