"""Build the messages for an implausible position, with the position that was most likely meant."""

from __future__ import annotations

from sigprobe.places.position_slips import Slip, in_indonesia, slip
from sigprobe.places.provinces import province
from sigprobe.places.towns import lies_outside
from sigprobe.words.i18n import _


def position_doubt(lat: float, lon: float, tps_id: str | None = None) -> str:
    """Return the message for an implausible position, with a suggestion; empty for a plausible one.

    Without a TPS code, a position abroad is reported only if a typing error explains it: offices may be abroad.
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
    """Format a pair of degrees as a user types it."""
    return f"{lat:.10g}, {lon:.10g}"


def suggested(meant: Slip) -> str:
    """Return `Did you mean …?` with the suggested position."""
    return _("Did you mean {names}?").format(names=shown(meant.lat, meant.lon))
