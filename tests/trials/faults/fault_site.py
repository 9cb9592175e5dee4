"""Set up what fault tests break: a real collector in its own process, a queue of records, and an upload."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sigprobe.buffer import Buffer
from sigprobe.collector import store
from sigprobe.collector.access import queries as access_queries
from sigprobe.upload import Backoff, Collector, Mode, Report, drain
from tests.support import survivors
from tests.support.collector_client import make_result
from tests.support.taken_away import hold_patch
from tests.trials.faults.trial import hold

_SERVE: Final = "from sigprobe.commands.collector import app; app(prog_name='sigprobe collector')"
SILENT: Final = """
from sigprobe.collector.results import api as reading
def broken(cursor):
    raise LookupError(cursor)
reading.read_cursor = broken
"""
"""A patch for a `Site`: a collector that does not expect a wrong cursor."""
_PLAIN: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Site:
    """A collector process on its own port, with a database and a token of each role; it can be killed and restarted.

    `patch` is Python run in that process before it serves: it is how a negative control takes a protection away.
    """

    def __init__(self, folder: Path, database: str | None = None, *, patch: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "collector.log"
        self.database = database or f"sqlite:///{folder / 'collector.db'}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.process: subprocess.Popen[bytes] | None = None
        self._patch = hold_patch(patch)
        engine = store.open_store(self.database)
        try:
            self.token = access_queries.create_token(engine, f"laptop-{self.port}", access_queries.PROBE)
            self.admin = access_queries.create_token(engine, f"centre-{self.port}", access_queries.ADMIN)
        finally:
            engine.dispose()

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"{self._patch}\n{_SERVE}", "serve", "--port", str(self.port)],
                env={**os.environ, "SIGPROBE_DATABASE": self.database},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 0.5).close()
                return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the collector did not start: {self.log.read_text()}")

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Send SIGTERM and wait for the end."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            survivors.end(self.process)
            self.process = None

    def __enter__(self) -> Site:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def get(self, path: str, token: str | None = None) -> Any:
        """Read JSON, with the admin's token unless another is given."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {token or self.admin}"})
        with _PLAIN.open(request, timeout=30) as answer:
            return json.load(answer)

    def stored(self) -> Counter[str]:
        """Return how often each id is stored, as `GET /v1/results` tells it."""
        found: Counter[str] = Counter()
        cursor = ""
        while True:
            page = self.get(f"v1/results?limit=1000{cursor}")
            found.update(record["id"] for record in page["results"])
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    def memory_kb(self, name: str) -> int:
        """Return a line of /proc/PID/status in KiB: VmRSS, VmHWM."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(next(line for line in status.splitlines() if line.startswith(f"{name}:")).split()[1])


@contextmanager
def queue(folder: Path) -> Iterator[Buffer]:
    """Provide an empty queue."""
    folder.mkdir(parents=True, exist_ok=True)
    with Buffer(folder / "buffer.db") as buffer:
        yield buffer


def records(count: int, rng: random.Random, first: int = 1) -> list[tuple[str, bytes]]:
    """Return (id, stored line) pairs as a probe makes them, each with its list of round trips."""
    made = []
    for n in range(count):
        rtts = [round(rng.uniform(30, 90), 3) for _ in range(10)]
        result = make_result(
            first + n,
            duration_ms=round(rng.uniform(1900, 2300), 3),
            data={"sent": 10, "received": 10, "loss_ratio": 0.0, "rtt_avg_ms": sum(rtts) / 10, "rtts_ms": rtts},
        )
        made.append((result.id, result.to_line()))
    return made


def fill(buffer: Buffer, count: int, rng: random.Random) -> list[str]:
    """Put records into the queue; returns their ids in order."""
    made = records(count, rng)
    buffer.take_in(made)
    return [name for name, _ in made]


def upload(buffer: Buffer, *collectors: Collector, mode: Mode = Mode.TYPED) -> Report:
    """Upload once, as `sigprobe upload` does."""
    return drain(buffer, collectors, Backoff(buffer.path.with_name("backoff.json")), mode=mode)


def drain_until_empty(buffer: Buffer, *collectors: Collector, most: int = 100) -> list[Report]:
    """Upload again and again until nothing is pending; fails after `most` attempts."""
    reports: list[Report] = []
    while buffer.pending():
        hold(len(reports) < most, "never-empty", f"{buffer.pending()} left, {reports[-1:]}")
        reports.append(upload(buffer, *collectors))
    return reports


def hold_once(wanted: list[str], stored: Counter[str]) -> None:
    """Hold that each wanted id is stored, and none twice."""
    missing = [name for name in wanted if name not in stored]
    hold(not missing, "lost", f"{len(missing)} of {len(wanted)}")
    twice = [name for name, times in stored.items() if times > 1]
    hold(not twice, "duplicate", f"{len(twice)} of {len(wanted)}")
