"""Store batches: each result once, however often it comes, and all of a group in one transaction."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Engine

from sigprobe.collector.ingest import postgresql_writer, sqlite_writer
from sigprobe.collector.ingest.rows import NewBatch, NewResult
from sigprobe.collector.store.text import sound_text
from sigprobe.protocol.batches import ACCEPTED, CONFLICT, DUPLICATE, RETRY

Statuses = Mapping[str, str]
"""The status of each id of a batch."""


def add_results(
    engine: Engine, rows: Sequence[NewResult], *, carrier: str, token_id: str | None, now: datetime
) -> Statuses:
    """Store one batch. Returns only after COMMIT."""
    return store_batches(engine, [NewBatch(rows, carrier, token_id, now)])[0]


def store_batches(engine: Engine, group: Sequence[NewBatch]) -> list[Statuses]:
    """Store what is new of each batch and say of each id `accepted`, `duplicate` or `conflict`.

    One transaction for all; returns only after COMMIT. Of an id that several batches of the group hold, the first
    batch's line counts.
    """
    first: dict[str, NewResult] = {}
    parts: list[NewBatch] = []
    for batch in group:
        fresh = [row for row in batch.rows if row.id not in first]
        first.update((row.id, row) for row in fresh)
        parts.append(NewBatch(fresh, sound_text(batch.carrier), batch.token_id, batch.received_at))
    if not first:
        return [{} for _ in group]
    write = sqlite_writer.write if engine.dialect.name == "sqlite" else postgresql_writer.write
    known = write(engine, [part for part in parts if part.rows])
    return [{row.id: _status(row, first[row.id], known) for row in batch.rows} for batch in group]


def _status(row: NewResult, first: NewResult, known: Mapping[str, bytes | None]) -> str:
    """`known`: the digests of rows that were stored before; None for one that went away meanwhile."""
    if row.id in known:
        digest = known[row.id]
        if digest is None:
            return RETRY
    elif row is first:
        return ACCEPTED
    else:
        digest = first.sha256
    return DUPLICATE if hmac.compare_digest(digest, row.sha256) else CONFLICT
