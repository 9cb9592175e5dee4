"""Read CSV files from common programs: with or without a BOM, with `,` `;` or tabs, headers in either language."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sigprobe.lists.problems import Fault, ListError
from sigprobe.record import text_encoding
from sigprobe.words.i18n import _

MAX_BYTES: Final = 100_000_000
_DELIMITERS: Final = ";\t,|"

HEADERS: Final[Mapping[str, str]] = {
    "id": "idtps kodetps tpsid tpscode nomortps notps tpsnumber kode code id tps nomor nomer number no",
    "name": "namatps tpsname nama name namalokasi namatempat sitename label site tempat place lokasi",
    "lat": "latitude lat garislintang lintang gpslat latdeg y",
    "lon": "longitude lon lng long garisbujur bujur gpslon gpslong londeg x",
    "both": "koordinat koordinatgps coordinates coordinate latlon latlong latlng gps posisi position",
    "operator": "operator provider penyedia opsel plmn jaringan network",
    "kind": "jenis kind tipe type kategori category",
}
"""The columns that are understood, and the headers that name them, in small letters and digits alone.

Of two headers for one column the earlier word counts: `no` is the TPS number only where nothing says it better, since
it mostly numbers the rows.
"""

_WORDS: Final = {name: words.split() for name, words in HEADERS.items()}


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One line of the file, by the names of `HEADERS`; empty or missing cells are left out."""

    line: int
    cells: Mapping[str, str]


def decode(raw: bytes) -> str:
    """Decode a file by its BOM, else as UTF-8, else as the old Windows code page. Raises ListError."""
    if len(raw) > MAX_BYTES:
        raise ListError([Fault(None, _("the file is larger than {n} MB.").format(n=MAX_BYTES // 1_000_000))])
    try:
        text = text_encoding.decode(raw)
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    if "\0" in text:
        raise ListError([Fault(None, _("this is not a text file. In Excel, use Save as and choose CSV UTF-8."))])
    return text


def header_of(text: str) -> tuple[str, int] | None:
    """Return the column of a header and the rank of the match (0 is best); None for an unknown header."""
    word = re.sub(r"[^a-z0-9]", "", text.casefold())
    for name, known in _WORDS.items():
        if word in known:
            return name, known.index(word)
    return None


def columns(headers: Sequence[str]) -> list[str | None]:
    """Map the headers to columns; of several for one column only the best."""
    found = [header_of(header) for header in headers]
    best: dict[str, int] = {}
    for hit in found:
        if hit is not None:
            best[hit[0]] = min(hit[1], best.get(hit[0], hit[1]))
    names: list[str | None] = []
    for hit in found:
        known = hit is not None and hit[1] == best[hit[0]] and hit[0] not in names
        names.append(hit[0] if hit is not None and known else None)
    return names


def rows(text: str, default: tuple[str, ...], needed: tuple[str, ...]) -> Iterator[CsvRow]:
    """Yield the lines of a CSV file, without empty ones.

    A first line with numbers is not a header, and the columns are then `default`. Raises ListError when a `needed`
    column is missing, or the file is not a table. A row with more cells than columns is marked with `OVERFLOW`.
    """
    found = _cells(text)
    if not found:
        raise ListError([Fault(None, _("the file is empty."))])
    line, first = found[0]
    names = columns(first)
    if not any(_is_number(cell) for cell in first):
        body = found[1:]
    else:
        names = [default[at] if at < len(default) else None for at in range(len(first))]
        body = found
    missing = [name for name in needed if name not in names and not (name in ("lat", "lon") and "both" in names)]
    if missing:
        said = _("no column {names} was found. The first line must name the columns, for example: {example}")
        message = said.format(names=", ".join(missing), example=";".join(default))
        raise ListError([Fault(line, message)])
    for line, cells in body:
        yield CsvRow(line, _named(names, cells))


OVERFLOW: Final = "\0overflow"
"""The key under which a row tells that it has more cells than there are columns."""


def _named(names: list[str | None], cells: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, cell in zip(names, cells, strict=False):
        if name is not None and cell and name not in named:
            named[name] = cell
    if any(cells[len(names) :]):
        named[OVERFLOW] = str(len(cells))
    return named


def _is_number(cell: str) -> bool:
    """Return True for a TPS number or degrees in any notation: headers never have that form."""
    return re.fullmatch(r"[-+0-9.,\sEe]{3,}", cell) is not None and any(c.isdigit() for c in cell)


def _cells(text: str) -> list[tuple[int, list[str]]]:
    head, _end, rest = text.partition("\n")
    marked = re.fullmatch(r"sep=(.)", head.rstrip("\r"))  # Excel's own way to name the delimiter
    skipped = 0
    if marked:
        text, skipped = rest, 1
    delimiter = marked[1] if marked else _delimiter(head)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: list[tuple[int, list[str]]] = []
    begins = 1 + skipped
    try:
        for row in reader:
            cells = [_bare(cell) for cell in row]
            if any(cells):
                found.append((begins, cells))
            begins = reader.line_num + 1 + skipped
    except csv.Error:
        # the library's reason is English, and is a quote without its end or a cell without one nearly always
        message = _("this line cannot be read as CSV; look for a missing quotation mark.")
        raise ListError([Fault(begins, message)]) from None
    return found


def _delimiter(line: str) -> str:
    """Return the most frequent delimiter of the first line, `;` before `,`."""
    bare = re.sub(r'"[^"]*"', "", line)
    return max(_DELIMITERS, key=bare.count) if any(bare.count(d) for d in _DELIMITERS) else ","


def _bare(cell: str) -> str:
    """Strip a cell of blanks, of Excel's `="…"` and of its leading apostrophe."""
    text = cell.strip().strip("\ufeff\u200b\xa0").strip()
    formula = re.fullmatch(r'="?([^"]*)"?', text)
    return (formula[1] if formula else text).lstrip("'").strip()
