"""Read incidents, their changes and announced maintenance, for pages, programs and receivers of alerts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, and_, func, insert, or_, select, update

from sigprobe.collector.incidents.schema import changes, incidents, maintenance

MOST_OPEN: Final = 500


@dataclass(frozen=True, slots=True)
class Work:
    """Maintenance announced in advance: where, of whom, from when to when, and who said why."""

    id: str
    plmn: str | None
    area: str
    target: str | None
    begins_at: datetime
    ends_at: datetime
    person: str
    reason: str
    announced_at: datetime
    ended_at: datetime | None

    def covers(self, incident: StoredIncident) -> bool:
        """Return whether an incident lies within it: announced before it was found, and of no wider unit."""
        last = self.ends_at if self.ended_at is None else min(self.ends_at, self.ended_at)
        return (
            self.plmn in (None, incident.plmn)
            and incident.area.startswith(self.area)
            and self.target in (None, incident.target)
            and self.begins_at <= incident.since < last
            and self.announced_at <= incident.found_at
            and (incident.ended_at or datetime.now(UTC)) <= last
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One step in the life of an incident."""

    number: int
    at: datetime
    what: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredIncident:
    """An incident as it is now. `work` is the maintenance that silences it."""

    id: str
    aspect: str
    kind: str
    plmn: str | None
    area: str
    target: str | None
    since: datetime
    found_at: datetime
    ended_at: datetime | None
    confidence: float
    silent: bool
    late: bool
    stations: int
    failing: int
    evidence: Mapping[str, Any]
    last_change: int
    changed_at: datetime
    work: Work | None = None


def list_incidents(
    engine: Engine,
    *,
    state: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[StoredIncident]:
    """Return incidents, found last first, after a place in that order. `state` is `open`, `ended` or None for all."""
    query = select(incidents).order_by(incidents.c.found_at.desc(), incidents.c.id.desc()).limit(limit)
    if state == "open":
        query = query.where(incidents.c.ended_at.is_(None))
    elif state == "ended":
        query = query.where(incidents.c.ended_at.is_not(None))
    if before is not None:
        when, name = before
        query = query.where(or_(incidents.c.found_at < when, and_(incidents.c.found_at == when, incidents.c.id < name)))
    with engine.connect() as connection:
        return read(connection, connection.execute(query).all())


def find_incident(engine: Engine, name: str) -> StoredIncident | None:
    """Return the incident with this id, or None; a text that is no id names none."""
    key = _key(name)
    if key is None:
        return None
    with engine.connect() as connection:
        rows = connection.execute(select(incidents).where(incidents.c.id == key)).all()
        return next(iter(read(connection, rows)), None)


def list_changes(engine: Engine, name: str) -> list[Change]:
    """Return all changes of an incident, oldest first."""
    query = select(changes).where(changes.c.incident_id == name).order_by(changes.c.number)
    with engine.connect() as connection:
        return [Change(row.number, row.at, row.what, json.loads(row.body)) for row in connection.execute(query)]


def count_open(engine: Engine) -> dict[tuple[str, str, bool], int]:
    """Return how many incidents are open, by aspect, kind and whether they are silent."""
    query = (
        select(incidents.c.aspect, incidents.c.kind, incidents.c.silent, func.count())
        .where(incidents.c.ended_at.is_(None))
        .group_by(incidents.c.aspect, incidents.c.kind, incidents.c.silent)
    )
    with engine.connect() as connection:
        return {(row[0], row[1], bool(row[2])): int(row[3]) for row in connection.execute(query)}


def read(connection: Connection, rows: Sequence[Row[Any]]) -> list[StoredIncident]:
    """Return the incidents of rows, in their order, each with the maintenance that covers it."""
    if not rows:
        return []
    first = min(row.since for row in rows)
    works = [
        Work(**row._asdict())
        for row in connection.execute(
            select(maintenance).where(maintenance.c.ends_at > first).order_by(maintenance.c.begins_at)
        )
    ]
    found = []
    for row in rows:
        values = {column.name: getattr(row, column.name) for column in incidents.columns}
        plain = StoredIncident(**{**values, "evidence": json.loads(row.evidence)})
        work = next((work for work in works if work.covers(plain)), None)
        found.append(replace(plain, work=work))
    return found


def announce(engine: Engine, work: Work) -> None:
    """Store maintenance."""
    with engine.execution_options(write=True).begin() as connection:
        values = {name: getattr(work, name) for name in Work.__slots__}
        connection.execute(insert(maintenance).values(**values))


def list_maintenance(engine: Engine, *, since: datetime) -> list[Work]:
    """Return announced maintenance, by its begin, without what ended before `since`."""
    query = select(maintenance).where(maintenance.c.ends_at >= since)
    query = query.order_by(maintenance.c.begins_at, maintenance.c.id)
    with engine.connect() as connection:
        return [Work(**row._asdict()) for row in connection.execute(query)]


def end_maintenance(engine: Engine, name: str, now: datetime) -> bool:
    """End maintenance early. Returns False where there is none of this id that still runs."""
    key = _key(name)
    if key is None:
        return False
    table = maintenance
    with engine.execution_options(write=True).begin() as connection:
        done = connection.execute(
            update(table)
            .where(table.c.id == key, table.c.ended_at.is_(None), table.c.ends_at > now)
            .values(ended_at=now)
        )
        return done.rowcount == 1


def _key(name: str) -> str | None:
    """Return an id as it is stored; None for a text that is none."""
    try:
        return str(uuid.UUID(name))
    except ValueError:
        return None
