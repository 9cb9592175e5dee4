"""Delete what is kept for a time only."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, delete, func

from sigprobe.collector.store.shared_state import speedtest_sessions, speedtest_use, wrong_tries

_KEPT: Final = (
    (speedtest_use, speedtest_use.c.began_at, timedelta(days=1)),
    (speedtest_sessions, speedtest_sessions.c.seen_at, timedelta(minutes=10)),
    (wrong_tries, wrong_tries.c.began_at, timedelta(hours=1)),
)
"""Tables that processes share, the time that counts, and how long a row is of use."""


def forget_shared_state(connection: Connection) -> bool:
    """Delete shared state that no process needs any more (PostgreSQL)."""
    with connection.begin():
        for table, column, age in _KEPT:
            connection.execute(delete(table).where(column < func.now() - age))
    return False
