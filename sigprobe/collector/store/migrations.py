"""How a database gets to the present schema: numbered steps, only ever appended to, never edited.

A step describes its tables by itself instead of using `schema.py`, because that file moves on and a step must not.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DatabaseError

from sigprobe.collector.store.migration_002_boot_clocks import add_boot_clocks
from sigprobe.collector.store.schema import schema_version

_MIGRATION_LOCK: Final = 0x51670001
"""Key of the PostgreSQL advisory lock under which one process migrates while others wait."""


class NewerSchemaError(Exception):
    """The database was written by a newer collector."""


def _types(connection: Connection) -> dict[str, str]:
    if connection.dialect.name == "sqlite":
        return {"uuid": "CHAR(32)", "time": "DATETIME", "blob": "BLOB", "float": "FLOAT"}
    return {"uuid": "UUID", "time": "TIMESTAMP WITH TIME ZONE", "blob": "BYTEA", "float": "DOUBLE PRECISION"}


def _first_tables(connection: Connection) -> None:
    kinds = _types(connection)
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


def _boot_clocks(connection: Connection) -> None:
    add_boot_clocks(connection, _types(connection))


MIGRATIONS: Final[tuple[tuple[str, Callable[[Connection], None]], ...]] = (
    ("results, tokens, tallies, sessions", _first_tables),
    ("clocks of boots, and the times they correct", _boot_clocks),
)


def migrate(engine: Engine) -> None:
    """Bring the database to the present schema in one transaction, or leave it as it was.

    Raises NewerSchemaError when it holds a version this program does not know.
    """
    if _is_current(engine):
        return
    with engine.execution_options(write=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        if not inspect(connection).has_table("schema_version"):
            schema_version.create(connection)
        applied = _applied(connection)
        for number, (title, step) in enumerate(MIGRATIONS, start=1):
            if number > applied:
                step(connection)
                connection.execute(
                    schema_version.insert().values(version=number, title=title, applied_at=datetime.now(UTC))
                )


def _is_current(engine: Engine) -> bool:
    """Look without a write lock first, so that a start never waits for a busy collector."""
    with engine.connect() as connection:
        try:
            if not inspect(connection).has_table("schema_version"):
                return False
        except DatabaseError:  # no database or no way to it: the attempt to migrate says which, and why
            return False
        return _applied(connection) == len(MIGRATIONS)


def _applied(connection: Connection) -> int:
    version = connection.execute(text("SELECT max(version) FROM schema_version")).scalar() or 0
    if version > len(MIGRATIONS):
        raise NewerSchemaError(f"version {version}, this program knows {len(MIGRATIONS)}")
    return int(version)
