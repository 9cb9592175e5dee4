"""Build the map of a drive as a single page that works without a network and without colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from sigprobe.record.profile import Profile, Word
from sigprobe.record.result import parse_time
from sigprobe.render import words
from sigprobe.render.drive import (
    details,
    ended_text,
    grade_word,
    headline,
    kilometres,
    operator_of,
    place_text,
    signal_text,
    time_of_day,
)
from sigprobe.render.html_page import page, safe, section, table
from sigprobe.render.route_map import Spot, mark_svg, svg
from sigprobe.runs.route import NOTHING, Ended, Point, Summary
from sigprobe.words.i18n import _, clock_text, ngettext, number

_STYLE: Final = """
main{max-width:1000px}.legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1.4rem}
svg.mark{width:1rem;height:1rem;background:none;vertical-align:-.15rem}.way{stroke-width:1.5;opacity:.7}
.spot{stroke:#fff;stroke-width:.8}.end{font:600 13px system-ui,sans-serif;fill:#1c262b;paint-order:stroke;
stroke:#fff;stroke-width:3px}.scale{fill:none;stroke:#1c262b;stroke-width:2}.scroll{overflow-x:auto}
.codes td:first-child,.codes td:nth-child(2){white-space:nowrap}
.scroll td,.scroll th{white-space:nowrap;font-size:.9rem;font-variant-numeric:tabular-nums}
"""
_GRADES: Final = (Word.GOOD, Word.FAIR, Word.POOR, Word.BAD, NOTHING)


def route_html(
    points: Sequence[Point],
    summary: Summary,
    ended: Ended | None,
    *,
    who: str,
    zone: str,
    profile: Profile | None,
    files: Sequence[str],
) -> str:
    """Return the page. `who` is the owner of the drive; `ended` is None during it; `files` are beside the page."""
    title = _("Drive test: {who}").format(who=who)
    placed = [p for p in points if p.location is not None]
    body = [
        f"<h1>{safe(title)}</h1><p>{safe(_when(points, zone))}</p>",
        _result(summary, ended, zone),
        section(_("Map"), _map(points, summary) if placed else f"<p>{safe(_('No point has a position.'))}</p>"),
        section(_("Problem"), _faults(points)),
        section(_("Points"), _table(points, zone)),
        _notes(profile, files),
    ]
    return page(title, "".join(body), _STYLE)


def _when(points: Sequence[Point], zone: str) -> str:
    times = [when for p in points if (when := parse_time(p.at)) is not None]
    if not times:
        return ""
    told = (
        f"{clock_text(times[0], zone)} – {clock_text(times[-1], zone, with_date=times[0].date() != times[-1].date())}"
    )
    operators = [name for name in dict.fromkeys(operator_of(p) for p in points) if name]
    return " · ".join([told, *([words.listed(operators)] if operators else [])])


def _result(summary: Summary, ended: Ended | None, zone: str) -> str:
    told = [f"<b>{safe(headline(summary))}</b>", *(safe(text) for text in details(summary, zone))]
    told.append(
        safe(_("The drive was still running when this page was written.") if ended is None else ended_text(ended))
    )
    return f'<div class="verdict">{"<br>".join(told)}</div>'


def _map(points: Sequence[Point], summary: Summary) -> str:
    spots = []
    apart = False
    for point in points:
        if point.location is None:
            apart = True
            continue
        label = f"{point.number} · {grade_word(point.grade)} · {place_text(point.location)}"
        spots.append(Spot(point.location.lat, point.location.lon, point.grade, label, apart))
        apart = False
    drawing = svg(spots, line=True, title=_("Route of the drive, north at the top"), ends=(_("start"), _("end")))
    seen = {point.grade for point in points}
    legend = [
        f"<li>{mark_svg(grade)} {safe(symbol_word(grade))}: {safe(number(summary.grades.get(grade, 0)))}</li>"
        for grade in _GRADES
        if grade in seen
    ]
    notes = [_("North is at the top.")]
    if summary.gaps or apart:
        notes.append(_("Gaps in the line have no position, for example in a tunnel."))
    notes.append(_("The coastline is coarse; in a map program the .geojson file shows streets."))
    return f'{drawing}<ul class="legend">{"".join(legend)}</ul><p>{safe(" ".join(notes))}</p>'


def symbol_word(grade: str) -> str:
    """Return the symbol and the word of a grade."""
    return f"{words.SYMBOLS.get(grade, '-')} {grade_word(grade)}"


def _faults(points: Sequence[Point]) -> str:
    counts = Counter(code for point in points for code in point.codes)
    names: dict[str, list[str]] = {}
    for point in points:
        for check in point.checks:
            if check.code is not None:
                names.setdefault(check.code, []).append(check.name)
    body = []
    for code, count in counts.most_common():
        listed = words.listed(names[code])
        said = words.sentence(code, name=listed, names=listed)
        body.append((words.screen_code(code), ngettext("{n} point", "{n} points", count).format(n=number(count)), said))
    told = table((_("Code"), _("Location"), _("Meaning")), body)
    return f'<div class="codes">{told}</div>' if told else ""


def _table(points: Sequence[Point], zone: str) -> str:
    head = (_("No."), _("Time"), _("Position"), _("Distance"), _("Result"), _("Latency"), "DNS", _("Page"), _("Signal"))
    body = [
        (
            number(point.number),
            time_of_day(point.at, zone),
            place_text(point.location),
            kilometres(point.distance_m),
            symbol_word(point.grade),
            _ms(point.numbers.get("latency_ms")),
            _ms(point.numbers.get("dns_ms")),
            _ms(point.numbers.get("http_total_ms")),
            signal_text(point) or "–",
            operator_of(point) or "–",
            " ".join(words.screen_code(code) for code in point.codes),
        )
        for point in points
    ]
    rows = table((*head, _("Operator"), _("Code")), body)
    return f'<div class="scroll">{rows}</div>' if rows else f"<p>{safe(_('No point yet.'))}</p>"


def _ms(value: float | None) -> str:
    return "–" if value is None else words.millis(value)


def _notes(profile: Profile | None, files: Sequence[str]) -> str:
    told = []
    if profile is not None:
        told.append(
            _("Grades by the thresholds {name} of {date}; our own assessment, not a regulation.").format(
                name=profile.name, date=profile.version
            )
        )
    if files:
        told.append(_("The same for programs: {path}").format(path=", ".join(files)))
    return "".join(f"<p>{safe(text)}</p>" for text in told)
