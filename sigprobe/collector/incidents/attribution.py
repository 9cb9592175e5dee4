"""Name the unit that explains what fails, and only what the evidence beside it leaves no other reading for.

Upwards: the highest area whose parts fail and of which hardly any part works. Sideways: an operator is named only
where the others are seen to work in the very parts that fail; where they fail, too, it is the place; where none was
heard, it stays uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sigprobe.collector.incidents.evidence import Rise
from sigprobe.collector.incidents.series import EVERY_OPERATOR, Cell
from sigprobe.collector.incidents.view import View, Witnessed

Kind = Literal["operator", "place", "service", "collector", "uncertain"]

INDEPENDENT: Final = 3
"""Stations, tokens and devices that must agree, each of them this many."""
_FAILS: Final = 2.0
_WORKS: Final = -2.0
_PART_OF_PROVINCE_FAILS: Final = 4.0
_PART_WORKS: Final = -3.0
_WITHOUT_THE_WORST: Final = 8.0
_PLACE_FAILS: Final = 4.0
_OTHERS_WORK: Final = -3.0
_OTHERS_WORK_AROUND: Final = -6.0
_MOST_WORKING: Final = 0.15
_LEAST_FAILING_PARTS: Final = 2
_LEAST_FAILING_VILLAGES: Final = 3
_MOST_WORKING_VILLAGES: Final = 0.4


@dataclass(frozen=True, slots=True)
class Unit:
    """A cell that fails as a whole, with the rise of its evidence and its witnesses."""

    cell: Cell
    rise: Rise
    witnessed: Witnessed
    parts_failing: tuple[str, ...]
    parts_working: tuple[str, ...]

    @property
    def since(self) -> int:
        """The bin where it began."""
        assert self.rise.since is not None
        return self.rise.since


def units(view: View, standing: Mapping[Cell, Rise]) -> list[Unit]:
    """Return the highest units that explain the standing cells, each operator (and "*") for itself."""
    chosen: list[Unit] = []
    for cell, rise in sorted(standing.items(), key=lambda item: (len(item[0].area), item[0])):
        if any(unit.cell.operator == cell.operator and cell.area.startswith(unit.cell.area) for unit in chosen):
            continue
        unit = whole(view, cell, rise)
        if unit is not None:
            chosen.append(unit)
    return chosen


def whole(view: View, cell: Cell, rise: Rise) -> Unit | None:
    """Return the unit if the cell fails as a whole, with enough independent witnesses; else None."""
    if rise.since is None:
        return None
    parts = view.parts(cell, rise.since, rise.share)
    fails = _FAILS if len(cell.area) >= 4 else _PART_OF_PROVINCE_FAILS
    failing = tuple(sorted(area for area, (plain, _) in parts.items() if plain >= fails))
    working = tuple(sorted(area for area, (_, fitted) in parts.items() if fitted <= _PART_WORKS))
    least = _LEAST_FAILING_VILLAGES if len(cell.area) == 6 else _LEAST_FAILING_PARTS
    if len(failing) < least or len(working) > _most_working(cell) * (len(failing) + len(working)):
        return None
    if len(cell.area) < 4:
        known = sorted(parts[area][0] for area in failing)
        if sum(known[:-1]) < _WITHOUT_THE_WORST:
            # one part alone made it rise
            return None
    witnessed = view.count_failing(cell, rise.since)
    if witnessed.independent < INDEPENDENT:
        return None
    return Unit(cell, rise, witnessed, failing, working)


def _most_working(cell: Cell) -> float:
    # a village has few stations, and the luck of two of them is no sign against a district
    return _MOST_WORKING_VILLAGES if len(cell.area) == 6 else _MOST_WORKING


def is_place(operators: Mapping[str, float]) -> bool:
    """Tell whether every operator that was heard in an area fails there, and at least two were heard."""
    failing = sum(plain >= _PLACE_FAILS for plain in operators.values())
    working = sum(plain <= _WORKS for plain in operators.values())
    return failing >= 2 and working == 0


def who(unit: Unit, there: Mapping[str, float], around: Mapping[str, float]) -> Kind:
    """Tell the owner of a unit of one operator from the plain evidence of the others.

    `there` holds them in the parts that fail, `around` in the whole area. The latter counts only where no part works:
    others who work elsewhere say nothing of a village without power.
    """
    mine = unit.cell.operator
    beside = {operator: plain for operator, plain in there.items() if operator not in (mine, EVERY_OPERATOR)}
    if any(plain >= _FAILS for plain in beside.values()):
        return "uncertain"
    if sum(beside.values()) <= _OTHERS_WORK:
        return "operator"
    wide = {operator: plain for operator, plain in around.items() if operator not in (mine, EVERY_OPERATOR)}
    if len(unit.cell.area) <= 4 and not unit.parts_working and all(plain < _FAILS for plain in wide.values()):
        return "operator" if sum(wide.values()) <= _OTHERS_WORK_AROUND else "uncertain"
    return "uncertain"
