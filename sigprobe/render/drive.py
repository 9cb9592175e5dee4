"""Draw a drive on the screen: a line for each point, and a summary at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sigprobe.record.profile import Word
from sigprobe.record.result import Location, Tags, parse_time
from sigprobe.render import words
from sigprobe.render.nearest import distance_text
from sigprobe.render.run_table import strength
from sigprobe.render.screen import operator_text
from sigprobe.runs.route import Ended, Point, Stretch, Summary
from sigprobe.words.i18n import N_, ZONES, _, duration, language, ngettext, number, size

NO_SERVICE: Final = N_("no service")
_ENDS: Final[dict[Ended, str]] = {
    "time": N_("Time limit reached."),
    "points": N_("Requested number of points reached."),
    "data": N_("Data limit reached."),
    "stopped": N_("Stopped. Measured points are stored."),
    "storage": N_("Ended because a result could not be stored."),
    "files": N_("Ended because the files could not be written."),
}
_PLACE_WIDTH: Final = 19
_WORD_WIDTH: Final = 15


def grade_word(grade: str) -> str:
    """Return the word for a point's grade: `bad` is a point without service."""
    if grade == Word.BAD:
        return _(NO_SERVICE)
    return words.word(grade) if grade else _("not measured")


def ended_text(ended: Ended) -> str:
    """Return the reason why a drive ended."""
    return _(_ENDS[ended])


def place_text(place: Location | None) -> str:
    """Return a position in degrees, or the text for a missing one."""
    return _("no position") if place is None else f"{number(place.lat, 5)} {number(place.lon, 5)}"


def time_of_day(at: str, zone: str) -> str:
    """Format the time of a point with seconds: `14.05.12`, in English `14:05:12`."""
    when = parse_time(at)
    if when is None:
        return "–"
    local = when.astimezone(ZONES[zone])
    return f"{local:%H.%M.%S}" if language() == "id" else f"{local:%H:%M:%S}"


def kilometres(metres: float) -> str:
    """Format a distance with the same unit in every line, so that the column can be read down."""
    return f"{number(metres / 1000, 2)} km"


def point_line(point: Point, zone: str, width: int = 80) -> str:
    """Return one point as a line: number, time, place, distance, grade, and the numbers behind the grade."""
    symbol = words.SYMBOLS.get(point.grade, "-")
    parts = [
        f"{point.number:>4}",
        time_of_day(point.at, zone),
        words.pad(place_text(point.location), _PLACE_WIDTH),
        words.pad(kilometres(point.distance_m), 8, right=True),
        words.pad(f"{symbol} {grade_word(point.grade)}", _WORD_WIDTH),
        headline_number(point),
        signal_text(point),
    ]
    if point.grade not in (Word.GOOD, Word.FAIR) and point.codes:
        parts[-2:] = [words.screen_code(point.codes[0])]  # the failure is more useful here than the speed of the rest
    return words.fit("  ".join(part for part in parts if part), width - 1)


def headline_number(point: Point) -> str:
    """Return the latency of a point, else the first other number measured there; empty without any."""
    order = sorted(point.numbers, key=lambda metric: metric != "latency_ms")
    return words.quantity(order[0], point.numbers[order[0]]) if order else ""


def point_plain(point: Point, zone: str) -> str:
    """Return the same for a screen reader: words and commas, no symbols or columns."""
    shown = headline_number(point)
    if shown.endswith(" ms"):
        shown = _("{number} milliseconds").format(number=shown.removesuffix(" ms"))
    parts = [
        _("Point {n}").format(n=point.number),
        time_of_day(point.at, zone),
        grade_word(point.grade),
        place_text(point.location),
        kilometres(point.distance_m),
        shown,
        signal_text(point),
        *(words.screen_code(code) for code in point.codes),
    ]
    return ", ".join(part for part in parts if part)


def signal_text(point: Point) -> str:
    """Return the signal strength, if a modem reported it."""
    found = strength(point.network)
    return "" if found is None else words.quantity(*found)


def operator_of(point: Point) -> str:
    """Return operator and radio generation at a point."""
    return operator_text(Tags(network=point.network))


def headline(summary: Summary) -> str:
    """Summarise a drive in one sentence."""
    share = summary.service_share
    if share is None:
        return _("Nothing was measured.")
    # nearly all is not all
    percent = min(share, 0.99) if share < 1 else share
    return ngettext(
        "Service at {good} of {n} point measured ({share}).",
        "Service at {good} of {n} points measured ({share}).",
        summary.measured,
    ).format(good=number(summary.with_service), n=number(summary.measured), share=words.percent(round(percent, 2)))


def details(summary: Summary, zone: str) -> Iterator[str]:
    """Return the rest of a summary, one sentence each."""
    text = _("Distance {distance}, time {time}.").format(
        distance=distance_text(summary.distance_m), time=duration(summary.seconds)
    )
    if summary.gaps:
        text += " " + ngettext(
            "The line has {n} gap without a position; the distance there is not counted.",
            "The line has {n} gaps without a position; the distance there is not counted.",
            summary.gaps,
        ).format(n=number(summary.gaps))
    yield text
    counts = [f"{grade_word(g)} {number(n)}" for g, n in summary.grades.items() if n]
    if counts:
        yield _("Points: {counts}.").format(counts=", ".join(counts))
    if summary.unplaced:
        yield ngettext(
            "{n} point has no position; it is in the table, not on the map.",
            "{n} points have no position; they are in the table, not on the map.",
            summary.unplaced,
        ).format(n=number(summary.unplaced))
    if summary.worst is not None:
        yield worst_text(summary.worst, zone)
    yield _("Data used {size}.").format(size=size(summary.data_used_bytes))


def worst_text(worst: Stretch, zone: str) -> str:
    """Return the worst stretch: grade, length, start time and place."""
    length = None if worst.length_m is None or worst.count < 2 else distance_text(worst.length_m)
    long = ", ".join(part for part in (length, duration(worst.seconds)) if part)
    where = place_text(worst.first.location)
    if worst.count == 1:
        return _("Worst place: {grade}, point {n}, {time} ({place}).").format(
            grade=grade_word(worst.grade), n=worst.first.number, time=time_of_day(worst.first.at, zone), place=where
        )
    return _("Worst stretch: {grade} for {long}, points {a} to {b}, from {time} ({place}).").format(
        grade=grade_word(worst.grade),
        long=long,
        a=worst.first.number,
        b=worst.last.number,
        time=time_of_day(worst.first.at, zone),
        place=where,
    )


def summary_text(
    summary: Summary,
    ended: Ended,
    zone: str,
    saved: Sequence[str],
    files: Sequence[str],
    next_command: str,
    *,
    width: int = 80,
    ascii: bool = False,
    plain: bool = False,
) -> str:
    """Return the end of a drive on the screen. `saved` reports stored and sent records, `files` the paths."""
    texts = [
        ended_text(ended),
        _("Result: {text}").format(text=headline(summary)),
        *details(summary, zone),
        *saved,
        *files,
        _("Next: {command}").format(command=next_command),
    ]
    width = max(40, min(width, 80))
    lines = [text if plain else words.fold(words.clean(text), width) for text in texts if text]
    return "".join(f"{words.to_ascii(line) if ascii else line}\n" for line in lines)


def first_line(
    steps: Sequence[str],
    every_s: float | None,
    metres: float | None,
    seconds: float | None,
    most_points: int | None,
    bytes: int | None,
) -> str:
    """Return the line before the first point: what will be measured."""
    pace = []
    if metres is not None:
        pace.append(_("every {metres} m").format(metres=number(metres)))
    if every_s is not None:
        pace.append(_("every {time}").format(time=duration(every_s)))
    limits = []
    if seconds is not None:
        limits.append(duration(seconds))
    if most_points is not None:
        limits.append(ngettext("{n} point", "{n} points", most_points).format(n=number(most_points)))
    if bytes is not None:
        limits.append(size(bytes))
    return _("Drive test: {steps}, {pace}; at most {limits}. Ctrl-C stops it; measured points are kept.").format(
        steps=words.listed(steps, most=6), pace=_(" or ").join(pace), limits=", ".join(limits) or "–"
    )
