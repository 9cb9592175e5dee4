"""One small lock beside the queue: shared while a record is put, exclusive while the file itself is replaced.

Without it a process could commit into a database that another one has just moved to quarantine. It is held for
single transactions only, never across network traffic.
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

# a file system without locks must not stop collection: what is left out there is the quarantine's race alone
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


class FileLock:
    """A shared/exclusive lock on one file of its own. `limit_s` bounds every wait (then OSError).

    Sharers pass a gate, a second file, which whoever wants the lock alone holds shut while waiting: else a few busy
    writers, of whom one always holds it, would keep a broken file from ever being set aside.
    """

    def __init__(self, path: Path, limit_s: float = LIMIT_S) -> None:
        self.path = path
        self._gate_path = path.with_name(path.name + ".gate")
        self._limit_s = limit_s
        self._fd: int | None = None
        self._gate: int | None = None
        self._windows: Any = None

    def share(self) -> None:
        """Take it together with other sharers; `release` gives it back."""
        if sys.platform != "win32" and self._fd is not None and self._gate is not None:
            try:
                fcntl.flock(self._gate, _AT_ONCE)
                fcntl.flock(self._fd, _AT_ONCE)
                fcntl.flock(self._gate, fcntl.LOCK_UN)
                return
            except OSError:
                _unlock(self._gate)  # the long way waits, and says what is wrong
        self._take(exclusive=False)

    def release(self) -> None:
        """Give back what was taken."""
        if sys.platform == "win32":
            self._windows.release()
        elif self._fd is not None:
            _unlock(self._fd)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold it alone."""
        self._take(exclusive=True)
        try:
            yield
        finally:
            self.release()

    def close(self) -> None:
        """Let the files go."""
        for fd in (self._fd, self._gate):
            if fd is not None:
                with suppress(OSError):  # whatever it says, the descriptor is gone
                    os.close(fd)
        self._fd = self._gate = None

    def _take(self, *, exclusive: bool) -> None:
        if sys.platform == "win32":  # no shared locks there: one at a time is right, only slower
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
