"""Write files atomically and sync names in directories."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sigprobe.record.foreign_json import object_or_none


def write_whole(path: Path, text: str, mode: int, *, durable: bool = True) -> None:
    """Replace a file in one step by `text` in UTF-8, with the permissions of `mode`.

    It is written beside its place and renamed: a reader sees the old or the new content, never a part. `durable` syncs
    it before the rename. Raises OSError, and then leaves no temporary file: also for a directory, a device or a pipe,
    which root could replace.
    """
    _replace(path, text, durable=durable, rights=lambda draft: draft.chmod(mode))


def note_state(path: Path, document: Any) -> None:
    """Replace a small JSON state file beside the queue: advice for the next process, not data.

    Its group permissions follow its directory. A full disk is not an error here: the caller must continue.
    """

    def share(draft: Path) -> None:
        with suppress(OSError):
            draft.chmod(path.parent.stat().st_mode & 0o060 | 0o600)

    with suppress(OSError):
        _replace(path, json.dumps(document), durable=False, rights=share)


def read_state(path: Path) -> dict[str, Any]:
    """Read the state of `note_state`; empty when it is missing or not a JSON object."""
    try:
        return object_or_none(path.read_bytes()) or {}
    except OSError:
        return {}


def require_replaceable(path: Path) -> None:
    """Raise OSError if a path names something that is not a file, such as a directory, a device or a pipe."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.ENODEV, "not a regular file", str(path))


def _replace(path: Path, text: str, *, durable: bool, rights: Callable[[Path], None]) -> None:
    require_replaceable(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        rights(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def sync_directory(directory: Path) -> None:
    """Sync names in a directory."""
    with suppress(OSError):  # not every file system lets a directory be opened
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
