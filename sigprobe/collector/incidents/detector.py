"""Find incidents in a stream of votes: once a minute, over all cells."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sigprobe.collector.incidents import attribution
from sigprobe.collector.incidents.attribution import Kind, Unit
from sigprobe.collector.incidents.baseline import Baseline
from sigprobe.collector.incidents.evidence import Rise, climb, over, rejected
from sigprobe.collector.incidents.series import EVERY_OPERATOR, Cell, Say, Series
from sigprobe.collector.incidents.silence import Contact, Schedule
from sigprobe.collector.incidents.view import View
from sigprobe.collector.incidents.votes import BIN_S, Clocks, Vote, Witnesses, bin_of

_WINDOW_BINS: Final = 36
_FRESH_BINS: Final = 6
_LATE_AFTER_S: Final = 900.0
_KEEP_BINS: Final = 576
_FORGET_EVERY_BINS: Final = 12
_SILENT_SHARE: Final = 0.08
_SILENT_TIDE: Final = 12.0
_COLLECTOR_SHARE: Final = 0.01
_ENDS_BELOW: Final = 5.0
_ENDS_UNHEARD_BINS: Final = 12
_COMES_BACK_BINS: Final = 6
_OTHERS_COME: Final = -3.0
_ARRIVALS_S: Final = 600.0
_UNHEARD_S: Final = 480.0
_UNHEARD_AFTER: Final = 20.0
_NAMES: Final = uuid.UUID("6f1c2c57-6c3c-5d0a-9b57-51f1b0d6a7c1")
_EARLIER_BINS: Final = 12


@dataclass(frozen=True, slots=True)
class Rules:
    """What evidence is asked for, as natural logarithms of likelihood ratios."""

    threshold: float = 11.0
    least: float = 8.0
    service_threshold: float = 9.0
    silent_threshold: float = 11.0
    district_more: float = 2.7
    accuse_more: float = 2.5
    """Beyond the threshold: below it an incident is shown, and its owner stays `uncertain`."""
    accuse_witnesses: int = 6

    def more_for(self, cell: Cell) -> float:
        """Return what a cell needs beyond the threshold: there are fifteen times as many districts as regencies."""
        return self.district_more if len(cell.area) == 6 else 0.0


@dataclass(slots=True)
class Incident:
    """What was found. Times are seconds; `area` is "" for the nation, `plmn` None for every operator."""

    kind: Kind
    plmn: str | None
    area: str
    target: str | None
    since: float
    found_at: float
    ended_at: float | None = None
    confidence: float = 0.0
    silent: bool = False
    late: bool = False
    stations: int = 0
    failing: int = 0
    tokens: int = 0
    probes: int = 0
    parts_failing: tuple[str, ...] = ()
    parts_working: tuple[str, ...] = ()
    others: dict[str, float] = field(default_factory=dict)
    last_bin: int = 0
    id: str = ""

    @property
    def cell(self) -> Cell:
        """The cell it stands for."""
        return Cell(self.plmn or EVERY_OPERATOR, self.area)

    def to_json(self) -> dict[str, object]:
        """Return the incident as the score reads it."""
        return {
            "kind": self.kind,
            "plmn": self.plmn,
            "area": self.area or None,
            "target": self.target,
            "since": self.since,
            "found_at": self.found_at,
            "ended_at": self.ended_at,
            "confidence": round(self.confidence, 3),
            "silent": self.silent,
            "late": self.late,
            "stations": self.stations,
            "failing": self.failing,
        }


class Detector:
    """Takes votes in the order of their arrival; `tick` finds, changes and ends incidents."""

    def __init__(self, rules: Rules | None = None, aspect: str = "works") -> None:
        self.rules = rules or Rules()
        self.aspect = aspect
        self.incidents: list[Incident] = []
        self._awaited: list[Incident] = []
        self._clocks = Clocks()
        self._witnesses = Witnesses()
        self._schedule = Schedule()
        self._usual = Baseline()
        self._usual_silence = Baseline(prior=_SILENT_SHARE, tide_most=_SILENT_TIDE)
        self._usual_collector = Baseline(prior=_COLLECTOR_SHARE)
        self._usual_targets: dict[str, Baseline] = {}
        self._tests = Series()
        self._late = Series()
        self._silence = Series()
        self._collector = Series()
        self._targets: dict[str, Series] = {}
        self._rises: dict[str, dict[Cell, Rise]] = {}
        self._bad_until: dict[tuple[str, str], float] = {}
        self._forgotten = 0
        self._newest = 0.0
        self._arrived = 0.0
        self._unreached_at = -math.inf

    def add(self, vote: Vote) -> None:
        """Take one vote."""
        kept = math.exp(-max(0.0, vote.received_at - self._newest) / _ARRIVALS_S)
        self._arrived, self._newest = 1 + kept * self._arrived, max(self._newest, vote.received_at)
        contact = self._schedule.came(vote)
        if contact is not None:
            self._contact(contact)
        vote = self._clocks.corrected(vote)
        if vote.bad and vote.owner == "local":
            return
        witness = self._witnesses.witness(vote)
        number = bin_of(vote.at)
        late = vote.received_at > (number + 1) * BIN_S + _LATE_AFTER_S
        if number <= bin_of(vote.received_at) - _KEEP_BINS:
            return
        if vote.target is None:
            unreached = vote.bad and vote.owner == "collector"
            if unreached:
                self._unreached_at = vote.received_at
            if unreached or not late:
                self._count(self._collector, self._usual_collector, vote, witness, unreached, learn=not late)
            if unreached or (vote.bad and vote.owner == "service"):
                return
            if vote.bad:
                self._bad_until[(vote.plmn, witness)] = vote.at + 3 * BIN_S
            series = self._late if late else self._tests
            self._count(series, self._usual, vote, witness, vote.bad, learn=not late)
        elif not late:
            if vote.bad and (
                self._bad_until.get((vote.plmn, witness), -math.inf) >= vote.at or self._covered(vote.plmn, vote.tps)
            ):
                # the operator or the place explains it already
                return
            series = self._targets.setdefault(vote.target, Series())
            usual = self._usual_targets.setdefault(vote.target, Baseline())
            self._count(series, usual, vote, witness, vote.bad, learn=True)

    def _count(self, series: Series, usual: Baseline, vote: Vote, witness: str, bad: bool, *, learn: bool) -> None:
        number = bin_of(vote.at)
        expected = usual.expected(vote.at, vote.plmn, vote.tps, witness, vote.token)
        said = Say(expected.now, expected.usual, vote.tps, vote.token, vote.probe, ref=vote.ref)
        if series.say(number, vote.plmn, witness, said, bad):
            usual.saw(vote.at, vote.plmn, vote.tps, witness, vote.token, bad, expected, tide=learn)
            if learn:
                usual.learn_later(vote.at, vote.plmn, vote.tps, witness, bad)

    def _contact(self, contact: Contact) -> None:
        usual = self._usual_silence
        expected = usual.expected(contact.at, contact.operator, contact.tps, contact.probe, contact.token)
        said = Say(expected.now, expected.usual, contact.tps, contact.token, contact.probe)
        if self._silence.say(bin_of(contact.at), contact.operator, contact.probe, said, contact.silent):
            usual.saw(
                contact.at,
                contact.operator,
                contact.tps,
                contact.probe,
                contact.token,
                contact.silent,
                expected,
                tide=True,
            )
            usual.learn_later(contact.at, contact.operator, contact.tps, contact.probe, contact.silent)

    def _covered(self, operator: str, tps: str) -> bool:
        return any(
            incident.ended_at is None
            and incident.target is None
            and incident.kind != "collector"
            and incident.plmn in (None, operator)
            and tps.startswith(incident.area)
            for incident in self.incidents[-200:]
        )

    def resume(self, known: Iterable[Incident]) -> None:
        """Take over incidents that were found before, each from the time it was found on; votes are replayed after it.

        What the replay finds again keeps its identity.
        """
        self._awaited = sorted(known, key=lambda incident: incident.found_at)

    def forget_before(self, when: float) -> None:
        """Forget incidents that ended before a time."""
        self.incidents = [one for one in self.incidents if one.ended_at is None or one.ended_at >= when]

    def _take_over(self, now: float) -> None:
        """Add the awaited incidents whose time has come, unless the replay has found them already."""
        while self._awaited and self._awaited[0].found_at <= now:
            known = self._awaited.pop(0)
            if not any(incident.id == known.id for incident in self.incidents):
                self.incidents.append(known)

    def tick(self, now: float) -> None:
        """Judge everything that has changed since the last tick."""
        if self._awaited:
            self._take_over(now)
        for contact in self._schedule.overdue(now):
            self._contact(contact)
        last = bin_of(now)
        self._live("tests", self._tests, last, now, self.rules.threshold)
        self._live("silence", self._silence, last, now, self.rules.silent_threshold)
        for target in sorted(self._targets):
            self._one_target(target, last, now)
        self._collector_away(last, now)
        self._backlog(last, now)
        self._end(last)
        self._learn(now)
        if last >= self._forgotten + _FORGET_EVERY_BINS:
            self._forgotten = last
            for series in (self._tests, self._late, self._silence, self._collector, *self._targets.values()):
                series.forget(last - _KEEP_BINS)

    def _learn(self, now: float) -> None:
        found = {
            (incident.plmn or EVERY_OPERATOR, incident.area)
            for incident in self.incidents
            if incident.target is None and (incident.ended_at is None or incident.ended_at > now - 3 * 3600)
        }
        for usual in (self._usual, self._usual_silence, self._usual_collector):
            usual.learn(now, found)
        for target, usual in self._usual_targets.items():
            known = {
                (incident.plmn or EVERY_OPERATOR, incident.area)
                for incident in self.incidents
                if incident.target == target and (incident.ended_at is None or incident.ended_at > now - 3 * 3600)
            }
            usual.learn(now, known)

    def _standing(self, track: str, series: Series, last: int, threshold: float) -> tuple[View, dict[Cell, Rise]]:
        """Return the window of a series, and the cells whose evidence stands in it."""
        view = View([series], last - _WINDOW_BINS, last)
        rises = self._rises.setdefault(track, {})
        series.refresh(last - _WINDOW_BINS)
        for cell, rising in series.touched.items():
            if not rising and cell not in rises:
                continue
            present, _, _ = climb(view.bins(cell))
            if present.height >= self.rules.least:
                rises[cell] = present
            else:
                rises.pop(cell, None)
        series.touched.clear()
        heights: dict[Cell, float] = {}
        for cell, rise in list(rises.items()):
            newest = max((number for number, _ in view.bins(cell)), default=0)
            if newest < last - _FRESH_BINS:
                del rises[cell]
                continue
            heights[cell] = rise.height - self.rules.more_for(cell)
        return view, {cell: rises[cell] for cell in rejected(heights, threshold, self.rules.least)}

    def _live(self, track: str, series: Series, last: int, now: float, threshold: float) -> None:
        view, standing = self._standing(track, series, last, threshold)
        if not standing:
            return
        silent = track == "silence"
        found = attribution.units(view, standing)
        places = [
            unit
            for unit in found
            if unit.cell.operator == EVERY_OPERATOR
            and attribution.is_place(view.operators([unit.cell.area], unit.since))
        ]
        for unit in places:
            if unit.cell.area == "":
                # the whole nation over every operator: what all share is the centre
                self._found(
                    "collector" if silent and self._unheard(now) else "uncertain", unit, None, now, silent=silent
                )
            else:
                kind: Kind = "uncertain" if silent and not self._others_come(unit, view) else "place"
                self._found(kind, unit, None, now, silent=silent)
        for unit in found:
            if unit.cell.operator == EVERY_OPERATOR:
                continue
            if any(unit.cell.area.startswith(place.cell.area) for place in places):
                continue
            both = View([self._tests, self._silence], unit.since, last)
            there = both.operators(unit.parts_failing, unit.since)
            kind = attribution.who(unit, there, both.operators([unit.cell.area], unit.since))
            if (silent and not self._others_come(unit, view)) or not self._may_accuse(unit, threshold):
                kind = "uncertain"
            self._found(kind, unit, None, now, silent=silent, others=there)

    def _may_accuse(self, unit: Unit, threshold: float) -> bool:
        """Tell whether the evidence is enough to name an owner: by chance some cell rises each day."""
        enough = unit.rise.height >= threshold + self.rules.more_for(unit.cell) + self.rules.accuse_more
        return enough and unit.witnessed.independent >= self.rules.accuse_witnesses

    def _others_come(self, unit: Unit, view: View) -> bool:
        """Tell whether devices outside a silent unit come as announced: at closing time they stop everywhere."""
        everywhere = sum(view.operators([""], unit.since).values())
        return everywhere - sum(view.operators([unit.cell.area], unit.since).values()) <= _OTHERS_COME

    def _unheard(self, now: float) -> bool:
        """Tell whether nothing at all arrives any more, human tests included, where much did until a moment ago."""
        return now - self._newest >= _UNHEARD_S and self._arrived >= _UNHEARD_AFTER

    def _one_target(self, target: str, last: int, now: float) -> None:
        series = self._targets[target]
        view, standing = self._standing(f"target {target}", series, last, self.rules.service_threshold)
        nation = {cell: rise for cell, rise in standing.items() if cell.area == ""}
        everywhere = Cell(EVERY_OPERATOR, "")
        if everywhere in nation:
            unit = attribution.whole(view, everywhere, nation[everywhere])
            if unit is not None and attribution.is_place(view.operators([""], unit.since)):
                self._found("service", unit, target, now)
                return
        for cell, rise in nation.items():
            unit = attribution.whole(view, cell, rise) if cell != everywhere else None
            if unit is not None:
                # one operator's way to the service, or the service's for that operator: not to be told from here
                self._found("uncertain", unit, target, now)

    def _collector_away(self, last: int, now: float) -> None:
        if now - self._unreached_at > _WINDOW_BINS * BIN_S:
            # nobody says so: what the others said need not be summed up
            return
        view, standing = self._standing("collector", self._collector, last, self.rules.service_threshold)
        everywhere = Cell(EVERY_OPERATOR, "")
        rise = standing.get(everywhere)
        if rise is None:
            return
        unit = attribution.whole(view, everywhere, rise)
        if unit is not None and attribution.is_place(view.operators([""], unit.since)):
            self._found("collector", unit, None, now)

    def _backlog(self, last: int, now: float) -> None:
        """Judge the past again where late votes have come; what is found there is marked as found late."""
        self._late.refresh()
        touched, self._late.touched = self._late.touched, {}
        if not touched:
            return
        view = View([self._tests, self._late], last - _KEEP_BINS, last)
        standing: dict[Cell, tuple[Rise, int]] = {}
        for cell, rising in touched.items():
            if not rising:
                continue
            _, highest, at = climb(view.bins(cell))
            if at is not None and highest.height >= self.rules.threshold + self.rules.more_for(cell):
                standing[cell] = (highest, at)
        for cell, (rise, at) in sorted(standing.items(), key=lambda item: len(item[0].area)):
            assert rise.since is not None
            past = View([self._tests, self._late], rise.since, at)
            unit = attribution.whole(past, cell, rise)
            if unit is None:
                continue
            known = self._known(cell, rise.since, at)
            if known is not None:
                if known.late and known.cell == cell:
                    # a backlog comes in parts: the incident of the past grows with it
                    known.since = min(known.since, float(rise.since * BIN_S))
                    known.last_bin = max(known.last_bin, at)
                    known.ended_at = float((known.last_bin + 1) * BIN_S)
                continue
            operators = past.operators(unit.parts_failing, rise.since)
            if cell.operator == EVERY_OPERATOR:
                if not attribution.is_place(past.operators([cell.area], rise.since)) or cell.area == "":
                    continue
                kind: Kind = "place"
            else:
                if attribution.is_place(operators):
                    continue
                kind = attribution.who(unit, operators, past.operators([cell.area], rise.since))
                if not self._may_accuse(unit, self.rules.threshold):
                    kind = "uncertain"
            incident = self._found(kind, unit, None, now, others=operators)
            incident.late = True
            incident.ended_at = float((at + 1) * BIN_S)
            incident.last_bin = at

    def _known(self, cell: Cell, since: int, at: int) -> Incident | None:
        """Return the incident of that unit, or of one above or below it, that covers those bins already."""
        for incident in self.incidents:
            if incident.target is not None or not _related(incident.cell, cell):
                continue
            ended = incident.last_bin if incident.ended_at is not None else at
            if bin_of(incident.since) <= at + 1 and ended >= since - 1:
                return incident
        return None

    def _found(
        self,
        kind: Kind,
        unit: Unit,
        target: str | None,
        now: float,
        *,
        silent: bool = False,
        others: dict[str, float] | None = None,
    ) -> Incident:
        plmn = None if unit.cell.operator == EVERY_OPERATOR else unit.cell.operator
        since = float(unit.since * BIN_S)
        confidence = 1 / (1 + math.exp(-(unit.rise.height - self.rules.least) / 2))
        incident = self._same(kind, unit.cell, target, unit.since)
        if incident is None:
            incident = self._begin(kind, plmn, unit.cell.area, target, since, now, silent=silent)
        else:
            wider = len(unit.cell.area) <= len(incident.area) and (plmn is None or incident.plmn is not None)
            if (incident.kind == "uncertain" or kind != "uncertain") and wider:
                # parts of it mend earlier than others: what was one incident does not shrink to its last part
                incident.kind = kind
                incident.plmn = plmn
                incident.area = unit.cell.area
            incident.since = min(incident.since, since)
            incident.ended_at = None
            incident.silent = incident.silent and silent
        incident.confidence = max(incident.confidence, confidence)
        incident.stations, incident.failing = unit.witnessed.stations, unit.witnessed.failing
        incident.tokens, incident.probes = unit.witnessed.tokens, unit.witnessed.probes
        incident.parts_failing, incident.parts_working = unit.parts_failing, unit.parts_working
        incident.others = others or {}
        incident.last_bin = max(incident.last_bin, bin_of(now))
        return incident

    def _begin(
        self, kind: Kind, plmn: str | None, area: str, target: str | None, since: float, now: float, *, silent: bool
    ) -> Incident:
        """Add an incident: one that is awaited for this unit and time, else a new one with an identity of its own."""
        cell = Cell(plmn or EVERY_OPERATOR, area)
        for known in self._awaited:
            begins_there = abs(known.since - since) <= _COMES_BACK_BINS * BIN_S
            if known.target == target and _related(known.cell, cell) and begins_there:
                self._awaited.remove(known)
                incident = known
                break
        else:
            name = "|".join((self.aspect, plmn or "", area, target or "", f"{since:.0f}"))
            incident = Incident(kind, plmn, area, target, since, now, silent=silent)
            incident.id = str(uuid.uuid5(_NAMES, name))
        self.incidents.append(incident)
        return incident

    def _same(self, kind: Kind, cell: Cell, target: str | None, since: int) -> Incident | None:
        """Return the incident that goes on in this unit: still open, or ended a moment ago."""
        for incident in reversed(self.incidents):
            if incident.target != target or (incident.kind == "collector") != (kind == "collector"):
                continue
            if not _related(incident.cell, cell) or incident.late:
                continue
            if incident.ended_at is None or bin_of(incident.ended_at) >= since - _COMES_BACK_BINS:
                return incident
        return None

    def _end(self, last: int) -> None:
        for incident in self.incidents:
            if incident.ended_at is not None:
                continue
            series = self._series_of(incident)
            bins = list(series.bins(incident.cell, bin_of(incident.since), last))
            fallen, peak = over(bins)
            newest = max((number for number, _ in bins), default=incident.last_bin)
            if fallen >= _ENDS_BELOW and peak is not None:
                incident.ended_at = float((peak + 1) * BIN_S)
                incident.last_bin = peak
            elif newest < last - _ENDS_UNHEARD_BINS and not incident.silent:
                incident.ended_at = float((newest + 1) * BIN_S)
                incident.last_bin = newest

    def _series_of(self, incident: Incident) -> Series:
        if incident.target is not None:
            return self._targets.setdefault(incident.target, Series())
        if incident.kind == "collector" and not incident.silent:
            return self._collector
        return self._silence if incident.silent else self._tests

    def timeline(self, incident: Incident) -> list[Moment]:
        """Return by bin what was heard in an incident's unit, from an hour before it to its end or the newest bin."""
        first = bin_of(incident.since) - _EARLIER_BINS
        last = incident.last_bin if incident.ended_at is None else bin_of(incident.ended_at)
        parts = [self._series_of(incident)]
        if incident.target is None and not incident.silent:
            parts.append(self._late)
        moments: dict[int, Moment] = {}
        for part in parts:
            for operator, _, number, said in part.witnesses(Cell(EVERY_OPERATOR, incident.area), first, last):
                moment = moments.setdefault(number, Moment(number * BIN_S))
                if incident.plmn in (None, operator):
                    moment.stations += 1
                    moment.failing += said.failed
                    moment.usual += said.usual
                    if said.failed and said.ref and number >= bin_of(incident.since):
                        moment.refs.append(said.ref)
                else:
                    moment.others += 1
                    moment.others_failing += said.failed
        return [moments[number] for number in sorted(moments)]


@dataclass(slots=True)
class Moment:
    """Five minutes of an incident's unit: stations heard and failed, how many would usually fail, and the others'."""

    at: int
    stations: int = 0
    failing: int = 0
    usual: float = 0.0
    others: int = 0
    others_failing: int = 0
    refs: list[str] = field(default_factory=list)


def _related(one: Cell, other: Cell) -> bool:
    """Tell whether two cells overlap: same operator or every one, and one area within the other."""
    operators = one.operator == other.operator or EVERY_OPERATOR in (one.operator, other.operator)
    return operators and (one.area.startswith(other.area) or other.area.startswith(one.area))
