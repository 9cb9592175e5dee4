"""Simulate a playback buffer: start delay, stalls, seconds buffered.

Playing begins once `goal_s` of media have arrived, stops when none is left (a stall), and goes on at `goal_s` again.
The rung is chosen by rate alone: the highest whose announced rate is at most `SAFETY` of what the last `WINDOW`
segments came at, the lowest before anything has come. Nothing is ever given up half-way, and what comes faster than
it is played is kept without limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SAFETY: Final = 0.8
WINDOW: Final = 3


class Player:
    """Figures of one playback. All times are seconds of one monotonic clock."""

    def __init__(self, goal_s: float, begun_s: float) -> None:
        self._goal_s = goal_s
        self.begun_s = begun_s
        self._at_s = begun_s
        self._ahead_s = 0.0
        self._playing = False
        self._whole = False
        self._stalled_since_s: float | None = None
        self.start_delay_s: float | None = None
        self.stalls = 0
        self.stalled_s = 0.0

    @property
    def started(self) -> bool:
        """Return whether playback has started."""
        return self.start_delay_s is not None

    def arrived(self, now_s: float, media_s: float) -> None:
        """Add media that continues what has arrived."""
        self._advance(now_s)
        self._ahead_s += media_s
        if not self._playing and self._ahead_s >= self._goal_s:
            self._play()

    def complete(self, now_s: float) -> None:
        """Mark all media as arrived: the rest plays to its end, however short."""
        self._advance(now_s)
        self._whole = True
        if not self._playing and self._ahead_s > 0:
            self._play()

    def end(self, now_s: float) -> None:
        """End the playback: a stall in progress counts until now."""
        self._advance(now_s)
        if self._stalled_since_s is not None:
            self.stalled_s += self._at_s - self._stalled_since_s
            self._stalled_since_s = None

    def _play(self) -> None:
        self._playing = True
        if self.start_delay_s is None:
            self.start_delay_s = self._at_s - self.begun_s
        if self._stalled_since_s is not None:
            self.stalled_s += self._at_s - self._stalled_since_s
            self._stalled_since_s = None

    def _advance(self, now_s: float) -> None:
        passed = max(0.0, now_s - self._at_s)
        if self._playing:
            if passed > self._ahead_s and not self._whole:
                self._playing = False
                self.stalls += 1
                self._stalled_since_s = self._at_s + self._ahead_s
            self._ahead_s = max(0.0, self._ahead_s - passed)
        self._at_s += passed


def rate_bps(arrivals: Sequence[tuple[int, float]]) -> float | None:
    """Return the rate of the last `WINDOW` segments, each (bytes, seconds from its request to its last byte)."""
    last = arrivals[-WINDOW:]
    seconds = sum(taken for _, taken in last)
    return 8 * sum(count for count, _ in last) / seconds if seconds > 0 else None


def choose(rungs_bps: Sequence[int | None], rate: float | None) -> int:
    """Return the index of the next quality level; `rungs_bps` ascends, None is a rate that was not announced."""
    if rate is None:
        return 0
    fitting = [i for i, bps in enumerate(rungs_bps) if bps is not None and bps <= SAFETY * rate]
    return fitting[-1] if fitting else 0
