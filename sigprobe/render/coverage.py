"""Draw the table of the user's own TPS: for the screen, as JSON, as CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sigprobe import places
from sigprobe.lists.coverage import STATES, Covered
from sigprobe.record.result import format_time
from sigprobe.render import words
from sigprobe.words.i18n import N_, _, clock_text, duration, ngettext

MOST: Final = 40
_MARKS: Final = {"none": "–", "failed": "✗", "old": "!", "good": "✓"}
_WORDS: Final = {"none": N_("no test"), "failed": N_("failed"), "old": N_("old test"), "good": N_("good")}
_NAME: Final = 26
COLUMNS: Final = ("tps_id", "name", "state", "old", "last_test_at", "age_s", "cause", "lat", "lon", "carried")


def coverage_text(
    found: Sequence[Covered], hours: float, *, width: int = 80, ascii: bool = False, plain: bool = False
) -> str:
    """Return the stations to test first, one a line, the counts of each state, and the next command."""
    width = max(40, min(width, 80))
    lines = list(_plain_lines(found) if plain else _lines(found, width))
    rest = len(found) - MOST
    if rest > 0 and not plain:
        command = "sigprobe status --coverage --csv"
        more = ngettext("and {n} more; see: {command}", "and {n} more; see: {command}", rest)
        lines.append(more.format(n=rest, command=command))
    if not plain and any(covered.carried for covered in found[:MOST]):
        lines.append(f"* {_('test of another device')}")
    lines += words.wrap(_totals(found, hours), width, "  ")
    wanted = next((c for c in found if c.state != "good"), None)
    command = "sigprobe status" if wanted is None else f"sigprobe test --tps {wanted.station.tps_id}"
    lines.append(_("Next: {command}").format(command=command))
    return "".join(f"{words.to_ascii(line) if ascii else line}".rstrip() + "\n" for line in lines)


def coverage_json(found: Sequence[Covered], hours: float, path: str) -> dict[str, Any]:
    """Return the whole table as plain values."""
    counts = Counter(c.state for c in found)
    return {
        "total": len(found),
        **{state: counts[state] for state in STATES},
        "older_than_h": hours,
        "list": path,
        "stations": [_record(c) for c in found],
    }


def coverage_csv(found: Sequence[Covered]) -> str:
    """Return the table as CSV; a name that a spreadsheet would run as a formula gets a leading apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for covered in found:
        record = _record(covered)
        name = record["name"] or ""
        record["name"] = f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t") else name
        writer.writerow(["" if record[key] is None else _cell(record[key]) for key in COLUMNS])
    return out.getvalue()


def _cell(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _record(covered: Covered) -> dict[str, Any]:
    station = covered.station
    return {
        "tps_id": station.tps_id,
        "name": station.name,
        "state": covered.state,
        "old": covered.old,
        "last_test_at": None if covered.at is None else format_time(covered.at),
        "age_s": None if covered.age_s is None else round(covered.age_s),
        "cause": covered.cause,
        "lat": station.lat,
        "lon": station.lon,
        "carried": covered.carried,
    }


def _lines(found: Sequence[Covered], width: int) -> Iterator[str]:
    shown = found[:MOST]
    states = {state: f"{_MARKS[state]} {_(_WORDS[state])}" for state in STATES}
    wide = max(words.columns(text) for text in states.values()) + 2 * any(c.carried for c in shown)
    name_wide = min(max((words.columns(_name(c)) for c in shown), default=0), _NAME if width > 60 else 8)
    for covered in shown:
        head = f"{covered.station.tps_id}  {words.pad(_name(covered), name_wide)}  "
        head += words.pad(states[covered.state] + (" *" if covered.carried else ""), wide)
        yield words.fit(f"{head}  {_note(covered)}", width)


def _plain_lines(found: Sequence[Covered]) -> Iterator[str]:
    for covered in found:
        carried = _("test of another device") if covered.carried else ""
        parts = [_name(covered), _(_WORDS[covered.state]), carried, _note(covered)]
        yield f"{covered.station.tps_id}: {', '.join(part for part in parts if part)}"


def _name(covered: Covered) -> str:
    station = covered.station
    return words.clean(station.name or places.place(station.tps_id).title or "")


def _note(covered: Covered) -> str:
    if covered.at is None:
        return ""
    if covered.age_s is None:
        try:
            return clock_text(covered.at, places.zone(covered.station.tps_id))
        except (OverflowError, ValueError):
            return ""
    age = _("{age} ago").format(age=duration(covered.age_s))
    code = words.screen_code(covered.cause) if covered.state == "failed" and covered.cause else ""
    return f"{age} {code}".rstrip()


def _totals(found: Sequence[Covered], hours: float) -> str:
    counts = Counter(c.state for c in found)
    span = duration(hours * 3600)
    return _(
        "{total} TPS: {none} without a test, {failed} failed, {old} with a test older than {span}, {good} good."
    ).format(total=len(found), span=span, **{state: counts[state] for state in STATES})
