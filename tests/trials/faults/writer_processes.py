"""Run processes that work on a queue and are interrupted. They are forked from a process that has imported everything,
so a kill costs milliseconds. Each job writes an id to its own file after the queue has stored the record.

The tests run `python writer_processes.py`: it reads a JSON command per line and answers each with a line.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from sigprobe.buffer import Buffer, Verdicts
from tests.support.records import record


def put(
    path: str,
    out: str,
    count: int = 1_000_000,
    early: bool = False,
    seed: int = 0,
    long: bool = False,
    patient: bool = True,
    dies_in: int | None = None,
    ready: str | None = None,
    go: str = "",
) -> None:
    """Put records; write each id after `put` returned.

    Two controls: `early` writes it before, and without `patient` a writer does not wait for another's transaction.
    Two fixed points: `dies_in` kills this process between BEGIN and COMMIT of that record, counted from 0; with `ready`
    the open queue waits, after making that file, until the file `go` exists.
    """
    rng = random.Random(seed)
    fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with Buffer(Path(path)) as buffer:
        if not patient:
            assert buffer._file._db is not None
            buffer._file._db.set_busy_handler(None)
        if ready is not None:
            Path(ready).touch()
            while not Path(go).exists():
                time.sleep(0.005)
        for number in range(count):
            if number == dies_in:
                _die_before_commit(buffer)
            result = record(rng=rng, rtts=rng.choice((0, 10, 1000)) if long else 10)
            if early:
                os.write(fd, f"{result.id}\n".encode())
            begun = time.perf_counter()
            buffer.put(result)
            seconds = time.perf_counter() - begun
            if not early:
                os.write(fd, f"{result.id} {seconds:.6f}\n".encode())


def _die_before_commit(buffer: Buffer) -> None:
    """Kill this process in the next transaction, once its row is inserted."""
    insert = buffer._insert

    def insert_and_die(*args: Any, **options: Any) -> int:
        insert(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("SIGKILL came back")

    buffer._insert = insert_and_die  # type: ignore[method-assign]


def drain(path: str, out: str, until: str) -> None:
    """Take and settle as an upload does, and fold the -wal in, until the file `until` exists."""
    fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with Buffer(Path(path)) as buffer:
        while not os.path.exists(until):
            taken = buffer.peek(50, 1 << 20)
            buffer.settle(Verdicts(acked=[r.id for r in taken[::2]]), "https://collector.example/")
            for row in taken[::2]:
                os.write(fd, f"{row.id}\n".encode())
            buffer._file.fold()
            buffer.stats()


JOBS: dict[str, Callable[..., None]] = {"put": put, "drain": drain}


def serve() -> None:
    """Fork a process for each job."""
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "start":
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    JOBS[command["job"]](**command["options"])
                    code = 0
                except BaseException as error:
                    with suppress(OSError), open(command["options"]["out"] + ".error", "a") as file:
                        file.write(f"{type(error).__name__}: {error}\n")
                os._exit(code)
            answer: dict[str, Any] = {"pid": pid}
        else:
            _, status = os.waitpid(command["pid"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        print(json.dumps(answer), flush=True)


class Nursery:
    """Start jobs, kill them, wait for them; every process has ended when it closes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._alive: set[int] = set()

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def start(self, job: str, **options: Any) -> int:
        """Start a job; returns its pid."""
        pid = int(self._ask(do="start", job=job, options=options)["pid"])
        self._alive.add(pid)
        return pid

    def wait(self, pid: int) -> int:
        """Wait for a job; returns its exit code, negative for a signal."""
        code = int(self._ask(do="wait", pid=pid)["code"])
        self._alive.discard(pid)
        return code

    def kill(self, pid: int) -> None:
        """Send SIGKILL, and wait for the end."""
        os.kill(pid, signal.SIGKILL)
        self.wait(pid)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in list(self._alive):
            self.kill(pid)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


def told(out: str) -> list[str]:
    """Return the ids that a job has written; an incomplete last line does not count."""
    try:
        with open(out, "rb") as file:
            whole, newline, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return []
    return [line.split()[0].decode() for line in whole.split(b"\n")] if newline else []


if __name__ == "__main__":
    serve()
