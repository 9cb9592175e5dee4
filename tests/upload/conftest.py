"""A queue to drain, and the memory of failures beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from sigprobe.buffer import Buffer
from sigprobe.upload import Backoff, Collector, Upload
from tests.support.laptop_fixtures import database, engine, laptop, postgres  # noqa: F401 - fixtures
from tests.support.stand_in_collector import StandIn


@pytest.fixture
def buffer(tmp_path: Path) -> Iterator[Buffer]:
    """An empty queue."""
    with Buffer(tmp_path / "queue" / "buffer.db") as buffer:
        yield buffer


class Draining:
    """Makes drains of one queue; `waits` holds every pause a drain made instead of sleeping."""

    def __init__(self, buffer: Buffer, folder: Path) -> None:
        self.buffer = buffer
        self.path = folder / "backoff.json"
        self.waits: list[float] = []

    def __call__(self, *servers: StandIn | Collector, **changes: Any) -> Upload:
        collectors = [s if isinstance(s, Collector) else Collector(s.url, "secret") for s in servers]
        changes.setdefault("pause", self.waits.append)
        # without jitter: a random wait of nearly 0 s would allow another attempt in the same drain
        backoff = changes.pop("backoff", None) or Backoff(self.path, uniform=lambda _low, high: high)
        return Upload(self.buffer, collectors, backoff, **changes)


@pytest.fixture
def draining(buffer: Buffer, tmp_path: Path) -> Draining:
    """A function that makes a drain against given servers."""
    return Draining(buffer, tmp_path)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """An authority of our own."""
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> str:
    """The file with its certificate, as settings name it."""
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)
