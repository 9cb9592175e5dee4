"""Read this device's position in the background from the start of a test; nothing blocks on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from sigprobe.record.result import Location
from sigprobe.tag import fix, gpsd
from sigprobe.tag.feed import Feed, Read, read_gpsd, read_nmea
from sigprobe.tag.fix import Expected, Fix

SOURCES: Final = ("auto", "gpsd", "nmea", "modem", "fixed", "none")
DEFAULT_GPSD: Final = "127.0.0.1:2947"

_RETRY_S: Final = (1.0, 2.0, 5.0)
_GRADES: Final = {"good": 0, "fair": 1, "poor": 2}
_HDOP_M: Final = 5.0
"""Metres of error per unit of HDOP: only to rank a source without an error estimate."""
_NO_WORD_M: Final = 50.0


class GpsReader:
    """Fixes of all sources. Reading begins at once, in daemon threads, and ends with `close`.

    `source` is a value of `location.source`; `manual`, from the command line, has priority. Under `auto` all available
    sources are read: the better grade wins, then the smaller error, then the newer fix. The position of `fixed` is used
    while no other source has one. `problem` is the reason, in technical English, why no fix can arrive.
    """

    def __init__(
        self,
        source: str = "auto",
        *,
        gpsd: str = DEFAULT_GPSD,
        nmea: str | None = None,
        fixed: tuple[float, float] | None = None,
        manual: tuple[float, float] | None = None,
        expected: Expected | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Start reading. Raises ValueError for an unknown source, address or an impossible position."""
        if source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}")
        self._clock = clock
        self._expected = expected
        self._fallback: Fix | None = None
        self._missing: str | None = None
        self._change = threading.Condition()
        self._stop = threading.Event()
        self._feeds: list[Feed] = []
        self._threads: list[threading.Thread] = []
        if manual is not None:
            self._fallback = fix.typed(manual, "manual")
            return
        if source in ("auto", "fixed") and fixed is not None:
            self._fallback = fix.typed(fixed, "fixed")
        if source == "fixed" and fixed is None:
            self._missing = "location.fixed is not given"
        if source == "nmea" and nmea is None:
            self._missing = "location.nmea is not given"
        readers: dict[str, Read] = {}
        if source in ("auto", "gpsd"):
            readers["gpsd"] = read_gpsd(gpsd, clock, wall)
        if source in ("auto", "nmea") and nmea is not None:
            readers["nmea"] = read_nmea(nmea, clock, wall)
        if source in ("auto", "modem"):
            readers["modem"] = _read_modem(clock, wall)
        self._start(readers)

    def _start(self, readers: dict[str, Read]) -> None:
        for name, read in readers.items():
            feed = Feed(name, self._change, self._stop)
            self._feeds.append(feed)
            self._threads.append(threading.Thread(target=self._read, args=(feed, read), name="gps", daemon=True))
        for thread in self._threads:
            thread.start()

    @property
    def problem(self) -> str | None:
        """Return why no fix can arrive, as reported by the sources; None without a report."""
        with self._change:
            told = (feed.problem for feed in self._feeds if feed.problem is not None)
            return self._missing or next(told, None)

    @property
    def answered(self) -> bool:
        """Return True once any source has answered as a receiver does."""
        return any(feed.answered for feed in self._feeds)

    def newest(self, within_s: float | None = None) -> Fix | None:
        """Return the best fix now; under `auto` the fixed position if no source has one.

        `within_s` limits the age of a measured fix: for a moving device.
        """
        now = self._clock()
        with self._change:
            found = [best for feed in self._feeds if (best := feed.track.best(now)) is not None]
        if within_s is not None:
            found = [best for best in found if best.at_s is not None and now - best.at_s <= within_s]
            return min(found, key=lambda f: _rank(f, now), default=None)
        return min(found, key=lambda f: _rank(f, now), default=self._fallback)

    def location(self, check_started: float) -> Location | None:
        """Return the best fix as the tag of a check that started then, on the monotonic clock."""
        return fix.location(self.newest(), check_started, self._expected)

    def wait(self, timeout_s: float) -> bool:
        """Wait for a first position; False after the timeout, and at once if none can arrive."""
        with self._change:
            self._change.wait_for(lambda: not self._hoping(), timeout_s)
        return self.newest() is not None

    def may_come(self) -> bool:
        """Return True while a first position may still arrive."""
        with self._change:
            return self._hoping()

    def _hoping(self) -> bool:
        told = any(feed.track.newest is not None for feed in self._feeds)
        return not told and not self._stop.is_set() and any(not feed.hopeless for feed in self._feeds)

    def close(self) -> None:
        """Stop reading. May be called twice; the data read so far stays available."""
        self._stop.set()
        with self._change:
            self._change.notify_all()
        for feed in self._feeds:
            feed.hang_up()
        until = time.monotonic() + gpsd.CONNECT_S + 1
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def __enter__(self) -> GpsReader:
        """Return itself; reading has begun already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        self.close()

    def _read(self, feed: Feed, read: Read) -> None:
        """Run a source's thread: read repeatedly, less often the longer it is silent."""
        failures = 0
        while not self._stop.is_set():
            before = feed.track.newest
            try:
                read(feed)
                reason = f"{feed.name} closed the connection"
            except OSError as error:
                reason = f"{feed.name}: {error.strerror or error}"
            failures = 0 if feed.track.newest is not before else failures + 1
            feed.note(hopeless=True, problem=reason)
            self._stop.wait(_RETRY_S[min(failures, len(_RETRY_S) - 1)])


def _rank(found: Fix, now: float) -> tuple[int, float, float]:
    age = 0.0 if found.at_s is None else now - found.at_s
    place = fix.location(found, now)
    grade = _GRADES.get((place and place.quality) or "", len(_GRADES))
    error = found.accuracy_m
    if error is None:
        error = _NO_WORD_M if found.hdop is None else found.hdop * _HDOP_M
    return grade, error, age


def _read_modem(clock: Callable[[], float], wall: Callable[[], float]) -> Read:
    def read(feed: Feed) -> None:
        from sigprobe.tag.modem_location import read_place

        read_place(feed, clock, wall)

    return read


def open_gps(
    *,
    source: str = "auto",
    gpsd: str = DEFAULT_GPSD,
    nmea: str | None = None,
    fixed: tuple[float, float] | None = None,
    manual: tuple[float, float] | None = None,
    expected: Expected | None = None,
) -> GpsReader:
    """Start reading this device's position. Use it as a context manager, or call `close`."""
    return GpsReader(source, gpsd=gpsd, nmea=nmea, fixed=fixed, manual=manual, expected=expected)
