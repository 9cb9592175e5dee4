"""Find the times at which packets waited in a queue: what arrives then is what the link carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

STANDING_S: Final = 0.008
STANDING_RTTS: Final = 0.04
"""A round trip longer by so much than the longest at rest has waited in a queue."""

Span = tuple[float, float]
"""Begin and end, in seconds since the start of the transfer."""


def waited(rtt_s: float, rest_s: float | None) -> bool:
    """Return whether a round trip was long enough for a queue; True where the one at rest is not known."""
    return rest_s is None or rtt_s >= rest_s + max(STANDING_S, STANDING_RTTS * rest_s)


class QueueTime:
    """Round trips beside a transfer, and the times of a queue that they show.

    `rest_s` is the longest round trip at rest. A round trip that is still awaited shows a queue, too, once it lasts
    longer than that.
    """

    __slots__ = ("_awaited", "_quick_s", "_spans", "rest_s")

    def __init__(self, rest_s: float | None = None) -> None:
        self.rest_s = rest_s
        self._awaited: list[float] = []
        self._spans: list[Span] = []
        self._quick_s = 0.0

    def begin(self, at_s: float) -> None:
        """Record the beginning of a round trip."""
        self._awaited.append(at_s)

    def end(self, begin_s: float, at_s: float | None) -> None:
        """Record the end of the round trip that began then; `at_s` is None if it failed."""
        if begin_s in self._awaited:
            self._awaited.remove(begin_s)
        if at_s is None:
            return
        if not waited(at_s - begin_s, self.rest_s):
            self._quick_s = max(self._quick_s, at_s)
            return
        # a packet sent twice takes long without a queue: others were quick meanwhile
        begin_s = max(begin_s, self._quick_s)
        if begin_s < at_s:
            self._spans.append((begin_s, at_s))

    def awaited_s(self, at_s: float) -> float:
        """Return for how long the oldest round trip that has not ended is awaited; 0 for none."""
        return max((at_s - begin_s for begin_s in self._awaited), default=0.0)

    def spans(self, end_s: float) -> list[Span]:
        """Return the times of a queue up to `end_s`, in order and apart."""
        late = [max(begin_s, self._quick_s) for begin_s in self._awaited if waited(end_s - begin_s, self.rest_s)]
        joined: list[Span] = []
        for begin_s, until_s in sorted([*self._spans, *((begin_s, end_s) for begin_s in late)]):
            if joined and begin_s <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], until_s))
            elif begin_s < until_s:
                joined.append((begin_s, until_s))
        return joined


def total_s(spans: Sequence[Span]) -> float:
    """Return the seconds of all spans."""
    return sum(end_s - begin_s for begin_s, end_s in spans)
