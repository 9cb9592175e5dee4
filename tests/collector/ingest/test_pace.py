"""A body has a least rate, and a declared length reserves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sigprobe.collector.ingest.body import Pace, read_body
from sigprobe.collector.web.problems import ProblemError


def read(step_s: float, size: int, pieces: int, pace: Pace) -> bytes:
    """Read a body of equal pieces that come at these steps of a clock of our own."""
    now = 0.0

    async def body() -> AsyncIterator[bytes]:
        nonlocal now
        for _ in range(pieces):
            now += step_s
            yield b"x" * size

    return asyncio.run(read_body(body(), pace=pace, clock=lambda: now))


def test_a_dripping_body_ends() -> None:
    """A byte every 12 seconds is never silent for 30; the least rate ends it. Without that rate it would go on."""
    with pytest.raises(ProblemError) as caught:
        read(12, 1, 200, Pace(30, 30, 4096))
    assert caught.value.status == 408
    assert len(read(12, 1, 200, Pace(30, 1e9, 4096))) == 200, "the control: idle time alone lets it pass"


def test_the_slowest_link_that_counts_is_fast_enough() -> None:
    """A megabyte at 20 kbit/s comes through."""
    assert len(read(1, 2500, 400, Pace(30, 30, 4096))) == 1_000_000
