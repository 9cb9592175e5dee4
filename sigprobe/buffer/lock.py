"""One small lock beside the queue: shared while a record is put, exclusive while the file itself is replaced.

Without it a process could commit into a database that another one has just moved to quarantine. It is held for
single transactions only, never across network traffic.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LIMIT_S: Final = 60.0


class FileLock:
    """A shared/exclusive lock on one file of its own. `limit_s` bounds every wait (then OSError)."""

    def __init__(self, path: Path, limit_s: float = LIMIT_S) -> None:
        self.path = path
        self._limit_s = limit_s
        self._fd: int | None = None

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold it together with other sharers."""
        with self._held(exclusive=False):
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold it alone."""
        with self._held(exclusive=True):
            yield

    def close(self) -> None:
        """Let the file go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @contextmanager
    def _held(self, *, exclusive: bool) -> Iterator[None]:
        if sys.platform == "win32":  # no shared locks there: one at a time is right, only slower
            import filelock

            with filelock.FileLock(self.path, timeout=self._limit_s):
                yield
            return
        import fcntl

        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        give_up = time.monotonic() + self._limit_s
        while True:
            try:
                fcntl.flock(self._fd, mode | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.002)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
