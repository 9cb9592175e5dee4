"""A drive with a car of its own, its settings, and what it left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.drive_process import PING, Driving
from tests.support.moving_receiver import Car, car


@pytest.fixture
def on_the_road() -> Iterator[Car]:
    """A car that drives while the test runs."""
    with car() as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a settings file: a receiver, targets, and other top keys."""

    def write(nmea: str | None, *targets: dict[str, Any], **keys: Any) -> Path:
        path = tmp_path / "config.yaml"
        place = {"source": "none"} if nmea is None else {"source": "nmea", "nmea": nmea, "timeout_ms": 10_000}
        document = {
            "probe": {"tps_id": "3273011001005"},
            "location": place,
            "targets": list(targets or (PING,)),
            "buffer": {"path": str(tmp_path / "queue" / "buffer.db")},
            **keys,
        }
        path.write_text(json.dumps(document))
        return path

    return write


@pytest.fixture
def driving(tmp_path: Path, spawn: Callable[..., Any]) -> Callable[..., Driving]:
    """A function that begins a drive; `inside` puts its command line into a namespace."""

    def start(
        config: Path, *options: str, inside: Callable[..., list[str]] | None = None, base: Path | None = None
    ) -> Driving:
        base = base or tmp_path / "drives" / "first"
        command = [sys.executable, "-m", "sigprobe", "drive", "--config", str(config), "--ndjson", "--lang", "en"]
        command += ["--every", "1", "--out", str(base), *options]
        process = spawn(
            inside(*command) if inside else command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
        )
        return Driving(process, base)

    return start
