"""Sentences about a position that does not fit: what was most likely meant, and that it is the position to check."""

from __future__ import annotations

from sigprobe.places.position_slips import Slip, in_indonesia, slip
from sigprobe.places.provinces import province
from sigprobe.places.towns import lies_outside
from sigprobe.words.i18n import _


def position_doubt(lat: float, lon: float, tps_id: str | None = None) -> str:
    """Return what is wrong with a position, with what was most likely meant; empty when it fits.

    Without a TPS code a position abroad is a doubt only where a slip explains it: offices lie abroad, too.
    """
    meant = slip(lat, lon, tps_id)
    where = shown(lat, lon)
    if meant is not None:
        return f"{_what(meant, where, lat, lon, tps_id)} {suggested(meant)}"
    home = province(tps_id)
    if home is None:
        return ""
    if not in_indonesia(lat, lon):
        return _("The position {where} lies outside Indonesia. Check latitude and longitude.").format(where=where)
    if lies_outside(tps_id, lat, lon):
        text = _("The position {where} is not in {province}, the province of this TPS. Check the position.")
        return text.format(where=where, province=home.name)
    return ""


def _what(meant: Slip, where: str, lat: float, lon: float, tps_id: str | None) -> str:
    if meant.kind in ("swapped", "both"):
        return _("Latitude and longitude of the position {where} are swapped.").format(where=where)
    if meant.kind == "point":
        return _("The position {where} lacks its decimal points.").format(where=where)
    home = province(tps_id)
    if in_indonesia(lat, lon) and home is not None:
        text = _("The position {where} is not in {province}, the province of this TPS; its sign may be wrong.")
        return text.format(where=where, province=home.name)
    return _("The position {where} lies outside Indonesia; its sign may be wrong.").format(where=where)


def shown(lat: float, lon: float) -> str:
    """Return a pair of degrees as it is typed."""
    return f"{lat:.10g}, {lon:.10g}"


def suggested(meant: Slip) -> str:
    """`Did you mean …?` with the position that fits."""
    return _("Did you mean {names}?").format(names=shown(meant.lat, meant.lon))
