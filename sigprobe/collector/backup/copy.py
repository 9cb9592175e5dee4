"""Describe a finished copy, and why a copy could not be made."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sigprobe.record.messages import MessageError

Progress = Callable[[int, int], None]
"""Called with what is done and the whole, in any unit."""


def no_progress(_done: int, _whole: int) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A verified copy. `results` is exact for a file; for a running PostgreSQL at least so many are in the copy."""

    path: Path
    size_bytes: int
    results: int | None
    newest_received_at: datetime | None = None


class BackupError(Exception):
    """Raised when no copy was made; nothing is left at its place.

    `code` is one of a few words. `detail` is data, or a cause that the screen puts into words. `technical` is what a
    program or library said, for `-v`.
    """

    def __init__(self, code: str, detail: str | MessageError | OSError = "", technical: str = "") -> None:
        shown = ": ".join(part for part in (code, str(detail)) if part)
        super().__init__(f"{shown} ({technical})" if technical else shown)
        self.code = code
        self.detail = detail
        self.technical = technical


def require_file(source: Path) -> None:
    """Raise BackupError unless the source is a file, as every SQLite database is."""
    if source.is_dir():
        raise BackupError("directory", str(source))
    if not source.is_file():
        raise BackupError("no_source", str(source))


def require_folder(source: Path) -> None:
    """Raise BackupError unless the source is a folder, as every backup of PostgreSQL is."""
    if source.is_file():
        raise BackupError("file", str(source))
    if not source.is_dir():
        raise BackupError("no_source", str(source))


def put_in_place(draft: Path, place: Path) -> None:
    """Give a finished file its name, durably, and never replace another. Raises BackupError `exists`."""
    try:
        os.link(draft, place)
    except FileExistsError as error:
        raise BackupError("exists", str(place)) from error
    except OSError:
        # a file system without hard links, as on most USB sticks
        if place.exists():
            raise BackupError("exists", str(place)) from None
        draft.rename(place)
    with suppress(FileNotFoundError):
        draft.unlink()


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
