"""Store incidents as the worker does, without any results: for pages, programs and receivers of alerts."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from sigprobe.collector.incidents import records
from sigprobe.collector.incidents.detector import Incident, Moment

SINCE = datetime(2029, 2, 14, 3, 0, tzinfo=UTC).timestamp()


def an_incident(number: int = 1, **changes: Any) -> Incident:
    """Return an incident of one operator in one regency; `changes` are fields of it."""
    fields: dict[str, Any] = {
        "kind": "operator",
        "plmn": "51010",
        "area": "3273",
        "target": None,
        "since": SINCE,
        "found_at": SINCE + 600 + number,
        "confidence": 0.97,
        "stations": 12,
        "failing": 9,
        "tokens": 9,
        "probes": 9,
        "parts_failing": ("327301", "327302"),
        "parts_working": (),
        "others": {"51001": -8.0},
        "id": str(uuid.UUID(int=(0x6F1C2C576C3C5D0A9B57 << 48) + number)),
    }
    return Incident(**(fields | changes))


def save(engine: Engine, incident: Incident, *, now: float | None = None, refs: tuple[str, ...] = ()) -> str | None:
    """Store it as it is now; returns which change was added."""
    moments = [
        Moment(int(SINCE) - 300, 10, 1, 0.4, 8, 0),
        Moment(int(SINCE), 12, 9, 0.5, 9, 0, list(refs)),
        Moment(int(SINCE) + 300, 12, 8, 0.5, 9, 1),
    ]
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        return records.save(connection, "works", incident, moments, incident.found_at if now is None else now)
