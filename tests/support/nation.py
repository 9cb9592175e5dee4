"""Simulate the votes of a nation with incidents in it, from a seed.

Everything that made rules wrong elsewhere is in it: blank spots, weak cells, villages that fail together, devices that
are broken, wrong clocks, backlogs, copies of one device, a stolen token, laptops that roam, and a busy hour everywhere.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sigprobe.collector.incidents.votes import BIN_S, Vote

OPERATORS: Final = ("51010", "51001", "51011", "51028")
_SHARES: Final = (0.42, 0.26, 0.2, 0.12)
_SCHEDULED: Final = 0.35
TARGETS: Final = ("sirekap", "info")
PROVINCES: Final = 38
REGENCIES: Final = 514


@dataclass(frozen=True, slots=True)
class Truth:
    """One incident that was made. `share` of the stations fail; the others do not notice."""

    kind: str
    plmn: str | None
    area: str | None
    target: str | None
    begins: float
    ends: float
    share: float = 1.0
    silent: bool = False
    name: str = ""

    def to_json(self) -> dict[str, object]:
        """Return it as the score reads it."""
        return {
            "kind": self.kind,
            "plmn": self.plmn,
            "area": self.area,
            "target": self.target,
            "from": self.begins,
            "to": self.ends,
            "name": self.name,
        }

    def covers(self, plmn: str, tps: str, at: float) -> bool:
        """Tell whether a station of an operator is within it at a time."""
        return (
            self.begins <= at < self.ends
            and self.plmn in (None, plmn)
            and (self.area is None or tps.startswith(self.area))
        )


@dataclass(slots=True)
class _Station:
    tps: str
    usual_failing: float


@dataclass
class Nation:
    """Regencies with districts, villages and stations; how many stations test per bin in each cell."""

    seed: int
    hours: float
    cells_per_class: int = 4
    regencies: int = REGENCIES
    truths: list[Truth] = field(default_factory=list)
    _rng: random.Random = field(init=False)
    _codes: list[str] = field(default_factory=list)
    _size: dict[str, tuple[int, int]] = field(default_factory=dict)
    _rates: dict[tuple[str, str], float] = field(default_factory=dict)
    _stations: dict[tuple[str, str, int], _Station] = field(default_factory=dict)
    _cuts: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    stolen_at: float = 0.0
    stolen_regency: str = ""

    def __post_init__(self) -> None:
        rng = self._rng = random.Random(self.seed)
        provinces = max(2, round(PROVINCES * self.regencies / REGENCIES))
        for place in range(self.regencies):
            code = f"{11 + place % provinces:02}{1 + place // provinces:02}"
            self._codes.append(code)
            self._size[code] = (rng.randint(6, 24), rng.randint(5, 12))
            activity = rng.lognormvariate(1.3, 0.8)
            for plmn, share in zip(OPERATORS, _SHARES, strict=True):
                self._rates[(plmn, code)] = min(12.0, max(0.2, activity * share * rng.uniform(0.6, 1.5)))
        self._make_incidents()

    @property
    def ends(self) -> float:
        """The end of the simulation, in seconds from its begin."""
        return self.hours * 3600

    def _make_incidents(self) -> None:
        rng = self._rng
        free = list(self._codes)
        rng.shuffle(free)
        quiet = 2.5 * 3600
        span = 3600.0

        def begins() -> float:
            return rng.uniform(quiet, self.ends - 2.2 * span)

        for tested in (3.0, 10.0):
            for share in (0.5, 0.9):
                for _ in range(self.cells_per_class):
                    code, plmn, at = free.pop(), rng.choice(OPERATORS), begins()
                    self._rates[(plmn, code)] = tested
                    name = f"{tested:.0f} TPS, {share:.0%}"
                    self.truths.append(Truth("operator", plmn, code, None, at, at + span, share, name=name))
        for _ in range(self.cells_per_class):
            code, plmn, at = free.pop(), rng.choice(OPERATORS), begins()
            self._rates[(plmn, code)] = rng.uniform(10, 20)
            self.truths.append(Truth("operator", plmn, code, None, at, at + span, 1.0, silent=True, name="silent"))
            code, at = free.pop(), begins()
            for plmn in OPERATORS:
                self._rates[(plmn, code)] = max(3.0, self._rates[(plmn, code)])
            share = rng.choice((0.7, 0.95))
            self.truths.append(Truth("place", None, code, None, at, at + span, share, name="place, regency"))
            code, at = free.pop(), begins()
            for plmn in OPERATORS:
                self._rates[(plmn, code)] = max(5.0, self._rates[(plmn, code)])
            self._size[code] = (6, self._size[code][1])
            district = f"{code}{rng.randint(1, 6):02}"
            self.truths.append(Truth("place", None, district, None, at, at + span, 0.95, name="place, district"))
        provinces = sorted({code[:2] for code in free})
        taken = {truth.area[:2] for truth in self.truths if truth.area}
        for province in rng.sample([p for p in provinces if p not in taken] or provinces, 1):
            at, plmn = begins(), rng.choice(OPERATORS)
            self.truths.append(Truth("operator", plmn, province, None, at, at + span, 0.8, name="operator, province"))
        at = begins()
        self.truths.append(Truth("service", None, None, TARGETS[0], at, at + span, 0.9, name="service"))
        self.stolen_regency, self.stolen_at = free.pop(), begins()

    def _station(self, plmn: str, code: str, number: int) -> _Station:
        """Return station `number` of a cell; it is made when it is first asked for."""
        known = self._stations.get((plmn, code, number))
        if known is None:
            rng = random.Random(f"{self.seed} {plmn} {code} {number}")
            districts, villages = self._size[code]
            district, village = rng.randint(1, districts), rng.randint(1, villages)
            tps = f"{code}{district:02}{2000 + village:04}{rng.randint(1, 30):03}"
            draw = rng.random()
            usual = rng.uniform(0.5, 0.95) if draw < 0.03 else rng.uniform(0.15, 0.4) if draw < 0.1 else 0.015
            known = self._stations[(plmn, code, number)] = _Station(tps, usual)
            if rng.random() < 0.01 * self.hours / 6:
                at = rng.uniform(0, self.ends)
                self._cuts.setdefault(tps[:10], []).append((at, at + rng.uniform(1800, 7200)))
        return known

    def votes(self) -> list[Vote]:
        """Return all votes in the order of their arrival."""
        votes: list[Vote] = []
        for plmn, code in self._rates:
            votes.extend(self._cell(plmn, code))
        votes.extend(self._stolen())
        votes.extend(self._flood())
        votes.sort(key=lambda vote: vote.received_at)
        return votes

    def _cell(self, plmn: str, code: str) -> Iterator[Vote]:
        rng = random.Random(f"{self.seed} cell {plmn} {code}")
        rate = self._rates[(plmn, code)]
        every = 900.0
        scheduled = round(_SCHEDULED * rate * every / BIN_S)
        for number in range(scheduled):
            offset = rng.uniform(0, every)
            clock = rng.choice((-7200.0, 7200.0)) if rng.random() < 0.01 else 0.0
            stops = self.ends if rng.random() < 0.9 else rng.uniform(0, self.ends)
            at = offset
            while at < stops:
                yield from self._test(rng, plmn, code, number, at + rng.gauss(0, 5), every, clock, f"s{number}")
                at += every
        bins = int(self.ends // BIN_S)
        for number in range(bins):
            busy = 1 + 0.5 * math.sin(2 * math.pi * number / bins)
            for _ in range(_poisson(rng, (1 - _SCHEDULED) * rate * busy)):
                who = rng.randint(1000, 1000 + int(120 * max(1.0, rate)))
                at = (number + rng.random()) * BIN_S
                yield from self._test(rng, plmn, code, who, at, None, 0.0, f"h{who}")

    def _test(
        self,
        rng: random.Random,
        plmn: str,
        code: str,
        number: int,
        at: float,
        every: float | None,
        clock: float,
        name: str,
    ) -> Iterator[Vote]:
        station = self._station(plmn, code, number)
        tps = station.tps
        probe = f"{plmn}-{code}-{name}"
        token = f"t-{probe}"
        crowd = 0.02 * (1 + math.sin(2 * math.pi * at / self.ends))
        failing = station.usual_failing + crowd
        owner = "uncertain"
        late_until = 0.0
        if any(begin <= at < end for begin, end in self._cuts.get(tps[:10], ())):
            failing = 0.95
        target_bad: dict[str, float] = dict.fromkeys(TARGETS, 0.01)
        for truth in self.truths:
            if not truth.covers(plmn, tps, at):
                continue
            hit = random.Random(f"{self.seed} {truth.begins} {probe}").random() < truth.share
            if truth.target is not None:
                target_bad[truth.target] = 0.97 if hit else 0.01
            elif hit:
                failing = 0.97
                owner = rng.choice(("operator", "uncertain"))
                if truth.silent or rng.random() < 0.15:
                    late_until = truth.ends + rng.uniform(30, 1200)
        bad = rng.random() < failing
        if bad and owner == "uncertain" and rng.random() < 0.1:
            owner = "local"
        received = at + rng.uniform(2, 20)
        if rng.random() < 0.03:
            received = at + rng.uniform(1800, 4 * 3600)
        received = max(received, late_until)
        if received > self.ends:
            return
        yield Vote(at + clock, received, tps, probe, token, plmn, None, bad, owner if bad else "none", every)
        if not bad and rng.random() < 0.4:
            target = rng.choice(TARGETS)
            broken = rng.random() < target_bad[target]
            said = "uncertain" if broken else "none"
            yield Vote(at + 2 + clock, received + 0.1, tps, probe, token, plmn, target, broken, said, None)

    def _stolen(self) -> Iterator[Vote]:
        """One token that says of 40 stations in one regency, again and again, that the operator is down."""
        rng = random.Random(f"{self.seed} stolen")
        for number in range(40):
            station = self._station(OPERATORS[0], self.stolen_regency, 5000 + number)
            for again in range(8):
                at = self.stolen_at + again * 450 + rng.uniform(0, 400)
                if at < self.ends - 60:
                    yield Vote(
                        at, at + 3, station.tps, "stolen", "t-stolen", OPERATORS[0], None, True, "operator", None
                    )

    def _flood(self) -> Iterator[Vote]:
        """One broken probe that sends 5,000 bad results an hour."""
        station = self._station(OPERATORS[1], self._codes[0], 6000)
        at = 3600.0
        while at < min(self.ends - 60, 3 * 3600):
            yield Vote(at, at + 1, station.tps, "flood", "t-flood", OPERATORS[1], None, True, "uncertain", None)
            at += 0.72


def _poisson(rng: random.Random, mean: float) -> int:
    limit, count, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        count += 1
        product *= rng.random()
    return count
