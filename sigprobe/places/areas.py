"""Look up regencies, districts and villages by code, in a table that is read block by block.

`areas.bin` has a line with the format's name and a line of JSON: source, licence, vintage, offset of each province's
block. Then follow the blocks, each deflated separately. A block is text, ordered by code: `=RRname` begins a regency,
`-DDname` a district in it, `VVVVname` is a village. A lookup reads one block, about a fortieth of the table.
`tools/places.py` makes the file.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from sigprobe.places.provinces import Province, province

FORMAT: Final = b"sigprobe areas 1\n"
FILE: Final = Path(__file__).with_name("areas.bin")
_MAX_HEADER: Final = 64 * 1024
_DIGITS: Final = re.compile(r"[0-9]{4,13}")


@dataclass(frozen=True, slots=True)
class TableInfo:
    """Source of the table. `as_of` is the date of the codes, `attribution` the credit that its licence requires."""

    as_of: str
    decree: str
    source: str
    licence: str
    attribution: str
    counts: Mapping[str, int]
    blocks: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a code, as far as the table has it.

    `known` is True when the village is listed. `doubtful` is True when the village is missing although its province is
    listed. Lists age, so `doubtful` is a reason for a remark and never for a refusal.
    """

    province: Province | None = None
    regency: str | None = None
    district: str | None = None
    village: str | None = None
    known: bool = False
    doubtful: bool = False

    @property
    def title(self) -> str | None:
        """Return the short name for a heading: `Kota Bandung`, `Kab. Sorong`, else the province; None when unknown."""
        if self.regency is not None:
            return re.sub(r"^Kabupaten ", "Kab. ", self.regency)
        return None if self.province is None else self.province.name

    @property
    def full(self) -> str | None:
        """Return the name from the village up: `Sukarasa, Sukasari, Kota Bandung, Jawa Barat`; None when unknown."""
        names = (self.village, self.district, self.regency, None if self.province is None else self.province.name)
        return ", ".join(name for name in names if name) or None


def place(code: str | None) -> Place:
    """Return the place of a TPS code of 13 digits, or of a regency, district or village (4, 6, 10 digits).

    Never raises: if the table is missing or damaged, only the province is filled in.
    """
    home = province(code)
    if home is None or code is None or _DIGITS.fullmatch(code) is None:
        return Place(home)
    text = _block(home.code)
    if text is None:
        return Place(home)
    regency, low, high = _section(text, f"\n={code[2:4]}", "\n=", 0, len(text))
    district = village = None
    if regency is not None and len(code) >= 6:
        district, low, high = _section(text, f"\n-{code[4:6]}", "\n-", low, high)
        if district is not None and len(code) >= 10:
            village, low, high = _section(text, f"\n{code[6:10]}", "\n", low, high)
    doubtful = village is None and len(code) in (10, 13)
    return Place(home, regency, district, village, village is not None, doubtful)


def regency_name(code: str | None) -> str | None:
    """Return the full name of a regency or city by its four digits, or by a longer code in it; None when unknown."""
    return place((code or "")[:4]).regency


def table_info() -> TableInfo | None:
    """Return the header of the table; None when it is missing or damaged."""
    return _header()


def _section(text: str, mark: str, kind: str, low: int, high: int) -> tuple[str | None, int, int]:
    """Return the name after `mark`, and the span up to the next mark of its kind."""
    at = text.find(mark, low, high)
    if at < 0:
        return None, low, low
    line_end = text.find("\n", at + 1, high)
    following = text.find(kind, at + 1, high)
    end = high if following < 0 else following
    return text[at + len(mark) : high if line_end < 0 else line_end], at, end


@cache
def _header() -> TableInfo | None:
    try:
        with FILE.open("rb") as file:
            if file.readline(64) != FORMAT:
                return None
            fields = json.loads(file.readline(_MAX_HEADER))
            start = file.tell()
        blocks = {name: (start + offset, length) for name, (offset, length) in fields.pop("blocks").items()}
        return TableInfo(**fields, blocks=blocks)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


@cache
def _block(code: str) -> str | None:
    """Return the text of one province; None when the table does not hold it."""
    header = _header()
    if header is None or code not in header.blocks:
        return None
    offset, length = header.blocks[code]
    try:
        with FILE.open("rb") as file:
            file.seek(offset)
            return zlib.decompress(file.read(length)).decode("utf-8")
    except (OSError, ValueError, zlib.error):
        return None
