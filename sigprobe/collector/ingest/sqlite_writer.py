"""Write a group of batches to SQLite. It has one writer at a time, so rows get their numbers for readers here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, update

from sigprobe.collector.ingest.batch_rows import anchors_text, packed_ids, waits
from sigprobe.collector.ingest.rows import BATCH_COLUMNS, RESULT_COLUMNS, NewBatch, NewResult
from sigprobe.collector.store.chunks import chunks
from sigprobe.collector.store.engine import write_turn
from sigprobe.collector.store.schema import LOWER_BOUNDS, METRICS, receive_order
from sigprobe.record.result import new_id

_CHUNK: Final = 500


def _insert_into(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608


_INSERT: Final = _insert_into("results", RESULT_COLUMNS)
_BATCH: Final = _insert_into("batches", BATCH_COLUMNS)


def write(engine: Engine, group: Sequence[NewBatch]) -> dict[str, bytes | None]:
    """Store what is new, in one transaction. Returns the digests of the ids that were here already."""
    with write_turn(engine), engine.execution_options(write=True).begin() as connection:
        known = _stored_before(connection, [row.id for batch in group for row in batch.rows])
        new: list[tuple[NewBatch, list[NewResult]]] = []
        for batch in group:
            fresh = [row for row in batch.rows if row.id not in known]
            if fresh:
                new.append((batch, fresh))
        if new:
            _insert(connection, new)
    return known


def _insert(connection: Connection, new: Sequence[tuple[NewBatch, list[NewResult]]]) -> None:
    count = sum(len(fresh) for _, fresh in new)
    last = connection.execute(
        update(receive_order).values(last_no=receive_order.c.last_no + count).returning(receive_order.c.last_no)
    ).scalar_one()
    number = int(last) - count
    results: list[tuple[Any, ...]] = []
    batches: list[tuple[Any, ...]] = []
    for batch, fresh in new:
        name = _hex(new_id())
        received, carrier = _time(batch.received_at), batch.carrier
        for place, row in enumerate(fresh):
            results.append(_result(row, number + place + 1, received, carrier, name, place))
        number += len(fresh)
        token = None if batch.token_id is None else _hex(batch.token_id)
        batches.append((name, carrier, token, received, len(fresh), packed_ids(fresh), anchors_text(fresh), number, 0))
    connection.exec_driver_sql(_INSERT, results)
    connection.exec_driver_sql(_BATCH, batches)


def _stored_before(connection: Connection, ids: Sequence[str]) -> dict[str, bytes | None]:
    known: dict[str, bytes | None] = {}
    names = {_hex(name): name for name in ids}
    for part in chunks(names, _CHUNK):
        marks = ", ".join("?" * len(part))
        query = f"SELECT id, sha256 FROM results WHERE id IN ({marks})"  # noqa: S608
        rows = connection.exec_driver_sql(query, tuple(part))
        known.update((names[row[0]], bytes(row[1])) for row in rows)
    return known


def _result(row: NewResult, number: int, received: str, carrier: str, batch: str, place: int) -> tuple[Any, ...]:
    waiting = waits(row)
    metrics, at_least = row.metrics, row.at_least
    return (
        _hex(row.id),
        number,
        _hex(row.probe_id),
        _hex(row.stream_id),
        row.seq,
        _hex(row.run_id),
        row.kind,
        row.kind_version,
        row.schema,
        row.tps_id,
        row.regency,
        row.site,
        row.operator_plmn,
        row.operator_name,
        row.outcome,
        row.failure_code,
        row.verdict_owner,
        row.verdict_cause,
        row.lat,
        row.lon,
        _time(row.started_at),
        received,
        None if row.corrected_at is None else _time(row.corrected_at),
        row.boot_id if waiting else None,
        row.since_boot_s if waiting else None,
        carrier,
        row.line,
        row.sha256,
        batch,
        place,
        row.target,
        *[metrics.get(name) for name in METRICS],
        *[metric in at_least if metric in metrics else None for metric in LOWER_BOUNDS],
        row.next_contact_s,
    )


def _hex(name: str) -> str:
    return name.replace("-", "")


def _time(when: datetime) -> str:
    # as `UtcTime` writes it
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
