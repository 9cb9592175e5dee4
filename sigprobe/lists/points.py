"""Read points with a signal (base stations, public access) from CSV or GeoJSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sigprobe import places
from sigprobe.lists import coordinates, csv_table
from sigprobe.lists.problems import Fault, ListError, shown
from sigprobe.lists.tps import swap_note, too_many_cells
from sigprobe.places.geometry import Point
from sigprobe.places.position_messages import position_doubt
from sigprobe.places.position_slips import in_indonesia
from sigprobe.record.foreign_json import TooDeepError, read_json
from sigprobe.words.i18n import _

COLUMNS: Final = ("name", "lat", "lon", "operator", "kind")
_MOST_TEXT: Final = 80


def read_points(raw: bytes) -> tuple[list[Point], list[Fault]]:
    """Return the points of a CSV or GeoJSON file, and its warnings.

    Lines of a GeoJSON file are its features, counted from 1. A repeated point counts once. Raises ListError with every
    error of the file; then none of it is imported.
    """
    text = csv_table.decode(raw)
    faults: list[Fault] = []
    notes: list[Fault] = []
    swapped: list[int] = []
    found: dict[Point, int] = {}
    for line, cells, place in _from_json(text) if text.lstrip()[:1] in ("{", "[") else _from_csv(text):
        where, turned, wrong = place
        if wrong is None and where is None:
            wrong = _("latitude and longitude are missing.")
        if wrong is not None or where is None:
            faults.append(Fault(line, wrong or ""))
            continue
        if turned:
            swapped.append(line)
        wrong = position_doubt(*where)
        if not wrong and not in_indonesia(*where):
            wrong = _("{lat}, {lon} lies outside Indonesia.").format(lat=where[0], lon=where[1])
        if wrong:
            name = shown(cells.get("name", cells.get("id", "–")))
            notes.append(Fault(line, f"{name}: {wrong}"))
        found.setdefault(_point(cells, where), line)
    if not found and not faults:
        faults.append(Fault(None, _("the file contains no points.")))
    if faults:
        raise ListError(faults)
    return list(found), [*swap_note(swapped), *notes]


Placed = tuple[coordinates.Pair | None, bool, str | None]
Found = tuple[int, Mapping[str, str], Placed]


def _from_csv(text: str) -> Iterator[Found]:
    for row in csv_table.rows(text, COLUMNS, ("lat", "lon")):
        if csv_table.OVERFLOW in row.cells:
            yield row.line, {}, (None, False, too_many_cells())
        else:
            yield row.line, row.cells, coordinates.pair(row.cells)


def _from_json(text: str) -> Iterator[Found]:
    try:
        document = read_json(text)
    except TooDeepError:
        raise ListError([Fault(None, _("this file is nested too deeply to be GeoJSON."))]) from None
    except ValueError as error:
        line = getattr(error, "lineno", None)
        text = _("this is not JSON; look for a missing bracket, comma or quotation mark, here or just before.")
        raise ListError([Fault(line, text)]) from None
    features = document.get("features") if isinstance(document, dict) else document
    if isinstance(document, dict) and document.get("type") == "Feature":
        features = [document]
    if not isinstance(features, list):
        raise ListError([Fault(None, _("this is not GeoJSON: it has no list of features."))])
    for number, feature in enumerate(features, 1):
        body = feature if isinstance(feature, dict) else {}
        properties = body.get("properties")
        yield number, _properties(properties if isinstance(properties, dict) else {}), _geometry(body.get("geometry"))


def _properties(properties: Mapping[str, Any]) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, value in zip(csv_table.columns(list(properties)), properties.values(), strict=True):
        if name is None or isinstance(value, bool) or not isinstance(value, str | int):
            continue
        text = value.strip() if isinstance(value, str) else str(value) if abs(value) < 10**20 else ""
        if text:
            named[name] = text
    return named


def _geometry(geometry: object) -> Placed:
    shape = geometry if isinstance(geometry, dict) else {}
    kind, pair = shape.get("type"), shape.get("coordinates")
    if kind != "Point":
        return None, False, _("only points are supported, not {kind}.").format(kind=shown(str(kind)))
    if not isinstance(pair, list) or len(pair) < 2 or not all(_is_degrees(value) for value in pair[:2]):
        return None, False, _("{value} is not a latitude and longitude.").format(value=shown(str(pair)))
    # GeoJSON has the longitude first
    return coordinates.checked(float(pair[1]), float(pair[0]))


def _is_degrees(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1000


def _point(cells: Mapping[str, str], where: coordinates.Pair) -> Point:
    operator = places.operator(cells.get("operator"))
    return Point(
        lat=where[0],
        lon=where[1],
        origin="list",
        name=_short(cells.get("name") or cells.get("id")),
        kind=_short(cells.get("kind")),
        operator=None if operator is None else operator.name or operator.plmn,
    )


def _short(text: str | None) -> str | None:
    return re.sub(r"\s+", " ", text)[:_MOST_TEXT].strip() or None if text else None
