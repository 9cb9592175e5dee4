"""Parse TPS codes: 13 digits, kept as text. Ten are the village's, three the polling station's number."""

from __future__ import annotations

import re
from typing import Final, Literal

from sigprobe import places

DIGITS: Final = 13

Reason = Literal[
    "not_text", "empty", "spreadsheet", "not_digits", "length", "province", "regency", "district", "village", "number"
]

_SEPARATORS: Final = re.compile(r"[\s.\-]+")
_ENGLISH: Final[dict[Reason, str]] = {
    "not_text": "a TPS code is text: put it in quotes",
    "empty": "the TPS code is empty",
    "spreadsheet": "a spreadsheet has shortened this number: format the column as text and copy the code again",
    "not_digits": "a TPS code has digits only",
    "length": "a TPS code has 13 digits",
    "province": "digits 1-2 are no province",
    "regency": "digits 3-4 cannot be 00",
    "district": "digits 5-6 cannot be 00",
    "village": "digits 7-10 must begin with 1, 2 or 3",
    "number": "digits 11-13, the number of the TPS, cannot be 000",
}


class TpsError(ValueError):
    """Text that is not a TPS code. `reason` is a key for the screen, the message is technical English."""

    def __init__(self, reason: Reason, found: str) -> None:
        self.reason: Reason = reason
        self.found = found
        super().__init__(f"{_ENGLISH[reason]} (found {found[:40]!r})")


def parse_tps(text: object) -> str:
    """Normalise a TPS code to its 13 digits; dots, spaces and hyphens between them are dropped.

    Only the shape is checked, since lists of villages age. Raises TpsError.
    """
    if not isinstance(text, str):
        raise TpsError("not_text", str(text))
    code = _SEPARATORS.sub("", text.strip().strip("'\""))
    if not code:
        raise TpsError("empty", text)
    if re.fullmatch(r"[0-9],?[0-9]*[eE]\+?[0-9]+", code):
        raise TpsError("spreadsheet", text)
    if re.fullmatch(r"[0-9]+", code) is None:
        raise TpsError("not_digits", text)
    if len(code) != DIGITS:
        raise TpsError("length", text)
    fault = _fault(code)
    if fault is not None:
        raise TpsError(fault, text)
    return code


def _fault(code: str) -> Reason | None:
    """Return the first invalid part of 13 digits, or None."""
    if places.province(code) is None:
        return "province"
    if code[2:4] == "00":
        return "regency"
    if code[4:6] == "00":
        return "district"
    if code[6] not in "123":
        return "village"
    return "number" if code[10:] == "000" else None
