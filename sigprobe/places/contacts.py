"""Read contacts of operators from a dated, editable file: data quota codes and care lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sigprobe.record.text_encoding import decode

FILE: Final = Path(__file__).with_name("contacts.json")
NAME: Final = "contacts.json"


@dataclass(frozen=True, slots=True)
class Contact:
    """Contacts of an operator: its data quota code and care line, and the ministry's line."""

    ussd: str
    care: str
    ministry: str


def contact(operator: str | None, folder: Path | None = None) -> Contact:
    """Return the contact of an operator by name. A file in `folder` replaces the shipped one completely.

    An unreadable or invalid file is treated as missing.
    """
    table = _read(folder / NAME) if folder is not None else None
    if table is None:
        table = _read(FILE) or {}
    rows = table.get("operators")
    row = rows.get(operator or "") if isinstance(rows, dict) else None
    if not isinstance(row, dict):
        row = table.get("default") if isinstance(table.get("default"), dict) else {}
    assert isinstance(row, dict)
    return Contact(str(row.get("ussd") or ""), str(row.get("care") or ""), str(table.get("ministry") or ""))


@lru_cache(maxsize=4)
def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(decode(path.read_bytes()))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
