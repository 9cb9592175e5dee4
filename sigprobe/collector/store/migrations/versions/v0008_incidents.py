"""Keep incidents with their changes, deliveries and announced maintenance; note when a device makes contact next.

Only tables and nullable columns are added: programs of version 7 that still run go on working.
"""

from __future__ import annotations

from datetime import UTC, datetime

from alembic import op
from sqlalchemy import DateTime, bindparam, text

from sigprobe.collector.store.migrations.column_types import column_types

revision = "0008"
down_revision = "0007"

_STATEMENTS = (
    "ALTER TABLE results ADD COLUMN next_contact_s {float}",
    "ALTER TABLE worker_jobs ADD COLUMN position BIGINT",
    "ALTER TABLE worker_jobs ADD COLUMN epoch VARCHAR(16)",
    """CREATE TABLE incidents (
        id {uuid} NOT NULL PRIMARY KEY, aspect VARCHAR(8) NOT NULL, kind VARCHAR(16) NOT NULL, plmn VARCHAR(64),
        area VARCHAR(13) NOT NULL, target VARCHAR(64), since {time} NOT NULL, found_at {time} NOT NULL, ended_at {time},
        confidence {float} NOT NULL, silent BOOLEAN NOT NULL, late BOOLEAN NOT NULL, stations INTEGER NOT NULL,
        failing INTEGER NOT NULL, evidence TEXT NOT NULL, last_change INTEGER NOT NULL, changed_at {time} NOT NULL)""",
    "CREATE INDEX incidents_found ON incidents (found_at, id)",
    "CREATE INDEX incidents_open ON incidents (since) WHERE ended_at IS NULL",
    "CREATE INDEX incidents_ended ON incidents (ended_at)",
    """CREATE TABLE incident_changes (
        incident_id {uuid} NOT NULL, number INTEGER NOT NULL, at {time} NOT NULL, what VARCHAR(16) NOT NULL,
        body TEXT NOT NULL, PRIMARY KEY (incident_id, number))""",
    """CREATE TABLE incident_deliveries (
        incident_id {uuid} NOT NULL, receiver VARCHAR(64) NOT NULL, change_no INTEGER NOT NULL, delivered_at {time},
        tries INTEGER NOT NULL, next_try_at {time} NOT NULL, fault VARCHAR(200),
        PRIMARY KEY (incident_id, receiver))""",
    """CREATE TABLE maintenance (
        id {uuid} NOT NULL PRIMARY KEY, plmn VARCHAR(64), area VARCHAR(13) NOT NULL, target VARCHAR(64),
        begins_at {time} NOT NULL, ends_at {time} NOT NULL, person VARCHAR(200) NOT NULL, reason VARCHAR(200) NOT NULL,
        announced_at {time} NOT NULL, ended_at {time})""",
    "CREATE INDEX maintenance_ends ON maintenance (ends_at)",
)


def upgrade() -> None:
    """Bring version 7 to version 8."""
    connection = op.get_bind()
    kinds = column_types(connection)
    for statement in _STATEMENTS:
        connection.execute(text(statement.format(**kinds)))
    now = bindparam("now", datetime.now(UTC), DateTime(timezone=True))
    connection.execute(
        text("INSERT INTO schema_version (version, title, applied_at) VALUES (8, 'incidents', :now)").bindparams(now)
    )
