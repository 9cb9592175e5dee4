"""Keep the dictionaries with which lines are compressed.

A new database begins with one. In a database that programs of earlier versions may still read, lines stay as they are
until `collector database compact` is run.
"""

from __future__ import annotations

from datetime import UTC, datetime

from alembic import op
from sqlalchemy import BigInteger, DateTime, LargeBinary, bindparam, text

from sigprobe.collector.store import line_packing
from sigprobe.collector.store.migrations.column_types import column_types

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Bring version 5 to version 6."""
    connection = op.get_bind()
    kinds = column_types(connection)
    connection.execute(
        text(
            "CREATE TABLE line_dictionaries "
            "(number BIGINT NOT NULL PRIMARY KEY, content {blob} NOT NULL, since {time} NOT NULL)".format(**kinds)
        )
    )
    now = datetime.now(UTC)
    if connection.dialect.name == "postgresql" and not _was_in_use():
        number, content = line_packing.shipped("2026-11")
        connection.execute(
            text("INSERT INTO line_dictionaries (number, content, since) VALUES (:number, :content, :now)").bindparams(
                bindparam("number", number, BigInteger()),
                bindparam("content", content, LargeBinary()),
                bindparam("now", now, DateTime(timezone=True)),
            )
        )
    # a typed parameter: Python 3.12 deprecates that its own sqlite3 converts times
    connection.execute(
        text("INSERT INTO schema_version (version, title, applied_at) VALUES (6, 'compressed lines', :now)").bindparams(
            bindparam("now", now, DateTime(timezone=True))
        )
    )


def _was_in_use() -> bool:
    """Return whether a program of an earlier version may have this database open: without a token none is of use."""
    connection = op.get_bind()
    return any(
        connection.execute(text(f"SELECT 1 FROM {table} LIMIT 1")).first() is not None  # noqa: S608 - our own names
        for table in ("tokens", "results")
    )
