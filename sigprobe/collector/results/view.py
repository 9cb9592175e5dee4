"""Stored records as a page shows them: words, numbers and times in the reader's language. Nothing here escapes:
the templates do, every value of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sigprobe import places
from sigprobe.collector.results.queries import StoredResult, Tally
from sigprobe.record import kinds
from sigprobe.record.foreign_json import object_or_none, read_json
from sigprobe.record.result import RUN_KIND, format_time, is_at_least, is_to_proxy
from sigprobe.record.window import varying
from sigprobe.words import i18n
from sigprobe.words.codes import CODES, is_untested
from sigprobe.words.i18n import N_

Translate = Callable[[str], str]

OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "ok": ("✓", N_("ok")),
    "degraded": ("~", N_("partly")),
    "failed": ("✗", N_("failed")),
    "skipped": ("–", N_("not tested")),
}
"""Symbol and word of each outcome: never colour alone."""

_RUN_TITLE: Final = N_("Verdict")
_MOST: Final = 1e15
MAX_DEPTH: Final = 32
"""Deeper records are shown as one line: indented they would grow with the square of their depth."""


@dataclass(frozen=True, slots=True)
class Badge:
    """An outcome as symbol and word, with a count where there is one. `style` is a class the style sheet knows."""

    style: str
    symbol: str
    word: str
    count: str | None = None


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One record in the list."""

    id: str
    is_run: bool
    measured: str
    measured_iso: str
    late: str | None
    received: str
    received_iso: str
    started: str
    place: str | None
    region: str | None
    kind: str
    target: str | None
    badge: Badge
    sentence: str | None
    screen_code: str | None
    numbers: str | None
    operator: str | None
    location: str | None
    carrier: str


@dataclass(frozen=True, slots=True)
class Summary:
    """One TPS or operator in the overview."""

    subject: str
    badges: Sequence[Badge]
    last: str
    region: str | None = None


def row(stored: StoredResult, lang: str, _: Translate) -> ResultRow:
    """Return a stored record for the list and for the head of its own page."""
    record = object_or_none(stored.line) or {}
    target = _object(record.get("target"))
    name = _string(target.get("name"))
    is_run = stored.kind == RUN_KIND
    info = kinds.info(stored.kind)
    zone = places.zone(stored.tps_id)
    code = stored.verdict_cause if is_run else stored.failure_code
    known = CODES.get(code or "")
    return ResultRow(
        id=stored.id,
        is_run=is_run,
        measured=started_text(measured_at(stored), lang, zone),
        measured_iso=format_time(measured_at(stored)),
        late=_late(stored, _),
        received=i18n.clock_text(stored.received_at, zone, lang),
        received_iso=format_time(stored.received_at),
        started=started_text(stored.started_at, lang, zone),
        place=stored.tps_id or stored.site,
        region=_region(stored.tps_id),
        kind=_(_RUN_TITLE if is_run else info.title) or stored.kind,
        target=name if info.named and not is_run else None,
        badge=_badge(stored, is_run, code, _),
        sentence=(_sentence(_(known.sentence), name, _) if known is not None else code) or None,
        screen_code=known.screen if known is not None and code != "healthy" else None,
        numbers=_numbers(info, _object(record.get("data")), lang, _),
        operator=stored.operator_name or stored.operator_plmn,
        location=_location(stored.lat, stored.lon, lang),
        carrier=stored.carrier,
    )


def _badge(stored: StoredResult, is_run: bool, code: str | None, _: Translate) -> Badge:
    """Return a run shows its verdict, a check its outcome; what measured nothing is "not tested" in both."""
    if is_untested(stored.outcome, code):
        return badge("skipped", _)
    return _verdict_badge(stored.verdict_owner, stored.outcome, _) if is_run else badge(stored.outcome, _)


def summary(tally: Tally, lang: str, _: Translate) -> Summary:
    """Counts by outcome, the usual outcomes in their order and others behind them."""
    order = [*(name for name in OUTCOMES if name in tally.counts), *sorted(set(tally.counts) - set(OUTCOMES))]
    return Summary(
        tally.subject,
        [badge(name, _, i18n.number(tally.counts[name], lang=lang)) for name in order],
        i18n.clock_text(tally.last_received_at, places.zone(tally.subject), lang),
        _region(tally.subject),
    )


def badge(outcome: str, _: Translate, count: str | None = None) -> Badge:
    """Symbol and word of an outcome; one from the future keeps its own word."""
    symbol, word = OUTCOMES.get(outcome, ("?", ""))
    return Badge(outcome if outcome in OUTCOMES else "other", symbol, _(word) if word else outcome, count)


def _verdict_badge(owner: str | None, outcome: str, _: Translate) -> Badge:
    """Return the badge of a run by its verdict: its outcome alone only says that the run took place."""
    if outcome != "ok" or owner in (None, "none"):
        return badge(outcome, _)
    if owner == "uncertain":
        return Badge("degraded", OUTCOMES["degraded"][0], _("uncertain"))
    return Badge("failed", OUTCOMES["failed"][0], _("fault"))


def measured_at(stored: StoredResult) -> datetime:
    """Return when the check began: corrected where the clock's error is known, else as the probe's clock had it."""
    return stored.corrected_at or stored.started_at


LATE_S: Final = 600.0
"""Results that came so much later were kept by the probe in the meantime."""


def _late(stored: StoredResult, _: Translate) -> str | None:
    """Return what a reader must know about the time of a result; None for one that came at once."""
    late_s = (stored.received_at - measured_at(stored)).total_seconds()
    if late_s < -LATE_S:
        return _("the laptop's clock is ahead")
    if late_s <= LATE_S:
        return None
    if stored.corrected_at is None and late_s > 366 * 86_400:
        return _("the laptop's clock is wrong")
    minutes = int(late_s // 60)
    if minutes < 120:
        return _("received {n} minutes later").format(n=minutes)
    if minutes < 48 * 60:
        return _("received {n} hours later").format(n=minutes // 60)
    return _("received {n} days later").format(n=minutes // 1440)


def started_text(when: datetime, lang: str, zone: str = "WIB") -> str:
    """Return a time that a device claims; it may be a year that no zone of ours can hold."""
    try:
        return i18n.clock_text(when, zone, lang)
    except (OverflowError, ValueError):
        return when.isoformat()


def pretty_json(line: bytes) -> str:
    """Return the record indented for reading; as it stands when it is nested too deeply for that."""
    try:
        record = read_json(line)
        # one blank a level: what is drawn stays within a few times of what was sent
        if _depth(record) <= MAX_DEPTH:
            return sound(json.dumps(record, indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):
        pass
    return line.decode("utf-8", "replace")


def _depth(value: object) -> int:
    """Return how deeply lists and objects are nested; never recursing."""
    deepest, level = 0, [value]
    while level:
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        deepest += 1
    return deepest


def sound(text: str) -> str:
    """Text of a stored line as a page can hold it: JSON may write lone surrogates, UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _sentence(message: str, name: str | None, _: Translate) -> str:
    class Fields(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return _("the target") if key in ("name", "names") else "…"

    return message.format_map(Fields({} if name is None else {"name": name}))


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: object) -> str | None:
    return sound(value[:100]) if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not abs(value) < _MOST
        or not math.isfinite(value)
    ):
        return None
    return float(value)


def _numbers(info: kinds.KindInfo, data: Mapping[str, Any], lang: str, _: Translate) -> str | None:
    """Return the one or two numbers that say most about a check; None when it has none."""
    parts = [_part(part, data, lang, _) for part in info.summary]
    return " · ".join(part for part in (*parts, _both_answers(data.get("comparison"), _)) if part) or None


def _part(part: kinds.Part, data: Mapping[str, Any], lang: str, _: Translate) -> str | None:
    key, value = next(((k, v) for k in part.keys if (v := _number(data.get(k))) is not None), (None, None))
    if key is None or value is None or (part.hide_zero and not value):
        return None
    if key.endswith("_bps"):
        shown = i18n.rate(value, lang)
    elif key.endswith("_ms"):
        shown = f"{i18n.number(value, 0 if value >= 10 else 1, lang)} ms"
    elif key.endswith("_ratio"):
        shown = f"{i18n.number(100 * value, 0, lang)} %"
    else:
        shown = f"{value:.0f}"
    at_least, to_proxy = (part.may_be_at_least and told(data, key) for told in (is_at_least, is_to_proxy))
    sign = {(True, False): "≥ ", (False, True): "≤ "}.get((at_least, to_proxy), "")
    varies = f" ({_('varies')})" if part.window and varying(data.get(part.window)) is not None else ""
    counted = f" {_('(counted at a proxy)')}" if to_proxy else ""
    return _(part.text).format(value=sign + shown) + varies + counted


def _both_answers(compared: object, _: Translate) -> str | None:
    """Return the system's answer and the others', where the first cannot be right."""
    found = _object(compared)
    if found.get("word") != "tampered":
        return None
    own, others = (
        ", ".join(sound(str(a)[:64]) for a in told[:2]) if isinstance(told := found.get(key), list) else ""
        for key in ("system", "others")
    )
    return _("{told} instead of {others}").format(told=own or "NXDOMAIN", others=others or "…")


def _region(tps_id: str | None) -> str | None:
    """Return the regency of a TPS number; None for anything that has not its 13 digits."""
    return None if places.regency_code(tps_id) is None else places.place(tps_id).title


def _location(lat: float | None, lon: float | None, lang: str) -> str | None:
    if lat is None or lon is None:
        return None
    return f"{i18n.number(lat, 5, lang)} {i18n.number(lon, 5, lang)}"
