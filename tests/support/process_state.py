"""Compare the process state before and after a test: a change fails this test instead of a later one."""

from __future__ import annotations

import gc
import gettext
import locale
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

_SIGNALS: Final = tuple(n for n in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE,
                                    signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2))  # fmt: skip
"""Not SIGALRM: with it pytest-timeout limits the test itself."""
_LOGGERS: Final = (None, "sigprobe", "py.warnings")
_STARTS: Final = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})
_THREADS_END_S: Final = 10.0


def _umask() -> int:
    """Return the umask from /proc; `os.umask` can read it only by setting it, for all threads."""
    with suppress(OSError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        return int(status.partition("\nUmask:")[2].split()[0], 8)
    return 0o22


def _logging_state() -> list[tuple[logging.Logger, int, bool, list[logging.Handler]]]:
    found = (logging.getLogger(name) for name in _LOGGERS)
    return [(log, log.level, log.propagate, list(log.handlers)) for log in found]


def _restore_logging(state: list[tuple[logging.Logger, int, bool, list[logging.Handler]]]) -> None:
    for log, level, propagate, handlers in state:
        log.level, log.propagate, log.handlers = level, propagate, handlers


def _restore_environment(state: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(state)


def _restore_signals(state: dict[int, Any]) -> None:
    for number, handler in state.items():
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


STATE: Final[dict[str, tuple[Callable[[], Any], Callable[[Any], object]]]] = {
    "environment variables": (
        lambda: {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        _restore_environment,
    ),
    "working directory": (os.getcwd, os.chdir),
    "umask": (_umask, os.umask),
    "signal handlers": (lambda: {n: signal.getsignal(n) for n in _SIGNALS}, _restore_signals),
    "locale": (lambda: locale.setlocale(locale.LC_ALL), lambda old: locale.setlocale(locale.LC_ALL, old)),
    "time zone": (lambda: time.tzname, lambda _old: time.tzset()),
    "text domain": (gettext.textdomain, gettext.textdomain),
    "loggers": (_logging_state, _restore_logging),
    "socket timeout": (socket.getdefaulttimeout, socket.setdefaulttimeout),
    "sys.path": (lambda: list(sys.path), lambda old: sys.path.__setitem__(slice(None), old)),
    "garbage collection": (gc.isenabled, lambda old: gc.enable() if old else gc.disable()),
    "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "switch interval": (sys.getswitchinterval, sys.setswitchinterval),
}
"""State that a later test may notice: how to read it, and how to restore it."""


@contextmanager
def unchanged(failed: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Restore the process state after the block, and fail if the block left anything changed or a thread running.

    Of a test that has `failed` already, as by its timeout, nothing is reported: it had no chance to clear up.
    """
    before = {name: read() for name, (read, _restore) in STATE.items()}
    threads = set(threading.enumerate())
    yield
    left = []
    for name, (read, restore) in STATE.items():
        after = read()
        if after != before[name]:
            left.append(f"{name}: {_difference(before[name], after)}")
            restore(before[name])
    if failed():
        return
    left += [f"thread {name}" for name in _still_running(threads)]
    assert not left, "the test left something changed for its neighbours: " + "; ".join(left)


def _still_running(before: set[threading.Thread]) -> list[str]:
    """Return the names of new threads that would keep this process alive, after a moment in which they may end."""
    end = time.monotonic() + _THREADS_END_S
    new = [t for t in threading.enumerate() if t not in before and not t.daemon]
    for thread in new:
        thread.join(max(0.0, end - time.monotonic()))
    return [thread.name for thread in new if thread.is_alive()]


def _difference(before: Any, after: Any) -> str:
    if isinstance(before, dict):
        names = [name for name in before | after if before.get(name) != after.get(name)]
        return ", ".join(f"{name} {before.get(name)!r} -> {after.get(name)!r}" for name in names)
    return f"{before!r} -> {after!r}"


class StartedPrograms:
    """Note each program that this process starts. An audit hook sees them all; it cannot be removed, only silenced."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _STARTS:
            self.seen.append(f"{event} {args[0]!r}" if args else event)
