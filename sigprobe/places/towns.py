"""Whether a position can lie in the province of a TPS code, by the GeoNames places around it.

`towns.bin` is a line that names the format, a line of JSON, and deflated columns: the province of each place (a byte),
then latitudes and longitudes in ten-thousandths of a degree. `tools/towns.py` makes it. The places are many on Java
and few on Papua, and a border is only as sharp as they are dense; so the answer errs on the side of no doubt.
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
    """True when a position lies clearly outside the province of a TPS code; False wherever that cannot be told.

    Clearly: the nearest place of the province is more than twice as far as the nearest of any, and 25 km; or there
    is no Indonesian place within 500 km.
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
    """How far the nearest place of a province is, and the nearest of any; None without data for the province."""
    table = _table()
    if table is None or code not in table[0]:
        return None
    # flat degrees are good enough: within a few hundred km of the equator's belt they are off by 1 % or less
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
    """The columns: provinces, latitudes, longitudes; None when the file is missing or damaged."""
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
