"""A real collector at the far end of an emulated link, for the kinds that measure against one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.link_emulator import Link

PORT = 8470


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Provide an authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Provide the file with its certificate, as settings name it."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def collector(spawn: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> Iterator[Callable[[Link], str]]:
    """Start a collector at the far end of a link; its URL. It is killed at the end: its grace is not what is tested."""
    started: list[subprocess.Popen[str]] = []

    def start(wire: Link) -> str:
        command = [sys.executable, "-m", "sigprobe", "collector", "serve", "--host", wire.far_address]
        command += ["--port", str(PORT), "--throughput", "open", "--database", f"sqlite:///{tmp_path}/c.db"]
        started.append(spawn(wire.far.command(*command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for _ in range(300):
            if f":{PORT} " in wire.far.run("ss", "-ltnH").stdout:
                return f"http://{wire.far_address}:{PORT}/"
            time.sleep(0.1)
        raise AssertionError("the collector did not start")

    yield start
    for process in started:
        process.kill()
