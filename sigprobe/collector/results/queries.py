"""Read stored results in the order of receipt, and the counts beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Engine, Row, Select, select, text, union

from sigprobe.collector.store.schema import results, tallies
from sigprobe.collector.store.text import sound_text


@dataclass(frozen=True, slots=True)
class StoredResult:
    """Stored record with the values that pages show, and its line."""

    id: str
    receive_no: int
    probe_id: str
    kind: str
    tps_id: str | None
    site: str | None
    operator_plmn: str | None
    operator_name: str | None
    outcome: str
    failure_code: str | None
    verdict_owner: str | None
    verdict_cause: str | None
    lat: float | None
    lon: float | None
    started_at: datetime
    received_at: datetime
    corrected_at: datetime | None
    stream_id: str
    seq: int
    carrier: str
    line: bytes


@dataclass(frozen=True, slots=True)
class Tally:
    """Checks of one TPS or one operator, without run records: counts by outcome, and the last time."""

    subject: str
    counts: Mapping[str, int]
    last_received_at: datetime


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters of a reader; None means all. `operator` is a PLMN or a name."""

    tps_id: str | None = None
    operator: str | None = None
    outcome: str | None = None


_SHOWN: Final = tuple(results.c[item.name] for item in fields(StoredResult))


def list_newest(engine: Engine, filters: Filters, *, before: int | None = None, limit: int = 50) -> list[StoredResult]:
    """Return at most `limit` records received before number `before`, newest first."""
    query = newest_query(filters, before, limit)
    with engine.connect() as connection:
        return [_stored(row) for row in connection.execute(query)]


def newest_query(filters: Filters, before: int | None, limit: int) -> Select[Any]:
    """Return the query behind `list_newest`: one branch for each column that a filter may mean.

    An OR over two columns can use the index of neither in order; a branch each can, and reads `limit` rows at most.
    """
    branches = [
        _branch(place, operator, filters, before, limit)
        for place in _meanings(filters.tps_id, "tps_id", "site")
        for operator in _meanings(filters.operator, "operator_plmn", "operator_name")
    ]
    if len(branches) == 1:
        return branches[0]
    # UNION, not UNION ALL: a row may match in both columns
    numbers = union(
        *(branch.with_only_columns(results.c.receive_no, results.c.id).subquery().select() for branch in branches)
    )
    chosen = numbers.order_by(text("receive_no DESC")).limit(limit).subquery()
    return select(*_SHOWN).join(chosen, chosen.c.id == results.c.id).order_by(results.c.receive_no.desc())


def _meanings(wanted: str | None, *columns: str) -> tuple[str | None, ...]:
    return (None,) if wanted is None else columns


def _branch(place: str | None, operator: str | None, filters: Filters, before: int | None, limit: int) -> Select[Any]:
    query = select(*_SHOWN).order_by(results.c.receive_no.desc()).limit(limit)
    if before is not None:
        query = query.where(results.c.receive_no < before)
    for column, wanted in ((place, filters.tps_id), (operator, filters.operator)):
        if column is not None and wanted is not None:
            query = query.where(results.c[column] == sound_text(wanted))
    if filters.outcome is not None:
        query = query.where(results.c.outcome == sound_text(filters.outcome))
    return query


def has_double(engine: Engine, stored: StoredResult) -> bool:
    """Return whether another record has the same probe, stream and number."""
    query = (
        select(results.c.id)
        .where(
            results.c.probe_id == stored.probe_id,
            results.c.stream_id == stored.stream_id,
            results.c.seq == stored.seq,
        )
        .limit(2)
    )
    with engine.connect() as connection:
        return len(connection.execute(query).all()) > 1


def find_result(engine: Engine, name: str) -> StoredResult | None:
    """Return the record with this id (a UUID as text), or None."""
    with engine.connect() as connection:
        row = connection.execute(select(*_SHOWN).where(results.c.id == name)).first()
    return None if row is None else _stored(row)


def _stored(row: Row[Any]) -> StoredResult:
    return StoredResult(**{**row._asdict(), "line": bytes(row.line)})


def read_tallies(engine: Engine, scope: str, *, limit: int = 20) -> list[Tally]:
    """Return the `limit` subjects of scope `place` or `operator` heard of last, with their counts by outcome."""
    with engine.connect() as connection:
        rows = connection.execute(newest_tallies(scope, limit)).all()
        subjects = list(dict.fromkeys(row.subject for row in rows))[:limit]
        if not subjects:
            return []
        counts: dict[str, dict[str, int]] = {subject: {} for subject in subjects}
        seen: dict[str, datetime] = {}
        for row in connection.execute(counts_query(scope, subjects)):
            counts[row.subject][row.outcome] = int(row[2])
            seen[row.subject] = max(seen.get(row.subject, row.last_received_at), row.last_received_at)
    return [Tally(subject, counts[subject], seen[subject]) for subject in subjects]


_MOST_OUTCOMES: Final = 8
"""Rows a subject has in the tallies: the known outcomes, and one for all others. Older databases may hold more."""


def newest_tallies(scope: str, limit: int) -> Select[Any]:
    """Return the rows written last; `limit` subjects are among them, since each has few rows."""
    return (
        select(tallies.c.subject)
        .where(tallies.c.scope == scope)
        .order_by(tallies.c.last_received_at.desc())
        .limit(limit * _MOST_OUTCOMES)
    )


def counts_query(scope: str, subjects: Sequence[str]) -> Select[Any]:
    """Return the counts of these subjects."""
    return (
        select(tallies.c.subject, tallies.c.outcome, tallies.c.count, tallies.c.last_received_at)
        .where(tallies.c.scope == scope, tallies.c.subject.in_(subjects))
        .limit(len(subjects) * 10 * _MOST_OUTCOMES)
    )
