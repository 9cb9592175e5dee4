"""Draw a map of Indonesia as SVG inside a page: no tiles, no script, no network. Points are drawn over an outline.

The outline is Natural Earth's (public domain), see docs/data.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Final

OUTLINE: Final = Path(__file__).parent / "indonesia.json"
WHOLE: Final = (94.5, -11.5, 141.5, 6.5)
"""West, south, east, north of the country, in degrees."""
LEAST_SPAN: Final = 0.02
"""The room around one spot, in degrees: some two kilometres."""
LEAST_WAY: Final = 0.001
"""The room around a way: some hundred metres."""
METRES_PER_DEGREE: Final = 111_195.0
HIGHEST: Final = 1.2
LOWEST: Final = 0.3
"""The height of a map in widths."""
FEW: Final = 150
MANY: Final = 600
"""Up to so many spots are drawn large, and up to so many of a middle size."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Point on the map: degrees, a grade for its colour (`good`, `fair`, `poor`, `bad`, or empty), and its label.

    `apart`: no line connects it to the point before.
    """

    lat: float
    lon: float
    grade: str = ""
    label: str = ""
    apart: bool = False


@cache
def _rings() -> tuple[tuple[tuple[float, float], ...], ...]:
    rings = json.loads(OUTLINE.read_text(encoding="ascii"))
    return tuple(tuple((float(x), float(y)) for x, y in ring) for ring in rings)


def frame_of(spots: Sequence[Spot], least: float = LEAST_SPAN) -> tuple[float, float, float, float]:
    """Return the frame around all spots, with a margin; the whole country without spots."""
    if not spots:
        return WHOLE
    west, east = min(s.lon for s in spots), max(s.lon for s in spots)
    south, north = min(s.lat for s in spots), max(s.lat for s in spots)
    room = max(least, (east - west) * 0.15, (north - south) * 0.15)
    return west - room, south - room, east + room, north + room


def svg(
    spots: Sequence[Spot],
    *,
    width: int = 760,
    whole: bool = False,
    line: bool = False,
    title: str = "",
    ends: tuple[str, str] | None = None,
) -> str:
    """Draw the spots over the outline; `whole` shows all of the country.

    `line` draws a route. It joins the spots in order, adds a shape to each grade's colour, and adds a scale. `ends` are
    the labels of its first and last spot. The page styles the classes `land`, `way`, `spot` and the grades.
    """
    west, south, east, north = WHOLE if whole else frame_of(spots, LEAST_WAY if line else LEAST_SPAN)
    # a degree of longitude is shorter away from the equator
    squeeze = max(0.2, math.cos(math.radians((south + north) / 2)))
    west, south, east, north = _shaped(west, south, east, north, squeeze)
    scale = width / ((east - west) * squeeze)
    height = (north - south) * scale

    def place(lon: float, lat: float) -> tuple[float, float]:
        return (lon - west) * squeeze * scale, (north - lat) * scale

    def places(points: Iterable[tuple[float, float]]) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(lon, lat) for lon, lat in points))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" role="img"'
        f' aria-label="{escape(title, quote=True)}"><title>{escape(title)}</title>'
    ]
    margin = (east - west) * 0.5 + 0.5
    for ring in _rings():
        xs, ys = [p[0] for p in ring], [p[1] for p in ring]
        seen = max(xs) > west - margin and min(xs) < east + margin
        if seen and max(ys) > south - margin and min(ys) < north + margin:
            parts.append(f'<polygon class="land" points="{places(ring)}"/>')
    if line:
        ways = [way for way in _ways(spots) if len(way) > 1]
        parts += [f'<polyline class="way" points="{places((s.lon, s.lat) for s in way)}"/>' for way in ways]
    size = 6.0 if len(spots) <= FEW else 4.0 if len(spots) <= MANY else 2.5
    for spot in spots:
        mark = _mark(spot.grade if line else "", *place(spot.lon, spot.lat), size)
        grade = escape(spot.grade, quote=True)
        parts.append(f'<g class="spot {grade}">{mark}<title>{escape(spot.label)}</title></g>')
    if line and ends is not None and spots:
        for word, spot in zip(ends, (spots[0], spots[-1]), strict=True):
            x, y = place(spot.lon, spot.lat)
            parts.append(f'<text class="end" x="{x:.1f}" y="{y - 10:.1f}" text-anchor="middle">{escape(word)}</text>')
    if line:
        parts.append(_scale_bar(METRES_PER_DEGREE / scale, width, height))
    return "".join([*parts, "</svg>"])


def mark_svg(grade: str) -> str:
    """Return the symbol of a grade, for a legend."""
    mark = _mark(grade, 8, 8, 6)
    return f'<svg class="mark" viewBox="0 0 16 16" aria-hidden="true"><g class="spot {grade}">{mark}</g></svg>'


def _ways(spots: Sequence[Spot]) -> list[list[Spot]]:
    ways: list[list[Spot]] = []
    for spot in spots:
        if not ways or spot.apart:
            ways.append([])
        ways[-1].append(spot)
    return ways


def _mark(grade: str, x: float, y: float, size: float) -> str:
    """Return a circle for good, a square for fair, a triangle for poor, a cross for bad: distinct without colour."""

    def path(*points: tuple[float, float]) -> str:
        return " ".join(f"{x + dx * size:.1f},{y + dy * size:.1f}" for dx, dy in points)

    if grade == "fair":
        return f'<polygon points="{path((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9))}"/>'
    if grade == "poor":
        return f'<polygon points="{path((0, -1.15), (1.1, 0.85), (-1.1, 0.85))}"/>'
    if grade == "bad":
        arms = [(-1.1, -0.7), (-0.7, -1.1), (0, -0.4), (0.7, -1.1), (1.1, -0.7), (0.4, 0)]
        return f'<polygon points="{path(*arms, *((-dx, -dy) for dx, dy in arms))}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}"/>'


def _shaped(west: float, south: float, east: float, north: float, squeeze: float) -> tuple[float, float, float, float]:
    """Widen the frame to a moderate aspect ratio around its centre."""
    wide, high = (east - west) * squeeze, north - south
    if high > wide * HIGHEST:
        more = (high / HIGHEST - wide) / squeeze / 2
        return west - more, south, east + more, north
    more = max(0.0, (wide * LOWEST - high) / 2)
    return west, south - more, east, north + more


def _scale_bar(metres_per_unit: float, width: float, height: float) -> str:
    """Draw a scale bar of a round length, at most a quarter of the width, in the lower left corner."""
    most = width / 4 * metres_per_unit
    power = 10.0 ** math.floor(math.log10(most))
    metres = next(step * power for step in (5, 2, 1) if step * power <= most)
    long = metres / metres_per_unit
    label = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    left, low = 12.0, height - 12
    return (
        f'<polyline class="scale" points="{left},{low - 5:.1f} {left},{low:.1f} {left + long:.1f},{low:.1f}'
        f' {left + long:.1f},{low - 5:.1f}"/><text class="end" x="{left + 6}" y="{low - 6:.1f}">{label}</text>'
    )
