"""Read positions from gpsd, or NMEA over a serial port, TCP or UDP: one connection per call.

A reader reports to a `Feed` and returns, or raises OSError, when its connection has ended. The caller retries.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from sigprobe.tag import gpsd, nmea
from sigprobe.tag.fix import Fix
from sigprobe.tag.track import Track

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

SPEEDS: Final = (9600, 4800, 38400, 115200)
"""Bits per second that receivers talk at, the commonest first."""
SPEED_TRY_S: Final = 2.2
"""A receiver talks every second; so long without one whole sentence is the wrong speed."""
SILENCE_S: Final = 60.0

_TURN_S: Final = 0.25
_MAX_LINE_BYTES: Final = 1024


class Feed:
    """Data of one source so far, shared between its thread and its readers.

    `hopeless` means that waiting is useless now; `problem` is the reason in technical English.
    """

    def __init__(self, name: str, change: threading.Condition, stop: threading.Event) -> None:
        self.name = name
        self.track = Track()
        self.answered = False
        self.hopeless = False
        self.problem: str | None = None
        self.stop = stop
        self._change = change
        self._connection: socket.socket | None = None

    def note(self, *, found: Fix | None = None, hopeless: bool = False, problem: str | None = None) -> None:
        """Store new data, and wake waiting threads."""
        with self._change:
            if found is not None:
                self.track.take(found)
            self.hopeless = hopeless
            self.problem = problem
            self._change.notify_all()

    @contextmanager
    def holding(self, connection: socket.socket) -> Iterator[None]:
        """Let `hang_up` end a read of this connection."""
        with self._change:
            self._connection = connection
        try:
            yield
        finally:
            with self._change:
                self._connection = None

    def hang_up(self) -> None:
        """Close the connection that the source's thread waits for, if any."""
        with self._change:
            connection = self._connection
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


Clock = Callable[[], float]
Read = Callable[[Feed], None]


def read_gpsd(address: str, clock: Clock, wall: Clock) -> Read:
    """Return a reader for one connection to gpsd at `host:port`. Raises ValueError for another address."""
    where = gpsd.split_address(address)

    def read(feed: Feed) -> None:
        with socket.create_connection(where, gpsd.CONNECT_S) as connection, feed.holding(connection):
            if feed.stop.is_set():  # closed while connecting
                return
            connection.settimeout(gpsd.GREETING_S)
            connection.sendall(gpsd.WATCH)
            talk = gpsd.Talk(clock, wall)
            for line in gpsd.lines(connection):
                found = talk.feed(line)
                if talk.answered:
                    connection.settimeout(gpsd.SILENCE_S)
                feed.answered = feed.answered or talk.answered
                feed.note(found=found, hopeless=talk.trouble() is not None, problem=talk.trouble())

    return read


def read_nmea(address: str, clock: Clock, wall: Clock) -> Read:
    """Return a reader of NMEA from a device file, `tcp://host:port` or `udp://[host]:port`. Raises ValueError for
    others."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return lambda feed: _serial(address, feed, nmea.Talk(clock, wall))
    if scheme == "tcp":
        where = gpsd.split_address(rest)
        return lambda feed: _tcp(where, feed, nmea.Talk(clock, wall))
    if scheme == "udp":
        host, _colon, port = rest.rpartition(":")
        if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{address!r} is no udp://[host]:port")
        own = host.strip("[]"), int(port)
        return lambda feed: _udp(own, feed, nmea.Talk(clock, wall))
    raise ValueError(f"{address!r} is neither a device file nor tcp:// nor udp://")


class _Lines:
    """Split bytes into whole lines; a line without an end is dropped."""

    def __init__(self) -> None:
        self._held = b""
        self._skipping = False

    def add(self, part: ReadableBuffer) -> Iterator[bytes]:
        *whole, self._held = (self._held + part).replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            if line and not self._skipping:
                yield line
            self._skipping = False
        if len(self._held) > _MAX_LINE_BYTES:
            self._held, self._skipping = b"", True


def _tell(feed: Feed, talk: nmea.Talk, lines: Iterator[bytes], *, patient: bool = False) -> None:
    for line in lines:
        found = talk.feed(line)
        feed.answered = feed.answered or talk.answered
        trouble = None if patient else talk.trouble()
        feed.note(found=found, hopeless=trouble is not None, problem=trouble)


def _tcp(where: tuple[str, int], feed: Feed, talk: nmea.Talk) -> None:
    with socket.create_connection(where, gpsd.CONNECT_S) as connection, feed.holding(connection):
        if feed.stop.is_set():
            return
        connection.settimeout(SILENCE_S)
        lines = _Lines()
        feed.note()
        while part := connection.recv(4096):
            _tell(feed, talk, lines.add(part))


def _udp(own: tuple[str, int], feed: Feed, talk: nmea.Talk) -> None:
    family = socket.AF_INET6 if ":" in own[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as listener:
        listener.bind(own)
        listener.settimeout(_TURN_S)
        feed.note()
        while not feed.stop.is_set():
            try:
                part = listener.recv(65536)
            except TimeoutError:
                continue
            # each datagram is complete: apps send a sentence, or all of a second, in one
            _tell(feed, talk, iter(part.replace(b"\r", b"\n").split(b"\n")))


def _serial(path: str, feed: Feed, talk: nmea.Talk) -> None:
    """Read a serial port, trying one speed after another until whole sentences arrive."""
    port = os.open(path, os.O_RDONLY | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        feed.note()
        for speed in SPEEDS:
            settable = _set_speed(port, speed)
            _listen(port, feed, talk, time.monotonic() + SPEED_TRY_S if settable else None)
            if feed.stop.is_set():
                return
        raise OSError(f"{path}: no NMEA at any speed")
    finally:
        os.close(port)


def _listen(port: int, feed: Feed, talk: nmea.Talk, until: float | None) -> None:
    """Read until `until` if nothing complete has arrived by then, else until the end. Raises OSError if the port
    disappears."""
    lines = _Lines()
    quiet_since = time.monotonic()
    while not feed.stop.is_set():
        if not talk.answered and until is not None and time.monotonic() > until:
            return
        ready, _, _ = select.select([port], [], [], _TURN_S)
        if not ready:
            if talk.answered and time.monotonic() - quiet_since > SILENCE_S:
                raise OSError("the port is silent")
            continue
        part = os.read(port, 4096)
        if not part:
            raise OSError("the port has gone")
        quiet_since = time.monotonic()
        _tell(feed, talk, lines.add(part), patient=True)  # at a wrong speed all data is garbage


def _set_speed(port: int, speed: int) -> bool:
    """Set a port to raw mode at a speed, 8N1; return False for a non-terminal, for example a FIFO."""
    try:
        import termios
    except ImportError:
        return False
    try:
        _iflag, _oflag, cflag, _lflag, _in, _out, special = termios.tcgetattr(port)
        cflag &= ~(termios.PARENB | termios.CSTOPB | termios.CSIZE | getattr(termios, "CRTSCTS", 0))
        cflag |= termios.CS8 | termios.CLOCAL | termios.CREAD
        rate = getattr(termios, f"B{speed}")
        special = list(special)
        special[termios.VMIN], special[termios.VTIME] = 1, 0
        termios.tcsetattr(port, termios.TCSANOW, [0, 0, cflag, 0, rate, rate, special])
        termios.tcflush(port, termios.TCIFLUSH)
    except termios.error:
        return False
    return True
