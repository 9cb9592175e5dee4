"""Look up provinces and their time zones by the first digits of a TPS code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Zone = Literal["WIB", "WITA", "WIT"]

PROVINCES_AS_OF: Final = "2022-12"
"""When the list of provinces reached its 38 entries; later changes are not in it."""


@dataclass(frozen=True, slots=True)
class Province:
    """Province: two-digit code, Indonesian name, time zone."""

    code: str
    name: str
    zone: Zone


def _provinces(*rows: tuple[str, str, Zone]) -> dict[str, Province]:
    return {code: Province(code, name, zone) for code, name, zone in rows}


PROVINCES: Final[Mapping[str, Province]] = _provinces(
    ("11", "Aceh", "WIB"),
    ("12", "Sumatera Utara", "WIB"),
    ("13", "Sumatera Barat", "WIB"),
    ("14", "Riau", "WIB"),
    ("15", "Jambi", "WIB"),
    ("16", "Sumatera Selatan", "WIB"),
    ("17", "Bengkulu", "WIB"),
    ("18", "Lampung", "WIB"),
    ("19", "Kepulauan Bangka Belitung", "WIB"),
    ("21", "Kepulauan Riau", "WIB"),
    ("31", "DKI Jakarta", "WIB"),
    ("32", "Jawa Barat", "WIB"),
    ("33", "Jawa Tengah", "WIB"),
    ("34", "DI Yogyakarta", "WIB"),
    ("35", "Jawa Timur", "WIB"),
    ("36", "Banten", "WIB"),
    ("51", "Bali", "WITA"),
    ("52", "Nusa Tenggara Barat", "WITA"),
    ("53", "Nusa Tenggara Timur", "WITA"),
    ("61", "Kalimantan Barat", "WIB"),
    ("62", "Kalimantan Tengah", "WIB"),
    ("63", "Kalimantan Selatan", "WITA"),
    ("64", "Kalimantan Timur", "WITA"),
    ("65", "Kalimantan Utara", "WITA"),
    ("71", "Sulawesi Utara", "WITA"),
    ("72", "Sulawesi Tengah", "WITA"),
    ("73", "Sulawesi Selatan", "WITA"),
    ("74", "Sulawesi Tenggara", "WITA"),
    ("75", "Gorontalo", "WITA"),
    ("76", "Sulawesi Barat", "WITA"),
    ("81", "Maluku", "WIT"),
    ("82", "Maluku Utara", "WIT"),
    ("91", "Papua", "WIT"),
    ("92", "Papua Barat", "WIT"),
    ("93", "Papua Selatan", "WIT"),
    ("94", "Papua Tengah", "WIT"),
    ("95", "Papua Pegunungan", "WIT"),
    ("96", "Papua Barat Daya", "WIT"),
)


def province(tps_id: str | None) -> Province | None:
    """Return the province of a TPS code by its first two digits; None for an unknown code."""
    return PROVINCES.get((tps_id or "")[:2])


def zone(tps_id: str | None, default: Zone = "WIB") -> Zone:
    """Return the time zone of a TPS code; `default` when the province is unknown."""
    place = province(tps_id)
    return default if place is None else place.zone


def regency_code(tps_id: str | None) -> str | None:
    """Return the four-digit code of the regency or city of a TPS code; None for anything but 13 digits."""
    return tps_id[:4] if tps_id is not None and re.fullmatch(r"[0-9]{13}", tps_id) else None
