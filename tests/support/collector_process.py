"""Run a collector in its own process, by its own command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from sigprobe.protocol import batches
from tests.support.command_line import in_process
from tests.support.taken_away import hold_patch

_PYTHON = (sys.executable, "-W", "error", "-c")
_PROGRAM = "from sigprobe.commands.collector import app; app(prog_name='sigprobe collector')"
COMMAND = (*_PYTHON, _PROGRAM)
"""The collector's part of the command line by itself."""

Spawn = Callable[..., "subprocess.Popen[str]"]


def run(*args: str, database: str) -> subprocess.CompletedProcess[str]:
    """Run a collector command in this process until it ends."""
    return in_process("collector", *args, env={"SIGPROBE_DATABASE": database})


def new_token(role: str, name: str, database: str) -> str:
    """Return a token from the command line: the last line of its stdout."""
    done = run("token", "create", f"--{role}", name, database=database)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@dataclass
class Server:
    """A serving process and its address."""

    process: subprocess.Popen[str]
    url: str
    said: list[str]

    def post(self, batch: batches.Batch, token: str, *, verify: Any = True, timeout: float = 30) -> requests.Response:
        """Send a batch."""
        return requests.post(
            self.url + batches.BATCH_PATH,
            data=batch.body,
            headers=batches.batch_headers(batch, token),
            verify=verify,
            timeout=timeout,
        )

    def rss_kb(self) -> int:
        """Return the process's highest resident memory so far, in KiB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            found = re.search(r"VmHWM:\s+(\d+) kB", status.read())
        assert found is not None
        return int(found[1])


def serve(spawn: Spawn, database: str, *args: str, patch: str = "", files: int | None = None) -> Server:
    """Start `serve` on a free port and wait until it reports its address.

    `patch` is Python code that removes a protection before it starts. `files` limits its open files.
    """
    program = [*_PYTHON, f"{hold_patch(patch)}\n{_PROGRAM}"]
    if files is not None:
        program = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *program]
    process = spawn(
        # its log is not read to the end by every test
        [*program, "serve", "--port", "0", *([] if "--log-level" in args else ["--log-level", "error"]), *args],
        env={**os.environ, "SIGPROBE_DATABASE": database},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return started(process)


def started(process: subprocess.Popen[str]) -> Server:
    """Wait until a collector reports its address on stderr."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line.rstrip())
        found = re.search(r"https?://\S+/$", said[-1])
        if found is not None:
            return Server(process, found[0].replace("0.0.0.0", "127.0.0.1"), said)
    raise AssertionError(f"did not start: {said}")
