"""Write sums to the rollup tables, and read them back for a page.

Writing adds to what is there inside the caller's transaction. Rows that reach zero are removed, so the tables after a
correction or an erasure are equal to a fresh count of what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, func, select

from sigprobe.collector.rollups import retention
from sigprobe.collector.rollups.histogram import Bin
from sigprobe.collector.rollups.schema import bins, counts, members
from sigprobe.collector.rollups.sums import Key, Sums
from sigprobe.collector.store.chunks import chunks
from sigprobe.collector.store.schema import upsert

_CHUNK: Final = 1_000


def apply(connection: Connection, sums: Sums) -> None:
    """Add `sums` to the tables, but for buckets that were dropped.

    Rows are written in key order, so two writers never wait for each other in a circle.
    """
    if not sums:
        return
    gone = retention.horizons(connection)

    def stays(key: Key) -> bool:
        return not retention.is_gone(gone, key)

    _upsert(
        connection,
        counts,
        ("n",),
        ((*key.key, key.what, key.value, n) for key, n in sums.counts.items() if n and stays(key.key)),
    )
    _upsert(
        connection,
        bins,
        ("n", "n_at_least"),
        (
            (*key.key, key.metric, key.bin, sums.bins[key], sums.bounds[key])
            for key in sums.bins.keys() | sums.bounds.keys()
            if (sums.bins[key] or sums.bounds[key]) and stays(key.key)
        ),
    )
    _upsert(
        connection,
        members,
        ("n", "n_failed"),
        (
            (*key.key, key.station, key.probe, sums.members[key], sums.failed[key])
            for key in sums.members.keys() | sums.failed.keys()
            if (sums.members[key] or sums.failed[key]) and stays(key.key)
        ),
    )


def _upsert(connection: Connection, table: Table, added: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    names = [column.name for column in table.columns]
    values = [dict(zip(names, row, strict=True)) for row in sorted(rows)]
    if not values:
        return
    statement = upsert(connection, table)
    key = [column.name for column in table.primary_key]
    for part in chunks(values, _CHUNK):
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=key, set_={name: table.c[name] + statement.excluded[name] for name in added}
            ),
            part,
        )
    if any(value[name] < 0 for value in values for name in added):
        starts = sorted({(value["width_s"], value["start_s"]) for value in values})
        for width, start in starts:
            connection.execute(delete(table).where(table.c.width_s == width, table.c.start_s == start, table.c.n == 0))


def read_sums(connection: Connection) -> Sums:
    """Everything in the tables as one sum; for `collector check` and for tests of exactness."""
    from sigprobe.collector.rollups.sums import BinKey, CountKey, MemberKey

    sums = Sums()
    for row in connection.execute(select(counts)):
        sums.counts[CountKey(Key(*row[:7]), row.what, row.value)] = row.n
    for row in connection.execute(select(bins)):
        sums.bins[BinKey(Key(*row[:7]), row.metric, row.bin)] = row.n
        sums.bounds[BinKey(Key(*row[:7]), row.metric, row.bin)] = row.n_at_least
    for row in connection.execute(select(members)):
        sums.members[MemberKey(Key(*row[:7]), row.station, row.probe)] = row.n
        sums.failed[MemberKey(Key(*row[:7]), row.station, row.probe)] = row.n_failed
    return sums


def histogram(
    connection: Connection, metric: str, width_s: int, first_s: int, before_s: int, *, regency: str | None = None
) -> list[Bin]:
    """Return the histogram of a metric over the buckets that start in [`first_s`, `before_s`)."""
    query = (
        select(bins.c.bin, func.sum(bins.c.n).label("n"), func.sum(bins.c.n_at_least).label("bound"))
        .where(bins.c.width_s == width_s, bins.c.start_s >= first_s, bins.c.start_s < before_s, bins.c.metric == metric)
        .group_by(bins.c.bin)
    )
    if regency is not None:
        query = query.where(bins.c.regency == regency)
    return [Bin(row.bin, int(row.n), int(row.bound)) for row in connection.execute(query)]
