"""Distance, bearing and ranking: plain geometry, tried on known pairs and on random ones."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigprobe.places.geometry import Point, bearing_deg, distance_m, merged, rank, wind

LAT = st.floats(-89.0, 89.0)
LON = st.floats(-180.0, 180.0)
HERE = (-6.91474, 107.60981)


@pytest.mark.parametrize(
    ("a", "b", "metres"),
    [
        ((0.0, 0.0), (0.0, 1.0), 111_195),
        ((0.0, 0.0), (1.0, 0.0), 111_195),
        ((-6.1754, 106.8272), (-6.9147, 107.6098), 119_300),  # Jakarta to Bandung
        ((0.0, 179.9), (0.0, -179.9), 22_239),
        ((90.0, 0.0), (-90.0, 0.0), 20_015_115),
    ],
)
def test_known_distances(a: tuple[float, float], b: tuple[float, float], metres: float) -> None:
    """Distances of known pairs come out within half a percent, across the date line too."""
    assert distance_m(*a, *b) == pytest.approx(metres, rel=0.005)


@pytest.mark.parametrize(
    ("step", "word"),
    [
        ((0.01, 0.0), "n"),
        ((0.01, 0.01), "ne"),
        ((0.0, 0.01), "e"),
        ((-0.01, 0.01), "se"),
        ((-0.01, 0.0), "s"),
        ((-0.01, -0.01), "sw"),
        ((0.0, -0.01), "w"),
        ((0.01, -0.01), "nw"),
        ((0.01, 0.003), "n"),
        ((0.01, 0.006), "ne"),
    ],
)
def test_eight_winds(step: tuple[float, float], word: str) -> None:
    """A step in each direction has the word of that direction."""
    assert wind(bearing_deg(*HERE, HERE[0] + step[0], HERE[1] + step[1])) == word


@given(LAT, LON, LAT, LON)
def test_there_and_back(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> None:
    """Distance is the same both ways, never negative, never more than half the way around; bearings are in range."""
    there = distance_m(lat_a, lon_a, lat_b, lon_b)
    assert 0.0 <= there <= math.pi * 6_371_009
    assert there == pytest.approx(distance_m(lat_b, lon_b, lat_a, lon_a), abs=1e-3)
    assert 0.0 <= bearing_deg(lat_a, lon_a, lat_b, lon_b) < 360.0


@given(st.floats(-11, 6), st.floats(95, 141), st.floats(0, 359.9), st.floats(5, 50_000))
def test_walking_the_bearing_arrives(lat: float, lon: float, direction: float, metres: float) -> None:
    """Who walks the distance in the direction of the bearing arrives: both agree with each other."""
    north = metres * math.cos(math.radians(direction)) / 111_195
    east = metres * math.sin(math.radians(direction)) / (111_195 * math.cos(math.radians(lat)))
    assert distance_m(lat, lon, lat + north, lon + east) == pytest.approx(metres, rel=0.01)
    off = (bearing_deg(lat, lon, lat + north, lon + east) - direction + 180) % 360 - 180
    assert abs(off) < 1.0


@given(st.lists(st.tuples(st.floats(-11, 6), st.floats(95, 141)), max_size=30), st.integers(0, 40))
def test_nearest_first(spots: list[tuple[float, float]], limit: int) -> None:
    """The ranking is by distance, holds no more than asked for, and leaves none out that is nearer."""
    ranked = rank(*HERE, [Point(lat, lon, "list") for lat, lon in spots], limit)
    away = [near.distance_m for near in ranked]
    assert away == sorted(away) and len(away) == min(limit, len(spots))
    rest = sorted(distance_m(*HERE, *spot) for spot in spots)
    assert away == pytest.approx(rest[: len(away)])


def test_where_one_stands_has_no_direction() -> None:
    """A point under one's feet has no bearing, rather than north."""
    near = rank(*HERE, [Point(*HERE, "list")])[0]
    assert near.distance_m == 0.0 and near.bearing_deg is None and near.wind is None


def test_the_newest_test_of_a_place_decides() -> None:
    """A place that has lost its signal since is not offered; another operator's there still is."""
    old = Point(*HERE, "history", operator="Telkomsel", quality="good", at=datetime(2026, 1, 1, tzinfo=UTC))
    lost = Point(HERE[0] + 0.00001, HERE[1], "history", operator="telkomsel")
    other = Point(*HERE, "history", operator="Indosat", quality="good")
    listed = Point(-6.9, 107.6, "list", name="BTS")
    assert merged([(old, True), (other, True)], [listed, listed]) == [old, other, listed]
    assert merged([(old, True), (other, True), (lost, False)], []) == [other]
    assert merged([(lost, False), (old, True)], []) == [old]
