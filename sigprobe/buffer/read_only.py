"""Open the queue for reading alone, where the disk is full or the file system is read-only."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import quote

import apsw

from sigprobe.buffer import identity, schema
from sigprobe.buffer.durability import JournalMode
from sigprobe.buffer.errors import StorageError, translate
from sigprobe.buffer.queue_file import _T, QueueFile, Work

# the second way needs no file beside the database; it does not see what is only in the -wal
_WAYS: Final = ("mode=ro", "mode=ro&immutable=1")


class ReadOnlyFile(QueueFile):
    """The queue's file as it is on disk. Nothing is created, repaired or locked; every write raises StorageError."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self.configured_path = self.path = Path(os.path.realpath(path))
        self.directory = self.configured_path.parent
        self.journal = JournalMode("wal", "FULL", "read-only")
        self.generation = 0
        self.set_aside_now = self.identity_renewed = self.reserved = False
        self.salvaged = 0
        self.boot_id = identity.boot_id()
        self.incomplete = False
        """True when the newest records may be missing: they are in a file that cannot be read without writing."""
        self._now = now
        try:
            self.probe_id = (self.directory / "probe-id").read_text(encoding="ascii", errors="replace").strip()
            self._db = self._connected()
        except (apsw.Error, OSError) as error:
            raise translate(error, self.directory) from error

    def _connected(self) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        failed: apsw.Error | None = None
        for way in _WAYS:
            db = apsw.Connection(f"file:{quote(str(self.path))}?{way}", flags=flags)
            try:
                schema.look(db)
                self.stream_id = schema.read_stream(db)
                db.execute("SELECT count(*) FROM fate").get  # noqa: B018 - the read is the test
            except apsw.Error as error:
                db.close()
                failed = failed or error
                continue
            self.incomplete = way != _WAYS[0] and self._has_wal()
            return db
        assert failed is not None
        raise failed

    def _has_wal(self) -> bool:
        with suppress(OSError):
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size > 0
        return False

    def _run(self, work: Work[_T], *, writing: bool) -> _T:
        if writing or self._db is None:
            self._refuse()
        try:
            return work(self._db)
        except apsw.Error as error:
            raise translate(error, self.directory) from error

    def _refuse(self) -> NoReturn:
        raise StorageError("the queue is open for reading alone")

    def keep_reserve(self) -> None:
        """Create nothing."""

    def close(self) -> None:
        """Close the file."""
        self._close_database()
