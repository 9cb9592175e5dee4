"""Share speed tests and wrong secrets between processes.

Programs of version 4 that still run do not see these tables; until they end, each of them counts for itself.
"""

from __future__ import annotations

from datetime import UTC, datetime

from alembic import op
from sqlalchemy import DateTime, bindparam, text

from sigprobe.collector.store.migrations.column_types import column_types

revision = "0005"
down_revision = "0004"

_TABLES = (
    """CREATE{unlogged} TABLE speedtest_use (
        client VARCHAR(200) NOT NULL, process VARCHAR(32) NOT NULL, began_at {time} NOT NULL, granted BIGINT NOT NULL,
        active INTEGER NOT NULL, seen_at {time} NOT NULL, PRIMARY KEY (client, process))""",
    """CREATE{unlogged} TABLE speedtest_sessions (
        session {uuid} NOT NULL, process VARCHAR(32) NOT NULL, open BOOLEAN NOT NULL, taken_s {float} NOT NULL,
        arrivals TEXT NOT NULL, seen_at {time} NOT NULL, PRIMARY KEY (session, process))""",
    "CREATE INDEX ix_speedtest_sessions_seen_at ON speedtest_sessions (seen_at)",
    """CREATE{unlogged} TABLE wrong_tries (
        client VARCHAR(200) NOT NULL PRIMARY KEY, began_at {time} NOT NULL, wrong INTEGER NOT NULL)""",
)


def upgrade() -> None:
    """Bring version 4 to version 5."""
    connection = op.get_bind()
    kinds = column_types(connection)
    kinds["unlogged"] = " UNLOGGED" if connection.dialect.name == "postgresql" else ""
    for statement in _TABLES:
        connection.execute(text(statement.format(**kinds)))
    # a typed parameter: Python 3.12 deprecates that its own sqlite3 converts times
    connection.execute(
        text("INSERT INTO schema_version (version, title, applied_at) VALUES (5, 'shared state', :now)").bindparams(
            bindparam("now", datetime.now(UTC), DateTime(timezone=True))
        )
    )
