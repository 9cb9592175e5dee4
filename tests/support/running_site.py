"""Run a collector with its database and tokens in its own process, and write a settings file that points to it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.survivors import end

Run = Callable[..., subprocess.CompletedProcess[str]]


class Site:
    """A collector with its database and tokens, started and stopped at will."""

    def __init__(self, folder: Path, run: Run, port: int) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"
        self.database = f"sqlite:///{folder / 'collector.db'}"
        self._run = run
        self._process: subprocess.Popen[bytes] | None = None
        self.token = self._create("--probe", "laptop")
        self.admin = self._create("--admin", "centre")
        self.token_file = folder / "token"
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(self.token)

    def _create(self, *arguments: str) -> str:
        done = self._run("collector", "token", "create", *arguments, "--database", self.database)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    def start(self) -> None:
        command = [sys.executable, "-m", "sigprobe", "collector", "serve", "--port", str(self.port)]
        log = (self.folder / "collector.log").open("ab")
        self._process = subprocess.Popen([*command, "--database", self.database], stdout=log, stderr=log)
        log.close()
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 0.5).close()
                return
            assert self._process.poll() is None, (self.folder / "collector.log").read_text()
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"the collector did not start: {(self.folder / 'collector.log').read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            end(self._process)
            self._process = None

    def stored(self) -> list[dict[str, Any]]:
        request = urllib.request.Request(
            f"{self.url}v1/results?limit=1000", headers={"Authorization": f"Bearer {self.admin}"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            results: list[dict[str, Any]] = json.load(answer)["results"]
            return results


def write_config(folder: Path, collector_url: str, token_file: Path, target_url: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(
        f"""probe: {{tps_id: "3273011001005", election_id: "pemilu-2029"}}
location: {{source: fixed, fixed: {{lat: -6.91474, lon: 107.60981}}}}
targets:
  - {{kind: ping, name: device, address: 127.0.0.1, count: 3, interval_ms: 20}}
  - {{kind: http, name: page, url: "{target_url}"}}
  - {{kind: throughput, name: center, engine: http, url: "{target_url}", max_mb: 2, max_s: 1}}
  - {{kind: http, name: closed, url: "http://127.0.0.1:9/"}}
upload: {{collectors: [{{url: "{collector_url}", token_file: "{token_file}"}}]}}
"""
    )
    return path


def status(run: Run, config: Path) -> dict[str, Any]:
    done = run("status", "--json", "--config", str(config))
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document
