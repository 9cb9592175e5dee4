"""Kind `video` against a real collector over emulated links: stalls on one too small, none on a wide one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sigprobe.measure.kind import Measured
from sigprobe.measure.video import kind
from sigprobe.net.limits import Context, DataBudget, Deadline
from sigprobe.record.result import Outcome
from tests.support.link_emulator import Link, Way, link
from tests.support.netns import MARKS

pytestmark = [*MARKS, pytest.mark.beside]


def check(wire: Link, url: str, **options: object) -> tuple[Measured, int]:
    """One check from the near end, and the bytes it says it used."""

    def run() -> tuple[Measured, int]:
        chosen = kind.Options.model_validate({"kind": "video", "name": "x", "url": url, **options})
        budget = DataBudget()
        return kind.measure(chosen, Context(Deadline.after(chosen.timeout_s()), budget=budget)), budget.used_bytes

    return wire.near.call(run)


def test_a_link_smaller_than_the_lowest_rung_stalls(collector: Callable[[Link], str]) -> None:
    """150 kbit/s for a video of 200: it plays, stands still, and the rate that is stated is the link's."""
    way = Way(delay_ms=30, rate_bps=150e3, queue_bytes=20_000)
    with link(up=way, down=way) as wire:
        measured, used = check(wire, collector(wire), media_s=6, buffer_s=2, timeout_ms=60_000)
        counts = wire.counts()
    data = measured.data
    assert measured.outcome is Outcome.OK, measured.failure
    assert (data["media_s"], data["mean_bitrate_bps"], data["switches"]) == (6.0, 200_000, 0)
    # 50,000 bytes take 2.7 s on this link and play for 2 s
    assert data["start_delay_ms"] > 2_600
    assert data["stalls"] >= 1
    assert data["stalled_ms"] > 1_000
    assert data["segment_bps"] == pytest.approx(150e3, rel=0.15)
    # what it counts went over the link: packet headers and acknowledgements come on top
    passed = counts["down"]["tcp"]["passed_bytes"] + counts["up"]["tcp"]["passed_bytes"]
    assert used < passed < 1.15 * used


def test_a_wide_link_plays_higher_rungs_without_a_stall(collector: Callable[[Link], str]) -> None:
    """5 Mbit/s at 40 ms: nothing stands still, and no rung is taken that the link cannot carry."""
    way = Way(delay_ms=20, rate_bps=5e6, queue_bytes=100_000)
    with link(up=way, down=way) as wire:
        measured, _ = check(wire, collector(wire), media_s=16, timeout_ms=60_000)
    data = measured.data
    assert measured.outcome is Outcome.OK, measured.failure
    assert (data["stalls"], data["stalled_ms"]) == (0, 0.0)
    assert 200_000 < data["mean_bitrate_bps"] <= 3_000_000
    assert max(rung["bandwidth_bps"] for rung in data["rungs"]) <= 3_000_000
    assert data["segment_bps"] < 5e6
