"""Index what pages ask for, and add the row that readiness writes."""

from __future__ import annotations

from datetime import UTC, datetime

from alembic import op
from sqlalchemy import DateTime, bindparam, text

from sigprobe.collector.store.migrations.column_types import column_types

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Bring version 2 to version 3."""
    connection = op.get_bind()
    kinds = column_types(connection)
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    for statement in (
        "CREATE INDEX results_site ON results (site, receive_no) WHERE site IS NOT NULL",
        "CREATE INDEX results_plmn_outcome ON results (operator_plmn, outcome, receive_no)",
        "CREATE INDEX results_operator_outcome ON results (operator_name, outcome, receive_no)",
        "CREATE INDEX tallies_newest ON tallies (scope, last_received_at)",
        "CREATE TABLE readiness (one INTEGER NOT NULL PRIMARY KEY, beat_at {time})",
        "INSERT INTO readiness (one, beat_at) VALUES (1, NULL)",
    ):
        connection.execute(text(statement.format(**kinds)))
    # programs of before this version look only here, and refuse a database that is newer than they are
    # a typed parameter: Python 3.12 deprecates that its own sqlite3 converts times
    now = bindparam("now", datetime.now(UTC), DateTime(timezone=True))
    connection.execute(
        text("INSERT INTO schema_version (version, title, applied_at) VALUES (3, 'reading indexes', :now)").bindparams(
            now
        )
    )
