"""Settings files for command-line tests: JSON is YAML, so they are written from plain values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sigprobe.measure.path import second_look
from tests.support.laptop_fixtures import database, engine, laptop, postgres  # noqa: F401 - fixtures

Settings = Callable[..., Path]

PING = {"kind": "ping", "name": "device", "address": "127.0.0.1", "count": 2, "interval_ms": 10}
CLOSED = {"kind": "http", "name": "closed", "url": "http://127.0.0.1:9/"}
TPS = "3273011001005"


@pytest.fixture(autouse=True)
def no_pause_before_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once at what failed: none of these tests is about the ten seconds between the two looks.

    Outside a network namespace of their own, as without root, each test run with a closed port would wait for them.
    """
    monkeypatch.setattr(second_look, "AFTER_S", 0.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A function that writes a settings file with these targets and other top keys, and names it."""

    def write(*targets: dict[str, Any], name: str = "config.yaml", **keys: Any) -> Path:
        path = tmp_path / name
        document = {
            "probe": {"tps_id": TPS},
            "location": {"source": "none"},
            "targets": list(targets or (PING,)),
            **keys,
        }
        path.write_text(json.dumps(document, indent=1))
        return path

    return write
