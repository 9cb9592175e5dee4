"""Give readers their order: number the batches that writers have committed, one after the other (PostgreSQL).

Writers commit in no common order, so a number taken by a writer could surface after a higher one, and a reader who
pages by number would miss it. Only the leading worker gives numbers, and only to what is committed. On SQLite the one
writer gives them itself.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select, text, update

from sigprobe.collector.store import epochs
from sigprobe.collector.store.schema import batches, receive_order

MOST: Final = 5_000
"""Batches that one transaction numbers."""


def publish_all(connection: Connection) -> None:
    """Number everything that is committed so far."""
    while publish(connection) >= MOST:
        pass


def publish(connection: Connection) -> int:
    """Number what waits, in a transaction of its own. Returns how many batches got a number."""
    if connection.dialect.name == "sqlite":
        return 0
    with connection.begin():
        # on a promoted or restored copy first: its numbers belong to another history
        epochs.check_within(connection)
        if not connection.execute(select(batches.c.id).where(batches.c.published_no.is_(None)).limit(1)).first():
            return 0
        # the leader is alone anyway; this lock keeps the numbers right even if it were not
        last = int(connection.execute(select(receive_order.c.last_no).with_for_update()).scalar_one())
        waiting = connection.execute(
            select(batches.c.id, batches.c.n)
            .where(batches.c.published_no.is_(None))
            .order_by(batches.c.received_at, batches.c.id)
            .limit(MOST)
        ).all()
        number = last
        numbers = []
        for row in waiting:
            number += row.n
            numbers.append(number)
        connection.execute(update(receive_order).values(last_no=number))
        connection.execute(
            text(
                "UPDATE batches SET published_no = given.number FROM "
                "(SELECT unnest(CAST(:ids AS uuid[])) AS id, unnest(CAST(:numbers AS bigint[])) AS number) AS given "
                "WHERE batches.id = given.id"
            ),
            {"ids": [row.id for row in waiting], "numbers": numbers},
        )
    return len(waiting)
