"""Find the rows of batches by the ids that each batch keeps, 16 bytes each, in the order of its lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, select

from sigprobe.collector.store.chunks import chunks
from sigprobe.collector.store.schema import results

_ID_BYTES: Final = 16
_CHUNK: Final = 500


def count_ids(batch: Any) -> int:
    """Return how many ids a batch keeps."""
    return len(batch.ids) // _ID_BYTES


def at_most(found: Sequence[Any], rows: int) -> list[Any]:
    """Return the first batches that have at most so many rows together; the first one in any case."""
    group: list[Any] = []
    count = 0
    for batch in found:
        count += count_ids(batch)
        if group and count > rows:
            break
        group.append(batch)
    return group


def rows_of(connection: Connection, group: Sequence[Any], *columns: ColumnElement[Any]) -> Iterator[Row[Any]]:
    """Yield the rows of these batches, in no order. `columns` includes `batch_id`.

    A batch also keeps ids that an earlier one stored: those rows are of another batch, and are left out.
    """
    names = {batch.id for batch in group}
    ids = (
        str(UUID(bytes=bytes(batch.ids[first : first + _ID_BYTES])))
        for batch in group
        for first in range(0, len(batch.ids), _ID_BYTES)
    )
    for part in chunks(ids, _CHUNK):
        for row in connection.execute(select(*columns).where(results.c.id.in_(part))):
            if row.batch_id in names:
                yield row
