"""What can keep a result from being saved. Each names the failure code whose sentence the screen shows."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

import apsw


class StorageError(Exception):
    """The queue could not be written or read; the result is NOT saved."""

    code = "storage_failed"


class DiskFullError(StorageError):
    """The file system has no room left."""

    code = "disk_full"


class BufferLimitError(StorageError):
    """The queue has reached its configured size; nothing was dropped to make room."""

    code = "buffer_limit"


class SendingError(StorageError):
    """The queue could not be used while it was sent; what it holds is kept."""

    code = "queue_failed"


class UnnotedError(SendingError):
    """A collector holds results, but the queue could not note it: they are sent again, and answered `duplicate`."""

    code = "ack_unnoted"


class UnreadableError(apsw.IOError):
    """SQLite's own check could not read a page, which is not yet to say that what lies there is wrong."""


DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)
"""What SQLite raises when the file itself is at fault."""

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_TIGHT_BYTES: Final = 64 * 1024
_UNREADABLE: Final = frozenset(
    {apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_CORRUPTFS, apsw.SQLITE_IOERR_DATA}
)


def is_full(error: BaseException, directory: Path) -> bool:
    """True when there was no room; SQLite says so plainly only of the database, not of the files beside it."""
    if isinstance(error, apsw.FullError):
        return True
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return isinstance(error, (apsw.IOError, apsw.CantOpenError)) and _tight(directory)


def is_unreadable(error: apsw.Error) -> bool:
    """True when the disk could not give back what lies in the file, as distinct from not taking something new."""
    return isinstance(error, UnreadableError) or getattr(error, "extendedresult", 0) in _UNREADABLE


def _tight(directory: Path) -> bool:
    try:
        room = os.statvfs(directory)
    except (OSError, AttributeError):  # no statvfs on Windows
        return False
    return room.f_bavail * room.f_frsize < _TIGHT_BYTES or (room.f_files > 0 and room.f_ffree == 0)


def translate(error: apsw.Error | OSError, directory: Path) -> StorageError:
    """The database's or the file system's error as ours, keeping the technical words."""
    kind = DiskFullError if is_full(error, directory) else StorageError
    return kind(f"{type(error).__name__}: {error}")
