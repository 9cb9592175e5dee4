"""The whole way: a real probe process, a real collector process, and what is stored in between."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

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
        raise AssertionError("the collector did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(15)
            self._process = None

    def stored(self) -> list[dict[str, Any]]:
        request = urllib.request.Request(
            f"{self.url}v1/results?limit=1000", headers={"Authorization": f"Bearer {self.admin}"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            results: list[dict[str, Any]] = json.load(answer)["results"]
            return results


@pytest.fixture
def site(tmp_path: Path, sigprobe: Run, free_port: Callable[[], int]) -> Iterator[Site]:
    site = Site(tmp_path, sigprobe, free_port())
    site.start()
    yield site
    site.stop()


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


def test_a_result_goes_the_whole_way(site: Site, tmp_path: Path, sigprobe: Run) -> None:
    """What `test` measured and kept is what the collector stores, byte for byte, each record once."""
    config = write_config(tmp_path, site.url, site.token_file, site.url)

    done = sigprobe("test", "--json", "--config", str(config))

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [r["target"]["name"] for r in document["results"]] == ["device", "page", "center", "closed"]
    assert [r["outcome"] for r in document["results"]] == ["ok", "ok", "ok", "failed"]
    assert document["results"][3]["failure"]["code"] == "refused"
    assert document["saved"] == 5
    assert document["pending"] == 0
    kept = sigprobe("results", "--ndjson", "--config", str(config)).stdout.splitlines()
    assert len(kept) == 5
    held = site.stored()
    assert sorted(json.dumps(json.loads(line), sort_keys=True) for line in kept) == sorted(
        json.dumps(record, sort_keys=True) for record in held
    )
    for record in held:
        assert record["tags"]["tps_id"] == "3273011001005"
        assert record["tags"]["location"]["lat"] == -6.91474
        assert record["tags"]["location"]["source"] == "fixed"
    assert sorted(record["seq"] for record in held) == [1, 2, 3, 4, 5]
    assert {record["run_id"] for record in held} == {document["run_id"]}
    assert held[-1]["kind"] in {"run", "ping", "http", "throughput"}
    assert sum(record["kind"] == "run" for record in held) == 1


def test_with_the_collector_gone_everything_is_kept_and_sent_later(site: Site, tmp_path: Path, sigprobe: Run) -> None:
    """A lost collector costs nothing but time: exit 0 from test, 4 from upload, then all of it arrives."""
    config = write_config(tmp_path, site.url, site.token_file, site.url)
    site.stop()

    done = sigprobe("test", "--json", "--only", "ping", "--config", str(config))

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pending"] == 2
    assert sigprobe("upload", "--config", str(config)).returncode == 4
    assert status(sigprobe, config)["pending"] == 2
    site.start()
    done = sigprobe("upload", "--json", "--config", str(config))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["accepted"], report["duplicate"], report["pending"]) == (2, 0, 0)
    assert len(site.stored()) == 2
    assert sigprobe("upload", "--config", str(config)).returncode == 0


@contextmanager
def dropping_proxy(upstream: int) -> Iterator[tuple[int, list[int]]]:
    """A proxy on loopback that carries the first request to the collector and swallows its reply."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[int] = []

    def serve() -> None:
        while True:
            try:
                client, _address = listener.accept()
            except OSError:
                return
            with client, suppress(OSError, http.client.HTTPException):
                carry(client)

    def carry(client: socket.socket) -> None:
        client.settimeout(10)
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(65536)
        head, _end, body = request.partition(b"\r\n\r\n")
        length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-l")))
        while len(body) < length:
            body += client.recv(65536)
        with socket.create_connection(("127.0.0.1", upstream), 10) as server:
            server.sendall(head.replace(b"keep-alive", b"close") + b"\r\n\r\n" + body)
            reply = b""
            while b"\r\n\r\n" not in reply or b'"results"' not in reply:
                part = server.recv(65536)
                if not part:
                    break
                reply += part
        seen.append(len(reply))
        if len(seen) > 1:
            client.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], seen
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_a_lost_reply_doubles_nothing(site: Site, tmp_path: Path, sigprobe: Run) -> None:
    """The collector commits, its reply is lost, the probe sends again: the row count does not change."""
    with dropping_proxy(site.port) as (port, seen):
        config = write_config(tmp_path, f"http://127.0.0.1:{port}/", site.token_file, site.url)
        done = sigprobe("test", "--json", "--no-upload", "--only", "ping", "--config", str(config))
        assert json.loads(done.stdout)["pending"] == 2

        done = sigprobe("upload", "--json", "--config", str(config))

    assert done.returncode == 0, done.stderr
    assert len(seen) == 2, "the first reply must have been dropped"
    report = json.loads(done.stdout)
    assert (report["accepted"], report["duplicate"], report["pending"]) == (0, 2, 0)
    assert len(site.stored()) == 2
