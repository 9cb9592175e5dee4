"""Warn of an implausible position. A warning never stops a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sigprobe.places.position_messages import shown
from sigprobe.record.result import Location
from sigprobe.words.i18n import N_, _

_SENTENCES: Final[Mapping[str, str]] = {
    "zero": N_("The GPS receiver reports latitude 0, longitude 0: it does not know the position yet."),
    "jump": N_("The GPS position jumped in an impossible way; it is uncertain."),
    "time_back": N_("The GPS receiver's time went backwards; its position is uncertain."),
    "far_from_tps": N_(
        "The position is more than 1 km from the registered position of this TPS. Check the TPS number."
    ),
    "other_province": N_("The position is not in the province of this TPS number. Check the TPS number."),
}
"""In the order of what explains most; the other reasons stand in the record alone."""


def place_doubts(place: Location | None) -> list[str]:
    """Return one warning for the most serious doubt about a position; empty without any. A single one is more likely
    read."""
    reasons = () if place is None else place.quality_reasons
    if place is not None and place.source in ("manual", "fixed") and {"other_province", "far_from_tps"} & set(reasons):
        # entered manually: the position is as likely to be wrong as the number
        text = _("The position {where} does not fit this TPS. Check the position: latitude, longitude and both signs.")
        return [_("Warning: {text}").format(text=text.format(where=shown(place.lat, place.lon)))]
    return [_("Warning: {text}").format(text=_(text)) for name, text in _SENTENCES.items() if name in reasons][:1]
