"""Look at several series as one: what came in time, and what a backlog added."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sigprobe.collector.incidents.evidence import COMPONENTS, SHARES, Ratios
from sigprobe.collector.incidents.series import EVERY_OPERATOR, Cell, Say, Series


@dataclass(frozen=True, slots=True)
class View:
    """The sum of the series over the bins from `first` to `last`."""

    series: Sequence[Series]
    first: int
    last: int

    def bins(self, cell: Cell) -> Iterable[tuple[int, Ratios]]:
        """Return a cell's bins in order of time."""
        if len(self.series) == 1:
            return self.series[0].bins(cell, self.first, self.last)
        total: dict[int, Ratios] = {}
        for part in self.series:
            for number, ratios in part.bins(cell, self.first, self.last):
                before = total.get(number)
                total[number] = tuple(before[i] + ratios[i] for i in range(COMPONENTS)) if before else ratios
        return sorted(total.items())

    def operators(self, areas: Collection[str], since: int) -> dict[str, float]:
        """Return the plain evidence of each operator in some areas (of any level) from bin `since` on."""
        found: dict[str, float] = {}
        for part in self.series:
            for operator, plain in part.operators(areas, since, self.last).items():
                found[operator] = found.get(operator, 0.0) + plain
        return found

    def parts(self, cell: Cell, since: int, share: float) -> dict[str, tuple[float, float]]:
        """Return the evidence of the areas directly below a cell (of a district: its villages).

        Two numbers an area: the plain one, and the one at a share of stations that fail.
        """
        place = SHARES.index(share)
        found: dict[str, tuple[float, float]] = {}
        for part in self.series:
            if len(cell.area) == 6:
                for area, _, ratios in part.villages(cell, since, self.last):
                    plain, fitted = found.get(area, (0.0, 0.0))
                    found[area] = (plain + ratios[-1], fitted + ratios[place])
                continue
            for area in part.children.get(cell.area, ()):
                plain, fitted = found.get(area, (0.0, 0.0))
                for _, ratios in part.bins(Cell(cell.operator, area), since, self.last):
                    plain += ratios[-1]
                    fitted += ratios[place]
                found[area] = (plain, fitted)
        return found

    def witnesses(self, cell: Cell, since: int) -> Iterator[tuple[str, str, int, Say]]:
        """Iterate over what the witnesses in a cell said from bin `since` on."""
        for part in self.series:
            yield from part.witnesses(cell, since, self.last)

    def count_failing(self, cell: Cell, since: int) -> Witnessed:
        """Count the independent witnesses of a cell from bin `since` on."""
        stations: dict[str, bool] = {}
        bad_tokens: set[str] = set()
        bad_probes: set[str] = set()
        bad_stations: set[str] = set()
        for operator, witness, _, said in self.witnesses(cell, since):
            key = f"{operator} {witness}" if cell.operator == EVERY_OPERATOR else witness
            stations[key] = stations.get(key, False) or said.failed
            if said.failed:
                bad_tokens.add(said.token)
                bad_probes.add(said.probe)
                bad_stations.add(witness)
        return Witnessed(len(stations), sum(stations.values()), len(bad_stations), len(bad_tokens), len(bad_probes))


@dataclass(frozen=True, slots=True)
class Witnessed:
    """Stations heard and stations that failed, and how many different tokens and devices say so."""

    stations: int
    failing: int
    places: int
    tokens: int
    probes: int

    @property
    def independent(self) -> int:
        """The smallest number of different stations, tokens and devices among those that failed."""
        return min(self.places, self.tokens, self.probes)
