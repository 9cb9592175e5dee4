"""Parse gpsd's JSON protocol from a plain socket.

Invalid data, a partial line and a closed connection are normal here, not errors.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sigprobe.record.foreign_json import object_or_none
from sigprobe.record.plausible_time import is_plausible
from sigprobe.record.result import format_time, parse_time
from sigprobe.tag.fix import Fix, is_position, taken_at

WATCH: Final = b'?WATCH={"enable":true,"json":true};\n'
CONNECT_S: Final = 2.0
GREETING_S: Final = 3.0
"""gpsd introduces itself at once; who is silent this long is something else."""
SILENCE_S: Final = 60.0
"""A daemon this long without a line may be gone without a goodbye: connect again."""

_MAX_LINE_BYTES: Final = 64 * 1024
_STRANGE_LINES: Final = 20
_SKY_S: Final = 30.0


def split_address(text: str) -> tuple[str, int]:
    """Parse `host:port`, also `[::1]:2947`; the port is optional. Raises ValueError."""
    host, mark, port = text.rpartition(":")
    if not mark or (":" in host and not text.startswith("[")):
        host, port = text, "2947"
    number = int(port) if port.isascii() and port.isdigit() else 0
    if not host or not 0 < number < 65536:
        raise ValueError(f"{text!r} is no host:port")
    return host.strip("[]"), number


@dataclass(slots=True)
class Talk:
    """State of one connection. `feed` takes a line and returns its fix, if any.

    `answered` becomes true with gpsd's first line. `devices` is their number, None before it is reported.
    """

    clock: Callable[[], float]
    wall: Callable[[], float]
    answered: bool = False
    devices: int | None = None
    strange: int = 0
    _sky: dict[str, tuple[float, int | None, float | None]] = field(default_factory=dict)

    def feed(self, line: bytes) -> Fix | None:
        """Process one line; return None for anything that is not a usable fix."""
        report = object_or_none(line)
        if report is None or not isinstance(report.get("class"), str):
            self.strange += 1
            return None
        self.answered = True
        kind = report["class"]
        if kind == "DEVICES":
            self.devices = len(report["devices"]) if isinstance(report.get("devices"), list) else None
        elif kind == "DEVICE":
            self.devices = max(1, self.devices or 0)
        elif kind == "SKY":
            self._take_sky(report)
        elif kind == "TPV":
            self.devices = max(1, self.devices or 0)
            return self._fix(report)
        return None

    def trouble(self) -> str | None:
        """Return why this connection cannot give a fix, or None."""
        if self.devices == 0:
            return "gpsd has no receiver"
        if not self.answered and self.strange > _STRANGE_LINES:
            return "what answers there is not gpsd"
        return None

    def _take_sky(self, report: dict[str, Any]) -> None:
        used = report.get("uSat")
        satellites = used if isinstance(used, int) and not isinstance(used, bool) else None
        listed = report.get("satellites")
        if satellites is None and isinstance(listed, list):
            satellites = sum(1 for s in listed if isinstance(s, dict) and s.get("used") is True)
        device = str(report.get("device"))
        hdop = _number(report, "hdop")
        if satellites is None and device in self._sky:
            satellites = self._sky[device][1]  # some receivers send dilutions and satellites separately
        self._sky[device] = (self.clock(), satellites, hdop)

    def _fix(self, report: dict[str, Any]) -> Fix | None:
        mode, time = report.get("mode"), report.get("time")
        lat, lon = _number(report, "lat"), _number(report, "lon")
        # the first reports of a cold receiver have a mode but no time: their position is from an earlier session
        if type(mode) is not int or mode < 2 or not isinstance(time, str) or lat is None or lon is None:
            return None
        when = parse_time(time)
        if when is None or not is_position(lat, lon):
            return None
        now = self.clock()
        seen_s, satellites, hdop = self._sky.get(str(report.get("device")), (-math.inf, None, None))
        fresh = now - seen_s <= _SKY_S
        return Fix(
            lat=lat,
            lon=lon,
            source="gpsd",
            at_s=taken_at(now, self.wall(), when.timestamp()),
            # a receiver with a wrong week number still has a right position
            time=format_time(when) if is_plausible(when) else None,
            alt_m=_first(report, "altMSL", "altHAE", "alt") if mode >= 3 else None,
            accuracy_m=_accuracy(report),
            mode="3d" if mode >= 3 else "2d",
            satellites=satellites if fresh else None,
            hdop=hdop if fresh else None,
        )


def lines(connection: socket.socket) -> Iterator[bytes]:
    """Yield the lines of a connection until it ends; a line without an end is dropped.

    Raises OSError (a timeout too) when the connection breaks.
    """
    held = b""
    skipping = False
    while True:
        part = connection.recv(8192)
        if not part:
            return
        *whole, held = (held + part).split(b"\n")
        for line in whole:
            if not skipping:
                yield line
            skipping = False
        if len(held) > _MAX_LINE_BYTES:
            held, skipping = b"", True


def _number(report: dict[str, Any], name: str) -> float | None:
    value = report.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _first(report: dict[str, Any], *names: str) -> float | None:
    return next((value for name in names if (value := _number(report, name)) is not None), None)


def _accuracy(report: dict[str, Any]) -> float | None:
    """Return the horizontal error that gpsd estimates, in metres: `eph`, else from its two parts."""
    whole, east, north = _number(report, "eph"), _number(report, "epx"), _number(report, "epy")
    if whole is None and east is not None and north is not None:
        whole = math.hypot(east, north)
    return round(whole, 2) if whole is not None and whole >= 0 else None
