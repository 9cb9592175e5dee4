"""Results: put in once for good, read back in the order they were received."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, Select, func, or_, select, update

from sigprobe.collector.store import corrections
from sigprobe.collector.store.rows import Filters, NewResult, StoredResult, Tally, sound_text
from sigprobe.collector.store.schema import receive_order, results, tallies, tokens, upsert
from sigprobe.protocol.batches import ACCEPTED, CONFLICT, DUPLICATE
from sigprobe.record.result import RUN_KIND

_TOKEN_USE_GRAIN: Final = timedelta(hours=1)
_CHUNK: Final = 500


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
        if token_id is not None:
            _note_use(connection, token_id, now)
    return {row.id: _status(row, inserted, stored) for row in rows}


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


def _chunks(items: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(items)
    while part := list(islice(rest, _CHUNK)):
        yield part


def _count(connection: Connection, rows: Sequence[NewResult], now: datetime) -> None:
    counted: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        if row.kind == RUN_KIND:
            continue
        place = row.tps_id or row.site
        operator = row.operator_name or row.operator_plmn
        if place:
            counted["place", place, row.outcome] += 1
        if operator:
            counted["operator", operator, row.outcome] += 1
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


def page_lines(
    engine: Engine, *, after: int = 0, limit: int = 100, tps_id: str | None = None
) -> list[tuple[int, bytes]]:
    """At most `limit` (receive number, stored line) pairs received after number `after`, oldest first."""
    query = (
        select(results.c.receive_no, results.c.line)
        .where(results.c.receive_no > after)
        .order_by(results.c.receive_no)
        .limit(limit)
    )
    if tps_id is not None:
        query = query.where(results.c.tps_id == sound_text(tps_id))
    with engine.connect() as connection:
        return [(row.receive_no, bytes(row.line)) for row in connection.execute(query)]


_SHOWN: Final = tuple(results.c[item.name] for item in fields(StoredResult))


def list_newest(engine: Engine, filters: Filters, *, before: int | None = None, limit: int = 50) -> list[StoredResult]:
    """At most `limit` records received before number `before`, newest first."""
    query = select(*_SHOWN).order_by(results.c.receive_no.desc()).limit(limit)
    if before is not None:
        query = query.where(results.c.receive_no < before)
    with engine.connect() as connection:
        return [_stored(row) for row in connection.execute(_filtered(query, filters))]


def _filtered(query: Select[Any], filters: Filters) -> Select[Any]:
    if filters.tps_id is not None:
        wanted = sound_text(filters.tps_id)
        query = query.where(or_(results.c.tps_id == wanted, results.c.site == wanted))
    if filters.operator is not None:
        wanted = sound_text(filters.operator)
        query = query.where(or_(results.c.operator_plmn == wanted, results.c.operator_name == wanted))
    if filters.outcome is not None:
        query = query.where(results.c.outcome == sound_text(filters.outcome))
    return query


def find_result(engine: Engine, name: str) -> StoredResult | None:
    """The record with this id (a UUID as text), or None."""
    with engine.connect() as connection:
        row = connection.execute(select(*_SHOWN).where(results.c.id == name)).first()
    return None if row is None else _stored(row)


def _stored(row: Row[Any]) -> StoredResult:
    return StoredResult(**{**row._asdict(), "line": bytes(row.line)})


def read_tallies(engine: Engine, scope: str, *, limit: int = 20) -> list[Tally]:
    """The `limit` subjects of scope `place` or `operator` heard of last, with their counts by outcome."""
    last = func.max(tallies.c.last_received_at).label("last")
    newest = (
        select(tallies.c.subject, last)
        .where(tallies.c.scope == scope)
        .group_by(tallies.c.subject)
        .order_by(last.desc(), tallies.c.subject)
        .limit(limit)
        .subquery()
    )
    query = (
        select(tallies.c.subject, tallies.c.outcome, tallies.c.count, tallies.c.last_received_at)
        .join(newest, newest.c.subject == tallies.c.subject)
        .where(tallies.c.scope == scope)
        .order_by(newest.c.last.desc(), tallies.c.subject)
    )
    found: dict[str, tuple[dict[str, int], datetime]] = {}
    with engine.connect() as connection:
        for row in connection.execute(query):
            counts, seen = found.get(row.subject, ({}, row.last_received_at))
            counts[row.outcome] = row.count
            found[row.subject] = (counts, max(seen, row.last_received_at))
    return [Tally(subject, counts, seen) for subject, (counts, seen) in found.items()]


def last_number(engine: Engine) -> int:
    """The highest receive number given out; also the cheapest way to see that the database answers."""
    with engine.connect() as connection:
        return int(connection.execute(select(receive_order.c.last_no)).scalar_one())
