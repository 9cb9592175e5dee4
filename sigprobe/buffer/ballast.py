"""A small file that is given up when the disk is full, so that acknowledgements still find room."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

BALLAST_BYTES: Final = 256 * 1024
_CHUNK: Final = 64 * 1024


def keep(path: Path) -> bool:
    """Make the ballast where there is room for it; True when it lies there whole.

    Written, not only announced: a sparse file would hold no blocks. A full disk is no error here.
    """
    with suppress(OSError):
        if path.stat().st_size == BALLAST_BYTES:
            return True
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o660)
    except OSError:
        return False
    try:
        for _ in range(BALLAST_BYTES // _CHUNK):
            # a run of one byte would be folded away by a compressing file system
            if os.write(fd, os.urandom(_CHUNK)) != _CHUNK:
                raise OSError(28, "short write")
        os.fsync(fd)
        return True
    except OSError:
        release(path)
        return False
    finally:
        os.close(fd)


def release(path: Path) -> bool:
    """Give the ballast up; True when there was one."""
    try:
        path.unlink()
    except OSError:
        return False
    return True
