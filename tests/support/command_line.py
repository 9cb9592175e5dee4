"""Run the command line: in this process by default, in its own process if the process itself is tested."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sigprobe import cli

Run = Callable[..., "subprocess.CompletedProcess[str]"]

_READ_AT_START = ("PYTHON", "LD_", "LC_CTYPE")
"""Variables that only a starting interpreter reads: a call in this process would ignore them."""


def in_process(
    *args: str, env: Mapping[str, str] | None = None, cwd: Path | str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command here, with the environment, folder and empty stdin that a process would get.

    It saves the start of an interpreter (0.25 s) and shows the same text, exit code and files. Warnings are errors
    here, as everywhere in these tests.
    """
    assert threading.current_thread() is threading.main_thread(), "streams are shared: use sigprobe_process in threads"
    vain = [name for name in env or {} if name.startswith(_READ_AT_START)]
    assert not vain, f"{vain} is read when an interpreter starts: use sigprobe_process"
    out, err = _stream("strict"), _stream("backslashreplace")
    with _surroundings(env or {}, cwd):
        code = cli.run(args, out=out, err=err)
    return subprocess.CompletedProcess(["sigprobe", *args], code, _text(out), _text(err))


def own_process(
    *args: str, env: Mapping[str, str] | None = None, timeout: float = 120, **options: object
) -> subprocess.CompletedProcess[str]:
    """Run one command in a process of its own; never raises on an exit code."""
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "sigprobe", *args],
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        check=False,
        env={**os.environ, **(env or {})},
        **options,
    )


@contextmanager
def _surroundings(env: Mapping[str, str], cwd: Path | str | None) -> Iterator[None]:
    environ, folder, stdin = dict(os.environ), Path.cwd(), sys.stdin
    with open(os.devnull, encoding="utf-8") as empty:
        try:
            sys.stdin = empty
            os.environ.update(env)
            if cwd is not None:
                os.chdir(cwd)
            yield
        finally:
            sys.stdin = stdin
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environ)


def _stream(errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    """Return what was written, with the line ends that `subprocess` gives in text mode."""
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
