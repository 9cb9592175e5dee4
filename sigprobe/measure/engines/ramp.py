"""How many streams a transfer needs: as many as still make it faster."""

from __future__ import annotations

from typing import Final

MIN_ROUND_S: Final = 0.05
MOST_STREAMS: Final = 8
FAR_S: Final = 0.1
VERY_FAR_S: Final = 0.2
"""From these round trips on, a transfer begins with more streams: each doubling would cost a round trip."""


def first_streams(rtt_s: float) -> int:
    """How many streams to begin with."""
    if rtt_s >= VERY_FAR_S:
        return MOST_STREAMS
    return 4 if rtt_s >= FAR_S else 2


class Ramp:
    """Adds streams while the last round carried clearly more than the one before; two that did not end it."""

    def __init__(self, rtt_s: float) -> None:
        self._round_s = max(MIN_ROUND_S, rtt_s)
        self._until = 0.0
        self._total = 0
        self._before: int | None = None
        self._flat = 0

    def more(self, now: float, total: int, streams: int) -> int:
        """How many streams to add now."""
        if self._flat >= 2 or streams >= MOST_STREAMS or now < self._until or total == 0:
            return 0
        last, self._total = total - self._total, total
        before, self._before = self._before, last
        self._until = now + self._round_s
        if before is None:
            return 0
        if last < 1.5 * before:
            self._flat += 1
            return 0
        self._flat = 0
        return min(streams, MOST_STREAMS - streams)
