"""Files that are there whole or not at all, and names in directories that outlast a power cut."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sigprobe.record.foreign_json import object_or_none


def write_whole(path: Path, text: str, mode: int, *, durable: bool = True) -> None:
    """Replace a file in one step by `text` in UTF-8, with the rights of `mode`.

    It is made beside its place and renamed: a reader sees the old or the new, never a part. `durable` has it on disk
    before it gets its name. Raises OSError, and then leaves nothing behind.
    """
    _replace(path, text, durable=durable, rights=lambda draft: draft.chmod(mode))


def note_state(path: Path, document: Any) -> None:
    """Replace a small JSON file beside the queue: advice for the next process, not data.

    It is as open to the group as its directory. A full disk is no error here: what notes its state must go on.
    """

    def share(draft: Path) -> None:
        with suppress(OSError):
            draft.chmod(path.parent.stat().st_mode & 0o060 | 0o600)

    with suppress(OSError):
        _replace(path, json.dumps(document), durable=False, rights=share)


def read_state(path: Path) -> dict[str, Any]:
    """What `note_state` noted; empty when nothing was, or when what lies there is no JSON object any more."""
    try:
        return object_or_none(path.read_bytes()) or {}
    except OSError:
        return {}


def _replace(path: Path, text: str, *, durable: bool, rights: Callable[[Path], None]) -> None:
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
    """Make names in a directory durable."""
    with suppress(OSError):  # not every file system lets a directory be opened
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
