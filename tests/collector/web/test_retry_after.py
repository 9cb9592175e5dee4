"""How long refused clients are told to wait."""

from __future__ import annotations

import random

from sigprobe.collector.web.retry_after import LEAST_S, LONGEST_S, SPAN_S, RetryAfter


class Scene:
    """A clock that is moved by hand, and a seeded choice."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits = RetryAfter(clock=lambda: self.now, uniform=random.Random(7).uniform)


def test_waits_are_spread() -> None:
    """Clients that are refused in one moment are told different times, all within the span."""
    scene = Scene()
    told = [scene.waits.next_s() for _ in range(100)]
    assert min(told) >= LEAST_S and max(told) <= SPAN_S
    assert len(set(told)) > 15


def test_a_crowd_is_spread_over_more_time() -> None:
    """When ten are refused for one that is served, all come back over ten times the span."""
    scene = Scene()
    for _ in range(500):
        scene.waits.accepted()
        for _ in range(5):
            scene.waits.next_s()
    assert scene.waits.span_s() == 5 * SPAN_S
    for _ in range(20_000):
        scene.waits.next_s()
    assert scene.waits.span_s() == LONGEST_S
    scene.now += 90
    assert scene.waits.next_s() <= SPAN_S, "an old crowd is forgotten"


def test_after_an_outage_waits_are_as_long_as_it_was() -> None:
    """As many probes wait as came in that time; the first batch that is stored ends it."""
    scene = Scene()
    scene.waits.failed()
    scene.now = 10
    assert scene.waits.span_s() == SPAN_S
    scene.now = 120
    scene.waits.failed()
    assert scene.waits.span_s() == 120
    scene.waits.accepted()
    assert scene.waits.span_s() == SPAN_S
