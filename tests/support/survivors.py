"""Find the programs that outlive the test that started them, and end a program together with its children.

Every program that a test starts inherits the variable `MARKER`: it names the session and the test. At the end of the
session no process may have it any more. The mark passes through wrappers such as `ip netns exec`, `nice` or `sh -c`,
also when the wrapper has ended and its child runs on. This module is a plugin of pytest, registered in `conftest.py`.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

MARKER: Final = "TEST_OF_SIGPROBE"
SESSION: Final = secrets.token_hex(8)
"""Of this process alone: each worker of pytest-xdist looks for its own programs."""
GRACE_S = 10.0
"""How long a program may take to end."""
_LEFT: Final[list[str]] = []
"""What this session, and the workers it started, left running."""


@dataclass(frozen=True, slots=True)
class Program:
    """A running process that a test started."""

    pid: int
    group: int
    test: str
    command: str

    def __str__(self) -> str:
        """Name the test first: it has to be mended."""
        return f"{self.test} left process {self.pid} running: {self.command}"


def begin(test: str) -> None:
    """Mark the programs that start from now on as those of this test."""
    os.environ[MARKER] = f"{SESSION} {test}"


def marked(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the mark, for a program that does not inherit this process's own."""
    mark = os.environ.get(MARKER)
    return dict(environment) if mark is None else {**environment, MARKER: mark}


def running(session: str = SESSION) -> Iterator[Program]:
    """Return the running processes of a session, and forked children of this process. Zombies do not count."""
    if not sys.platform.startswith("linux"):
        return
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError, IndexError, ValueError):  # it has ended, or is another user's
            state, parent, group = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:3]
            if state in "ZX":
                continue
            mark = _mark((folder / "environ").read_bytes())
            owner, _, test = mark.partition(" ")
            if owner != session and (mark or int(parent) != os.getpid()):
                continue
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            yield Program(int(folder.name), int(group), test or "a test that forked this process", command[:300])


def _mark(environment: bytes) -> str:
    name = f"{MARKER}=".encode()
    for entry in environment.split(b"\0"):
        if entry.startswith(name):
            return entry[len(name) :].decode(errors="replace")
    return ""


def left_over() -> list[Program]:
    """Return what still runs at the end of the session, after a moment in which it may end; then kill it."""
    deadline = time.monotonic() + GRACE_S
    while (left := list(running())) and time.monotonic() < deadline:
        time.sleep(0.1)
    for program in left:
        with suppress(OSError):
            os.kill(program.pid, signal.SIGKILL)
    return left


def end(process: subprocess.Popen[str] | subprocess.Popen[bytes], seconds: float = GRACE_S) -> None:
    """End a program that leads its own process group, and all that is left of the group. Close its pipes."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)  # a stopped process would not notice
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for program in running():
        if program.group == process.pid:
            with suppress(OSError):
                os.kill(program.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with suppress(OSError):
                stream.close()


@contextmanager
def spawning() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Provide a function that starts programs, each in a session of its own; end them all after the block."""
    started: list[subprocess.Popen[str]] = []

    def start(command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        if options.get("env") is not None:
            options["env"] = marked(options["env"])
        process = subprocess.Popen(command, text=True, **{"start_new_session": True, **options})
        started.append(process)
        return process  # type: ignore[no-any-return]

    try:
        yield start
    finally:
        for process in reversed(started):
            end(process)


# --- the plugin ----------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let each program that the test starts inherit the test's name."""
    begin(item.nodeid)
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session when a program outlives it. A worker of pytest-xdist reports to the process that started it."""
    worker = hasattr(session.config, "workerinput")
    if worker or not getattr(session.config.option, "tx", None):
        _LEFT.extend(str(program) for program in left_over())
    if worker:
        session.config.workeroutput["left running"] = list(_LEFT)  # type: ignore[attr-defined]
    elif _LEFT and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect what a worker of pytest-xdist found."""
    _LEFT.extend(getattr(node, "workeroutput", {}).get("left running", ()))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print each program that outlived its test."""
    if _LEFT:
        terminalreporter.section("programs that outlived the session", red=True)
        for line in _LEFT:
            terminalreporter.line(line)
