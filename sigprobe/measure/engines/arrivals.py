"""What a transfer has moved over time, seen twice: in order, as programs see it, and as segments get through.

Where packets are lost the first view stands still and then jumps, once for each gap that is filled; the second shows
the link's own even pace, and so the rate is known much sooner. Without a loss the first is used, since it is exact.
"""

from __future__ import annotations

from typing import Final

from sigprobe.measure.engines.converge import Series

LEAST_SHARE: Final = 0.9
MOST_SHARE: Final = 1.25
"""Segments are counted times the size of one: a count that leaves these bounds is none to go by."""


class Arrivals:
    """Both views, and the moments at which losses were seen. `streams` is how many have been used."""

    __slots__ = ("losses_s", "ordered", "reached", "streams")

    def __init__(self) -> None:
        self.ordered = Series()
        self.reached = Series()
        self.losses_s: list[float] = []
        self.streams = 1

    def add(self, at_s: float, ordered: int, reached: int) -> None:
        """Append a sample; `reached` 0 where the system does not tell."""
        self.ordered.add(at_s, ordered)
        self.reached.add(at_s, reached)

    def best(self) -> Series:
        """The view to judge by."""
        total = self.ordered.total()
        if self.losses_s and LEAST_SHARE * total <= self.reached.total() <= MOST_SHARE * total + 64 * 1024:
            return self.reached
        return self.ordered
