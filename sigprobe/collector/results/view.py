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
from sigprobe.collector.store import StoredResult, Tally
from sigprobe.record.result import RUN_KIND, format_time, is_at_least
from sigprobe.words import i18n
from sigprobe.words.codes import CODES
from sigprobe.words.i18n import N_

Translate = Callable[[str], str]

OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "ok": ("✓", N_("ok")),
    "degraded": ("~", N_("partly")),
    "failed": ("✗", N_("failed")),
    "skipped": ("–", N_("left out")),
}
"""Symbol and word of each outcome: never colour alone."""

_KINDS: Final[Mapping[str, str]] = {
    "ping": N_("Ping"),
    "dns": N_("DNS"),
    "http": N_("Web"),
    "throughput": N_("Speed"),
    "web": N_("Whole page"),
    "video": N_("Video"),
    "path": N_("Way to the internet"),
    RUN_KIND: N_("Verdict"),
}
_MOST: Final = 1e15


@dataclass(frozen=True, slots=True)
class Badge:
    """An outcome as symbol and word, with a count where there is one. `style` is a class the style sheet knows."""

    style: str
    symbol: str
    word: str
    count: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One record in the list."""

    id: str
    is_run: bool
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


def row(stored: StoredResult, lang: str, _: Translate) -> Row:
    """A stored record for the list and for the head of its own page."""
    record = _record(stored.line)
    target = _object(record.get("target"))
    name = _string(target.get("name"))
    is_run = stored.kind == RUN_KIND
    code = stored.verdict_cause if is_run else stored.failure_code
    known = CODES.get(code or "")
    return Row(
        id=stored.id,
        is_run=is_run,
        received=i18n.clock_text(stored.received_at, lang=lang),
        received_iso=format_time(stored.received_at),
        started=started_text(stored.started_at, lang),
        place=stored.tps_id or stored.site,
        region=_region(stored.tps_id),
        kind=_(_KINDS[stored.kind]) if stored.kind in _KINDS else stored.kind,
        target=None if is_run or stored.kind == "path" else name,
        badge=_verdict_badge(stored.verdict_owner, stored.outcome, _) if is_run else badge(stored.outcome, _),
        sentence=(_sentence(_(known.sentence), name, _) if known is not None else code) or None,
        screen_code=known.screen if known is not None and code != "healthy" else None,
        numbers=_numbers(stored.kind, _object(record.get("data")), lang, _),
        operator=stored.operator_name or stored.operator_plmn,
        location=_location(stored.lat, stored.lon, lang),
        carrier=stored.carrier,
    )


def summary(tally: Tally, lang: str, _: Translate) -> Summary:
    """Counts by outcome, the usual outcomes in their order and others behind them."""
    order = [*(name for name in OUTCOMES if name in tally.counts), *sorted(set(tally.counts) - set(OUTCOMES))]
    return Summary(
        tally.subject,
        [badge(name, _, i18n.number(tally.counts[name], lang=lang)) for name in order],
        i18n.clock_text(tally.last_received_at, lang=lang),
        _region(tally.subject),
    )


def badge(outcome: str, _: Translate, count: str | None = None) -> Badge:
    """Symbol and word of an outcome; one from the future keeps its own word."""
    symbol, word = OUTCOMES.get(outcome, ("?", ""))
    return Badge(outcome if outcome in OUTCOMES else "other", symbol, _(word) if word else outcome, count)


def _verdict_badge(owner: str | None, outcome: str, _: Translate) -> Badge:
    """A run that went through is `ok`, whatever it found; what people look for here is what it found."""
    if outcome != "ok" or owner in (None, "none"):
        return badge(outcome, _)
    if owner == "uncertain":
        return Badge("degraded", OUTCOMES["degraded"][0], _("not certain"))
    return Badge("failed", OUTCOMES["failed"][0], _("fault"))


def started_text(when: datetime, lang: str) -> str:
    """The probe's own time; a device may claim a year that no zone of ours can hold."""
    try:
        return i18n.clock_text(when, lang=lang)
    except (OverflowError, ValueError):
        return when.isoformat()


def pretty_json(line: bytes) -> str:
    """The record indented for reading; as it stands when it is nested too deeply for that."""
    try:
        return json.dumps(json.loads(line), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return line.decode("utf-8", "replace")


def _sentence(message: str, name: str | None, _: Translate) -> str:
    class Fields(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return _("the target") if key in ("name", "names") else "…"

    return message.format_map(Fields({} if name is None else {"name": name}))


def _record(line: bytes) -> dict[str, Any]:
    try:
        return _object(json.loads(line))
    except (ValueError, RecursionError):
        return {}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: object) -> str | None:
    return value[:100] if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not abs(value) < _MOST
        or not math.isfinite(value)
    ):
        return None
    return float(value)


def _numbers(kind: str, data: Mapping[str, Any], lang: str, _: Translate) -> str | None:
    """The one or two numbers that say most about a check; None when it has none."""

    def first(*names: str) -> float | None:
        return next((value for value in map(_number, map(data.get, names)) if value is not None), None)

    def millis(value: float | None) -> str | None:
        return None if value is None else f"{i18n.number(value, 0 if value >= 10 else 1, lang)} ms"

    parts: list[str | None] = []
    if kind == "ping":
        loss = first("loss_ratio")
        parts.append(millis(first("rtt_median_ms", "rtt_avg_ms")))
        if loss:
            parts.append(f"{i18n.number(100 * loss, 0, lang)} % {_('lost')}")
    elif kind == "dns":
        parts.append(millis(first("query_ms", "getaddrinfo_ms")))
        parts.append(_both_answers(data.get("comparison"), _))
    elif kind == "http":
        status = first("status_code")
        parts.append(None if status is None else f"HTTP {status:.0f}")
        parts.append(millis(first("total_ms")))
    elif kind == "web":
        parts.append(millis(first("total_ms", "page_ms")))
    elif kind == "video":
        rate, stalls = first("mean_bitrate_bps"), first("stalls")
        parts.append(millis(first("start_delay_ms")))
        parts.append(None if stalls is None else f"{stalls:.0f} × {_('stall')}")
        parts.append(None if rate is None else i18n.rate(rate, lang))
    elif kind == "throughput":
        for arrow, name in (("↓", "download_bps"), ("↑", "upload_bps")):
            speed = first(name)
            least = "≥ " if is_at_least(data, name) else ""
            parts.append(None if speed is None else f"{arrow} {least}{i18n.rate(speed, lang)}")
    return " · ".join(part for part in parts if part) or None


def _both_answers(compared: object, _: Translate) -> str | None:
    """The system's answer and the others', where the first cannot be right."""
    found = _object(compared)
    if found.get("word") != "tampered":
        return None
    own, others = (
        ", ".join(str(a)[:64] for a in told[:2]) if isinstance(told := found.get(key), list) else ""
        for key in ("system", "others")
    )
    return _("{told} instead of {others}").format(told=own or "NXDOMAIN", others=others or "…")


def _region(tps_id: str | None) -> str | None:
    """The regency of a TPS number; None for anything that has not its 13 digits."""
    return None if places.regency_code(tps_id) is None else places.place(tps_id).title


def _location(lat: float | None, lon: float | None, lang: str) -> str | None:
    if lat is None or lon is None:
        return None
    return f"{i18n.number(lat, 5, lang)} {i18n.number(lon, 5, lang)}"
