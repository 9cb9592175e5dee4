"""Where this device is: a source that is read in the background from the first second, and never waited for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from sigprobe.result import Location
from sigprobe.tag import fix, gpsd
from sigprobe.tag.fix import Fix

SOURCES: Final = ("auto", "gpsd", "nmea", "modem", "fixed", "none")
DEFAULT_GPSD: Final = "127.0.0.1:2947"

_RETRY_S: Final = (1.0, 2.0, 5.0)


class GpsReader:
    """Holds the newest fix of one source. Reading begins at once, in a daemon thread, and ends with `close`.

    `source` is a value of `location.source`; `manual`, from the command line, goes before everything. Under `auto` the
    position of `fixed` stands in while gpsd has none. `problem` says in technical English why no fix can come.
    """

    def __init__(
        self,
        source: str = "auto",
        *,
        gpsd: str = DEFAULT_GPSD,
        fixed: tuple[float, float] | None = None,
        manual: tuple[float, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Start reading. Raises ValueError for an unknown source or an impossible position."""
        if source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}")
        self.problem: str | None = None
        self.answered = False
        self._clock, self._wall = clock, wall
        self._address = gpsd
        self._newest: Fix | None = None
        self._fallback: Fix | None = None
        self._hopeless = False
        self._change = threading.Condition()
        self._stop = threading.Event()
        self._connection: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._choose(source, fixed, manual)

    def _choose(self, source: str, fixed: tuple[float, float] | None, manual: tuple[float, float] | None) -> None:
        if manual is not None:
            self._fallback = fix.typed(manual, "manual")
        elif source in ("auto", "fixed") and fixed is not None:
            self._fallback = fix.typed(fixed, "fixed")
        if manual is None and source in ("auto", "gpsd"):
            gpsd.split_address(self._address)
            self._thread = threading.Thread(target=self._read, name="gps", daemon=True)
            self._thread.start()
            return
        self._hopeless = True
        if source in ("nmea", "modem") and manual is None:
            self.problem = f"the source {source} is not in this version"
        elif source == "fixed" and self._fallback is None:
            self.problem = "location.fixed is not given"

    def newest(self) -> Fix | None:
        """The newest fix there is, at once; under `auto` the fixed position when gpsd has told none."""
        with self._change:
            return self._newest or self._fallback

    def location(self, check_started: float) -> Location | None:
        """The newest fix as the tag of a check that started then, on the monotonic clock."""
        return fix.location(self.newest(), check_started)

    def wait(self, timeout_s: float) -> bool:
        """Wait for a first position; False when there is none by then, and at once where none can come."""
        with self._change:
            self._change.wait_for(lambda: self._newest is not None or self._hopeless or self._stop.is_set(), timeout_s)
        return self.newest() is not None

    def may_come(self) -> bool:
        """True while a first position is still to be hoped for."""
        with self._change:
            return self._newest is None and not self._hopeless and not self._stop.is_set()

    def close(self) -> None:
        """Stop reading. May be called twice; what was read stays readable."""
        self._stop.set()
        with self._change:
            connection = self._connection
            self._change.notify_all()
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join(gpsd.CONNECT_S + 1)

    def __enter__(self) -> GpsReader:
        """Return itself; reading has begun already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        self.close()

    # --- the thread -----------------------------------------------------------------------------------------

    def _read(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                told = self._talk()
                reason = "gpsd closed the connection"
            except OSError as error:
                told, reason = False, f"gpsd at {self._address}: {error.strerror or error}"
            failures = 0 if told else failures + 1
            self._note(hopeless=True, problem=reason)
            self._stop.wait(_RETRY_S[min(failures, len(_RETRY_S) - 1)])

    def _talk(self) -> bool:
        """One connection from its first to its last line; True when gpsd told a fix."""
        told = False
        with socket.create_connection(gpsd.split_address(self._address), gpsd.CONNECT_S) as connection:
            with self._change:
                self._connection = connection
            if self._stop.is_set():  # closed while connecting
                return False
            try:
                connection.settimeout(gpsd.GREETING_S)
                connection.sendall(gpsd.WATCH)
                talk = gpsd.Talk(self._clock, self._wall)
                for line in gpsd.lines(connection):
                    found = talk.feed(line)
                    told = told or found is not None
                    if talk.answered:
                        connection.settimeout(gpsd.SILENCE_S)
                    self.answered = self.answered or talk.answered
                    self._note(found=found, hopeless=talk.trouble() is not None, problem=talk.trouble())
            finally:
                with self._change:
                    self._connection = None
        return told

    def _note(self, *, found: Fix | None = None, hopeless: bool, problem: str | None) -> None:
        with self._change:
            self._newest = found or self._newest
            self._hopeless = hopeless
            self.problem = problem
            self._change.notify_all()


def open_gps(
    *,
    source: str = "auto",
    gpsd: str = DEFAULT_GPSD,
    fixed: tuple[float, float] | None = None,
    manual: tuple[float, float] | None = None,
) -> GpsReader:
    """Start reading where this device is. Use it as a context manager, or call `close`."""
    return GpsReader(source, gpsd=gpsd, fixed=fixed, manual=manual)
