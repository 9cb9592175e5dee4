"""Make the outline of Indonesia for maps that open offline, from npm `world-atlas` 2.0.2 (Natural Earth 4.1.0).

    npm pack world-atlas@2.0.2
    python tools/outline.py world-atlas-2.0.2.tgz

Writes `sigprobe/render/indonesia.json`: a list of rings of [lon, lat] in degrees, two decimals, simplified to what a
map of 800 pixels can show. Small islands stay as long as they are wider than a pixel or so.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

DIGEST = "032e7765f2ce00edaeafec23ff22bc3b77e42987c257da944cc585b452c05b97"
TARGET = Path(__file__).resolve().parent.parent / "sigprobe" / "render" / "indonesia.json"
INDONESIA = "360"
TOLERANCE = 0.02  # degrees, about 2 km
SMALLEST = 0.05  # degrees from side to side

Point = tuple[float, float]


def main(arguments: list[str]) -> int:
    """Read the package named and write the outline."""
    archive = Path(arguments[0]).read_bytes()
    if hashlib.sha256(archive).hexdigest() != DIGEST:
        print("this is not world-atlas 2.0.2", file=sys.stderr)
        return 1
    with tarfile.open(arguments[0]) as package:
        member = package.extractfile("package/countries-10m.json")
        assert member is not None
        topology = json.load(member)
    rings = [simple for ring in country(topology, INDONESIA) if (simple := simplified(ring)) is not None]
    rings.sort(key=len, reverse=True)
    TARGET.write_text(json.dumps(rings, separators=(",", ":")) + "\n")
    print(f"{len(rings)} rings, {sum(map(len, rings))} points, {TARGET.stat().st_size} bytes")
    return 0


def country(topology: dict[str, Any], number: str) -> list[list[Point]]:
    """The outer rings of one country, decoded from TopoJSON's shared, delta-coded arcs."""
    scale, shift = topology["transform"]["scale"], topology["transform"]["translate"]

    def arc(index: int) -> list[Point]:
        points: list[Point] = []
        x = y = 0
        for dx, dy in topology["arcs"][~index if index < 0 else index]:
            x, y = x + dx, y + dy
            points.append((x * scale[0] + shift[0], y * scale[1] + shift[1]))
        return points[::-1] if index < 0 else points

    shapes = topology["objects"]["countries"]["geometries"]
    shape = next(g for g in shapes if g.get("id") == number)
    rings: list[list[Point]] = []
    for polygon in shape["arcs"]:
        ring: list[Point] = []
        for index in polygon[0]:
            ring += arc(index)[1 if ring else 0 :]
        rings.append(ring)
    return rings


def simplified(ring: list[Point]) -> list[list[float]] | None:
    """A ring with fewer points; None when it is too small to be seen."""
    wide = max(p[0] for p in ring) - min(p[0] for p in ring)
    high = max(p[1] for p in ring) - min(p[1] for p in ring)
    if max(wide, high) < SMALLEST:
        return None
    half = len(ring) // 2
    points = thinned(ring[: half + 1])[:-1] + thinned(ring[half:])
    return [[round(x, 2), round(y, 2)] for x, y in points] if len(points) >= 4 else None


def thinned(line: list[Point]) -> list[Point]:
    """Douglas and Peucker's rule: keep a point that lies further than `TOLERANCE` from the line without it."""
    keep = {0, len(line) - 1}
    open_parts = [(0, len(line) - 1)]
    while open_parts:
        first, last = open_parts.pop()
        far, at = 0.0, None
        for index in range(first + 1, last):
            distance = off(line[index], line[first], line[last])
            if distance > far:
                far, at = distance, index
        if at is not None and far > TOLERANCE:
            keep.add(at)
            open_parts += [(first, at), (at, last)]
    return [line[index] for index in sorted(keep)]


def off(point: Point, one: Point, two: Point) -> float:
    """How far a point lies from the line through two others, or from them when they are the same."""
    dx, dy = two[0] - one[0], two[1] - one[1]
    length = (dx * dx + dy * dy) ** 0.5
    if length == 0:
        return float(((point[0] - one[0]) ** 2 + (point[1] - one[1]) ** 2) ** 0.5)
    return float(abs(dx * (one[1] - point[1]) - (one[0] - point[0]) * dy) / length)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
