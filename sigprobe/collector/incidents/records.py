"""Write incidents and their changes to the database, and read back those that a worker takes over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from sqlalchemy import Connection, insert, select, union_all

from sigprobe.collector.incidents import schema
from sigprobe.collector.incidents.attribution import Kind
from sigprobe.collector.incidents.detector import Incident, Moment
from sigprobe.collector.incidents.series import EVERY_OPERATOR
from sigprobe.collector.incidents.votes import bin_of
from sigprobe.collector.store.schema import MAX_WORD, upsert

FOUND: Final = "found"
CHANGED: Final = "changed"
ENDED: Final = "ended"
REOPENED: Final = "reopened"
WEIGHTY: Final = ("kind", "plmn", "area", "target", "since", "ended_at", "silent", "late")
"""The fields of an incident whose change is a change of the incident."""
_GROWS_BY: Final = 1.25
_SAMPLE: Final = 20
_MOMENTS: Final = 288


def save(connection: Connection, aspect: str, incident: Incident, moments: Sequence[Moment], now: float) -> str | None:
    """Store an incident as it is now. Returns what kind of change was added; None where nothing of weight is new."""
    at = _time(now)
    values = _values(aspect, incident, moments)
    table = schema.incidents
    before = connection.execute(select(table).where(table.c.id == incident.id)).first()
    what = FOUND if before is None else _change(before, values)
    number = 0 if before is None else int(before.last_change)
    if what is not None:
        number += 1
        told = {name: _plain(value) for name, value in values.items() if name != "evidence"}
        if before is not None:
            told = {name: value for name, value in told.items() if value != _plain(getattr(before, name))}
        body = json.dumps(told, sort_keys=True)
        connection.execute(
            insert(schema.changes).values(incident_id=incident.id, number=number, at=at, what=what, body=body)
        )
    whole = {**values, "last_change": number}
    if before is None or what is not None:
        whole["changed_at"] = at
    statement = upsert(connection, table).values(id=incident.id, **{"changed_at": at, **whole})
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=whole))
    return what


def load(connection: Connection, since: float) -> dict[str, list[Incident]]:
    """Return by aspect the incidents that are open, or ended after a time."""
    table = schema.incidents
    found: dict[str, list[Incident]] = {}
    # each half has an index of its own, which SQLite would leave for one that sorts
    halves = (table.c.ended_at.is_(None), table.c.ended_at >= _time(since))
    query = union_all(*(select(table).where(half) for half in halves))
    for row in sorted(connection.execute(query), key=lambda row: (row.found_at, row.id)):
        evidence = json.loads(row.evidence)
        ended = None if row.ended_at is None else row.ended_at.timestamp()
        incident = Incident(
            cast(Kind, row.kind),
            row.plmn,
            row.area,
            row.target,
            row.since.timestamp(),
            row.found_at.timestamp(),
            ended,
            row.confidence,
            silent=row.silent,
            late=row.late,
            stations=row.stations,
            failing=row.failing,
            tokens=evidence["tokens"],
            probes=evidence["probes"],
            parts_failing=tuple(evidence["parts_failing"]),
            parts_working=tuple(evidence["parts_working"]),
            others=evidence["others"],
            last_bin=bin_of(row.changed_at.timestamp() if ended is None else ended - 1),
            id=row.id,
        )
        found.setdefault(row.aspect, []).append(incident)
    return found


def _values(aspect: str, incident: Incident, moments: Sequence[Moment]) -> dict[str, Any]:
    results = [ref for moment in moments for ref in moment.refs]
    step = max(1, len(results) // _SAMPLE)
    evidence = {
        "others": {
            name: round(value, 2)
            for name, value in sorted(incident.others.items())
            if name not in (incident.plmn, EVERY_OPERATOR)
        },
        "parts_failing": list(incident.parts_failing),
        "parts_working": list(incident.parts_working),
        "tokens": incident.tokens,
        "probes": incident.probes,
        # spread over the whole incident
        "results": results[::step][:_SAMPLE],
        "timeline": [
            [m.at, m.stations, m.failing, round(m.usual, 2), m.others, m.others_failing] for m in moments[-_MOMENTS:]
        ],
    }
    return {
        "aspect": aspect,
        "kind": incident.kind,
        "plmn": None if incident.plmn is None else incident.plmn[:MAX_WORD],
        "area": incident.area,
        "target": None if incident.target is None else incident.target[:MAX_WORD],
        "since": _time(incident.since),
        "found_at": _time(incident.found_at),
        "ended_at": None if incident.ended_at is None else _time(incident.ended_at),
        "confidence": round(incident.confidence, 4),
        "silent": incident.silent,
        "late": incident.late,
        "stations": incident.stations,
        "failing": incident.failing,
        "evidence": json.dumps(evidence, separators=(",", ":")),
    }


def _change(before: Any, values: dict[str, Any]) -> str | None:
    if before.ended_at is None and values["ended_at"] is not None:
        return ENDED
    if before.ended_at is not None and values["ended_at"] is None:
        return REOPENED
    if any(getattr(before, name) != values[name] for name in WEIGHTY):
        return CHANGED
    return CHANGED if values["failing"] > _GROWS_BY * max(4, before.failing) else None


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
