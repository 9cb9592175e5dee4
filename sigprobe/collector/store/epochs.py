"""Notice that this database is a restored or promoted copy, whose numbers may be given out a second time.

Readers page by number. A copy that lacks the newest records would give their numbers to others, and a reader would skip
those without a word. So each copy has an epoch of its own, which is part of every cursor: `results/cursors.py`.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, select, text
from sqlalchemy.exc import DBAPIError

from sigprobe.collector.store.schema import epochs, receive_order, upsert


def current(connection: Connection) -> str | None:
    """Return the newest epoch; None before the first."""
    return connection.execute(select(epochs.c.epoch).order_by(epochs.c.number.desc()).limit(1)).scalar()


def check(engine: Engine) -> None:
    """Begin a new epoch when the database is not the copy that it was."""
    with engine.connect() as connection:
        if _is_standby(connection) or _known(connection) == fingerprint(connection):
            return
    with engine.execution_options(write=True).begin() as connection:
        check_within(connection)


def check_within(connection: Connection) -> None:
    """Begin a new epoch within the caller's transaction, if one is due."""
    mark = fingerprint(connection)
    if _known(connection) != mark:
        _begin(connection, mark)


def begin(engine: Engine) -> None:
    """Begin a new epoch in any case: a restore that leaves no trace in the database calls this."""
    with engine.execution_options(write=True).begin() as connection:
        _begin(connection, fingerprint(connection))


def begin_if_known(engine: Engine) -> None:
    """Begin a new epoch where the schema has them; migrating an older one begins the first."""
    if inspect(engine).has_table(epochs.name):
        begin(engine)


def fingerprint(connection: Connection) -> str:
    """Return what tells this copy from others: the file's inode, or cluster, timeline and database of PostgreSQL.

    A promoted standby and a restore to a point in time have a timeline of their own.
    """
    if connection.dialect.name == "sqlite":
        path = next(row[2] for row in connection.exec_driver_sql("PRAGMA database_list") if row[1] == "main")
        found = Path(path).stat()
        return f"file {found.st_dev}:{found.st_ino}"
    database = connection.execute(text("SELECT oid FROM pg_database WHERE datname = current_database()")).scalar()
    try:
        with connection.begin_nested():
            system, timeline = connection.execute(
                text(
                    "SELECT (SELECT system_identifier FROM pg_control_system()), "
                    "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
                )
            ).one()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        system, timeline = "unknown", ""  # a managed server may keep these functions to itself
    return f"postgresql {system}:{timeline}:{database}"


def _is_standby(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql" and bool(
        connection.execute(text("SELECT pg_is_in_recovery()")).scalar()
    )


def _known(connection: Connection) -> str | None:
    return connection.execute(select(epochs.c.fingerprint).order_by(epochs.c.number.desc()).limit(1)).scalar()


def _begin(connection: Connection, mark: str) -> None:
    number = connection.execute(select(epochs.c.number).order_by(epochs.c.number.desc()).limit(1)).scalar() or 0
    last = connection.execute(select(receive_order.c.last_no)).scalar_one()
    statement = upsert(connection, epochs)
    # two processes that start at once find the same: one row is enough
    connection.execute(
        statement.on_conflict_do_nothing(index_elements=["number"]),
        [
            {
                "number": number + 1,
                "epoch": secrets.token_hex(4),
                "fingerprint": mark,
                "first_no": last,
                "began_at": datetime.now(UTC),
            }
        ],
    )
