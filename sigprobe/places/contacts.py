"""Whom to call and what to dial, from a dated file that anybody may edit: quota codes and care lines of operators."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("contacts.json")
NAME: Final = "contacts.json"


@dataclass(frozen=True, slots=True)
class Contact:
    """The code that shows the data quota, the operator's care line, and the ministry's."""

    ussd: str
    care: str
    ministry: str


def contact(operator: str | None, folder: Path | None = None) -> Contact:
    """The contact of an operator by name; `folder` may hold a file of the user's own, which is used whole.

    A file that cannot be read, or is not of this shape, counts as not there.
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
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
