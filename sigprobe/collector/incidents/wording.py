"""Prepare incidents for pages: sentences with their numbers, badges, evidence for and against, a timeline.

Every statement has its number beside it. Failed, working and silent are told apart by shape, word and position, never
by colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sigprobe import places
from sigprobe.collector.incidents.queries import Change, StoredIncident
from sigprobe.record.result import format_time
from sigprobe.words import i18n
from sigprobe.words.i18n import N_

Translate = Callable[[str], str]

_WORKS_CLEARLY: Final = -3.0
_FAILS_CLEARLY: Final = 2.0
_FEW: Final = 5
_SURE: Final = 0.95
_LIKELY: Final = 0.75
_BAR_PX: Final = 8
_HALF_PX: Final = 60

_TITLES: Final = {
    ("works", "operator"): N_("{operator} does not work in {place}"),
    ("works", "place"): N_("No operator works in {place}"),
    ("works", "service"): N_("{target} does not answer"),
    ("works", "collector"): N_("The monitoring centre could not be reached"),
    ("works", "uncertain"): N_("Tests over {operator} fail in {place}; the cause is not known"),
    ("speed", "operator"): N_("{operator} is much slower than usual in {place}"),
    ("speed", "place"): N_("All operators are much slower than usual in {place}"),
    ("speed", "uncertain"): N_("{operator} is slower than usual in {place}; the cause is not known"),
}
_SILENT: Final = {
    "place": N_("Devices of all operators in {place} do not report"),
    "collector": N_("No device reports: the monitoring centre itself may be cut off"),
}
_SILENT_OPERATOR: Final = N_("Devices over {operator} in {place} do not report")
_TARGET_UNCERTAIN: Final = N_("{target} fails over {operator}; the cause is not known")
_ALTERNATIVES: Final = {
    "operator": (
        N_("a power cut or a broken line that only this operator's sites depend on"),
        N_("a fault of one device model that is used with this operator only"),
    ),
    "place": (N_("several operators that share one site or one line"), N_("flood, fire or unrest in the area")),
    "service": (N_("a network between the operators and the service"),),
    "collector": (N_("the network in front of the monitoring centre"),),
    "uncertain": (
        N_("the operator"),
        N_("power or backhaul of the area"),
        N_("the devices, or where they stand"),
    ),
}
_STEPS: Final = {
    "found": N_("found"),
    "changed": N_("changed"),
    "ended": N_("ended"),
    "reopened": N_("failing again"),
}


@dataclass(frozen=True, slots=True)
class Badge:
    """A word with a symbol. `style` is a class of the style sheet."""

    style: str
    symbol: str
    word: str


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One incident in the list and at the head of its page."""

    id: str
    title: str
    badges: Sequence[Badge]
    since: str
    since_iso: str
    lasted: str
    share: str
    sure: str
    silenced: str | None


@dataclass(frozen=True, slots=True)
class Bar:
    """Five minutes of the timeline: failed above the line, working below, in pixels."""

    x: int
    failed_y: int
    failed: int
    worked: int
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The bars, the line's place, and where the incident begins."""

    bars: Sequence[Bar]
    width: int
    height: int
    middle: int
    begins_x: int
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Step:
    """One change, in words."""

    at: str
    what: str
    detail: str


def row(incident: StoredIncident, lang: str, _: Translate, now: datetime | None = None) -> IncidentRow:
    """Return an incident for the list."""
    zone = places.zone(incident.area or None)
    end = incident.ended_at or now or datetime.now(UTC)
    work = incident.work
    silenced = None
    if work is not None:
        silenced = _("Announced work, no alert: {reason} ({person}, until {time})").format(
            reason=work.reason, person=work.person, time=i18n.clock_text(work.ends_at, zone, lang)
        )
    return IncidentRow(
        incident.id,
        title(incident, _),
        _badges(incident, _),
        i18n.clock_text(incident.since, zone, lang),
        format_time(incident.since),
        i18n.duration((end - incident.since).total_seconds(), lang),
        _share(incident, lang, _),
        _sure(incident, lang, _),
        silenced,
    )


def title(incident: StoredIncident, _: Translate) -> str:
    """Return the sentence that says what is wrong, and where."""
    names = {
        "operator": operator_name(incident.plmn) or _("all operators"),
        "place": place_name(incident.area, _),
        "target": incident.target or "",
    }
    if incident.silent:
        text = _SILENT.get(incident.kind, _SILENT_OPERATOR if incident.plmn is not None else _SILENT["place"])
    elif incident.target is not None and incident.kind == "uncertain":
        text = _TARGET_UNCERTAIN
    else:
        text = _TITLES.get((incident.aspect, incident.kind)) or _TITLES[("works", "uncertain")]
    return _(text).format(**names)


def place_name(area: str, _: Translate) -> str:
    """Return the name of an area by its code; the code where no name is known."""
    if not area:
        return _("all of Indonesia")
    if len(area) == 2:
        province = places.province(area)
        return area if province is None else province.name
    found = places.place(area)
    names = [found.village if len(area) == 10 else None, found.district if len(area) >= 6 else None, found.title]
    return ", ".join(name for name in names if name) or area


def operator_name(plmn: str | None) -> str | None:
    """Return an operator's name with its code; None for every operator."""
    if plmn is None:
        return None
    known = places.operator(plmn)
    return plmn if known is None or known.name is None or known.name == plmn else f"{known.name} ({plmn})"


def _badges(incident: StoredIncident, _: Translate) -> list[Badge]:
    found = [Badge("failed", "◆", _("open")) if incident.ended_at is None else Badge("none", "✓", _("ended"))]
    if incident.work is not None:
        found.append(Badge("none", "⚒", _("announced work")))
    if incident.silent:
        found.append(Badge("silent", "◌", _("silent, not measured")))
    if incident.late:
        found.append(Badge("none", "↶", _("found late")))
    if incident.kind == "uncertain":
        found.append(Badge("degraded", "?", _("owner not known")))
    return found


def _share(incident: StoredIncident, lang: str, _: Translate) -> str:
    text = _("{n} of {all} TPS silent") if incident.silent else _("{n} of {all} TPS affected")
    return text.format(n=i18n.number(incident.failing, lang=lang), all=i18n.number(incident.stations, lang=lang))


def _sure(incident: StoredIncident, lang: str, _: Translate) -> str:
    word = N_("sure")
    if incident.confidence < _SURE:
        word = N_("likely") if incident.confidence >= _LIKELY else N_("hint")
    percent = min(99, int(100 * incident.confidence))
    return f"{_(word)} ({i18n.number(percent, lang=lang)}\N{NO-BREAK SPACE}%)"


def reasons_for(incident: StoredIncident, lang: str, _: Translate) -> list[str]:
    """Return what speaks for the incident, each with its number."""
    evidence = incident.evidence
    found = [_share(incident, lang, _) + "."]
    usual = _usual(incident)
    if usual is not None and not incident.silent:
        found.append(
            _("Usually {n} of {all} fail there at this time.").format(
                n=i18n.number(usual[0], 1, lang), all=i18n.number(usual[1], lang=lang)
            )
        )
    found.append(
        _("{devices} devices with {tokens} tokens say so independently.").format(
            devices=i18n.number(evidence["probes"], lang=lang), tokens=i18n.number(evidence["tokens"], lang=lang)
        )
    )
    if evidence["parts_failing"]:
        names = ", ".join(place_name(area, _) for area in evidence["parts_failing"][:6])
        found.append(
            _("{n} parts of the area fail: {names}").format(
                n=i18n.number(len(evidence["parts_failing"]), lang=lang), names=names
            )
        )
    working = _others(evidence, lambda value: value <= _WORKS_CLEARLY)
    if incident.plmn is not None and working:
        found.append(_("In the same places work: {names}.").format(names=", ".join(working)))
    return found


def reasons_against(incident: StoredIncident, lang: str, _: Translate) -> list[str]:
    """Return what speaks against it, or is not known."""
    evidence = incident.evidence
    found = []
    working = incident.stations - incident.failing
    if working > 0:
        found.append(
            _("{n} of {all} TPS heard there work.").format(
                n=i18n.number(working, lang=lang), all=i18n.number(incident.stations, lang=lang)
            )
        )
    if evidence["parts_working"]:
        found.append(
            _("{n} parts of the area work: {names}").format(
                n=i18n.number(len(evidence["parts_working"]), lang=lang),
                names=", ".join(place_name(area, _) for area in evidence["parts_working"][:6]),
            )
        )
    if incident.plmn is not None:
        failing = _others(evidence, lambda value: value >= _FAILS_CLEARLY)
        if failing:
            found.append(_("These operators fail there, too: {names}.").format(names=", ".join(failing)))
        if not _others(evidence, lambda value: value <= _WORKS_CLEARLY):
            found.append(_("No other operator was heard working there: power or backhaul may be the cause."))
    if evidence["probes"] < _FEW:
        found.append(_("Only {n} devices say so.").format(n=i18n.number(evidence["probes"], lang=lang)))
    if incident.silent:
        found.append(_("Nothing was measured: the devices may be switched off. Late results will settle it."))
    if incident.late:
        found.append(_("It was found in results that arrived late; it was never seen live."))
    return found


def alternatives(incident: StoredIncident, _: Translate) -> list[str]:
    """Return what else could be the cause."""
    return [_(text) for text in _ALTERNATIVES.get(incident.kind, _ALTERNATIVES["uncertain"])]


def _others(evidence: Any, wanted: Callable[[float], bool]) -> list[str]:
    return [operator_name(name) or name for name, value in evidence["others"].items() if name != "*" and wanted(value)]


def _usual(incident: StoredIncident) -> tuple[float, int] | None:
    inside = [moment for moment in incident.evidence["timeline"] if moment[0] >= incident.since.timestamp()]
    heard = sum(moment[1] for moment in inside)
    if not heard or not incident.stations:
        return None
    return incident.stations * sum(moment[3] for moment in inside) / heard, incident.stations


def timeline(incident: StoredIncident, lang: str, _: Translate) -> Timeline | None:
    """Return the drawing of the incident by five minutes; None where nothing was heard."""
    moments = incident.evidence["timeline"]
    if not moments:
        return None
    zone = places.zone(incident.area or None)
    most = max(1, *(max(failing, stations - failing) for _at, stations, failing, *_rest in moments))
    first = int(moments[0][0])
    bars = []
    for at, stations, failing, _usually, _other, _others_failing in moments:
        up = round(_HALF_PX * failing / most)
        label = _("{time}: {n} of {all} TPS failed").format(
            time=_clock(at, zone, lang), n=i18n.number(failing, lang=lang), all=i18n.number(stations, lang=lang)
        )
        down = round(_HALF_PX * (stations - failing) / most)
        bars.append(Bar(int((at - first) // 300) * _BAR_PX, _HALF_PX - up, up, down, label))
    return Timeline(
        bars,
        bars[-1].x + _BAR_PX,
        2 * _HALF_PX + 2,
        _HALF_PX,
        max(0, int((incident.since.timestamp() - first) // 300) * _BAR_PX),
        _clock(first, zone, lang),
        _clock(moments[-1][0] + 300, zone, lang),
    )


def _clock(seconds: float, zone: Any, lang: str) -> str:
    return i18n.clock_text(datetime.fromtimestamp(seconds, UTC), zone, lang, with_date=False)


def steps(incident: StoredIncident, changes: Sequence[Change], lang: str, _: Translate) -> list[Step]:
    """Return the changes in words, newest first."""
    zone = places.zone(incident.area or None)
    found = []
    for change in reversed(changes):
        detail = ""
        if "failing" in change.body:
            stations = change.body.get("stations", incident.stations)
            detail = _("{n} of {all} TPS affected").format(
                n=i18n.number(change.body["failing"], lang=lang), all=i18n.number(stations, lang=lang)
            )
        found.append(Step(i18n.clock_text(change.at, zone, lang), _(_STEPS.get(change.what, N_("changed"))), detail))
    return found
