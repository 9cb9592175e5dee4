"""Store each result once, in the order of receipt."""

from __future__ import annotations

import hmac
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, func, or_, select, update

from sigprobe.collector.ingest import corrections
from sigprobe.collector.ingest.rows import NewResult
from sigprobe.collector.store.schema import receive_order, results, tallies, tokens, upsert
from sigprobe.collector.store.text import sound_text
from sigprobe.protocol.batches import ACCEPTED, CONFLICT, DUPLICATE
from sigprobe.record.result import RUN_KIND, Outcome

_TOKEN_USE_GRAIN: Final = timedelta(hours=1)
_CHUNK: Final = 500
_OUTCOMES: Final = frozenset(item.value for item in Outcome)
OTHER_OUTCOME: Final = "other"
"""What invented outcomes count as, so that no sender can add rows to the tallies without end."""


log = logging.getLogger(__name__)
_T = TypeVar("_T")

_COLUMNS: Final = tuple(item.name for item in fields(NewResult) if item.name in results.c)


def add_results(
    engine: Engine, rows: Sequence[NewResult], *, carrier: str, token_id: str | None, now: datetime
) -> dict[str, str]:
    """Store what is new and say of each id `accepted`, `duplicate` or `conflict`. Returns only after COMMIT.

    The ids in `rows` are distinct. The first thing done is to take receive numbers from the one row of
    `receive_order`: its lock is held until COMMIT, so writers commit in the order of their numbers, and a reader
    who has seen number n can never later find a smaller one that it missed. A sequence would not promise that.
    Rows get their corrected times as `corrections.py` tells, some of earlier batches too.
    """
    if not rows:
        return {}
    with engine.execution_options(write=True).begin() as connection:
        last = connection.execute(
            update(receive_order).values(last_no=receive_order.c.last_no + len(rows)).returning(receive_order.c.last_no)
        ).scalar_one()
        first = last - len(rows) + 1
        sender = sound_text(carrier)
        anchors, better = corrections.learn(connection, rows, sender, first)
        inserted = _insert(
            connection,
            [
                {**_values(row, anchors), "receive_no": first + place, "received_at": now, "carrier": sender}
                for place, row in enumerate(rows)
            ],
        )
        corrections.catch_up(connection, sender, better)
        stored = _stored_digests(connection, [row.id for row in rows if row.id not in inserted])
        _count(connection, [row for row in rows if row.id in inserted], now)
        doubled = _doubled(connection, [row for row in rows if row.id in inserted])
        if token_id is not None:
            _note_use(connection, token_id, now)
    for probe_id, stream_id, seq in doubled:
        log.warning(
            "two devices share one probe id",
            extra={"probe": probe_id, "stream": stream_id, "seq": seq, "token": carrier},
        )
    return {row.id: _status(row, inserted, stored) for row in rows}


def _doubled(connection: Connection, rows: Sequence[NewResult]) -> list[tuple[str, str, int]]:
    """The first place of each stream in `rows` that another stored record has too: a copied disk image does that."""
    places: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        places.setdefault((row.probe_id, row.stream_id), []).append(row.seq)
    found = []
    for (probe_id, stream_id), numbers in places.items():
        for part in _chunks(numbers):
            doubled = connection.execute(
                select(results.c.seq)
                .where(results.c.probe_id == probe_id, results.c.stream_id == stream_id, results.c.seq.in_(part))
                .group_by(results.c.seq)
                .having(func.count() > 1)
                .limit(1)
            ).scalar()
            if doubled is not None:
                found.append((probe_id, stream_id, int(doubled)))
                break
    return found


def _status(row: NewResult, inserted: frozenset[str], stored: Mapping[str, bytes]) -> str:
    if row.id in inserted:
        return ACCEPTED
    return DUPLICATE if hmac.compare_digest(stored[row.id], row.sha256) else CONFLICT


def catch_up(engine: Engine) -> bool:
    """Go on correcting rows whose anchor came after them, a bounded number of them; True when more is left."""
    with engine.execution_options(write=True).begin() as connection:
        # the lock that every writer takes first
        connection.execute(update(receive_order).values(last_no=receive_order.c.last_no))
        return corrections.catch_up(connection)


def _values(row: NewResult, anchors: corrections.Anchors) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in _COLUMNS}
    values["corrected_at"] = corrections.corrected_at(row, anchors)
    if row.corrected_at is not None or row.boot_id is None or row.since_boot_s is None:
        values["boot_id"] = values["since_boot_s"] = None  # no anchor is to correct it
    return values


def _insert(connection: Connection, values: list[dict[str, Any]]) -> frozenset[str]:
    statement = upsert(connection, results).on_conflict_do_nothing(index_elements=["id"])
    found = connection.execute(statement.returning(results.c.id), values)
    return frozenset(str(name) for name in found.scalars())


def _stored_digests(connection: Connection, ids: Sequence[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in _chunks(ids):
        rows = connection.execute(select(results.c.id, results.c.sha256).where(results.c.id.in_(part)))
        found.update((row.id, bytes(row.sha256)) for row in rows)
    return found


def _chunks(items: Sequence[_T]) -> Iterator[list[_T]]:
    rest = iter(items)
    while part := list(islice(rest, _CHUNK)):
        yield part


def _count(connection: Connection, rows: Sequence[NewResult], now: datetime) -> None:
    counted: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        if row.kind == RUN_KIND:
            continue
        outcome = row.outcome if row.outcome in _OUTCOMES else OTHER_OUTCOME
        place = row.tps_id or row.site
        operator = row.operator_name or row.operator_plmn
        if place:
            counted["place", place, outcome] += 1
        if operator:
            counted["operator", operator, outcome] += 1
    if not counted:
        return
    statement = upsert(connection, tallies)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["scope", "subject", "outcome"],
            set_={
                "count": tallies.c.count + statement.excluded.count,
                "last_received_at": statement.excluded.last_received_at,
            },
        ),
        [
            {"scope": scope, "subject": subject, "outcome": outcome, "count": n, "last_received_at": now}
            for (scope, subject, outcome), n in sorted(counted.items())
        ],
    )


def _note_use(connection: Connection, token_id: str, now: datetime) -> None:
    connection.execute(
        update(tokens)
        .where(tokens.c.id == token_id)
        .where(or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at < now - _TOKEN_USE_GRAIN))
        .values(last_used_at=now)
    )
