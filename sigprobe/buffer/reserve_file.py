"""Reserve disk space in a small file that is deleted when the disk is full, for acknowledgements.

Without the file, results leave `RESERVE_BYTES` of the disk free for acknowledgements.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from sigprobe.buffer import identity

FILE_BYTES: Final = 256 * 1024
RESERVE_BYTES: Final = 128 * 1024
"""No result may bring the disk, with the free pages in the queue's file, below it. What is decided on a full disk goes
in small transactions of 50 kB of -wal at most; `tests/trials/faults/test_fulldisk.py` settles whole queues in it."""

_CHUNK: Final = 64 * 1024


def keep(path: Path) -> bool:
    """Create the reserve file if there is twice its space; True when it is complete.

    Its bytes are written: a sparse file would hold no blocks. A full disk is not an error here.
    """
    with suppress(OSError):
        if os.stat(path).st_size == FILE_BYTES:  # noqa: PTH116 - asked every few puts: pathlib takes twice as long
            return True
    try:
        # never use the last space: a concurrent result needs it more
        if room(path.parent) < 2 * FILE_BYTES:
            release(path)
            return False
        fd = identity.open_beside(path)
    except OSError:
        return False
    try:
        os.ftruncate(fd, 0)
        for _ in range(FILE_BYTES // _CHUNK):
            # a compressing file system would shrink a run of one byte
            if os.write(fd, os.urandom(_CHUNK)) != _CHUNK:
                raise OSError(28, "short write")
        os.fsync(fd)
        return True
    except OSError:
        release(path)
        return False
    finally:
        # the descriptor is closed, whatever error is reported; a missing reserve is no reason to refuse a record
        with suppress(OSError):
            os.close(fd)


def room(directory: Path) -> float:
    """Return the bytes available on the disk; infinite if the system does not report them. Raises OSError."""
    if not hasattr(os, "statvfs"):
        return math.inf
    there = os.statvfs(directory)
    return there.f_bavail * there.f_frsize


def release(path: Path) -> bool:
    """Delete the reserve file; True when it held any space."""
    try:
        size = path.stat().st_size
        path.unlink()
    except OSError:
        return False
    return size > 0
