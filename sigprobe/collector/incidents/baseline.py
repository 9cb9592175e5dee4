"""The usual share of failed tests, of stations, regencies, provinces and operators.

A beta-binomial model: each station has its own share, drawn around the share of its operator in its regency, which is
drawn around the province's, the operator's and everybody's. How far stations differ (the over-dispersion) is fitted
by moments from pairs of votes of one station. A station that failed a moment ago will probably fail again: this
memory, of station, village and token, is part of what is usual, so that one broken device or one village without power
adds to the evidence only once.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

PRIOR_SHARE: Final = 0.06
_PRIOR_VOTES: Final = 40.0
_OPERATOR_VOTES: Final = 60.0
_PROVINCE_VOTES: Final = 40.0
_REGENCY_VOTES: Final = 25.0
_LEAST_SHARE: Final = 0.01
_MOST_SHARE: Final = 0.98
_KEEPS_FAILING: Final = 0.85
_MEMORY_S: Final = 5400.0
_VILLAGE_KEEPS: Final = 0.6
_VILLAGE_S: Final = 3600.0
_FOLD_AFTER_S: Final = 3600.0
_AREA_KEEPS: Final = 4000.0
_STATION_KEEPS: Final = 40.0
_TIDE_S: Final = 1800.0
_TIDE_VOTES: Final = 15.0


@dataclass(slots=True)
class _Counts:
    bad: float = 0.0
    n: float = 0.0

    def add(self, value: float, keeps: float) -> None:
        """Count a vote; beyond `keeps` votes the old half weighs half, so that what was true last month fades."""
        self.bad += value
        self.n += 1
        if self.n > keeps:
            self.bad /= 2
            self.n /= 2


@dataclass(slots=True)
class _Recent:
    at: float
    bad: float
    n: float


@dataclass(slots=True)
class _Tide:
    """Failed and expected votes of one operator in the last half hour, decaying."""

    at: float = 0.0
    bad: float = 0.0
    expected: float = 0.0

    def add(self, at: float, bad: float, expected: float) -> None:
        if at > self.at:
            kept = math.exp(-(at - self.at) / _TIDE_S)
            self.bad *= kept
            self.expected *= kept
            self.at = at
        self.bad += bad
        self.expected += expected


@dataclass(slots=True)
class _Pairs:
    """Moments of pairs of votes of one station: what the over-dispersion is fitted from."""

    bad: float = 0.0
    n: float = 0.0
    both_bad: float = 0.0
    pairs: float = 0.0


@dataclass(slots=True)
class Expected:
    """Expected share of failures of one vote: `usual` from history alone, `now` with the memory of recent votes."""

    usual: float
    now: float


@dataclass
class Baseline:
    """Hold the counts from which a station's usual share follows. Votes are learned an hour later, if all was quiet."""

    prior: float = PRIOR_SHARE
    tide_most: float = 4.0
    _counts: dict[tuple[str, str], _Counts] = field(default_factory=dict)
    _stations: dict[tuple[str, str], _Counts] = field(default_factory=dict)
    _memory: dict[tuple[str, str], _Recent] = field(default_factory=dict)
    _tides: dict[str, _Tide] = field(default_factory=dict)
    _pairs: _Pairs = field(default_factory=_Pairs)
    _waiting: deque[tuple[float, str, str, str, bool]] = field(default_factory=deque)

    def share(self, operator: str, area: str) -> float:
        """Return the usual share of failures of an operator in a regency (or an area that contains regencies)."""
        share = self.prior
        levels: tuple[tuple[tuple[str, str], float], ...] = (
            (("", ""), _PRIOR_VOTES),
            ((operator, ""), _OPERATOR_VOTES),
            ((operator, area[:2]), _PROVINCE_VOTES),
            ((operator, area[:4]), _REGENCY_VOTES),
        )
        for key, weight in levels:
            counts = self._counts.get(key)
            if counts is not None:
                share = (counts.bad + weight * share) / (counts.n + weight)
        return share

    def station_weight(self) -> float:
        """Return how many votes of its own a station needs to count as much as its regency: 1/rho − 1."""
        pairs = self._pairs
        if pairs.pairs < 200 or pairs.n < 200:
            return 4.0
        share = pairs.bad / pairs.n
        spread = share * (1 - share)
        if spread <= 0:
            return 4.0
        rho = (pairs.both_bad / pairs.pairs - share * share) / spread
        return min(60.0, max(1.0, 1.0 / rho - 1.0)) if rho > 0 else 60.0

    def tide(self, operator: str) -> float:
        """Return by what the other operators exceed their usual share just now, from 1 to `tide_most`.

        On voting day everything is fuller everywhere: that is nobody's incident.
        """
        bad = expected = 0.0
        newest = max((tide.at for tide in self._tides.values()), default=0.0)
        for name, tide in self._tides.items():
            if name != operator:
                kept = math.exp(-(newest - tide.at) / _TIDE_S)
                bad += tide.bad * kept
                expected += tide.expected * kept
        return min(self.tide_most, max(1.0, (bad + _TIDE_VOTES * self.prior) / (expected + _TIDE_VOTES * self.prior)))

    def expected(self, at: float, operator: str, tps: str, witness: str, token: str) -> Expected:
        """Return what is usual for a vote before it is known."""
        regency = self.share(operator, tps)
        own = self._stations.get((operator, witness))
        usual = regency
        if own is not None:
            weight = self.station_weight()
            usual = (own.bad + weight * regency) / (own.n + weight)
        usual = min(_MOST_SHARE, max(_LEAST_SHARE, usual * self.tide(operator)))
        now = usual
        for key, keeps, span in (
            (("station", f"{operator} {witness}"), _KEEPS_FAILING, _MEMORY_S),
            (("token", f"{operator} {token}"), _KEEPS_FAILING, _MEMORY_S),
            (("village", f"{operator} {tps[:10]}"), _VILLAGE_KEEPS, _VILLAGE_S),
        ):
            recent = self._memory.get(key)
            if recent is not None and recent.bad > 0:
                share = recent.bad / max(recent.n, 1.0)
                now = max(now, usual + (1 - usual) * keeps * share * math.exp(-abs(at - recent.at) / span))
        return Expected(usual, min(_MOST_SHARE, now))

    def saw(
        self, at: float, operator: str, tps: str, witness: str, token: str, bad: bool, expected: Expected, *, tide: bool
    ) -> None:
        """Remember a vote, and learn from it an hour later."""
        value = 1.0 if bad else 0.0
        self._memory[("station", f"{operator} {witness}")] = _Recent(at, value, 1.0)
        self._memory[("token", f"{operator} {token}")] = _Recent(at, value, 1.0)
        key = ("village", f"{operator} {tps[:10]}")
        recent = self._memory.get(key)
        kept = math.exp(-abs(at - recent.at) / _VILLAGE_S) if recent else 0.0
        self._memory[key] = _Recent(
            at, value + kept * (recent.bad if recent else 0.0), 1.0 + kept * (recent.n if recent else 0.0)
        )
        if tide:
            self._tides.setdefault(operator, _Tide()).add(at, value, expected.now)

    def learn_later(self, at: float, operator: str, tps: str, witness: str, bad: bool) -> None:
        """Put a vote aside until an hour after `at`."""
        self._waiting.append((at + _FOLD_AFTER_S, operator, tps, witness, bad))

    def learn(self, now: float, found: set[tuple[str, str]]) -> None:
        """Learn what has waited long enough, except in the (operator, area) units where something was found."""
        while self._waiting and self._waiting[0][0] <= now:
            _, operator, tps, witness, bad = self._waiting.popleft()
            if found and any((who, tps[:n]) in found for who in (operator, "*") for n in (0, 2, 4, 6)):
                continue
            value = 1.0 if bad else 0.0
            for key in (("", ""), (operator, ""), (operator, tps[:2]), (operator, tps[:4])):
                counts = self._counts.setdefault(key, _Counts())
                counts.add(value, _AREA_KEEPS)
            own = self._stations.setdefault((operator, witness), _Counts())
            self._pairs.bad += value
            self._pairs.n += 1
            self._pairs.both_bad += 2 * own.bad * value
            self._pairs.pairs += 2 * own.n
            own.add(value, _STATION_KEEPS)
