"""Check that a test that leaves a change behind fails itself, and that the change is undone."""

from __future__ import annotations

import gc
import gettext
import locale
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.process_state import STATE, unchanged

CHANGES: dict[str, Callable[[Path], object]] = {
    "environment variables": lambda _: os.environ.update(SIGPROBE_LEFT="1"),
    "working directory": os.chdir,
    "umask": lambda _: os.umask(0o077),
    "signal handlers": lambda _: signal.signal(signal.SIGUSR1, lambda *_: None),
    "locale": lambda _: locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C"),
    "text domain": lambda _: gettext.textdomain("left"),
    "loggers": lambda _: logging.getLogger("sigprobe").addHandler(logging.NullHandler()),
    "socket timeout": lambda _: socket.setdefaulttimeout(3),
    "sys.path": lambda _: sys.path.append("left"),
    "garbage collection": lambda _: gc.disable(),
    "recursion limit": lambda _: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
    "switch interval": lambda _: sys.setswitchinterval(0.5),
}


def test_a_clean_test_passes() -> None:
    """The control: nothing is reported of a block that changes nothing."""
    with unchanged():
        pass


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_fails_the_test_that_made_it(name: str, tmp_path: Path) -> None:
    """Each kind of change is reported by its name, and restored."""
    read = STATE[name][0]
    before = read()
    with pytest.raises(AssertionError, match=f"changed for its neighbours: {name}"), unchanged():
        CHANGES[name](tmp_path)
        assert read() != before
    assert read() == before


def test_a_thread_that_goes_on_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that would keep the process alive is named; one that is about to end is waited for."""
    monkeypatch.setattr("tests.support.process_state._THREADS_END_S", 0.1)
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, name="left-behind")
    try:
        with pytest.raises(AssertionError, match="thread left-behind"), unchanged():
            thread.start()
    finally:
        go_on.set()
        thread.join()
    with unchanged():
        threading.Thread(target=lambda: None).start()


def test_a_program_that_is_started_is_noted(unchanged_process: list[str]) -> None:
    """`make quick` starts no program: a test that does without its marker fails."""
    subprocess.run([sys.executable, "-c", ""], check=True)
    assert len(unchanged_process) == 1 and "subprocess.Popen" in unchanged_process[0]
    unchanged_process.clear()
