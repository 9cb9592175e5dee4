"""A small file that is given up when the disk is full, so that acknowledgements still find room.

While it is given up, results leave as much alone as acknowledgements need: `RESERVE_BYTES` of the disk.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from sigprobe.buffer import identity

BALLAST_BYTES: Final = 256 * 1024
RESERVE_BYTES: Final = 128 * 1024
"""No result may bring the disk, with the free pages in the queue's file, below it. What is decided on a full disk goes
in small transactions of 50 kB of -wal at most; `tests/trials/faults/test_fulldisk.py` settles whole queues in it."""

_CHUNK: Final = 64 * 1024


def keep(path: Path) -> bool:
    """Make the ballast where there is room for it and as much again; True when it lies there whole.

    Written, not only announced: a sparse file would hold no blocks. A full disk is no error here.
    """
    with suppress(OSError):
        if os.stat(path).st_size == BALLAST_BYTES:  # noqa: PTH116 - asked every few puts: pathlib takes twice as long
            return True
    try:
        # never take the last room: a result that is put meanwhile needs it more
        if room(path.parent) < 2 * BALLAST_BYTES:
            release(path)
            return False
        fd = identity.open_beside(path)
    except OSError:
        return False
    try:
        os.ftruncate(fd, 0)
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
        # whatever it says, the descriptor is gone; and no ballast is a reason to refuse a record
        with suppress(OSError):
            os.close(fd)


def room(directory: Path) -> float:
    """Bytes that are left for us on the disk; infinite where the system does not say. Raises OSError."""
    if not hasattr(os, "statvfs"):
        return math.inf
    there = os.statvfs(directory)
    return there.f_bavail * there.f_frsize


def release(path: Path) -> bool:
    """Give the ballast up; True when there was one that held any room."""
    try:
        size = path.stat().st_size
        path.unlink()
    except OSError:
        return False
    return size > 0
