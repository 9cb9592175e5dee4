"""Choose one leading worker, and fence off the one before it.

Several workers may run; one leads. On PostgreSQL the leader holds a session advisory lock, and does all its writes on
the connection that holds it: when the server drops that connection, the lock and every unfinished write go together,
so two leaders can never both commit. A leader that hangs (a stopped process, a vanished host) keeps its connection
open; the beat it leaves in `worker_leader` grows old, and the next worker ends that connection and takes the lock.

On SQLite there is one machine and one file: the lock is a file lock beside the database, which the operating system
gives up when its process ends.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, delete, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from sigprobe.collector.worker.schema import leader as table

ADVISORY_KEY: Final = 0x51670002
STALE_S: Final = 8.0
"""A beat older than this belongs to a leader that hangs. Workers look every second, so takeover stays below 10 s."""


class LostError(Exception):
    """Raised when this worker no longer leads; its uncommitted changes are rolled back."""


class Leadership:
    """The lead of the workers on one database. Call `try_to_lead` until it is true, then `beat` before each job."""

    def __init__(self, engine: Engine, name: str | None = None) -> None:
        self._engine = engine
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._connection: Connection | None = None
        self._file: FileLock | None = None

    @property
    def leads(self) -> bool:
        """Return whether this worker led when it last looked."""
        return self._connection is not None

    def try_to_lead(self) -> bool:
        """Take the lead if it is free or its holder hangs. Never waits for another worker."""
        if self._connection is not None:
            return True
        if self._engine.dialect.name == "sqlite":
            return self._lock_file()
        connection = self._engine.connect()
        try:
            taken = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_KEY}))
            connection.commit()
            if not taken:
                self._end_hanging(connection)
                connection.close()
                return False
        except SQLAlchemyError:
            connection.invalidate()
            connection.close()
            raise
        self._connection = connection
        self.beat()
        return True

    def connection(self) -> Connection:
        """Return the connection for every write of a leader. Raises LostError when this worker does not lead."""
        if self._connection is None:
            raise LostError
        return self._connection

    def beat(self) -> None:
        """Say in the database that the leader is alive, by the database's clock. Raises LostError when it is not."""
        connection = self.connection()
        try:
            with connection.begin():
                pid = None
                if connection.dialect.name == "postgresql":
                    pid = connection.scalar(select(func.pg_backend_pid()))
                connection.execute(delete(table))
                connection.execute(insert(table).values(one=1, name=self.name, backend=pid, beat_at=func.now()))
        except SQLAlchemyError as error:
            self.give_up()
            raise LostError(str(error)) from error

    def give_up(self) -> None:
        """Let another worker lead. The connection is thrown away, not returned to the pool with its lock."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.invalidate()
            with suppress(SQLAlchemyError):
                connection.close()
        if self._file is not None:
            self._file.release()
            self._file = None

    def _lock_file(self) -> bool:
        path = Path(str(self._engine.url.database))
        lock = FileLock(path.with_name(path.name + ".worker.lock"), timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            return False
        self._file = lock
        self._connection = self._engine.connect().execution_options(write=True)
        self.beat()
        return True

    def _end_hanging(self, connection: Connection) -> None:
        """End the connection of a leader whose beat is too old; its lock is free a moment later."""
        held = connection.execute(
            select(table.c.backend, (func.now() - table.c.beat_at > timedelta(seconds=STALE_S)).label("old"))
        ).first()
        connection.commit()
        if held is not None and held.old and held.backend is not None:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid = :pid "
                    "AND objid = :key AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                ),
                {"pid": held.backend, "key": ADVISORY_KEY},
            )
            connection.commit()
