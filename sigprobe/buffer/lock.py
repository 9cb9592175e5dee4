"""Lock the queue: shared while a record is put, exclusive while the file is replaced.

Without the lock a process could commit into a database that another process has just moved to quarantine. It is held
for single transactions only, never across network traffic.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sigprobe.buffer import identity

if sys.platform != "win32":
    import fcntl

    _AT_ONCE: Final = fcntl.LOCK_SH | fcntl.LOCK_NB

LIMIT_S: Final = 60.0

# a file system without locks must not stop collection: only the quarantine's race is unprotected there
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


class FileLock:
    """Shared/exclusive lock on a file of its own. `limit_s` bounds every wait (then OSError).

    Sharers pass a gate, a second file. A process that waits for the exclusive lock holds the gate. Otherwise a few busy
    writers could block the replacement of a broken file forever.
    """

    def __init__(self, path: Path, limit_s: float = LIMIT_S) -> None:
        self.path = path
        self._gate_path = path.with_name(path.name + ".gate")
        self._limit_s = limit_s
        self._fd: int | None = None
        self._gate: int | None = None
        self._windows: Any = None

    def share(self) -> None:
        """Acquire it together with other sharers; `release` releases it."""
        if sys.platform != "win32" and self._fd is not None and self._gate is not None:
            try:
                fcntl.flock(self._gate, _AT_ONCE)
                fcntl.flock(self._fd, _AT_ONCE)
                fcntl.flock(self._gate, fcntl.LOCK_UN)
                return
            except OSError:
                _unlock(self._gate)  # the slow path waits, and reports errors
        self._take(exclusive=False)

    def release(self) -> None:
        """Release the lock."""
        if sys.platform == "win32":
            self._windows.release()
        elif self._fd is not None:
            _unlock(self._fd)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the exclusive lock."""
        self._take(exclusive=True)
        try:
            yield
        finally:
            self.release()

    def close(self) -> None:
        """Close the files."""
        for fd in (self._fd, self._gate):
            if fd is not None:
                with suppress(OSError):  # the descriptor is closed, whatever error is reported
                    os.close(fd)
        self._fd = self._gate = None

    def _take(self, *, exclusive: bool) -> None:
        if sys.platform == "win32":  # no shared locks there: exclusive ones are correct, only slower
            import filelock

            self._windows = self._windows or filelock.FileLock(self.path, timeout=self._limit_s)
            self._windows.acquire()
            return
        if self._fd is None or self._gate is None:
            self._fd = identity.open_beside(self.path)
            self._gate = identity.open_beside(self._gate_path)
        self._wait(self._gate, exclusive=exclusive)
        try:
            self._wait(self._fd, exclusive=exclusive)
        finally:
            _unlock(self._gate)

    def _wait(self, fd: int, *, exclusive: bool) -> None:
        if sys.platform == "win32":
            return
        mode = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB
        give_up: float | None = None
        while True:
            try:
                fcntl.flock(fd, mode)
                return
            except BlockingIOError:
                now = time.monotonic()
                give_up = give_up or now + self._limit_s
                if now > give_up:
                    raise
                time.sleep(0.001)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                return


def _unlock(fd: int) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
