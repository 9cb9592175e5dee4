"""Draw `status`, `results`, `explain` and `doctor`: pure functions from plain values to lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from sigprobe import places
from sigprobe.places import Zone
from sigprobe.record import kinds
from sigprobe.record.profile import Word
from sigprobe.record.result import RUN_KIND, parse_time
from sigprobe.render import words
from sigprobe.render.screen import time_text
from sigprobe.words.codes import Code, is_untested
from sigprobe.words.i18n import _, clock_text, ngettext, number, size

State = Literal["ok", "warn", "fail"]
_MARKS: Final[Mapping[State, str]] = {"ok": "✓", "warn": "!", "fail": "✗"}
LAST: Final = 20
_LEAST_WIDTH: Final = 40
_LEAST_VALUE: Final = 30
_NARROW: Final = 60


@dataclass(frozen=True, slots=True)
class Usage:
    """Payload bytes used and allowed in one span; a limit of None means no limit."""

    used_bytes: int
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class StatusView:
    """Values that `status` shows. Times are aware; `reasons` count why records were set aside.

    The counts include the records imported from other devices, which `imported_…` counts apart. `last_attempt` is the
    result of the last upload: a failure code of the table, or None after a success. `state` names (`pending`, `acked`,
    `rejected`, `carried`) are counts of records.
    """

    pending: int = 0
    acked: int = 0
    rejected: int = 0
    carried: int = 0
    imported_pending: int = 0
    imported_acked: int = 0
    imported_rejected: int = 0
    imported_carried: int = 0
    oldest_pending_at: datetime | None = None
    oldest_of_others_at: datetime | None = None
    """When the first waiting result of another device was measured, and its zone."""
    zone_of_others: Zone = "WIB"
    last_upload_at: datetime | None = None
    time_unchecked_at: datetime | None = None
    last_attempt: str | None = None
    next_attempt_at: datetime | None = None
    next_run_at: datetime | None = None
    way: Literal["agent", "timer", "cron"] | None = None
    start_with: str = "sigprobe schedule install"
    every_min: int | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    day: Usage | None = None
    month: Usage | None = None
    buffer_path: str = ""
    buffer_bytes: int = 0
    buffer_limit_bytes: int | None = None
    other_queues: Sequence[str] = ()
    last_fix: str | None = None
    last_fix_at: datetime | None = None
    collectors: int = 0
    zone: str = "WIB"


@dataclass(frozen=True, slots=True)
class DoctorLine:
    """One check of `doctor`: title, status, detail, and a command or step that fixes it."""

    name: str
    state: State
    detail: str
    fix: str | None = None
    technical: str | None = None


def status_text(view: StatusView, *, width: int = 80, ascii: bool = False, plain: bool = False) -> str:
    """Return the state of the queue and the next command; `plain` has one item a line, of any length."""
    rows = [(label, text) for label, text in _status_rows(view) if text]
    tail = [_("Next: {command}").format(command=status_command(view))]
    return _sheet(rows, tail, width=width, ascii=ascii, plain=plain)


def status_command(view: StatusView) -> str:
    """Return the most useful command in this state."""
    if view.pending and not view.collectors:
        return "sigprobe explain SP-SYN-07"  # init would replace the existing settings
    if view.pending:
        return "sigprobe upload"
    if view.rejected:
        return "sigprobe results --state rejected"
    return "sigprobe test"


def _status_rows(view: StatusView) -> Iterator[tuple[str, str]]:
    zone = view.zone
    waiting = ngettext("{n} waiting", "{n} waiting", view.pending)
    yield _("Upload queue"), waiting.format(n=number(view.pending)) + _of_others(view.imported_pending)
    if view.pending > view.imported_pending:
        yield _("Oldest waiting"), time_text(view.oldest_pending_at, zone)
    if view.imported_pending and view.oldest_of_others_at is not None:
        yield _("Oldest of others"), time_text(view.oldest_of_others_at, view.zone_of_others)
    yield _("Sent"), number(view.acked) + _of_others(view.imported_acked)
    if view.carried:
        yield _("Carried by file"), number(view.carried) + _of_others(view.imported_carried)
    if view.rejected:
        yield _("Set aside"), number(view.rejected) + _of_others(view.imported_rejected)
    for reason, count in view.reasons.items():
        yield "", f"{number(count)} × {words.clean(reason)}"
    yield _("Last upload"), _("never") if view.last_upload_at is None else clock_text(view.last_upload_at, zone)
    if view.time_unchecked_at is not None:
        when = clock_text(view.time_unchecked_at, zone)
        yield _("Certificate dates"), _("not checked at the upload of {time}").format(time=when)
    if view.last_attempt:
        yield _("Last attempt"), f"{words.sentence(view.last_attempt)} {words.screen_code(view.last_attempt)}"
    if view.next_attempt_at and view.pending:
        yield _("Next attempt"), clock_text(view.next_attempt_at, zone)
    if not view.collectors:
        yield _("Collector"), f"{words.sentence('no_collector')} {words.screen_code('no_collector')}"
    yield _("Next test"), _next_test(view)
    yield _("Last position"), _position(view)
    yield _("Data used today"), _usage(view.day)
    yield _("Data used this month"), _usage(view.month)
    room = _usage(Usage(view.buffer_bytes, view.buffer_limit_bytes))
    yield _("Storage"), f"{words.clean(view.buffer_path)} ({room})" if view.buffer_path else room
    for path in view.other_queues:
        yield _("Another queue"), words.clean(path)


def _of_others(count: int) -> str:
    """Return how many of a count came from other devices, to follow it; nothing for none."""
    if not count:
        return ""
    text = ngettext("{n} from another device", "{n} from other devices", count).format(n=number(count))
    return f" ({text})"


def _next_test(view: StatusView) -> str:
    """Return when the next automatic test runs, or that none is scheduled."""
    if view.way is None:
        return _("none scheduled ({command})").format(command=view.start_with)
    ways = {"agent": _("agent"), "timer": _("timer"), "cron": _("cron")}
    if view.next_run_at is not None:
        return f"{clock_text(view.next_run_at, view.zone)} ({ways[view.way]})"
    if view.every_min is None:
        return ways[view.way]
    every = ngettext("every {n} minute", "every {n} minutes", view.every_min).format(n=view.every_min)
    return f"{every} ({ways[view.way]})"


def _position(view: StatusView) -> str:
    if not view.last_fix:
        return _("none yet")
    when = f" · {clock_text(view.last_fix_at, view.zone)}" if view.last_fix_at else ""
    return f"{words.clean(view.last_fix)}{when}"


def _usage(usage: Usage | None) -> str:
    if usage is None:
        return ""
    if usage.limit_bytes is None:
        return size(usage.used_bytes)
    return _("{used} of {limit}").format(used=size(usage.used_bytes), limit=size(usage.limit_bytes))


def _sheet(rows: Sequence[tuple[str, str]], tail: Sequence[str], *, width: int, ascii: bool, plain: bool) -> str:
    """Format labels and values in two wrapped columns; `plain` has one item a line.

    Where the value's column would be narrower than 30, the value is on lines of its own below its label.
    """
    width = max(_LEAST_WIDTH, min(width, 80))
    lines: list[str] = []
    left = min(24, max((words.columns(label) for label, _value in rows), default=0))
    stacked = left + 2 + _LEAST_VALUE > width
    for label, value in rows:
        if plain:
            lines.append(f"{label}: {value}" if label else f"  {value}")
            continue
        shown = words.to_ascii(value) if ascii else value
        if stacked:
            lines += words.fold(label, width).split("\n") if label else []
            lines += [part for piece in words.wrap(shown, width - 2) for part in _split("  ", piece, width)]
            continue
        wrapped = words.wrap(shown, width - left - 2) or [""]
        for index, piece in enumerate(wrapped):
            lines += _split(f"{words.pad(label if index == 0 else '', left)}  ", piece, width)
    lines += [part for line in tail for part in ([line] if plain else words.fold(line, width).split("\n"))]
    return "".join(f"{words.to_ascii(line) if ascii else line}".rstrip() + "\n" for line in lines)


def _split(prefix: str, piece: str, width: int) -> list[str]:
    # a path longer than its column is wrapped and never shortened, so that it can be copied
    room = width - len(prefix)
    parts = [piece[i : i + room] for i in range(0, len(piece), room)] or [""]
    return [prefix + parts[0], *(" " * len(prefix) + part for part in parts[1:])]


# --- doctor -------------------------------------------------------------------------------------------------


def doctor_text(lines: Sequence[DoctorLine], *, width: int = 80, ascii: bool = False, plain: bool = False) -> str:
    """Return one line per check with symbol and word, its fix below it, and a count at the end."""
    width = max(_LEAST_WIDTH, min(width, 80))
    said: dict[State, str] = {"ok": _("ok"), "warn": _("warning"), "fail": _("error")}
    out: list[str] = []
    for line in lines:
        if plain:
            text = f"{line.name}: {said[line.state]}, {line.detail}"
            if line.fix and line.state != "ok":
                text += "; " + _("to fix it: {fix}").format(fix=line.fix)
            if line.technical:
                text += f" ({line.technical})"
            out.append(words.clean(text))
            continue
        wide = max(words.columns(text) for text in said.values())
        head = f"{_MARKS[line.state]} {words.pad(said[line.state], wide)}  "
        indent = " " * words.columns(head)
        out += words.wrap(head + words.clean(f"{line.name}: {line.detail}"), width, indent)
        if line.fix and line.state != "ok":
            # commands are never wrapped: users copy them
            out.append(f"{indent}> {words.clean(line.fix)}")
        if line.technical:
            out += words.wrap(f"{indent}({words.clean(line.technical)})", width, indent)
    errors, warnings = (sum(line.state == state for line in lines) for state in ("fail", "warn"))
    if errors or warnings:
        counted = (
            ngettext("{n} error", "{n} errors", errors).format(n=errors),
            ngettext("{n} warning", "{n} warnings", warnings).format(n=warnings),
        )
        out.append(f"{', '.join(counted)}.")
    else:
        out.append(_("No problems found."))
    return "".join(f"{words.to_ascii(text) if ascii else text}\n" for text in out)


# --- explain ------------------------------------------------------------------------------------------------


def codes_text(codes: Sequence[Code], *, width: int = 80, ascii: bool = False, plain: bool = False) -> str:
    """Return all codes with their meaning, one a line, and how to see one of them or a kind of check."""
    rows: dict[str, str] = {}
    for code in codes:
        rows.setdefault(code.screen, words.sentence(code.code))
    tail = [
        _("Next: {command}").format(command="sigprobe explain SP-NET-01"),
        _("To explain a kind of check ({names}): {command}").format(
            names=", ".join(kinds.KINDS), command="sigprobe explain ping"
        ),
    ]
    return _sheet(list(rows.items()), tail, width=width, ascii=ascii, plain=plain)


def explain_text(code: Code, *, width: int = 80, ascii: bool = False, plain: bool = False) -> str:
    """Return the meaning of a code and the recommended action."""
    rows = [
        (_("Code"), f"{code.screen} ({code.code})"),
        (_("Meaning"), words.sentence(code.code)),
        (_("What to do"), words.advice(code.code)),
    ]
    return _sheet(rows, (), width=width, ascii=ascii, plain=plain)


def explain_kind_text(name: str, *, width: int = 80, ascii: bool = False, plain: bool = False) -> str:
    """Return what a kind of check measures, and how it gets into the settings."""
    kind = kinds.info(name)
    if name == RUN_KIND:
        rows = [
            (_("Record"), name),
            (_("Meaning"), _("One whole test: its verdict, the data used, and the signal and position found.")),
            (_("In the settings"), _("part of every test; it cannot be configured")),
        ]
    else:
        fixed = _("part of every test; it cannot be configured")
        rows = [
            (_("Kind of check"), f"{name} ({_(kind.title)})" if kind.title else name),
            (_("Measures"), _(kind.meaning)),
            *((_("Numbers") if number == 0 else "", _(text)) for number, text in enumerate(kind.about)),
            (_("In the settings"), kind.example or fixed),
        ]
    return _sheet(rows, (), width=width, ascii=ascii, plain=plain)


# --- results ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListedResult:
    """Stored record for the list: the parsed record, its state in the queue, and whether this device made it."""

    record: Mapping[str, Any]
    state: str
    own: bool = True


def results_text(
    listed: Iterable[ListedResult],
    *,
    chosen: bool = False,
    zone: Zone = "WIB",
    width: int = 80,
    ascii: bool = False,
    plain: bool = False,
) -> str:
    """Return the last records as a table, oldest first: time, kind, target, outcome, state. At most `LAST` rows.

    `chosen`: only some states were requested, so an empty list does not mean an empty queue.
    """
    shown = list(listed)[-LAST:]
    rows = [_result_cells(entry, zone, plain=plain) for entry in shown]
    if not rows and chosen:
        return _("No result has this state. To see all, run: {command}").format(command="sigprobe results") + "\n"
    if not rows:
        return _("Nothing is stored yet. To run a test: {command}").format(command="sigprobe test") + "\n"
    width = max(_LEAST_WIDTH, min(width, 80))
    if width < _NARROW and not plain:
        return _stacked(rows, shown, width, ascii=ascii)
    head = (_("Time"), _("Check"), _("Target"), _("Outcome"), _("State"))
    if plain:
        return "".join(f"{', '.join(cell for cell in row if cell)}\n" for row in rows)
    most = (22, 10, 17, 14, 16)
    widths = [min(limit, max(words.columns(row[i]) for row in (head, *rows))) for i, limit in enumerate(most)]
    lines = ["  ".join(words.pad(c, w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
    if not all(entry.own for entry in shown):
        lines.append(f"* {_('from another device')}")
    return "".join(f"{words.fit(words.to_ascii(line) if ascii else line, width)}\n" for line in lines)


def _stacked(rows: Sequence[tuple[str, ...]], shown: Sequence[ListedResult], width: int, *, ascii: bool) -> str:
    """Return each record on two lines, for a screen too narrow for columns."""
    lines = []
    for when, check, target, outcome, state in rows:
        lines += [f"{when}  {outcome}", f"  {check} {target} · {state}"]
    if not all(entry.own for entry in shown):
        lines.append(f"* {_('from another device')}")
    return "".join(f"{words.fit(words.to_ascii(line) if ascii else line, width)}\n" for line in lines)


def state_word(state: str) -> str:
    """Return the word for a record's state in the queue."""
    known = {
        "pending": _("waiting"),
        "acked": _("sent"),
        "rejected": _("set aside"),
        "carried": _("carried by file"),
        "damaged": _("damaged"),
    }
    return known.get(state, words.clean(state))


def _outcome(kind: str, outcome: str, code: object, data: object, *, plain: bool) -> str:
    """Return the mark and the word or code of a record; for a run, its verdict."""
    known = code if isinstance(code, str) else None
    mark, word = _mark(outcome, known)
    verdict = data.get("verdict") if isinstance(data, Mapping) else None
    if kind == RUN_KIND and outcome != "failed" and isinstance(verdict, Mapping):
        known = str(verdict.get("cause"))
        good = verdict.get("owner") == "none"
        mark = words.SKIPPED if is_untested(outcome, known) else Word.GOOD if good else words.FAILED
        word = words.word(mark)
    elif kind == RUN_KIND and outcome != "failed":
        mark, word = words.SKIPPED, words.word(words.SKIPPED)
    named = words.screen_code(known).strip("[]") if known and mark in (words.FAILED, words.SKIPPED) else ""
    if plain:
        return f"{word} {named}".rstrip()
    return f"{words.SYMBOLS.get(mark, ' ')} {named or word}"


def _mark(outcome: str, code: str | None) -> tuple[str, str]:
    """The mark of a check and its word."""
    if is_untested(outcome, code):
        return words.SKIPPED, words.word(words.SKIPPED)
    known = {"ok": (Word.GOOD, _("ok")), "degraded": (Word.POOR, _("partly"))}
    if outcome in known:
        mark, word = known[outcome]
        return str(mark), word
    if outcome == "failed":
        return words.FAILED, words.word(words.FAILED)
    return "", words.clean(outcome)


def _result_cells(entry: ListedResult, default: Zone, *, plain: bool = False) -> tuple[str, str, str, str, str]:
    """Return the columns of a record; its time is in the zone of its own TPS, `default` is for a site."""
    record = entry.record
    when = parse_time(str(record.get("started_at")))
    tags = record.get("tags")
    tps_id = tags.get("tps_id") if isinstance(tags, Mapping) else None
    zone = places.zone(tps_id, default) if isinstance(tps_id, str) else default
    failure = record.get("failure")
    code = failure.get("code") if isinstance(failure, Mapping) else None
    said = _outcome(str(record.get("kind")), str(record.get("outcome")), code, record.get("data"), plain=plain)
    target = record.get("target")
    name = target.get("name") if isinstance(target, Mapping) else None
    if record.get("kind") == RUN_KIND:
        name = _("whole test")
    elif isinstance(name, str):
        name = words.target_name(str(record.get("kind")), name)
    return (
        time_text(when, zone),
        words.clean(str(record.get("kind"))),
        words.clean(str(name or "")),
        said,
        state_word(entry.state) + ("" if entry.own else f", {_('from another device')}" if plain else " *"),
    )
