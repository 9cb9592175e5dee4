"""A map of Indonesia as SVG inside a page: no tiles, no script, no network. Points are drawn over an outline.

The outline is Natural Earth's (public domain), see docs/data.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Final

OUTLINE: Final = Path(__file__).parent / "indonesia.json"
WHOLE: Final = (94.5, -11.5, 141.5, 6.5)
"""West, south, east, north of the country, in degrees."""
LEAST_SPAN: Final = 0.02
"""The smallest piece shown, in degrees: some two kilometres."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One point: degrees, a grade for its colour (`good`, `fair`, `poor`, `bad`, or empty), and what to say of it."""

    lat: float
    lon: float
    grade: str = ""
    label: str = ""


@cache
def _rings() -> tuple[tuple[tuple[float, float], ...], ...]:
    rings = json.loads(OUTLINE.read_text(encoding="ascii"))
    return tuple(tuple((float(x), float(y)) for x, y in ring) for ring in rings)


def frame_of(spots: Sequence[Spot]) -> tuple[float, float, float, float]:
    """The piece of the globe that holds all spots with room around them; the whole country when there is none."""
    if not spots:
        return WHOLE
    west, east = min(s.lon for s in spots), max(s.lon for s in spots)
    south, north = min(s.lat for s in spots), max(s.lat for s in spots)
    room = max(LEAST_SPAN, (east - west) * 0.15, (north - south) * 0.15)
    return west - room, south - room, east + room, north + room


def svg(spots: Sequence[Spot], *, width: int = 760, whole: bool = False, line: bool = False, title: str = "") -> str:
    """Draw the spots over the outline; `whole` shows all of the country, `line` joins them in their order.

    The classes `land`, `way`, `spot` and the grades are for the page's own style.
    """
    west, south, east, north = WHOLE if whole else frame_of(spots)
    # a degree of longitude is shorter away from the equator
    squeeze = max(0.2, math.cos(math.radians((south + north) / 2)))
    scale = width / ((east - west) * squeeze)
    height = max(80.0, min(width * 1.2, (north - south) * scale))

    def place(lon: float, lat: float) -> str:
        return f"{(lon - west) * squeeze * scale:.1f},{(north - lat) * scale:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" role="img"'
        f' aria-label="{escape(title, quote=True)}"><title>{escape(title)}</title>'
    ]
    margin = (east - west) * 0.5 + 0.5
    for ring in _rings():
        xs, ys = [p[0] for p in ring], [p[1] for p in ring]
        seen = max(xs) > west - margin and min(xs) < east + margin
        if seen and max(ys) > south - margin and min(ys) < north + margin:
            parts.append(f'<polygon class="land" points="{" ".join(place(x, y) for x, y in ring)}"/>')
    if line and len(spots) > 1:
        parts.append(f'<polyline class="way" points="{" ".join(place(s.lon, s.lat) for s in spots)}"/>')
    for spot in spots:
        x, y = place(spot.lon, spot.lat).split(",")
        grade = escape(spot.grade, quote=True)
        parts.append(
            f'<circle class="spot {grade}" cx="{x}" cy="{y}" r="6"><title>{escape(spot.label)}</title></circle>'
        )
    return "".join([*parts, "</svg>"])
