"""Choose journal mode and sync level so that committed rows survive a crash.

SQLite 3.7.0–3.51.2 can lose commits when two processes write and checkpoint at once in WAL mode. It is fixed in 3.51.3,
backported to 3.44.6 and 3.50.7. WAL also needs shared memory, which network file systems lack. In both cases a rollback
journal with `synchronous=EXTRA` is used.
"""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from sigprobe.buffer import schema

BUSY_LIMIT_S: Final = 60.0
_CHECKPOINT_PAGES: Final = 1000
_CHECKPOINT_PAGES_NARROW: Final = 256
_NARROW_BYTES: Final = 1_000_000_000
"""With less room than this the -wal is folded in at 1 MB, not at SQLite's 4: results could have the difference."""
_FIXED_IN: Final = (3, 51, 3)
_BACKPORTS: Final = ((3, 44, 6), (3, 50, 7))
_NO_SHARED_MEMORY: Final = re.compile(
    r"^(?:nfs\d?|cifs|smb\w*|9p|fuse(?:\..+)?|afs|ceph|glusterfs|vboxsf|davfs2?|ncpfs|prl_fs|drvfs)$"
)
_SYNCHRONOUS: Final = {"FULL": 2, "EXTRA": 3}


@dataclass(frozen=True, slots=True)
class JournalMode:
    """Journal mode, synchronous level, and the reason for this pair."""

    mode: str  # "wal" or "truncate"
    synchronous: str  # "FULL" or "EXTRA"
    reason: str  # "fixed-sqlite", "old-sqlite", "network-file-system", "wal-refused"


def sqlite_version() -> str:
    """Return the version of SQLite in use; apsw carries its own."""
    return str(apsw.sqlite_lib_version())


def sqlite_is_fixed(version: str | None = None) -> bool:
    """Return True when this SQLite has the WAL-reset fix."""
    parts = tuple(int(p) for p in (version or sqlite_version()).split(".")[:3])
    return parts >= _FIXED_IN or any(parts[:2] == b[:2] and parts >= b for b in _BACKPORTS)


def file_system_of(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """Return the type of the file system that holds `path`; None if the system does not report it."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    wanted = path.resolve()
    best: tuple[int, str | None] = (-1, None)
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mount = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[1])
        # a later line overrides an earlier one with the same mount point
        if wanted.is_relative_to(mount) and len(mount) >= best[0]:
            best = (len(mount), fields[2])
    return best[1]


def choose_journal_mode(path: Path, *, fixed: bool | None = None, file_system: str | None = None) -> JournalMode:
    """Choose journal and synchronous level for the database at `path`."""
    kind = file_system if file_system is not None else file_system_of(path.parent)
    if kind is not None and _NO_SHARED_MEMORY.match(kind):
        return JournalMode("truncate", "EXTRA", "network-file-system")
    if not (sqlite_is_fixed() if fixed is None else fixed):
        return JournalMode("truncate", "EXTRA", "old-sqlite")
    return JournalMode("wal", "FULL", "fixed-sqlite")


def _patience(limit_s: float, clock: Callable[[], float] = time.monotonic) -> Callable[[int], bool]:
    """Retry with short random waits while the database is busy: SQLite's own waits grow to 100 ms and starve some
    processes."""
    started = 0.0

    def handler(calls: int) -> bool:
        nonlocal started
        if calls == 0:
            started = clock()
        elif clock() - started > limit_s:
            return False
        time.sleep(random.uniform(0.0005, 0.004))  # noqa: S311 - spreads waiters, decides nothing
        return True

    return handler


def connect(
    path: Path, journal: JournalMode, stream_id: str, *, vfs: str | None = None
) -> tuple[apsw.Connection, JournalMode]:
    """Open the database, migrate it to our version (a new one gets `stream_id`), and verify its journal mode.

    Returns the connection and the journal mode in use: if WAL is refused, the rollback journal is used. Raises
    NewerVersionError and ForeignFileError with the file unchanged, apsw.Error when it cannot be opened, OSError when
    the requested level was not applied.
    """
    db = apsw.Connection(str(path), vfs=vfs) if vfs else apsw.Connection(str(path))
    try:
        db.set_busy_handler(_patience(BUSY_LIMIT_S))
        # a newer file's version may be only in its -wal: until it is known, closing must not checkpoint
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        schema.look(db)
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        db.pragma("fullfsync", 1)  # macOS: fsync alone does not flush the disk's cache there
        db.pragma("page_size", schema.PAGE_SIZE)
        db.pragma("synchronous", "EXTRA")
        # created before WAL is enabled, so that the file's own header has the application id
        schema.migrate(db, stream_id)
        mode = str(db.pragma("journal_mode", journal.mode)).lower()
        if mode != journal.mode:
            journal = JournalMode("truncate", "EXTRA", "wal-refused")
            mode = str(db.pragma("journal_mode", journal.mode)).lower()
        db.pragma("synchronous", journal.synchronous)
        level = db.pragma("synchronous")
        if mode != journal.mode or level != _SYNCHRONOUS[journal.synchronous]:
            raise OSError(f"journal {mode}, synchronous {level}: not what was asked for")
        narrow = shutil.disk_usage(path.parent).free < _NARROW_BYTES
        db.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES_NARROW if narrow else _CHECKPOINT_PAGES)
        db.pragma("foreign_keys", 1)
        return db, journal
    except BaseException:
        db.close()
        raise
