"""Check whether a position can be in the province of a TPS code, by the GeoNames places around it.

`towns.bin` has a line with the format's name, a line of JSON, and deflated columns. The columns are the province of
each place (one byte), latitudes and longitudes (ten-thousandths of a degree). `tools/towns.py` makes it. Places are
dense on Java and sparse on Papua, and the accuracy near a border follows their density. In doubt the position is
accepted.
"""

from __future__ import annotations

import array
import json
import math
import sys
import zlib
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from sigprobe.places.provinces import province

FORMAT: Final = b"sigprobe towns 1\n"
FILE: Final = Path(__file__).with_name("towns.bin")
UNKNOWN_PROVINCES: Final = frozenset({"93", "94", "95", "96"})
"""Founded in 2022, after the data: nothing can be said of them."""

_SLACK_KM: Final = 25.0
_ABROAD_KM: Final = 500.0
_KM_PER_DEGREE: Final = 111.2
_MAX_HEADER: Final = 64 * 1024


def lies_outside(tps_id: str | None, lat: float, lon: float) -> bool:
    """Return True when a position is clearly outside the province of a TPS code; False when it is inside or uncertain.

    Clearly outside: the nearest place of the province is more than 25 km away and more than twice as far as the nearest
    place of any province. A position more than 500 km from every Indonesian place is outside, too.
    """
    home = province(tps_id)
    if home is None or home.code in UNKNOWN_PROVINCES or not (math.isfinite(lat) and math.isfinite(lon)):
        return False
    found = _nearest_km(int(home.code), round(lat, 3), round(lon, 3))
    if found is None:
        return False
    own, nearest = found
    return nearest > _ABROAD_KM or own > 2 * nearest + _SLACK_KM


@lru_cache(maxsize=64)
def _nearest_km(code: int, lat: float, lon: float) -> tuple[float, float] | None:
    """Return km to the nearest place of a province, and to the nearest place at all; None without data."""
    table = _table()
    if table is None or code not in table[0]:
        return None
    # plane geometry is accurate enough: within a few hundred km near the equator the error is 1 % or less
    shrink = math.cos(math.radians(lat))
    x, y = lon * 10_000, lat * 10_000
    own = nearest = math.inf
    for home, north, east in zip(*table, strict=True):
        away = ((east - x) * shrink) ** 2 + (north - y) ** 2
        nearest = min(nearest, away)
        if home == code and away < own:
            own = away
    scale = _KM_PER_DEGREE / 10_000
    return math.sqrt(own) * scale, math.sqrt(nearest) * scale


@cache
def _table() -> tuple[bytes, array.array[int], array.array[int]] | None:
    """Return the columns provinces, latitudes, longitudes; None when the file is missing or damaged."""
    try:
        with FILE.open("rb") as file:
            if file.readline(64) != FORMAT:
                return None
            count = json.loads(file.readline(_MAX_HEADER))["count"]
            raw = zlib.decompress(file.read())
        lats, lons = array.array("i"), array.array("i")
        lats.frombytes(raw[count : 5 * count])
        lons.frombytes(raw[5 * count :])
    except (OSError, ValueError, KeyError, TypeError, zlib.error):
        return None
    if sys.byteorder == "big":
        lats.byteswap()
        lons.byteswap()
    return (raw[:count], lats, lons) if len(lats) == len(lons) == count else None
