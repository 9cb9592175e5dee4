"""Judge our own clock by the database's, and by the newest result that was received before.

A receipt's `server_time` corrects the clocks of probes, so a wrong one would move the times of a nation. Two sources
can show that ours is wrong: PostgreSQL's clock, which all collectors of one database share, and the newest stored
receipt, which cannot lie in the future. SQLite has only the second.

The newest receipt counts as it was at the start. From then on the monotonic clock goes on from it, so results that are
merged from elsewhere cannot make our clock look wrong.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, select, text

from sigprobe.collector.store.schema import UtcTime, results

MOST_S: Final = 2.0
"""A clock that is off by more is not trusted."""

FRESH_S: Final = 10.0
"""A measurement is used for so long."""


@dataclass(frozen=True, slots=True)
class _Measured:
    wall_s: float
    monotonic_s: float
    offset_s: float
    """How far the database's clock is ahead of ours."""


class ReferenceClock:
    """Our clock as the database sees it. `measure` blocks on the database; the rest does not."""

    def __init__(
        self,
        engine: Engine,
        *,
        trust_own: bool = False,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`trust_own`: the newest receipt does not count, since it is known to be wrong."""
        self._engine = engine
        self._trust_own = trust_own
        self._wall = wall
        self._monotonic = monotonic
        self._measured: _Measured | None = None
        self._newest: tuple[float, float] | None = None
        self._looked = trust_own
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Measure if the last measurement is too old, or our clock was set since. Raises SQLAlchemyError."""
        if not self.is_fresh():
            self.measure()

    def is_fresh(self) -> bool:
        """Return whether `refresh` has nothing to do."""
        measured = self._measured
        return (
            measured is not None and self._monotonic() - measured.monotonic_s <= FRESH_S and not self._stepped(measured)
        )

    def measure(self) -> None:
        """Compare with the database now. Raises SQLAlchemyError."""
        with self._lock, self._engine.connect() as connection:
            began = self._monotonic()
            database_s = _database_time(connection)
            wall, ended = self._wall(), self._monotonic()
            offset = 0.0 if database_s is None else database_s + (ended - began) / 2 - wall
            if not self._looked:
                newest = connection.execute(select(results.c.received_at).order_by(*_NEWEST).limit(1)).scalar()
                self._newest = None if newest is None else (newest.timestamp(), ended)
                self._looked = True
            # an answer that took long says little; what was measured before may say more
            if self._measured is None or ended - began <= MOST_S:
                self._measured = _Measured(wall, ended, offset)

    def fault(self) -> str | None:
        """Return why our clock is not trusted; None while it is."""
        measured = self._measured
        if measured is None:
            return "not compared yet"
        if self._stepped(measured):
            return "it was set, and not compared since"
        if abs(measured.offset_s) > MOST_S:
            side = "behind" if measured.offset_s > 0 else "ahead of"
            return f"it is {_span(measured.offset_s)} {side} the database's"
        behind = self._least_s() - self._wall()
        if behind > MOST_S:
            return f"it is {_span(behind)} behind the newest receipt"
        return None

    def now(self) -> datetime:
        """Return the time for what is stored: ours while it is trusted, else the best that is known."""
        wall, measured = self._wall(), self._measured
        if measured is not None and abs(measured.offset_s) > MOST_S and not self._stepped(measured):
            wall += measured.offset_s
        # times of receipt never go back
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=max(wall, self._least_s()))

    def offset_s(self) -> float | None:
        """Return how far the database's clock is ahead of ours; None where it is the same clock, or not known."""
        if self._measured is None or self._engine.dialect.name == "sqlite":
            return None
        return self._measured.offset_s

    def _stepped(self, measured: _Measured) -> bool:
        passed = self._monotonic() - measured.monotonic_s
        return abs(self._wall() - measured.wall_s - passed) > MOST_S

    def _least_s(self) -> float:
        """Return the newest receipt of the start, with the time that has passed since."""
        if self._newest is None:
            return 0.0
        return self._newest[0] + self._monotonic() - self._newest[1]


_NEWEST: Final[tuple[Any, ...]] = (results.c.receive_no.desc(),)


def _database_time(connection: Connection) -> float | None:
    """Return the clock of the database's machine, in seconds since 1970; None where it is ours."""
    if connection.dialect.name == "sqlite":
        return None
    found = connection.execute(text("SELECT clock_timestamp()").columns(now=UtcTime)).scalar_one()
    return float(found.timestamp())


def _span(seconds: float) -> str:
    whole = abs(seconds)
    for unit, size in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if whole >= 2 * size:
            return f"{whole / size:.0f} {unit}"
    return f"{whole:.1f} seconds"
