"""Keep five-minute sums for seven days.

Programs of version 6 that still run may add sums before that time again; the worker of this version drops those, too.
"""

from __future__ import annotations

from datetime import UTC, datetime

from alembic import op
from sqlalchemy import DateTime, bindparam, text

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Bring version 6 to version 7."""
    connection = op.get_bind()
    for statement in (
        """CREATE TABLE rollup_retention (
            width_s INTEGER NOT NULL PRIMARY KEY, keep_s BIGINT NOT NULL, dropped_before_s BIGINT NOT NULL)""",
        "INSERT INTO rollup_retention (width_s, keep_s, dropped_before_s) VALUES (300, 604800, 0)",
    ):
        connection.execute(text(statement))
    # a typed parameter: Python 3.12 deprecates that its own sqlite3 converts times
    connection.execute(
        text("INSERT INTO schema_version (version, title, applied_at) VALUES (7, 'retention', :now)").bindparams(
            bindparam("now", datetime.now(UTC), DateTime(timezone=True))
        )
    )
