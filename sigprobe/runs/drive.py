"""Run the loop of a drive test: position, time of the next point, and the end of the drive.

Clock, waiting, position and measuring are passed in, so the loop holds only the decisions.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sigprobe.places.geometry import distance_m
from sigprobe.record import kinds
from sigprobe.record.result import Location
from sigprobe.runs.route import Ended, Odometer, Point
from sigprobe.tag.fix import Fix, is_zero, location

if TYPE_CHECKING:
    from sigprobe.measure.kind import CommonOptions

EVERY_S: Final = 10.0
LEAST_S: Final = 1.0
"""No two points are closer in time: a receiver tells its position once a second."""
FRESH_S: Final = 3.0
"""A receiver that tells its position once a second and has been silent this long does not know it any more."""
SLOW_FRESH_S: Final = 10.0
"""The same for a receiver that is slower by itself; older than this a fix is no position: a car is 200 m further on."""
LATE_S: Final = 5.0
"""How much older than it is a fix may look, by a clock that is a little fast."""
LOOK_S: Final = 0.25

LONGEST_MS: Final = 8_000
"""A check that takes longer than this tells nothing about the place it began at."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Interval between points: by seconds, by metres, or by the earlier of both."""

    every_s: float | None = EVERY_S
    metres: float | None = None

    def due(self, waited_s: float, moved_m: float | None) -> bool:
        """Return whether a point is due. `moved_m` is None when one of the two positions is unknown."""
        if waited_s < LEAST_S:
            return False
        if self.metres is None or moved_m is None:
            return waited_s >= (self.every_s or EVERY_S)
        return moved_m >= self.metres or (self.every_s is not None and waited_s >= self.every_s)


@dataclass(slots=True)
class Compass:
    """Last plausible position: fresh, measured, not 0/0, and free of receiver errors.

    The age of a fix is the time since it was first seen. `Fix.at_s` alone relies on two clocks that may differ.
    """

    newest: Callable[[], Fix | None]
    clock: Callable[[], float] = time.monotonic
    _sound: Fix | None = None
    _late_s: float = math.inf
    _pause_s: float = math.inf

    def look(self) -> Fix | None:
        """Return the current position; None when it is unknown."""
        found = self.newest()
        if found is not None and found.at_s is not None and not is_zero(found):
            if found.oddity is None:
                self._take(found, found.at_s)
            elif self._sound is not None and found.at_s == self._sound.at_s:
                self._sound = found  # the receiver is wrong now; this is its earlier position, with its age
        sound = self._sound
        if sound is None or sound.at_s is None:
            return None
        fresh = min(max(FRESH_S, 2 * self._pause_s), SLOW_FRESH_S)
        return sound if self.clock() - sound.at_s - self._late_s <= fresh else None

    def _take(self, found: Fix, at_s: float) -> None:
        before = None if self._sound is None else self._sound.at_s
        if before != at_s:
            self._late_s = max(0.0, min(self._late_s, self.clock() - at_s))
            if before is not None and at_s > before:
                self._pause_s = min(self._pause_s, at_s - before)
        self._sound = found


@dataclass(frozen=True, slots=True)
class Here:
    """Position of one point for all of its checks, as `Session` needs it."""

    fix: Fix | None

    def location(self, check_started: float) -> Location | None:
        """Return the point's own position, even if the device has moved on."""
        return location(self.fix, check_started)

    def wait(self, timeout_s: float) -> bool:
        """Return at once: the position of a point is fixed."""
        del timeout_s
        return self.fix is not None

    def may_come(self) -> bool:
        """Return False: a later position belongs to another point."""
        return False


@dataclass(slots=True)
class Drive:
    """One drive. `measure(number, fix, way_m)` measures a point; `keep(point)` returns a reason to stop, or None.

    `room()` is False when the data budget has no room for another point.
    """

    pace: Pace
    look: Callable[[], Fix | None]
    measure: Callable[[int, Fix | None, float], Point | None]
    keep: Callable[[Point], Ended | None]
    room: Callable[[], bool]
    stop: threading.Event
    for_s: float | None = None
    most_points: int | None = None
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[float], object] | None = None
    odometer: Odometer = field(default_factory=Odometer)

    def run(self) -> Ended:
        """Measure points until stop, budget or an error; return the reason."""
        begun = self.clock()
        done = 0
        while True:
            reason = self._over(begun, done)
            if reason is not None:
                return reason
            started, fix = self.clock(), self.look()
            self._went(fix)
            point = self.measure(done + 1, fix, self.odometer.way_m)
            if point is not None:
                done += 1
                reason = self.keep(point)
                if reason is not None:
                    return reason
            reason = self._until_due(begun, started, fix, done)
            if reason is not None:
                return reason

    def _over(self, begun: float, done: int) -> Ended | None:
        if self.stop.is_set():
            return "stopped"
        if self.most_points is not None and done >= self.most_points:
            return "points"
        if self.for_s is not None and self.clock() - begun >= self.for_s:
            return "time"
        return None if self.room() else "data"

    def _until_due(self, begun: float, started: float, last: Fix | None, done: int) -> Ended | None:
        if self.most_points is not None and done >= self.most_points:
            return "points"
        while not self.stop.is_set():
            fix, now = self.look(), self.clock()
            self._went(fix)
            moved = None if fix is None or last is None else distance_m(last.lat, last.lon, fix.lat, fix.lon)
            if self.pace.due(now - started, moved):
                return None
            if self.for_s is not None and now - begun >= self.for_s:
                return "time"
            (self.wait or self.stop.wait)(LOOK_S)
        return "stopped"

    def _went(self, fix: Fix | None) -> None:
        self.odometer.take(None if fix is None else (fix.lat, fix.lon), None if fix is None else fix.accuracy_m)


def light(options: CommonOptions) -> CommonOptions:
    """Return the same check, small enough to repeat while travelling. A kind that cannot be reduced is unchanged."""
    if not kinds.info(options.kind).in_drive:
        return options
    small = options.lighter()
    return small.model_copy(update={"timeout_ms": round(min(small.timeout_s() * 1000, LONGEST_MS))})


def light_checks(checks: Sequence[CommonOptions]) -> tuple[CommonOptions, ...]:
    """Return the checks that a drive repeats by default: all light ones of the settings."""
    return tuple(light(options) for options in checks if kinds.info(options.kind).in_drive)


def bytes_for(checks: Sequence[CommonOptions]) -> int:
    """Return the maximum bytes of one point. Checks that fill the link stop at the budget by themselves."""
    from sigprobe.measure import KINDS

    return sum(options.estimate().bytes for options in checks if not KINDS[options.kind].exclusive) or 1
