"""Draw the screen of a run: identity, place, time; the table; the verdict; stored and sent records; the next command.

It fits 80 columns and one photo of a phone, in colour or not, in Unicode or ASCII, in two languages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from sigprobe.record import kinds
from sigprobe.record.profile import Word
from sigprobe.record.result import RUN_KIND, Outcome, Result, Tags
from sigprobe.render import words
from sigprobe.render.candidates import candidates_text, contact_text
from sigprobe.render.run_table import TableRow, rows
from sigprobe.render.styling import Line, finish
from sigprobe.render.view import RunView
from sigprobe.verdict import NONE, shortfalls
from sigprobe.words.i18n import N_, _, clock_text, duration, ngettext, number, size

_STYLES: Final = {
    Word.GOOD: "green",
    Word.FAIR: "yellow",
    Word.POOR: "bold yellow",
    Word.BAD: "bold red",
    words.FAILED: "bold red",
    words.SKIPPED: "dim",
}
_MAX_SENTENCES: Final = 5
_STALE_FIX_S: Final = 120.0
GENERATIONS: Final = {
    "gsm": "2G", "gprs": "2G", "edge": "2G", "umts": "3G", "hsdpa": "3G", "hsupa": "3G", "hspa": "3G", "hspa+": "3G",
    "lte": "4G", "lte-m": "4G", "nr": "5G", "5gnr": "5G",
}  # fmt: skip

# Capitals are for the verdict alone.
_HEADLINES: Final = {
    "healthy": N_("THE CONNECTION WORKS WELL"),
    "icmp_filtered": N_("THE CONNECTION WORKS WELL"),
    "no_network": N_("NOT CONNECTED TO ANY NETWORK"),
    "targets_failed": N_("THE INTERNET WORKS, BUT A SERVICE DOES NOT"),
    "uncertain": N_("SOMETHING IS WRONG, THE CAUSE IS NOT CERTAIN"),
    "nothing_measured": N_("NOTHING WAS MEASURED"),
    "below_need": N_("THE CONNECTION WORKS, BUT NOT WELL ENOUGH"),
    "internet_not_tested": N_("THE LOCAL NETWORK WORKS; THE INTERNET WAS NOT TESTED"),
}
_UPLOADS: Final = {
    "kept": "collector_unreachable",
    "portal": "collector_portal",
    "token": "collector_token",
    "busy": "collector_busy",
    "tls": "collector_tls",
    "refuses": "collector_refuses",
    "unnoted": "ack_unnoted",
    "storage": "queue_failed",
    "set_aside": "set_aside",
}


def summary(view: RunView, *, width: int = 80, ascii: bool = False, color: bool = False) -> str:
    """Return the screen as text with a line end after each line; no line exceeds `width` (at least 40) columns."""
    width = max(40, min(width, 80))
    lines: list[Line] = []
    lines += _plain(_joined(header_parts(view), " · ", width))
    gps = gps_text(view)
    lines += _plain(words.wrap(words.to_ascii(gps) if ascii else gps, width, "  "))
    lines += _table(rows(view), width)
    lines += _plain(_joined_sentences(view, width))
    headline = _("Result: {headline}.").format(headline=headline_of(view))
    used = _data_used(view)
    lines += [[(text, "bold")] for text in words.wrap(f"{headline} {used}", width, "  ")]
    for text in (advice_of(view), view.nearby or "", *view.warnings, *saved_texts(view)):
        lines += _plain(words.wrap(words.clean(text), width, "  "))
    lines += _plain([_("Next: {command}").format(command=next_command(view))])
    return finish(lines, width=width, ascii=ascii, color=color)


def summary_plain(view: RunView) -> str:
    """Return the same for a screen reader: one item a line, units in words, no symbols, curves or columns."""
    texts = [", ".join(header_parts(view)), gps_text(view)]
    for row in rows(view):
        parts = [_spoken(p.strip("()")) for p in (row.value, row.word, *row.notes) if p and p != "–"]
        texts.append(f"{row.label}: {', '.join(parts)}")
    texts += [text for text, _code in sentences(view)]
    texts.append(_("Result: {headline}.").format(headline=headline_of(view)))
    texts.append(_data_used(view))
    texts += [text for text in (advice_of(view), view.nearby or "", *view.warnings, *saved_texts(view)) if text]
    texts.append(_("Next: {command}").format(command=next_command(view)))
    return "".join(f"{words.clean(text)}\n" for text in texts)


def _data_used(view: RunView) -> str:
    """Return what the run used, and beside it what other programs used on the same interface."""
    used = _("Data used {size}.").format(size=size(view.data_used_bytes))
    others = (view.interface_bytes or 0) - view.data_used_bytes
    if others <= 0:
        return used
    return f"{used} {_('Other programs used {size}.').format(size=size(others))}"


def _spoken(text: str) -> str:
    if text.endswith(" %"):
        return _("{number} percent").format(number=text[:-2])
    if text.endswith(" ms"):
        return _("{number} milliseconds").format(number=text[:-3])
    return text


# --- the parts ----------------------------------------------------------------------------------------------


def identity(tags: Tags) -> str:
    """Return the TPS, else the site, else the text for neither."""
    if tags.tps_id:
        return f"TPS {words.clean(tags.tps_id)}"
    if tags.site:
        return _("Site {site}").format(site=words.clean(tags.site))
    return _("Without TPS number")


def operator_text(tags: Tags) -> str:
    """Return the operator and the radio generation: `Telkomsel 4G`; empty when neither is known."""
    network = tags.network
    rat = (network.rat or "").lower()
    parts = (network.operator.name or network.operator.plmn or "", GENERATIONS.get(rat, network.rat or ""))
    return words.clean(" ".join(part for part in parts if part))


def header_parts(view: RunView) -> list[str]:
    """Return TPS, place, operator and time, if known."""
    access = {"wifi": "Wi-Fi", "ethernet": _("cable"), "cellular": _("mobile data")}
    link = operator_text(view.tags) or access.get(view.tags.network.access or "", "")
    when = clock_text(view.started_at, view.zone)
    return [part for part in (identity(view.tags), words.clean(view.place or ""), link, when) if part]


def gps_text(view: RunView) -> str:
    """Return the position with its accuracy, or the sentence for a missing one."""
    place = view.tags.location
    if place is None:
        if view.place_may_come:
            return f"{words.sentence('no_fix')} {words.screen_code('no_fix')}"
        recalled = view.place_may_come is None
        return _("No position was recorded.") if recalled else _("No position: GPS is not in use.")
    notes = []
    if place.accuracy_m is not None:
        notes.append(f"±{number(place.accuracy_m)} m")
    if place.source == "fixed":
        notes.append(_("from the settings"))
    elif place.source == "manual":
        notes.append(_("entered by hand"))
    elif place.fix_age_s is not None and place.fix_age_s > _STALE_FIX_S:
        notes.append(_("{age} old").format(age=duration(place.fix_age_s)))
    title = _("Coordinates") if place.source in ("fixed", "manual") else "GPS"
    text = f"{title} {number(place.lat, 5)} {number(place.lon, 5)}"
    return f"{text} ({', '.join(notes)})" if notes else text


def sentences(view: RunView) -> list[tuple[str, str]]:
    """Return one sentence per failure, equal ones merged, with its code: (text, failure code)."""
    groups: dict[str, list[str]] = {}
    for result in view.results:
        if result.failure is not None and result.kind != RUN_KIND:
            groups.setdefault(result.failure.code, []).append(result.target.name)
    found = []
    for code, names in groups.items():
        listed = words.listed(names)
        found.append((f"{_sentence(view, code, listed)} {words.screen_code(code)}", code))
        found += [(text, code) for text in map(_both_answers, view.results) if text and code == "tampered"]
    return found


_BY_HAND: Final = {
    "no_signal": N_("There is no mobile signal at this location. The results are stored on this device."),
}
"""Sentences in place of those that promise a later upload, where nothing on this device makes one."""


def _sentence(view: RunView, code: str, names: str) -> str:
    if code in _BY_HAND and not view.automatic:
        return _(_BY_HAND[code])
    return words.sentence(code, name=names, names=names)


def _both_answers(result: Result) -> str:
    """Return the DNS server's and the reference answers for a name, if the first is false."""
    compared = result.data.get("comparison")
    if result.failure is None or result.failure.code != "tampered" or not isinstance(compared, Mapping):
        return ""
    told, others = (
        words.listed([str(a) for a in found], 2) if isinstance(found := compared.get(key), list | tuple) else ""
        for key in ("system", "others")
    )
    return _("It returns {told}; other servers return {others}.").format(
        told=told or _("no such name"), others=others or _("nothing")
    )


def headline_of(view: RunView) -> str:
    """Return the verdict in capitals; a poor result is named by its most important metric."""
    cause = view.verdict.cause
    if cause == "below_need":
        short = {reading.metric for reading in shortfalls(view.results, view.profile)}
        named = [number for number in kinds.numbers() if number.metric in short and number.short]
        if named:
            return _(min(named, key=lambda number: number.rank).short)
    if cause in _HEADLINES:
        return _(_HEADLINES[cause])
    return _sentence(view, cause, words.listed(view.verdict.targets)).rstrip(".")


def advice_of(view: RunView) -> str:
    """Return the recommended action; empty without one."""
    if view.verdict.owner == NONE:
        return ""
    names = words.listed(view.verdict.targets)
    operator = view.tags.network.operator.name
    remaining = candidates_text(view.verdict, operator, view.folder)
    advice = remaining or words.advice(view.verdict.cause, name=names, names=names)
    return " ".join(text for text in (advice, contact_text(view.verdict, operator, view.folder)) if text)


def saved_texts(view: RunView) -> Iterator[str]:
    """Report stored and sent records, and the reason if some were not."""
    if view.storage_failure is not None:
        yield f"{words.sentence(view.storage_failure)} {words.screen_code(view.storage_failure)}"
        yield words.advice(view.storage_failure)
        if not view.saved:
            return
    saved = _("Saved.")
    waiting = ngettext("{n} waiting", "{n} waiting", view.pending).format(n=number(view.pending))
    upload = view.upload
    if upload is None or upload.kind == "off":
        yield saved + " " + _("Not sent ({waiting}).").format(waiting=waiting)
    elif upload.kind == "sent":
        yield saved + " " + _("Sent to the collector ({waiting}).").format(waiting=waiting)
    elif upload.kind == "none":
        yield saved + " " + _("No collector is configured, so nothing is sent ({waiting}).").format(waiting=waiting)
    elif upload.kind == "tokenless":
        yield (saved + " " + _("Not sent ({waiting}): this device has no usable token.").format(waiting=waiting))
    else:
        code = _UPLOADS[upload.kind]
        yield f"{saved} {_upload_sentence(view, code)} {words.screen_code(code)}"
        if upload.kind == "tls" and upload.why is not None:
            yield words.sentence(upload.why, name=upload.whom)
        if upload.kind != "kept":
            yield words.upload_advice(code, upload.why)


def _upload_sentence(view: RunView, code: str) -> str:
    upload = view.upload
    assert upload is not None
    count = upload.count or view.pending
    if upload.kind == "kept" and upload.again == "schedule" and count:
        return ngettext(
            "The collector cannot be reached. {n} result is safe on this device; the next scheduled test sends it.",
            "The collector cannot be reached. {n} results are safe on this device; the next scheduled test sends them.",
            count,
        ).format(n=number(count))
    if upload.kind == "kept" and upload.again == "hand" and count:
        return ngettext(
            "The collector cannot be reached. {n} result is safe on this device; to send it, run: {command}",
            "The collector cannot be reached. {n} results are safe on this device; to send them, run: {command}",
            count,
        ).format(n=number(count), command="sigprobe upload")
    if upload.kind == "kept" and upload.retry_at is not None and count:
        return ngettext(
            "The collector cannot be reached. {n} result is safe on this device; upload will be retried at {time}.",
            "The collector cannot be reached. {n} results are safe on this device; upload will be retried at {time}.",
            count,
        ).format(n=number(count), time=clock_text(upload.retry_at, view.zone, with_date=False))
    return words.sentence(code)


def next_command(view: RunView) -> str:
    """Return the most useful command after this run."""
    if view.next_command:
        return view.next_command
    if view.storage_failure is not None:
        return "sigprobe doctor"
    if view.nearby:
        return "sigprobe nearest"
    if view.upload is not None and view.upload.kind == "none":
        return "sigprobe explain SP-SYN-07"  # init would replace the existing settings
    if view.upload is not None and view.upload.kind == "tokenless":
        return "sigprobe doctor"
    if view.pending:
        return "sigprobe upload"
    failed = any(r.outcome is Outcome.FAILED for r in view.results)
    return "sigprobe doctor" if failed and view.verdict.owner != "service" else "sigprobe status"


# --- drawing ------------------------------------------------------------------------------------------------


def _table(table: Sequence[TableRow], width: int) -> Iterator[Line]:
    narrow = width < 60
    label_width = min(max((words.columns(r.label) for r in table), default=0), 16 if narrow else 24)
    value_width = max([10, *(words.columns(r.value) for r in table)])
    word_width = max((words.columns(r.word) for r in table), default=0)
    curve_width = 0 if narrow else max((len(words.spark(r.curve)) for r in table), default=0)
    for row in table:
        symbol = words.SYMBOLS.get(row.mark, " ")
        grade = words.pad(f"{symbol} {row.word}", word_width + 2)
        curve = words.pad(words.spark(row.curve), curve_width) if row.curve else ""
        notes = "  ".join(part for part in (curve, *row.notes) if part)
        room = width - label_width - value_width - word_width - 9
        if width < 80 and words.columns(notes) > room:
            # half a note says nothing: the curve goes first, then the rest; a code is in the sentence below
            whole = "  ".join(row.notes)
            notes = whole if words.columns(whole) <= room else ""
        value = words.pad(row.value, value_width, right=True)
        yield [
            (f"  {words.pad(row.label, label_width)} {value}  ", ""),
            (grade, _STYLES.get(row.mark, "")),
            (f"  {notes}", ""),
        ]


def _joined_sentences(view: RunView, width: int) -> Iterator[str]:
    found = sentences(view)
    for text, _code in found[:_MAX_SENTENCES]:
        yield from words.wrap(text, width, "  ")
    rest = len(found) - _MAX_SENTENCES
    if rest > 0:
        yield ngettext("and {n} more; see: {command}", "and {n} more; see: {command}", rest).format(
            n=rest, command="sigprobe results"
        )


def _joined(parts: Sequence[str], between: str, width: int) -> list[str]:
    """Join parts on as few lines as possible; lines break only between parts."""
    lines: list[str] = []
    for part in parts:
        if lines and words.columns(lines[-1] + between + part) <= width:
            lines[-1] += between + part
        else:
            lines.append(words.fit(part, width))
    return lines


def _plain(texts: Iterator[str] | Sequence[str]) -> list[Line]:
    return [[(text, "")] for text in texts if text]


def time_text(when: datetime | None, zone: str) -> str:
    """Format a time for the status, or a dash."""
    return "–" if when is None else clock_text(when, zone)
