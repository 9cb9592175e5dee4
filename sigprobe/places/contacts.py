"""Read contacts of operators from a dated, editable file: data quota codes and care lines.

A `contacts.json` beside the settings file replaces the shipped one completely, so that a wrong number can be corrected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sigprobe.record.messages import N_
from sigprobe.record.text_encoding import decode

FILE: Final = Path(__file__).with_name("contacts.json")
NAME: Final = "contacts.json"
MAX_BYTES: Final = 100_000
_DATE: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?")


class ContactsError(ValueError):
    """The file cannot be used. `message` is its reason in words, `values` fill it."""

    def __init__(self, message: str, **values: str) -> None:
        super().__init__(message.format(**values))
        self.message = message
        self.values = values


@dataclass(frozen=True, slots=True)
class Contact:
    """Contacts of an operator: data quota code, care line, the ministry's line, and the date of the file."""

    ussd: str
    care: str
    ministry: str
    as_of: str
    operator: str | None = None


def contact(operator: str | None, folder: Path | None = None) -> Contact:
    """Return the contact of an operator by name, from the file in `folder` or else from the shipped one.

    A file in `folder` that cannot be used counts as missing; `fault` says why.
    """
    try:
        table = _table(FILE) if folder is None or not (folder / NAME).exists() else _table(folder / NAME)
    except (ContactsError, OSError):
        table = _table(FILE)
    rows: Mapping[str, Mapping[str, str]] = table.get("operators", {})
    known = {name.casefold(): name for name in rows}
    # "Indosat Ooredoo Hutchison" is still Indosat
    wanted = " ".join((operator or "").casefold().split())
    name = next((known[key] for key in known if wanted == key or wanted.startswith(f"{key} ")), None)
    row = rows[name] if name is not None else table.get("default", {})
    return Contact(
        str(row.get("ussd") or ""), str(row.get("care") or ""), str(table.get("ministry") or ""), table["as_of"], name
    )


def fault(folder: Path) -> ContactsError | None:
    """Return why the file in `folder` cannot be used; None where it can, or where there is none."""
    try:
        if (folder / NAME).exists():
            _table(folder / NAME)
    except ContactsError as error:
        return error
    except OSError:
        return ContactsError(N_("{path} cannot be read."), path=str(folder / NAME))
    return None


def _table(path: Path) -> dict[str, Any]:
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, _changed_ns: int, size: int) -> dict[str, Any]:
    """Return a checked file. Raises ContactsError; OSError for one that cannot be read."""
    name = str(path)
    if size > MAX_BYTES:
        raise ContactsError(N_("{path} is too big for a list of contacts."), path=name)
    try:
        found = json.loads(decode(path.read_bytes()))
    except (ValueError, RecursionError):
        raise ContactsError(N_("{path} is not valid JSON."), path=name) from None
    if not isinstance(found, dict):
        raise ContactsError(N_("{path} must hold one JSON object."), path=name)
    dated = found.get("as_of")
    if not isinstance(dated, str) or not _DATE.fullmatch(dated):
        raise ContactsError(N_("{path}: as_of must be the date of the numbers, such as 2028-11."), path=name)
    if not isinstance(found.get("ministry", ""), str):
        raise ContactsError(N_("{path}: {key} must be text."), path=name, key="ministry")
    rows = found.get("operators", {})
    if not isinstance(rows, dict):
        raise ContactsError(N_("{path}: {key} must be an object of texts."), path=name, key="operators")
    for key, row in {"default": found.get("default", {}), **rows}.items():
        if not isinstance(row, dict) or not all(isinstance(value, str) for value in row.values()):
            raise ContactsError(N_("{path}: {key} must be an object of texts."), path=name, key=key)
    return found
