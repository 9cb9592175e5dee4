"""Create the first tables."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Connection, text

from sigprobe.collector.store.migrations.column_types import column_types

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create tables and indexes of version 1."""
    _first_tables(op.get_bind())


def _first_tables(connection: Connection) -> None:
    kinds = column_types(connection)
    for statement in (
        """CREATE TABLE results (
            id {uuid} NOT NULL PRIMARY KEY, receive_no BIGINT NOT NULL,
            probe_id {uuid} NOT NULL, stream_id {uuid} NOT NULL, seq BIGINT NOT NULL, run_id {uuid} NOT NULL,
            kind VARCHAR(200) NOT NULL, kind_version BIGINT, schema BIGINT,
            tps_id VARCHAR(200), regency VARCHAR(4), site VARCHAR(200),
            operator_plmn VARCHAR(200), operator_name VARCHAR(200),
            outcome VARCHAR(200) NOT NULL, failure_code VARCHAR(200),
            verdict_owner VARCHAR(200), verdict_cause VARCHAR(200),
            lat {float}, lon {float},
            started_at {time} NOT NULL, received_at {time} NOT NULL, corrected_at {time},
            carrier VARCHAR(200) NOT NULL, line {blob} NOT NULL, sha256 {blob} NOT NULL)""",
        "CREATE INDEX results_receive_no ON results (receive_no)",
        "CREATE INDEX results_tps ON results (tps_id, receive_no)",
        "CREATE INDEX results_outcome ON results (outcome, receive_no)",
        "CREATE INDEX results_plmn ON results (operator_plmn, receive_no)",
        "CREATE INDEX results_operator ON results (operator_name, receive_no)",
        "CREATE INDEX results_order ON results (probe_id, stream_id, seq)",
        "CREATE TABLE receive_order (one INTEGER NOT NULL PRIMARY KEY, last_no BIGINT NOT NULL)",
        "INSERT INTO receive_order (one, last_no) VALUES (1, 0)",
        """CREATE TABLE tallies (
            scope VARCHAR(16) NOT NULL, subject VARCHAR(200) NOT NULL, outcome VARCHAR(200) NOT NULL,
            count BIGINT NOT NULL, last_received_at {time} NOT NULL, PRIMARY KEY (scope, subject, outcome))""",
        """CREATE TABLE tokens (
            id {uuid} NOT NULL PRIMARY KEY, name VARCHAR(64) NOT NULL, role VARCHAR(16) NOT NULL,
            hash VARCHAR(64) NOT NULL UNIQUE, created_at {time} NOT NULL, revoked_at {time}, last_used_at {time})""",
        "CREATE UNIQUE INDEX tokens_active_name ON tokens (name) WHERE revoked_at IS NULL",
        """CREATE TABLE sessions (
            hash VARCHAR(64) NOT NULL PRIMARY KEY, use VARCHAR(16) NOT NULL, token_id {uuid},
            expires_at {time} NOT NULL)""",
    ):
        connection.execute(text(statement.format(**kinds)))
