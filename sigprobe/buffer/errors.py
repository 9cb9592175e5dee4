"""Define why a result was not saved. Each error has the failure code for the screen."""

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
    """Raised when a collector has the results but the queue could not store that. They are sent again and answered
    `duplicate`."""

    code = "ack_unnoted"


class UnreadableError(apsw.IOError):
    """Raised when SQLite's check could not read a page. Its content may still be valid."""


DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)
"""What SQLite raises when the file itself is at fault."""

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_TIGHT_BYTES: Final = 64 * 1024
_UNREADABLE: Final = frozenset(
    {apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_CORRUPTFS, apsw.SQLITE_IOERR_DATA}
)


def is_full(error: BaseException, directory: Path) -> bool:
    """Return True when there was no space. SQLite reports it clearly only for the database, not for the files beside
    it."""
    if isinstance(error, apsw.FullError):
        return True
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return isinstance(error, (apsw.IOError, apsw.CantOpenError)) and _tight(directory)


def is_unreadable(error: apsw.Error) -> bool:
    """Return True when the disk could not read existing data, as opposed to a failed write."""
    return isinstance(error, UnreadableError) or getattr(error, "extendedresult", 0) in _UNREADABLE


def _tight(directory: Path) -> bool:
    try:
        room = os.statvfs(directory)
    except (OSError, AttributeError):  # no statvfs on Windows
        return False
    return room.f_bavail * room.f_frsize < _TIGHT_BYTES or (room.f_files > 0 and room.f_ffree == 0)


def translate(error: apsw.Error | OSError, directory: Path) -> StorageError:
    """Convert an error of the database or file system to ours, with its technical message."""
    kind = DiskFullError if is_full(error, directory) else StorageError
    return kind(f"{type(error).__name__}: {error}")
