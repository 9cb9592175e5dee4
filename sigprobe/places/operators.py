"""Look up mobile operators by PLMN (MCC + MNC). Codes and owners change, so the table is dated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

OPERATORS_AS_OF: Final = "2025-04"
"""The state of the operator names: XL and Smartfren have merged into XLSmart."""


@dataclass(frozen=True, slots=True)
class OperatorEntry:
    """Mobile operator as configured or read: raw PLMN (MCC + MNC) and name. Either may be unknown."""

    plmn: str | None
    name: str | None


OPERATORS: Final[Mapping[str, str]] = {
    "51000": "PSN",
    "51001": "Indosat",
    "51008": "XL",  # was Axis
    "51009": "Smartfren",
    "51010": "Telkomsel",
    "51011": "XL",
    "51021": "Indosat",
    "51027": "Net1",
    "51028": "Smartfren",
    "51089": "Indosat",  # was Three
}

NETWORKS: Final[Mapping[str, str]] = {"51008": "51011", "51021": "51001", "51089": "51001"}
"""Codes of networks that were merged into another: what is heard over them is heard of that one."""

_PLMN: Final = re.compile(r"([0-9]{3})[\s./-]?([0-9]{2,3})")


def operator(text: str | None) -> OperatorEntry | None:
    """Parse an operator from PLMN digits (`51010`, `510-10`) or a name; None for an empty text.

    A known name gets its usual spelling. A name gives no PLMN, since one operator holds several. An unknown PLMN keeps
    its digits and has no name.
    """
    wanted = " ".join((text or "").split())
    if not wanted:
        return None
    digits = _PLMN.fullmatch(wanted)
    if digits:
        plmn = digits[1] + digits[2]
        return OperatorEntry(plmn, OPERATORS.get(plmn))
    known = {name.casefold(): name for name in OPERATORS.values()}
    return OperatorEntry(None, known.get(wanted.casefold(), wanted[:64]))


def network_plmn(plmn: str | None, name: str | None) -> str | None:
    """Return the code under which a network's results count together; a name without a code counts under its own."""
    if plmn:
        found = operator(plmn)
        code = plmn if found is None or found.plmn is None else found.plmn
        return NETWORKS.get(code, code)[:64]
    if not name:
        return None
    known = [code for code, title in OPERATORS.items() if title.casefold() == name.strip().casefold()]
    return next((code for code in known if code not in NETWORKS), name.strip()[:64] or None)
