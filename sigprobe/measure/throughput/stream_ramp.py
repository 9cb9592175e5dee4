"""Choose the number of streams: as many as still make the transfer faster."""

from __future__ import annotations

from typing import Final

MIN_ROUND_S: Final = 0.05
MOST_STREAMS: Final = 8
FIRST_STREAMS: Final = 2
NOT_SLOW_BYTES: Final = 8_000
NOT_SLOW_S: Final = 0.15
"""The second stream begins when so many bytes have arrived within so long: on a slow link each stream may have 64 kB
under way before anything can be done about it, and that is seconds."""

FAR_S: Final = 0.08
"""From this round trip on, all connections are opened at once: each doubling of them would cost a round trip."""

QUICK_BYTES: Final = 12_000
QUICK_S: Final = 0.015
"""A first window that arrives within so long comes over a link which is not slow."""

SLOW_BPS: Final = 8e6
"""A long way that carries less needs no further stream: they would only fill its queue."""


def first_streams(rtt_s: float) -> tuple[int, int]:
    """Return how many streams to begin with, and how many to hold open beside them."""
    return 1, (MOST_STREAMS if rtt_s >= FAR_S else FIRST_STREAMS) - 1


class Ramp:
    """Adds streams while the last round carried clearly more than the one before; two that did not end it."""

    def __init__(self, rtt_s: float) -> None:
        self._round_s = max(MIN_ROUND_S, rtt_s)
        self._far = rtt_s >= FAR_S
        self._first_s: float | None = None
        self._until = 0.0
        self._total = 0
        self._before: int | None = None
        self._flat = 0

    def more(self, now: float, total: int, streams: int) -> int:
        """Return how many streams to add now."""
        if self._first_s is None and total > 0:
            self._first_s = now
        if self._far and self._first_s is not None and now - self._first_s <= QUICK_S and total >= QUICK_BYTES:
            return MOST_STREAMS - streams
        if streams < FIRST_STREAMS:
            quick = self._first_s is not None and now - self._first_s <= NOT_SLOW_S
            return FIRST_STREAMS - streams if quick and total >= NOT_SLOW_BYTES else 0
        if self._flat >= 2 or streams >= MOST_STREAMS or now < self._until or total == 0:
            return 0
        last, self._total = total - self._total, total
        before, self._before = self._before, last
        self._until = now + self._round_s
        if before is None or (self._far and last * 8 < SLOW_BPS * self._round_s):
            return 0
        if last < 1.5 * before:
            self._flat += 1
            return 0
        self._flat = 0
        return min(streams, MOST_STREAMS - streams)
