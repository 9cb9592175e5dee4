"""The tables of incidents: the present state, every change, deliveries, and announced maintenance."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, Uuid

from sigprobe.collector.store.schema import MAX_TEXT, MAX_WORD, UtcTime

metadata: Final = MetaData()

incidents: Final = Table(
    "incidents",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("aspect", String(8), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("plmn", String(MAX_WORD)),
    Column("area", String(13), nullable=False),
    Column("target", String(MAX_WORD)),
    Column("since", UtcTime, nullable=False),
    Column("found_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("confidence", Float, nullable=False),
    Column("silent", Boolean, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("stations", Integer, nullable=False),
    Column("failing", Integer, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("last_change", Integer, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Index("incidents_found", "found_at", "id"),
    Index("incidents_ended", "ended_at"),
)
"""One row an incident, as it is now. `area` is empty for the nation, `plmn` NULL for every operator.

`evidence` is JSON: the parts that fail and work, the other operators, the timeline, ids of results.
`last_change` is the number of its newest row in `incident_changes`.
"""
Index(
    "incidents_open",
    incidents.c.since,
    sqlite_where=incidents.c.ended_at.is_(None),
    postgresql_where=incidents.c.ended_at.is_(None),
)

changes: Final = Table(
    "incident_changes",
    metadata,
    Column("incident_id", Uuid(as_uuid=False), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("what", String(16), nullable=False),
    Column("body", Text, nullable=False),
)
"""Only ever added to: `found`, `changed`, `ended`, `reopened`; `body` is JSON of what is new."""

deliveries: Final = Table(
    "incident_deliveries",
    metadata,
    Column("incident_id", Uuid(as_uuid=False), primary_key=True),
    Column("receiver", String(MAX_WORD), primary_key=True),
    Column("change_no", Integer, nullable=False),
    Column("delivered_at", UtcTime),
    Column("tries", Integer, nullable=False),
    Column("next_try_at", UtcTime, nullable=False),
    Column("fault", String(MAX_TEXT)),
)
"""What a receiver of alerts was told last: the change's number, and when to try again. `receiver` is a digest."""

maintenance: Final = Table(
    "maintenance",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("plmn", String(MAX_WORD)),
    Column("area", String(13), nullable=False),
    Column("target", String(MAX_WORD)),
    Column("begins_at", UtcTime, nullable=False),
    Column("ends_at", UtcTime, nullable=False),
    Column("person", String(MAX_TEXT), nullable=False),
    Column("reason", String(MAX_TEXT), nullable=False),
    Column("announced_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Index("maintenance_ends", "ends_at"),
)
"""Work announced in advance, by whom and why. Incidents within it are found and shown, but nobody is alerted."""
