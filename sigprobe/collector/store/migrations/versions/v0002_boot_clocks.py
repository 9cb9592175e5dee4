"""Add the clocks of boots, and correct the rows that are stored already."""

from __future__ import annotations

from alembic import op

from sigprobe.collector.store.migrations.boot_clocks_of_version_2 import add_boot_clocks
from sigprobe.collector.store.migrations.column_types import column_types

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Bring version 1 to version 2."""
    connection = op.get_bind()
    add_boot_clocks(connection, column_types(connection))
