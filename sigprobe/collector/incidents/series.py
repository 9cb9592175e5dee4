"""Evidence per area and bin: from witnesses up to the nation, kept in step as votes arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sigprobe.collector.incidents.evidence import Ratios, Sum, add, bounded, nothing, of_vote

EVERY_OPERATOR: Final = "*"


class Cell(NamedTuple):
    """One operator (or every one, "*") in one area; an area is a district, regency, province or "" for the nation."""

    operator: str
    area: str


@dataclass(slots=True)
class Say:
    """What one witness said in one bin."""

    now: float
    usual: float
    tps: str
    token: str
    probe: str
    bad: int = 0
    n: int = 0
    ref: str = ""

    _ratios: Ratios | None = None
    _ratios_failed: bool = False

    @property
    def failed(self) -> bool:
        """Whether most of its votes were bad."""
        return 2 * self.bad > self.n

    def ratios(self) -> Ratios:
        """Return its evidence."""
        failed = self.failed
        if self._ratios is None or self._ratios_failed != failed:
            self._ratios, self._ratios_failed = of_vote(failed, self.now, self.usual), failed
        return self._ratios


@dataclass
class Series:
    """Evidence by cell and bin. `touched` holds the cells whose evidence has changed since it was last taken.

    Its values tell whether the evidence of some bin speaks for a failure: without one, no sum can have risen.
    """

    says: dict[tuple[str, str], dict[int, dict[str, Say]]] = field(default_factory=dict)
    cells: dict[Cell, dict[int, Ratios]] = field(default_factory=dict)
    touched: dict[Cell, bool] = field(default_factory=dict)
    children: dict[str, set[str]] = field(default_factory=dict)
    _speaking: dict[str, set[str]] = field(default_factory=dict)
    _dirty: set[tuple[str, str, int]] = field(default_factory=set)
    _operators: dict[tuple[str, int], dict[str, Ratios]] = field(default_factory=dict)

    def say(self, number: int, operator: str, witness: str, said: Say, bad: bool) -> bool:
        """Count a vote of a witness in a bin. Returns True for the first of that witness in that bin."""
        regency = said.tps[:4]
        bins = self.says.setdefault((operator, regency), {})
        self._speaking.setdefault(regency, set()).add(operator)
        known = bins.setdefault(number, {})
        before = known.get(witness)
        mine = before or said
        mine.n += 1
        mine.bad += bad
        if bad:
            mine.ref = said.ref
        known[witness] = mine
        self._dirty.add((operator, regency, number))
        return before is None

    def refresh(self, since: int = 0) -> None:
        """Bring the cells in step with what was said since the last call; older bins than `since` are left out.

        Level by level, so that each cell is summed once however many of its parts have changed.
        """
        together: set[tuple[str, int]] = set()
        provinces: dict[tuple[str, str, int], Sum] = {}
        nation: dict[tuple[str, str, int], Sum] = {}
        for operator, regency, number in self._dirty:
            if number < since:
                continue
            before, after = self._leaf(operator, regency, number, together)
            province = provinces.setdefault((operator, regency[:2], number), nothing())
            add(province, _moved(before, after, "regency"))
        for (operator, area, number), change in provinces.items():
            before, after = self._shift(Cell(operator, area), number, change, together)
            add(nation.setdefault((operator, "", number), nothing()), _moved(before, after, "province"))
        for (operator, _, number), change in nation.items():
            self._shift(Cell(operator, ""), number, change, together)
        self._dirty.clear()
        for area, number in together:
            self._together(area, number)

    def _leaf(
        self, operator: str, regency: str, number: int, together: set[tuple[str, int]]
    ) -> tuple[Ratios | None, Ratios]:
        villages: dict[str, Sum] = {}
        for said in self.says[(operator, regency)][number].values():
            village = said.tps[:10]
            ratios = said.ratios()
            if village in villages:
                add(villages[village], ratios)
            else:
                villages[village] = list(ratios)
        districts: dict[str, Sum] = {}
        for village, total in villages.items():
            add(districts.setdefault(village[:6], nothing()), bounded(total, "village"))
        whole = nothing()
        for district, total in districts.items():
            self.children.setdefault(regency, set()).add(district)
            self._put(Cell(operator, district), number, tuple(total), together)
            add(whole, bounded(total, "district"))
        after = tuple(whole)
        return self._put(Cell(operator, regency), number, after, together), after

    def _put(self, cell: Cell, number: int, ratios: Ratios, together: set[tuple[str, int]]) -> Ratios | None:
        bins = self.cells.setdefault(cell, {})
        before = bins.get(number)
        bins[number] = ratios
        self._touch(cell, ratios)
        self._operators.setdefault((cell.area, number), {})[cell.operator] = ratios
        together.add((cell.area, number))
        if cell.area:
            self.children.setdefault(cell.area[:-2], set()).add(cell.area)
        return before

    def _shift(
        self, cell: Cell, number: int, change: Sum, together: set[tuple[str, int]]
    ) -> tuple[Ratios | None, Ratios]:
        before = self.cells.setdefault(cell, {}).get(number)
        if before is not None:
            add(change, before)
        after = tuple(change)
        self._put(cell, number, after, together)
        return before, after

    def _touch(self, cell: Cell, ratios: Ratios) -> None:
        rising = ratios[0] > 0 or ratios[1] > 0 or ratios[2] > 0
        self.touched[cell] = rising or self.touched.get(cell, False)

    def _together(self, area: str, number: int) -> None:
        whole = nothing()
        for part in self._operators[(area, number)].values():
            add(whole, bounded(part, ""))
        place = Cell(EVERY_OPERATOR, area)
        after = tuple(whole)
        self.cells.setdefault(place, {})[number] = after
        self._touch(place, after)

    def bins(self, cell: Cell, first: int, last: int) -> Iterator[tuple[int, Ratios]]:
        """Iterate over a cell's bins from `first` to `last` in order of time."""
        bins = self.cells.get(cell)
        if bins is None:
            return
        if len(bins) > last - first + 1:
            for number in range(first, last + 1):
                ratios = bins.get(number)
                if ratios is not None:
                    yield number, ratios
        else:
            for number in sorted(bins):
                if first <= number <= last:
                    yield number, bins[number]

    def witnesses(self, cell: Cell, first: int, last: int) -> Iterator[tuple[str, str, int, Say]]:
        """Iterate over (operator, witness, bin, what it said) in a cell's bins."""
        for operator, regency in self._leaves(cell):
            bins = self.says[(operator, regency)]
            for number in range(first, last + 1):
                for witness, said in (bins.get(number) or {}).items():
                    if said.tps.startswith(cell.area):
                        yield operator, witness, number, said

    def _leaves(self, cell: Cell) -> Iterator[tuple[str, str]]:
        if len(cell.area) >= 4:
            regencies: Iterable[str] = (cell.area[:4],)
        else:
            regencies = (regency for regency in self._speaking if regency.startswith(cell.area))
        for regency in regencies:
            for operator in self._speaking.get(regency, ()):
                if cell.operator in (EVERY_OPERATOR, operator):
                    yield operator, regency

    def operators(self, areas: Iterable[str], first: int, last: int) -> dict[str, float]:
        """Return the plain evidence of each operator in some areas over the bins; without votes it is missing."""
        found: dict[str, float] = {}
        wanted = set(areas)
        villages = {area for area in wanted if len(area) == 10}
        for area in wanted - villages:
            for number in range(first, last + 1):
                for operator, ratios in (self._operators.get((area, number)) or {}).items():
                    found[operator] = found.get(operator, 0.0) + ratios[-1]
        for district in {village[:6] for village in villages}:
            for village, operator, ratios in self.villages(Cell(EVERY_OPERATOR, district), first, last):
                if village in villages:
                    found[operator] = found.get(operator, 0.0) + ratios[-1]
        return found

    def villages(self, cell: Cell, first: int, last: int) -> Iterator[tuple[str, str, Ratios]]:
        """Iterate over (village, operator, evidence of one vote) in a district; villages are not kept as cells."""
        for operator, _, _, said in self.witnesses(cell, first, last):
            yield said.tps[:10], operator, said.ratios()

    def forget(self, before: int) -> None:
        """Drop bins before `before`."""
        for bins_of_says in self.says.values():
            for number in [number for number in bins_of_says if number < before]:
                del bins_of_says[number]
        for cell in list(self.cells):
            bins = self.cells[cell]
            for number in [number for number in bins if number < before]:
                del bins[number]
            if not bins:
                del self.cells[cell]
        for key in [key for key in self._operators if key[1] < before]:
            del self._operators[key]


def _moved(before: Ratios | None, after: Ratios, unit: str) -> Sum:
    """Return by how much what a unit passes up has changed."""
    change = bounded(after, unit)
    if before is not None:
        old = bounded(before, unit)
        for place in range(len(change)):
            change[place] -= old[place]
    return change
