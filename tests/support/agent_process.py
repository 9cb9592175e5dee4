"""Start an agent process with settings, and receive what it reports to a service manager."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sigprobe.upload.jitter import share
from tests.support.stand_in_collector import until

Spawn = Callable[..., "subprocess.Popen[str]"]


def settings(folder: Path, collector: str | None, *, every_min: int = 1440, **keys: Any) -> Path:
    """Return a settings file with one quick check; `keys` are added to the collector's entry."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text("secret")
    more = "".join(f', {name}: "{value}"' for name, value in keys.items())
    upload = (
        "" if collector is None else f'upload: {{collectors: [{{url: "{collector}", token_file: {token}{more}}}]}}\n'
    )
    queue = folder / "queue"
    queue.mkdir(exist_ok=True)
    (queue / "probe-id").write_text(eager_probe() + "\n")
    path = folder / "config.yaml"
    path.write_text(
        "probe: {site: test}\nlanguage: en\nlocation: {source: none}\n"
        "targets: [{kind: ping, name: device, address: 127.0.0.1, count: 2, interval_ms: 20}]\n"
        f"buffer: {{path: {folder / 'queue' / 'buffer.db'}}}\nschedule: {{every_min: {every_min}}}\n" + upload
    )
    return path


def eager_probe() -> str:
    """Return a probe whose first test is due within a second, and that waits longest after a link comes up."""
    while True:
        name = str(uuid.uuid4())
        if share(name, "schedule") < 0.03 and share(name, "link") > 0.95:
            return name


class Manager:
    """Receive the notifications of a service."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self._heard: list[str] = []

    @property
    def heard(self) -> list[str]:
        """Return all assignments received so far."""
        while True:
            try:
                self._heard += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self._heard


@contextmanager
def manager(folder: Path) -> Iterator[Manager]:
    """Provide a notification socket."""
    made = Manager(folder / "notify")
    try:
        yield made
    finally:
        made.socket.close()


class AgentProcess:
    """A running agent and its output."""

    def __init__(self, spawn: Spawn, config: Path, listener: Manager | None = None, prefix: Sequence[str] = ()) -> None:
        self.log = config.with_name(f"agent-{time.monotonic_ns()}.log")
        environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if listener is not None:
            environ["NOTIFY_SOCKET"] = str(listener.path)
        with self.log.open("w") as log:
            self.process = spawn(
                [*prefix, sys.executable, "-m", "sigprobe", "agent", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Wait for a text in its output."""
        until(lambda: text in self.said or self.process.poll() is not None, seconds)
        assert text in self.said, self.said
