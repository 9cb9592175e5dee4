"""Build the table of a run: one row per headline number, at most twelve rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sigprobe.record import kinds
from sigprobe.record.kinds import TableLine, is_number
from sigprobe.record.profile import Grade, Profile, Word
from sigprobe.record.result import RUN_KIND, Network, Outcome, Result
from sigprobe.record.window import uncertain_under_loss, varying
from sigprobe.render import words
from sigprobe.render.view import RunView
from sigprobe.verdict import Reading, readings
from sigprobe.words.codes import is_untested
from sigprobe.words.i18n import N_, _, ngettext

MAX_ROWS: Final = 12


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line: name, value, grade. `mark` is a grade, `failed`, `skipped` or empty; `curve` may be empty."""

    label: str
    value: str = ""
    mark: str = ""
    word: str = ""
    curve: tuple[float | None, ...] = ()
    notes: tuple[str, ...] = ()


def rows(view: RunView) -> list[TableRow]:
    """Return the table of a run, in config order, at most `MAX_ROWS` rows; the last names omitted rows."""
    checks = [r for r in view.results if r.kind != RUN_KIND]
    alike = Counter(r.kind for r in checks)
    table = [*_signal(view), *(row for r in checks for row in result_rows(r, view.profile, alone=alike[r.kind] == 1))]
    if len(table) > MAX_ROWS:
        table = _shortened(table)
    return table


def _shortened(table: Sequence[TableRow]) -> list[TableRow]:
    """Shorten the table: failed and poor rows first, then the others in order."""
    urgent = {Word.BAD: 0, words.FAILED: 0, Word.POOR: 1, words.SKIPPED: 2}
    ranked = sorted(range(len(table)), key=lambda i: (urgent.get(table[i].mark, 3), i))
    kept = sorted(ranked[: MAX_ROWS - 1])
    rest = len(table) - len(kept)
    more = ngettext("and {n} more line", "and {n} more lines", rest).format(n=rest)
    return [*(table[i] for i in kept), TableRow(more, notes=("sigprobe results",))]


def result_rows(result: Result, profile: Profile | None, *, alone: bool = False) -> Iterator[TableRow]:
    """Return the rows of one result. `alone` leaves out its name if the label suffices."""
    label = _label(result, alone)
    if result.outcome in (Outcome.FAILED, Outcome.SKIPPED):
        failure = None if result.failure is None else result.failure.code
        mark = words.SKIPPED if is_untested(str(result.outcome), failure) else words.FAILED
        code = "" if failure is None else words.screen_code(failure)
        yield TableRow(label, "", mark, words.word(mark), _curve(result) if mark == words.FAILED else (), (code,))
        return
    found = {r.metric: r for r in readings(result, profile)}
    if result.failure is not None and result.failure.code == "tampered":
        # the speed of a false answer does not matter
        yield TableRow(label, "", Word.BAD, _("false answer"), notes=_codes(result))
        return
    lines = list(_lines(result, found, label, alone))
    yield from lines or [TableRow(label, "", Word.GOOD, _("answered"), notes=_codes(result))]


def _lines(result: Result, found: dict[str, Reading], label: str, alone: bool) -> Iterator[TableRow]:
    """Return the rows that the kind's entry in `kinds` defines."""
    for index, line in enumerate(kinds.info(result.kind).lines):
        title = _named(_(line.label), result, alone) if line.label else label
        reading = found.get(line.metric)
        curve = () if index else _curve(result)
        if line.incomplete and result.outcome is Outcome.DEGRADED:
            value = "–" if reading is None else words.quantity(line.metric, reading.value)
            notes = (*_notes(line, result), *_codes(result))
            yield TableRow(title, value, words.FAILED, _(line.incomplete), notes=notes)
        elif reading is None:
            yield from _absent(line, result, title)
        elif alone or reading.value > 0 or not line.only_above_zero:
            codes = _codes(result) if line.with_code else ()
            yield _graded(title, reading, (*_notes(line, result), *codes), curve)


def _absent(line: TableLine, result: Result, title: str) -> Iterator[TableRow]:
    """Return the row for a missing number, if defined."""
    absent = line.absent
    if absent is None or (absent.only_when_degraded and result.outcome is not Outcome.DEGRADED):
        return
    if absent.good:
        other = result.data.get(absent.instead)
        value = words.quantity(absent.instead, other) if is_number(other) else ""
        yield TableRow(title, value, Word.GOOD, _(absent.word), notes=(*_notes(line, result), *_codes(result)))
    else:
        yield TableRow(title, "–", words.FAILED if absent.word else "", _(absent.word), notes=_codes(result))


def _notes(line: TableLine, result: Result) -> tuple[str, ...]:
    filled = []
    for note in line.notes:
        values = [(name, key, result.data.get(key)) for name, key in note.fields.items()]
        shown = {name: words.quantity(key, value) for name, key, value in values if is_number(value)}
        if len(shown) == len(values):
            filled.append(_(note.text).format(**shown))
    return (*filled, *_spread(line, result)) if line.window else tuple(filled)


def _spread(line: TableLine, result: Result) -> Iterator[str]:
    """Return the note of a rate that varies, and of one that lost packets limit by an amount not well known."""
    spread = varying(result.data.get(line.window))
    text = N_("varies, {low} to {high}")
    if spread is None:
        spread = uncertain_under_loss(result.data, line.metric)
        text = N_("limited by lost packets, {low} to {high}")
    if spread is not None:
        low, high = (words.quantity(line.metric, value) for value in spread)
        yield _(text).format(low=low, high=high)


def _signal(view: RunView) -> Iterator[TableRow]:
    """Return the signal of the run, or else of the first result with one."""
    for network in (view.tags.network, *(r.tags.network for r in view.results)):
        found = strength(network)
        if found is not None:
            metric, value = found
            grade = view.profile.word(metric, value) if view.profile else None
            yield _row(_("Signal"), metric, value, grade)
            return


def strength(network: Network) -> tuple[str, float] | None:
    """Return the signal's metric of the profile and its value; None if no modem reported it."""
    if network.rsrp_dbm is not None:
        return "rsrp_dbm", network.rsrp_dbm
    if network.rssi_dbm is not None:
        return "rssi_dbm", network.rssi_dbm
    return None


def _graded(label: str, reading: Reading, notes: tuple[str, ...], curve: tuple[float | None, ...] = ()) -> TableRow:
    if reading.near_limit is not None:
        limit = words.limit(reading.metric, reading.near_limit)
        notes = (_("(close to the limit {value})").format(value=limit), *notes)
    if reading.to_proxy:
        notes = (_("(counted at a proxy)"), *notes)
    row = _row(label, reading.metric, reading.value, reading.grade, notes, curve)
    sign = {(True, False): "≥ ", (False, True): "≤ "}.get((reading.at_least, reading.to_proxy), "")
    return replace(row, value=f"{sign}{row.value}")


def _row(
    label: str,
    metric: str,
    value: float,
    grade: Grade | None,
    notes: tuple[str, ...] = (),
    curve: tuple[float | None, ...] = (),
) -> TableRow:
    if grade is None:
        return TableRow(label, words.quantity(metric, value), curve=curve, notes=notes)
    if not grade.enough:
        notes = (_("(limit {value})").format(value=words.limit(metric, grade.threshold)), *notes)
    return TableRow(label, words.quantity(metric, value), grade.word, words.word(grade.word, metric), curve, notes)


def _label(result: Result, alone: bool) -> str:
    info = kinds.info(result.kind)
    if info.label:
        return _named(_(info.label), result, alone or not info.named)
    kind = words.clean(result.kind)
    if info.title:
        scheme = (result.target.address or "").partition("://")[0].lower()
        kind = scheme.upper() if scheme in ("http", "https") else _(info.title)
    return f"{words.clean(result.target.name)} ({kind})"


def _named(title: str, result: Result, alone: bool) -> str:
    return title if alone else f"{title} {words.clean(result.target.name)}"


def _codes(result: Result) -> tuple[str, ...]:
    return () if result.failure is None else (words.screen_code(result.failure.code),)


def _curve(result: Result) -> tuple[float | None, ...]:
    times = result.data.get(kinds.info(result.kind).curve)
    if not isinstance(times, list | tuple):
        return ()
    return tuple(float(t) if is_number(t) else None for t in times)
