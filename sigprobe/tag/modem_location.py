"""Read the modem's own satellite receiver through ModemManager."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from sigprobe.tag import modem, nmea
from sigprobe.tag.bus import Bus, BusError, system_bus
from sigprobe.tag.feed import Feed
from sigprobe.tag.fix import Fix, is_position

GPS_RAW: Final = 1 << 1
GPS_NMEA: Final = 1 << 2
POLL_S: Final = 1.0


def read_place(
    feed: Feed,
    clock: Callable[[], float],
    wall: Callable[[], float],
    connect: Callable[[], AbstractContextManager[Bus]] = system_bus,
) -> None:
    """Switch a modem's receiver on and report each new fix to the feed, until it stops. Raises BusError."""
    with connect() as bus:
        path = _switch_on(bus)
        feed.answered = True
        feed.note()
        talk = nmea.Talk(clock, wall, source="modem")
        before: Mapping[int, Any] | None = None
        while not feed.stop.is_set():
            told = bus.call(modem.SERVICE, path, modem.LOCATION, "GetLocation")
            now = {k: v for k, v in told.items() if k in (GPS_RAW, GPS_NMEA)} if isinstance(told, dict) else {}
            # ModemManager keeps the last fix indefinitely: a fix from before the start may be old
            if before is not None and now != before:
                feed.note(found=_fix(now, talk, clock()))
            before = now
            feed.stop.wait(POLL_S)


def _switch_on(bus: Bus) -> str:
    """Switch a receiver on and return its modem path. Other location features are unchanged. Raises BusError."""
    found = modem.modems(bus)
    if not found:
        raise BusError("there is no modem")
    refusal: BusError | None = None
    for path, interfaces in found:
        group = interfaces.get(modem.LOCATION) or {}
        able, enabled = _bits(group.get("Capabilities")), _bits(group.get("Enabled"))
        wanted = (GPS_RAW | GPS_NMEA) & able
        if not wanted:
            continue
        try:
            if enabled & wanted != wanted:
                signalled = group.get("SignalsLocation") is True
                bus.call(modem.SERVICE, path, modem.LOCATION, "Setup", "ub", enabled | wanted, signalled)
        except BusError as error:
            refusal = error
            continue
        return path
    raise refusal or BusError("no modem has a satellite receiver")


def _bits(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _fix(told: Mapping[int, Any], talk: nmea.Talk, now: float) -> Fix | None:
    text = told.get(GPS_NMEA)
    found: Fix | None = None
    for line in text.encode("ascii", "replace").split() if isinstance(text, str) else ():
        found = talk.feed(line) or found
    return found or _raw(told.get(GPS_RAW), now)


def _raw(told: object, now: float) -> Fix | None:
    if not isinstance(told, dict):
        return None
    lat, lon, alt = (told.get(name) for name in ("latitude", "longitude", "altitude"))
    if not isinstance(lat, float) or not isinstance(lon, float) or not is_position(lat, lon):
        return None
    return Fix(lat, lon, "modem", at_s=now, alt_m=alt if isinstance(alt, float) and abs(alt) < 20_000 else None)
