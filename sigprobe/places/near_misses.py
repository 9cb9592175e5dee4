"""Suggest TPS codes for one with a wrong digit, or with letters that look like digits."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from sigprobe.places.areas import place

_TPS: Final = 13
_VILLAGE: Final = 10
_AROUND_DIGITS: Final = re.compile(r"[\s.,;:/_'\"\u200b\ufeff\u2010-\u2015-]+")
_LOOK_ALIKE: Final = str.maketrans(
    dict.fromkeys("OoQD", "0") | dict.fromkeys("IilL|!", "1") | {"S": "5", "s": "5", "B": "8"}
)
_LEAST_DIGITS: Final = 8
_MOSTLY: Final = 0.7
_FIRST: Final = 0
_SWAPPED: Final = 1
_NEIGHBOUR: Final = 2
_OTHER: Final = 3


def near_misses(code: str, limit: int = 3) -> tuple[str, ...]:
    """Return listed TPS codes within one typing error of `code`, the likeliest first.

    An error is a wrong digit, two swapped digits, one missing or extra digit, or missing zeros in the station's number.
    The station's number itself is never guessed. Empty for anything that is not nearly 13 digits.
    """
    if re.fullmatch(r"[0-9]{11,14}", code) is None:
        return ()
    best: dict[str, int] = {}
    for rank, candidate in _candidates(code):
        if candidate != code and candidate[_VILLAGE:] != "000" and rank < best.get(candidate, 99):
            best[candidate] = rank
    found: list[str] = []
    for candidate in sorted(best, key=lambda c: (best[c], c)):
        if place(candidate).known:
            found.append(candidate)
            if len(found) == limit:
                break
    return tuple(found)


def meant_as_tps(text: str) -> str | None:
    """Return a text with look-alike characters read as digits; None for a text that is unlikely to be a TPS code.

    O is read as 0, I and l as 1, full-width digits as digits. Separators and a leading `TPS` are removed. The result
    may still be an invalid TPS code.
    """
    plain = re.sub(r"^\s*tps\b", "", unicodedata.normalize("NFKC", text), flags=re.IGNORECASE)
    code = _AROUND_DIGITS.sub("", plain)
    alike = code.translate(_LOOK_ALIKE)
    digits = sum(char.isascii() and char.isdigit() for char in code)
    all_alike = _TPS - 2 <= len(alike) <= _TPS + 2 and alike.isascii() and alike.isdigit()
    if all_alike and digits >= _LEAST_DIGITS:
        return alike
    mostly = digits > _LEAST_DIGITS and digits >= _MOSTLY * len(code) and len(code) <= 2 * _TPS
    return code if mostly else None


def _candidates(code: str) -> Iterator[tuple[int, str]]:
    if len(code) == _TPS:
        yield from _swapped(code)
        yield from _replaced(code)
    elif place(code[:_VILLAGE]).known:
        # the village is listed, so the station's number is wrong; only missing zeros in it can be guessed
        number = code[_VILLAGE:].lstrip("0")
        if len(number) <= _TPS - _VILLAGE:
            yield _FIRST, code[:_VILLAGE] + number.zfill(_TPS - _VILLAGE)
    elif len(code) == _TPS - 1:
        for at in range(_VILLAGE):
            for digit in "0123456789":
                doubled = digit in code[max(at - 1, 0) : at + 1]
                yield (_SWAPPED if doubled else _OTHER), code[:at] + digit + code[at:]
    elif len(code) == _TPS + 1:
        for at in range(_VILLAGE + 1):
            doubled = code[at] in (code[at - 1] if at else "", code[at + 1])
            yield (_SWAPPED if doubled else _OTHER), code[:at] + code[at + 1 :]


def _swapped(code: str) -> Iterator[tuple[int, str]]:
    for at in range(_VILLAGE - 1):
        yield _SWAPPED, code[:at] + code[at + 1] + code[at] + code[at + 2 :]


def _replaced(code: str) -> Iterator[tuple[int, str]]:
    for at in range(_VILLAGE):
        for digit in "0123456789":
            near = abs(int(digit) - int(code[at])) == 1
            yield (_NEIGHBOUR if near else _OTHER), code[:at] + digit + code[at + 1 :]
