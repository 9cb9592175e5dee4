"""Rank known points by distance and compute their direction. No I/O, no texts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

EARTH_RADIUS_M: Final = 6_371_008.8
SAME_PLACE_M: Final = 50.0
"""Two positions no further apart than this are one place: a phone's fix is seldom better."""

Wind = Literal["n", "ne", "e", "se", "s", "sw", "w", "nw"]
WINDS: Final[tuple[Wind, ...]] = ("n", "ne", "e", "se", "s", "sw", "w", "nw")

Origin = Literal["history", "list"]
Quality = Literal["good", "poor"]
_CELL_DEG: Final = 0.0005  # about 55 m of latitude, as SAME_PLACE_M


@dataclass(frozen=True, slots=True)
class Point:
    """Place where there is, or was, a signal. Degrees WGS 84.

    `quality` and `at` are those of the newest test there; None for a listed point without any test.
    """

    lat: float
    lon: float
    origin: Origin
    name: str | None = None
    kind: str | None = None
    operator: str | None = None
    rat: str | None = None
    quality: Quality | None = None
    at: datetime | None = None
    carried: bool = False
    """True when the test was made by another device and imported here."""


@dataclass(frozen=True, slots=True)
class Near:
    """Point with distance and direction from the device. `bearing_deg` is clockwise from north; None if it is 0 m."""

    point: Point
    distance_m: float
    bearing_deg: float | None

    @property
    def wind(self) -> Wind | None:
        """Return the nearest of the eight compass points."""
        return None if self.bearing_deg is None else wind(self.bearing_deg)


def distance_m(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    """Return metres along the great circle of a spherical Earth (haversine); within 0.6 % of the ellipsoid."""
    phi_a, phi_b = math.radians(lat_a), math.radians(lat_b)
    half = (
        math.sin((phi_b - phi_a) / 2) ** 2
        + math.cos(phi_a) * math.cos(phi_b) * math.sin(math.radians(lon_b - lon_a) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, max(0.0, half))))


def bearing_deg(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    """Return the initial direction from a to b: 0 ≤ degrees < 360, clockwise from north."""
    phi_a, phi_b = math.radians(lat_a), math.radians(lat_b)
    turn = math.radians(lon_b - lon_a)
    east = math.sin(turn) * math.cos(phi_b)
    north = math.cos(phi_a) * math.sin(phi_b) - math.sin(phi_a) * math.cos(phi_b) * math.cos(turn)
    # a tiny negative angle plus 360 rounds to 360 itself
    return math.degrees(math.atan2(east, north)) % 360.0 % 360.0


def wind(degrees: float) -> Wind:
    """Return the nearest of the eight compass points."""
    return WINDS[round((degrees % 360.0) / 45.0) % 8]


def rank(lat: float, lon: float, points: Iterable[Point], limit: int | None = None) -> list[Near]:
    """Sort the points by distance, nearest first. At equal distance, tested points come first, then by name."""
    seen = [
        Near(point, away, bearing_deg(lat, lon, point.lat, point.lon) if away >= 1.0 else None)
        for point in points
        for away in (distance_m(lat, lon, point.lat, point.lon),)
    ]
    seen.sort(key=lambda near: (near.distance_m, near.point.quality is None, near.point.name or ""))
    return seen if limit is None else seen[: max(0, limit)]


def merged(tested: Iterable[tuple[Point, bool]], listed: Iterable[Point]) -> list[Point]:
    """Merge test results and listed points into one point for each place and operator.

    `tested` is ordered from the oldest test to the newest, each with whether the internet was reachable. A place whose
    newest test was offline is left out.
    """
    newest: dict[tuple[int, int, str], tuple[Point, bool]] = {}
    for point, connected in tested:
        key = (round(point.lat / _CELL_DEG), round(point.lon / _CELL_DEG), (point.operator or "").casefold())
        newest.pop(key, None)
        newest[key] = (point, connected)
    return [point for point, connected in newest.values() if connected] + list(dict.fromkeys(listed))
