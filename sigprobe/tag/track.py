"""Filter one receiver's fixes: no jumps, no time going backwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sigprobe.places.geometry import distance_m
from sigprobe.record.result import parse_time
from sigprobe.tag.fix import STALE_S, Fix, is_zero

MAX_SPEED_M_S: Final = 100.0
"""Faster than any car, boat or train to a polling station."""
_NOISE_M: Final = 200.0
_TIME_SLACK_S: Final = 2.0
_CONVINCED: Final = 3
"""So many fixes in a row that fit each other, and the receiver is believed again."""


@dataclass(slots=True)
class Track:
    """Fixes of one source. `trusted` is the last fix consistent with those before it; `newest` may be wrong."""

    newest: Fix | None = None
    trusted: Fix | None = None
    _strays: int = 0

    def take(self, fix: Fix) -> None:
        """Add a new fix."""
        before = self.newest
        if is_zero(fix):
            self.newest = replace(fix, oddity=None if self.trusted is None else "jump")
            self._strays = 0
            return
        oddity = None if self.trusted is None else impossible(self.trusted, fix)
        if oddity is not None:
            agrees = before is not None and before.oddity is not None and impossible(before, fix) is None
            self._strays = self._strays + 1 if agrees else 1
            if self._strays >= _CONVINCED:
                oddity = None
        self.newest = fix if oddity is None else replace(fix, oddity=oddity)
        if oddity is None:
            self.trusted = self.newest
            self._strays = 0

    def best(self, now_s: float) -> Fix | None:
        """Return the newest fix, or the last consistent one during a short receiver error.

        In the second case the fix is marked with the oddity: the receiver is unreliable.
        """
        newest, trusted = self.newest, self.trusted
        if newest is None or trusted is None or newest.oddity is None:
            return newest
        fresh = trusted.at_s is not None and now_s - trusted.at_s <= STALE_S
        return replace(trusted, oddity=newest.oddity) if fresh else newest


def impossible(before: Fix, after: Fix) -> str | None:
    """Return why two fixes of one receiver contradict each other: `jump`, `time_back`; None if they are consistent."""
    if before.time is not None and after.time is not None:
        earlier, later = parse_time(before.time), parse_time(after.time)
        if earlier is not None and later is not None and (earlier - later).total_seconds() > _TIME_SLACK_S:
            return "time_back"
    if before.at_s is None or after.at_s is None:
        return None
    away = distance_m(before.lat, before.lon, after.lat, after.lon)
    allowed = _NOISE_M + (before.accuracy_m or 0.0) + (after.accuracy_m or 0.0)
    seconds = max(1.0, after.at_s - before.at_s)
    return "jump" if (away - allowed) / seconds > MAX_SPEED_M_S else None
