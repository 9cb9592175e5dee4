"""Draw the nearest known points: for the screen, as JSON, and as a sentence under a blank spot's verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sigprobe.places.geometry import Near, Point, Wind
from sigprobe.record.profile import Word
from sigprobe.record.result import format_time
from sigprobe.render import words
from sigprobe.render.screen import GENERATIONS
from sigprobe.words.i18n import N_, _, duration, ngettext, number

FAR_M: Final = 100_000
"""A point further away is not reached in a day; `--json` has all that were asked for."""

WINDS: Final[dict[Wind, str]] = {
    "n": N_("north"),
    "ne": N_("north-east"),
    "e": N_("east"),
    "se": N_("south-east"),
    "s": N_("south"),
    "sw": N_("south-west"),
    "w": N_("west"),
    "nw": N_("north-west"),
}
Source = Literal["manual", "history", "list", "fixed"]
_SOURCES: Final[dict[Source, str]] = {
    "manual": N_("as given"),
    "history": N_("last position"),
    "list": N_("registered position of the TPS"),
    "fixed": N_("position in the settings"),
}


@dataclass(frozen=True, slots=True)
class Standpoint:
    """Position from which the distances count, and its time."""

    lat: float
    lon: float
    source: Source
    at: datetime | None = None


def nearest_text(
    here: Standpoint, found: Sequence[Near], now: datetime, *, width: int = 80, ascii: bool = False, plain: bool = False
) -> str:
    """Return one point a line, the nearest first; `plain` has commas instead of columns."""
    age = _age(here.at, now)
    width = max(40, min(width, 80))
    note = _(_SOURCES[here.source]) + (f", {age}" if age else "")
    far = [near for near in found if near.distance_m > FAR_M]
    if len(far) < len(found):
        found = [near for near in found if near.distance_m <= FAR_M]
    elif far:
        found = far[:1]  # nothing is near: the nearest of all says how far it is
    hidden = len(far) - sum(near.distance_m > FAR_M for near in found)
    origin = _("From {lat} {lon} ({note})").format(lat=number(here.lat, 5), lon=number(here.lon, 5), note=note)
    lines = [origin] if plain else words.wrap(origin, width, "  ")
    away = [distance_text(near.distance_m) for near in found]
    winds = [wind_text(near) for near in found]
    wide = [max((words.columns(text) for text in column), default=0) for column in (away, winds)]
    for near, distance, wind in zip(found, away, winds, strict=True):
        rest = [part for part in (_who(near.point), _name(near.point), quality_text(near.point, now)) if part]
        if plain:
            lines.append(", ".join([distance, wind, *rest]))
            continue
        head = f"  {words.pad(distance, wide[0], right=True)}  {words.pad(wind, wide[1])}  "
        lines += _hung(head, rest, width)
    if hidden:
        note = ngettext("{n} more point is over {distance} away.", "{n} more points are over {distance} away.", hidden)
        lines += words.wrap(note.format(n=number(hidden), distance=distance_text(FAR_M)), width, "  ")
    if not found:
        lines += words.wrap(
            _("No point with a signal is known here yet: no test has succeeded, and no list has been imported."), width
        )
        lines.append(_("Next: {command}").format(command="sigprobe nearest --import points.csv"))
    return "".join(f"{words.to_ascii(line) if ascii else line}".rstrip() + "\n" for line in lines)


def nearest_json(here: Standpoint, found: Sequence[Near], now: datetime) -> dict[str, Any]:
    """Return the same as plain values; `bearing` is one of n, ne, e, se, s, sw, w, nw, or null at distance 0."""
    return {
        "from": {"lat": here.lat, "lon": here.lon, "source": here.source, "at": _time(here.at)},
        "points": [
            {
                "distance_m": round(near.distance_m, 1),
                "bearing_deg": None if near.bearing_deg is None else round(near.bearing_deg, 1),
                "bearing": near.wind,
                "lat": near.point.lat,
                "lon": near.point.lon,
                "name": near.point.name,
                "kind": near.point.kind,
                "operator": near.point.operator,
                "rat": near.point.rat,
                "quality": near.point.quality,
                "tested_at": _time(near.point.at),
                "age_s": None if near.point.at is None else max(0, round((now - near.point.at).total_seconds())),
                "origin": near.point.origin,
                "carried": near.point.carried,
            }
            for near in found
        ],
    }


def nearest_sentence(near: Near, now: datetime) -> str:
    """Return the sentence for a blank spot: `Nearest known signal: 350 m north-east, Telkomsel 4G, good …`."""
    parts = [f"{distance_text(near.distance_m)} {wind_text(near)}", _who(near.point), _name(near.point)]
    parts.append(quality_text(near.point, now))
    return _("Nearest known signal: {point}.").format(point=", ".join(part for part in parts if part))


def distance_text(metres: float) -> str:
    """Format a distance with rounding for walking: `40 m`, `350 m`, `1,4 km`, `23 km`."""
    if metres < 995:
        return f"{number(round(metres, -1) if metres >= 10 else metres)} m"
    return f"{number(metres / 1000, 1 if metres < 9_950 else 0)} km"


def wind_text(near: Near) -> str:
    """Return the direction in words; `here` at distance 0."""
    return _("here") if near.wind is None else _(WINDS[near.wind])


def quality_text(point: Point, now: datetime) -> str:
    """Return quality and age of the last test there, or that there was none."""
    if point.quality is None:
        return _("from the list, not tested")
    word = words.word(Word.GOOD if point.quality == "good" else Word.POOR)
    parts = [word, _age(point.at, now), _("test of another device") if point.carried else ""]
    return ", ".join(part for part in parts if part)


def _age(at: datetime | None, now: datetime) -> str:
    return "" if at is None else _("{age} ago").format(age=duration((now - at).total_seconds()))


def _who(point: Point) -> str:
    generation = GENERATIONS.get((point.rat or "").lower(), point.rat or "")
    return words.clean(" ".join(part for part in (point.operator or "", generation) if part))


def _name(point: Point) -> str:
    return words.clean(" ".join(part for part in (point.kind or "", point.name or "") if part))


def _hung(head: str, parts: Sequence[str], width: int) -> list[str]:
    """Wrap the parts after the head between words, indented under the first part."""
    room = width - words.columns(head)
    body = words.wrap(" · ".join(parts), room)
    return [(head if at == 0 else " " * words.columns(head)) + line for at, line in enumerate(body)]


def _time(when: datetime | None) -> str | None:
    return None if when is None else format_time(when)
