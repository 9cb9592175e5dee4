"""Record the bytes of a transfer over time in two views: in order, as programs see them, and as segments arrive.

Where packets are lost the first view stands still and then jumps, once for each gap that is filled; the second shows
the link's own even pace, and so the rate is known much sooner. Without a loss the first is used, since it is exact.
"""

from __future__ import annotations

from typing import Final

from sigprobe.measure.throughput.convergence import BEYOND, PACKET_BYTES, Series, loss_bound
from sigprobe.measure.throughput.queue_time import QueueTime, waited
from sigprobe.measure.throughput.stream_ramp import FAR_S

LEAST_SHARE: Final = 0.9
MOST_SHARE: Final = 1.25
"""Segments are counted times the size of one: a count that leaves these bounds is none to go by."""

STALE_S: Final = 0.25
LOOK_S: Final = 0.5


class Arrivals:
    """Both views, and the moments at which losses were seen. `streams` is how many have been used.

    `rest_s` is the longest round trip at rest; `standing_s` the moment since which every round trip was longer than
    that, because packets wait in a queue at the narrowest place; None while none does. `queues` has the times at
    which connections opened beside the transfer waited in a queue. `yields`: the sender is known to give way to losses.
    """

    __slots__ = (
        "_free",
        "_trip_s",
        "losses_s",
        "ordered",
        "queues",
        "reached",
        "rest_s",
        "standing_s",
        "streams",
        "yields",
    )

    def __init__(self) -> None:
        self.ordered = Series()
        self.reached = Series()
        self.losses_s: list[float] = []
        self.streams = 1
        self.queues = QueueTime()
        self.yields = False
        self.rest_s: float | None = None
        self.standing_s: float | None = None
        self._trip_s = 0.0
        self._free = 0

    def trip(self, at_s: float, rtt_s: float) -> None:
        """Record a round trip that has just ended."""
        if self.rest_s is None or not waited(rtt_s, self.rest_s):
            self.standing_s = None
        elif self.standing_s is None or at_s - self._trip_s > STALE_S:
            self.standing_s = at_s
        self._trip_s = at_s

    def just_standing(self, now: float, rtt_s: float) -> bool:
        """Return whether a queue stands, and has for less than a round trip."""
        return self.standing_s is not None and now - self.standing_s < rtt_s

    def lose(self, at_s: float) -> None:
        """Record a loss that has just been found."""
        self.losses_s.append(at_s)
        self._free += self.standing_s is None

    def governing(self, now: float) -> list[float]:
        """Return the losses that may govern the rate.

        Those that a full queue made do not: they tell that the link is full. As long as none was seen without a
        queue, and one stands now, there are no others; on a short way, where windows give way within the time of a
        test, only if they are too few to govern it besides.
        """
        rest_s = self.rest_s or 0.0
        if self._free or self.standing_s is None or now - self.standing_s < rest_s or not self.losses_s:
            return self.losses_s
        share = len(self.losses_s) * PACKET_BYTES / max(PACKET_BYTES, self.ordered.total())
        few = loss_bound(rest_s, self.streams, share) >= BEYOND * self.ordered.rate(LOOK_S)
        return [] if few or rest_s >= FAR_S else self.losses_s

    def add(self, at_s: float, ordered: int, reached: int) -> None:
        """Append a sample; `reached` 0 where the system does not tell."""
        self.ordered.add(at_s, ordered)
        self.reached.add(at_s, reached)

    def best(self) -> Series:
        """Return the view that the rate is computed from."""
        total = self.ordered.total()
        if self.losses_s and LEAST_SHARE * total <= self.reached.total() <= MOST_SHARE * total + 64 * 1024:
            return self.reached
        return self.ordered
