"""`max_mb` over emulated links: what the link counts in both directions stays below it, and so does the record."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput import kind
from sigprobe.net.limits import OVERHEAD, Context, DataBudget, Deadline
from tests.support.link_emulator import Link, Way, link
from tests.support.netns import MARKS

pytestmark = MARKS

LINKS = [
    (rate, rtt, control)
    for rate, rtt in ((0.1, 20), (5, 200), (50, 40), (50, 600), (300, 20), (300, 300))
    for control in ("cubic", "bbr")
]
# a link takes 20 s: the whole table is for `make soak`
CHOSEN = (
    LINKS
    if os.environ.get("SIGPROBE_SOAK")
    else [pytest.param(0.1, 20, "cubic", marks=pytest.mark.beside), (50, 40, "cubic"), (300, 300, "bbr")]
)
SETTLED_S = 1.0


def passed(wire: Link) -> int:
    """Bytes that have crossed the link both ways."""
    return sum(cell["passed_bytes"] for ways in wire.counts().values() for cell in ways.values())


def at_rest(wire: Link) -> int:
    """The same once nothing more is on its way: a cut transfer's packets still cross the link, and are paid for."""
    before = passed(wire)
    deadline = time.monotonic() + 25
    while time.monotonic() < deadline:
        time.sleep(SETTLED_S)
        now = passed(wire)
        if now == before:
            break
        before = now
    return before


@contextmanager
def over(rate_mbit: float, rtt_ms: float, control: str, loss: float = 0) -> Iterator[Link]:
    bits = rate_mbit * 1e6
    queue = round(max(bits * rtt_ms / 8e3, bits * 0.1 / 8, 30_000))
    way = Way(delay_ms=rtt_ms / 2, rate_bps=bits, queue_bytes=queue, loss=loss)
    with link(up=way, down=way, congestion=control) as wire:
        yield wire


def check(wire: Link, url: str, max_mb: int, budget_bytes: int | None = None) -> Measured:
    def run() -> Measured:
        chosen = kind.Options(name="x", url=url, max_mb=max_mb, max_s=4)
        budget = DataBudget(None if budget_bytes is None else int(budget_bytes / OVERHEAD))
        return kind.measure(chosen, Context(Deadline.after(chosen.timeout_s()), budget=budget))

    return wire.near.call(run)


@pytest.mark.parametrize(("rate", "rtt", "control"), CHOSEN)
def test_no_more_passes_than_promised(rate: float, rtt: float, control: str, collector: Callable[[Link], str]) -> None:
    """Headers, acknowledgements, repeats and what is under way at the end are part of the megabytes."""
    with over(rate, rtt, control) as wire:
        url = collector(wire)
        before = at_rest(wire)
        measured = check(wire, url, 2)
        moved = at_rest(wire) - before
    assert moved <= 2_000_000
    assert measured.data["wire_bytes"] <= 2_000_000
    assert moved <= measured.data["wire_bytes"] * 1.03, "what is counted is what has passed"
    assert measured.data["download_bps"] is not None, "and there is a rate all the same"


def test_repeated_packets_are_part_of_it(collector: Callable[[Link], str]) -> None:
    """Three packets of a hundred are lost both ways: what is sent again counts."""
    with over(20, 40, "cubic", loss=0.03) as wire:
        url = collector(wire)
        before = at_rest(wire)
        measured = check(wire, url, 2)
        moved = at_rest(wire) - before
    assert moved <= 2_000_000
    assert moved <= measured.data["wire_bytes"] * 1.01


def test_the_budget_of_the_run_counts_the_same_bytes(collector: Callable[[Link], str]) -> None:
    """With less left for the run than `max_mb`, no more than that passes."""
    with over(50, 40, "bbr") as wire:
        url = collector(wire)
        before = at_rest(wire)
        measured = check(wire, url, 30, budget_bytes=4_000_000)
        moved = at_rest(wire) - before
    assert moved <= 4_000_000
    assert moved > 1_000_000, "the control: it did measure"
    assert measured.data["wire_bytes"] <= 4_000_000
