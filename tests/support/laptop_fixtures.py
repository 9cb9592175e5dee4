"""Provide laptops with queues, and the collector's database on either engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sigprobe.buffer import Buffer
from tests.support.collector_fixtures import database, engine, postgres
from tests.support.laptops import Laptop

__all__ = ["database", "engine", "laptop", "postgres"]


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Callable[..., Laptop]]:
    """Provide a function that makes a laptop: a name, and how many results wait in its queue."""
    opened: list[Buffer] = []

    def make(name: str, waiting: int = 0, **options: object) -> Laptop:
        buffer = Buffer(tmp_path / name / "buffer.db", **options)  # type: ignore[arg-type]
        opened.append(buffer)
        made = Laptop(tmp_path / name, buffer)
        made.measure(waiting)
        return made

    yield make
    for buffer in opened:
        buffer.close()
