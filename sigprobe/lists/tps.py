"""Read a list of the user's own TPS: number, name, latitude, longitude."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sigprobe.lists import coordinates, csv_table
from sigprobe.lists.problems import Fault, ListError, shown
from sigprobe.places.position_messages import position_doubt
from sigprobe.places.tps_messages import doubt, suggestion
from sigprobe.tag.tps import TpsError, parse_tps
from sigprobe.words.i18n import N_, _, ngettext

COLUMNS: Final = ("id", "name", "lat", "lon")

_REASONS: Final = {
    "empty": N_("the TPS number is missing."),
    "spreadsheet": N_(
        "{value} is a TPS number that Excel has rounded: the digits are lost in this file. Format the column as Text "
        "before the numbers are put in, fill them in again from where they come, and save as CSV."
    ),
    "not_digits": N_("{value} is not a TPS number: a TPS number has only digits."),
    "length": N_("{value} is not a TPS number: it has {n} digits instead of 13."),
    "province": N_("{value} is not a TPS number: digits 1–2 are not a valid province code."),
    "regency": N_("{value} is not a TPS number: digits 3–4 are not a valid regency code."),
    "district": N_("{value} is not a TPS number: digits 5–6 are not a valid district code."),
    "village": N_("{value} is not a TPS number: digits 7–10 are not a valid village code."),
    "number": N_("{value} is not a TPS number: the last three digits cannot be 000."),
}


@dataclass(frozen=True, slots=True)
class Station:
    """TPS of the list. `lat` and `lon` are both None without a registered position."""

    tps_id: str
    name: str | None = None
    lat: float | None = None
    lon: float | None = None


def read_tps(raw: bytes) -> tuple[list[Station], list[Fault]]:
    """Return the stations of a CSV file, and its warnings.

    Raises ListError with every error of the file; then none of it is imported.
    """
    faults: list[Fault] = []
    notes: list[Fault] = []
    swapped: list[int] = []
    stations: list[Station] = []
    first: dict[str, int] = {}
    for row in csv_table.rows(csv_table.decode(raw), COLUMNS, ("id",)):
        try:
            tps_id = _tps_id(row.cells.get("id", ""))
        except TpsError as error:
            faults.append(Fault(row.line, sentence(error)))
            tps_id = None
        if csv_table.OVERFLOW in row.cells:
            faults.append(Fault(row.line, too_many_cells()))
            continue
        where, turned, wrong = coordinates.pair(row.cells)
        if wrong is not None:
            faults.append(Fault(row.line, wrong))
        if tps_id is None:
            continue
        if tps_id in first:
            message = _("{value} is already in line {line}.").format(value=tps_id, line=first[tps_id])
            faults.append(Fault(row.line, message))
            continue
        first[tps_id] = row.line
        if turned:
            swapped.append(row.line)
        notes += _doubts(row.line, tps_id, where)
        lat, lon = where or (None, None)
        stations.append(Station(tps_id, row.cells.get("name"), lat, lon))
    if not first and not faults:
        faults.append(Fault(None, _("the file contains no TPS.")))
    if faults:
        raise ListError(faults)
    return stations, [*swap_note(swapped), *notes]


def sentence(error: TpsError) -> str:
    """Explain why a text is not a TPS number, with the most likely correction."""
    digits = "".join(c for c in error.found if c.isdigit())
    message = _(_REASONS.get(error.reason, _REASONS["not_digits"]))
    return f"{message.format(value=shown(error.found), n=len(digits))} {suggestion(error.found)}".rstrip()


def too_many_cells() -> str:
    """Return the advice for a row with more cells than columns."""
    return _(
        "more cells than columns. Where numbers have a decimal comma, part the columns by semicolons, or put such "
        "numbers in quotes."
    )


def swap_note(lines: list[int]) -> Iterator[Fault]:
    """Return the note that latitude and longitude were swapped and have been corrected."""
    if lines:
        yield Fault(
            lines[0],
            ngettext(
                "latitude and longitude were swapped in {n} row and have been put right.",
                "latitude and longitude were swapped in {n} rows and have been put right.",
                len(lines),
            ).format(n=len(lines)),
        )


def _tps_id(text: str) -> str:
    # some programs write whole numbers as 3273011001005.0
    return parse_tps(re.sub(r"^([0-9]{13})[.,]0+$", r"\1", text))


def _doubts(line: int, tps_id: str, where: coordinates.Pair | None) -> Iterator[Fault]:
    unlisted = doubt(tps_id)
    if unlisted:
        yield Fault(line, unlisted)
    wrong = "" if where is None else position_doubt(*where, tps_id)
    if wrong:
        yield Fault(line, f"{tps_id}: {wrong}")
