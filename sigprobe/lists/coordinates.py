"""Parse latitude and longitude in common notations, and correct swapped pairs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sigprobe.lists.problems import shown
from sigprobe.places.position_slips import in_indonesia
from sigprobe.words.i18n import _

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,3}(?:[.,][0-9]+)?")
_NEARLY_ZERO: Final = 0.001

Pair = tuple[float, float]


def number(text: str) -> float | None:
    """Parse degrees with a decimal point or a decimal comma; None for anything else."""
    plain = text.replace("\N{MINUS SIGN}", "-").replace("°", "").replace(" ", "")
    return float(plain.replace(",", ".")) if _NUMBER.fullmatch(plain) else None


def pair(cells: Mapping[str, str]) -> tuple[Pair | None, bool, str | None]:
    """Return the position of a row: (latitude, longitude) or None, whether it was swapped, and the error."""
    lat_text, lon_text = cells.get("lat"), cells.get("lon")
    if lat_text is None and lon_text is None and "both" in cells:
        parts = _split(cells["both"])
        if parts is None:
            return None, False, _("{value} is not a latitude and longitude.").format(value=shown(cells["both"]))
        lat_text, lon_text = parts
    if lat_text is None and lon_text is None:
        return None, False, None
    if lat_text is None or lon_text is None:
        return None, False, _("latitude and longitude belong together; one of them is missing.")
    lat, lon = number(lat_text), number(lon_text)
    if lat is None or lon is None:
        value = shown(lat_text if lat is None else lon_text)
        return None, False, _("{value} is not a number of degrees, such as -6.91474 or -6,91474.").format(value=value)
    return checked(lat, lon)


def checked(lat: float, lon: float) -> tuple[Pair | None, bool, str | None]:
    """Check a pair of numbers, as `pair` does."""
    if not in_indonesia(lat, lon) and in_indonesia(lon, lat):
        return (lon, lat), True, None
    if abs(lat) > 90 or abs(lon) > 180:
        message = _("{lat}, {lon} is not a place on Earth: latitude is -90 to 90, longitude -180 to 180.")
        return None, False, message.format(lat=f"{lat:g}", lon=f"{lon:g}")
    if abs(lat) < _NEARLY_ZERO and abs(lon) < _NEARLY_ZERO:
        return None, False, _("0, 0 means that the device had no position; leave both cells empty.")
    return (lat, lon), False, None


def _split(text: str) -> tuple[str, str] | None:
    for separator in (r"\s*;\s*", r"\s*,\s+", r"\s+", r","):
        parts = [part for part in re.split(separator, text.strip(" ()[]")) if part]
        if len(parts) == 2 and all(number(part) is not None for part in parts):
            return parts[0], parts[1]
    return None
