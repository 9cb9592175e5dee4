"""Correct a position with a missing sign, a missing decimal point or swapped coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from sigprobe.places.towns import lies_outside

LAT: Final = (-11.5, 6.5)
LON: Final = (94.5, 141.5)
"""The rectangle around Indonesia. The two spans do not overlap, so a swapped pair is always seen."""

_DIGITS: Final = 1000
"""A number from here on has lost its decimal point; a smaller one that is no degree is another mistake."""

Kind = Literal["swapped", "sign", "both", "point"]


@dataclass(frozen=True, slots=True)
class Slip:
    """Suggested position and the error it corrects: `swapped`, `sign`, `both`, or a missing `point`."""

    kind: Kind
    lat: float
    lon: float


def in_indonesia(lat: float, lon: float) -> bool:
    """Return True within the bounding rectangle of Indonesia."""
    return LAT[0] <= lat <= LAT[1] and LON[0] <= lon <= LON[1]


def fits(lat: float, lon: float, tps_id: str | None = None) -> bool:
    """Return True for a position within Indonesia that is not clearly outside the province of the TPS code, if any."""
    return in_indonesia(lat, lon) and not lies_outside(tps_id, lat, lon)


def slip(lat: float, lon: float, tps_id: str | None = None) -> Slip | None:
    """Return the correction of an implausible position; None when it is plausible or no correction fits."""
    if not (math.isfinite(lat) and math.isfinite(lon)) or fits(lat, lon, tps_id):
        return None
    return next((found for found in _candidates(lat, lon) if fits(found.lat, found.lon, tps_id)), None)


def _candidates(lat: float, lon: float) -> Iterator[Slip]:
    yield Slip("swapped", lon, lat)
    for first, second in ((-lat, lon), (lat, -lon), (-lat, -lon)):
        yield Slip("sign", first, second)
    for first, second in ((-lon, lat), (lon, -lat), (-lon, -lat)):
        yield Slip("both", first, second)
    yield from _with_point(lat, lon)


def _with_point(lat: float, lon: float) -> Iterator[Slip]:
    """Return the position with its decimal point restored: -691474 and 10760981 are -6.91474 and 107.60981."""
    if not any(abs(value) >= _DIGITS for value in (lat, lon)):
        return
    lats = [lat] if abs(lat) <= 90 else [lat / 10**n for n in range(1, 9) if LAT[0] <= lat / 10**n <= LAT[1]]
    lons = [lon] if abs(lon) <= 180 else [lon / 10**n for n in range(1, 9) if LON[0] <= lon / 10**n <= LON[1]]
    # only one power of ten gives a longitude within Indonesia; a latitude is certain only with its first digit
    for first in lats[:1]:
        for second in lons[:1]:
            yield Slip("point", first, second)
