"""Provinces and operators."""

from __future__ import annotations

from collections import Counter

import pytest

from sigprobe import places
from sigprobe.places import OperatorEntry


def test_all_provinces_are_there() -> None:
    """38 provinces, each with one of the country's three zones."""
    assert len(places.PROVINCES) == 38
    assert Counter(p.zone for p in places.PROVINCES.values()) == {"WIB": 18, "WITA": 12, "WIT": 8}
    assert all(code == p.code and p.name for code, p in places.PROVINCES.items())
    assert len({p.name for p in places.PROVINCES.values()}) == 38


@pytest.mark.parametrize(
    ("tps_id", "name", "zone"),
    [
        ("3273011001005", "Jawa Barat", "WIB"),
        ("3101011001001", "DKI Jakarta", "WIB"),
        ("6171011001001", "Kalimantan Barat", "WIB"),
        ("6471011001001", "Kalimantan Timur", "WITA"),
        ("5171011001001", "Bali", "WITA"),
        ("9671011001001", "Papua Barat Daya", "WIT"),
    ],
)
def test_a_tps_code_names_its_province_and_zone(tps_id: str, name: str, zone: str) -> None:
    """The first two digits tell province and clock."""
    found = places.province(tps_id)
    assert found is not None and found.name == name
    assert places.zone(tps_id) == zone


def test_no_province_no_guess() -> None:
    """Unknown codes and free sites name no province; the clock falls back to the one asked for."""
    assert places.province("2073011001005") is None
    assert places.province(None) is None and places.province("") is None
    assert places.zone(None) == "WIB" and places.zone("20", "WIT") == "WIT"


def test_regency_code() -> None:
    """Four digits of a full code; anything else has none."""
    assert places.regency_code("3273011001005") == "3273"
    assert places.regency_code("3273") is None and places.regency_code(None) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("51010", OperatorEntry("51010", "Telkomsel")),
        ("510-10", OperatorEntry("51010", "Telkomsel")),
        (" 510 89 ", OperatorEntry("51089", "Indosat")),
        ("telkomsel", OperatorEntry(None, "Telkomsel")),
        ("  XL ", OperatorEntry(None, "XL")),
        ("51099", OperatorEntry("51099", None)),
        ("Warung Wifi", OperatorEntry(None, "Warung Wifi")),
        ("", None),
        ("  ", None),
        (None, None),
    ],
)
def test_operators(text: str | None, expected: OperatorEntry | None) -> None:
    """Digits keep their raw PLMN, names get their usual spelling, and nothing unknown is made up."""
    assert places.operator(text) == expected
