"""Name the column types of each engine."""

from __future__ import annotations

from sqlalchemy import Connection


def column_types(connection: Connection) -> dict[str, str]:
    """Return the engine's own name for each type that a step uses."""
    if connection.dialect.name == "sqlite":
        return {"uuid": "CHAR(32)", "time": "DATETIME", "blob": "BLOB", "float": "FLOAT"}
    return {"uuid": "UUID", "time": "TIMESTAMP WITH TIME ZONE", "blob": "BYTEA", "float": "DOUBLE PRECISION"}
