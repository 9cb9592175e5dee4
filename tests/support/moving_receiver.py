"""Simulate a GPS receiver in a moving car: NMEA over a serial line (a pty)."""

from __future__ import annotations

import os
import pty
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

START = (-6.9, 107.6)
STEP_DEG = 0.0002
"""Some 22 m of longitude for each sentence, ten times a second."""


def sentence(body: str) -> bytes:
    """Return a sentence with its checksum and line end."""
    total = 0
    for char in body:
        total ^= ord(char)
    return f"${body}*{total:02X}\r\n".encode()


def degrees(value: float, width: int, sides: str) -> str:
    """Return degrees in NMEA format: degrees and minutes, and the hemisphere."""
    whole = int(abs(value))
    return f"{whole:0{width}d}{(abs(value) - whole) * 60:07.4f},{sides[value < 0]}"


def fix(lat: float, lon: float, when: datetime | None = None) -> bytes:
    """Return the sentences that a receiver with eight satellites sends each second."""
    when = when or datetime.now(UTC)
    clock, day = f"{when:%H%M%S}.{when.microsecond // 10_000:02d}", f"{when:%d%m%y}"
    place = f"{degrees(lat, 2, 'NS')},{degrees(lon, 3, 'EW')}"
    return (
        sentence(f"GPRMC,{clock},A,{place},40.0,90.0,{day},,,A")
        + sentence("GPGSA,A,3,01,02,03,04,05,06,07,08,,,,,1.8,0.9,1.5")
        + sentence(f"GPGGA,{clock},{place},1,08,0.9,700.5,M,0.0,M,,")
    )


@dataclass
class Car:
    """A car that drives east. `silent` simulates a tunnel; `beside` is sent before each fix."""

    port: str
    driving: bool = True
    silent: bool = False
    beside: bytes = b""
    lon: float = START[1]
    stop: threading.Event = field(default_factory=threading.Event)

    def drive(self, leader: int) -> None:
        while not self.stop.wait(0.1):
            if self.driving:
                self.lon += STEP_DEG
            if not self.silent:
                with suppress(BlockingIOError):
                    os.write(leader, self.beside + fix(START[0], self.lon))


@contextmanager
def car() -> Iterator[Car]:
    """Provide a car that drives until the end of the block."""
    leader, follower = pty.openpty()
    os.set_blocking(leader, False)
    made = Car(os.ttyname(follower))
    thread = threading.Thread(target=made.drive, args=(leader,))
    thread.start()
    try:
        yield made
    finally:
        made.stop.set()
        thread.join(10)
        os.close(follower)
        os.close(leader)


def until(condition: object, seconds: float = 20) -> bool:
    """Wait for a condition; False if it is not met in time."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
