"""`sigprobe nearest`: the nearest points with a signal, from stored tests and lists. Needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sigprobe.commands import lists
from sigprobe.commands.support import opening, options, terminal
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Screen
from sigprobe.words.i18n import N_, _, ngettext, number

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.config import Loaded
    from sigprobe.lists.visits import Visit
    from sigprobe.places.geometry import Near, Point
    from sigprobe.render.nearest import Standpoint
    from sigprobe.runs.session import RunReport

SUGGESTED_WITHIN_M: Final = 50_000.0
"""A test suggests no signal further away: nobody carries results there and back."""
SAME_TPS_WITHIN_M: Final = 1_000.0
"""A test of the same TPS from further away was not made at that TPS."""
BLANK: Final = frozenset(
    {"no_network", "no_signal", "no_internet", "weak_signal", "modem_no_data", "dead_after_hop", "no_way_beyond"}
)
"""The verdict causes under which it helps to know where there is a signal."""


@dataclass(frozen=True, slots=True)
class Nearest(CommandResult):
    """The nearest points, and the position they were ranked from; None after an import without a position."""

    here: Standpoint | None
    found: Sequence[Near]
    now: datetime

    def text(self, screen: Screen) -> str:
        """Return one entry a point, the nearest first."""
        from sigprobe.render.nearest import nearest_text

        if self.here is None:
            return ""
        return nearest_text(self.here, self.found, self.now, width=screen.width, ascii=screen.ascii, plain=screen.plain)

    def document(self) -> Json:
        """Return the same for programs."""
        from sigprobe.render.nearest import nearest_json

        if self.here is None:
            return {"position": None, "points": []}
        return nearest_json(self.here, self.found, self.now)


def nearest(
    *,
    config: options.ConfigOption = None,
    lat: options.LatOption = None,
    lon: options.LonOption = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help=N_("How many points."))] = 5,
    take_in: Annotated[
        list[Path] | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help=N_("Import points (CSV, GeoJSON) and replace the stored ones; may be repeated."),
        ),
    ] = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    loaded = opening.settings(config)
    given = options.position(lat, lon)
    with opening.open_to_read(loaded) as buffer:
        if take_in:
            _import(buffer, take_in)
        here = _standpoint(loaded, buffer, given)
        if here is None:
            if take_in:
                return Nearest(None, (), datetime.now(UTC))
            command = "sigprobe nearest --lat -6.9 --lon 107.6"
            raise CommandError(_("No position is known yet. Give it: {command}").format(command=command))
        return Nearest(here, _ranked(buffer, here.lat, here.lon, limit), datetime.now(UTC))


def after_blank_spot(loaded: Loaded, buffer: Buffer, report: RunReport) -> str | None:
    """Return the sentence about the nearest known signal after a blank spot; None when none is known."""
    from sigprobe.lists import visits
    from sigprobe.render.nearest import nearest_sentence

    if report.verdict.cause not in BLANK:
        return None
    place = report.run.result.tags.location
    here = None if place is None else visits.position(_plain(place.lat, place.lon, place.quality_reasons))
    if here is None:
        known = _standpoint(loaded, buffer, None)
        here = None if known is None else (known.lat, known.lon)
    tps_id = report.run.result.tags.tps_id
    own = f"TPS {tps_id}"
    found = [] if here is None else _ranked(buffer, *here, None)
    bound = {own: SAME_TPS_WITHIN_M}
    worth = [n for n in found if n.distance_m <= bound.get(n.point.name or "", SUGGESTED_WITHIN_M)]
    return nearest_sentence(worth[0], datetime.now(UTC)) if worth else None


def _plain(lat: float, lon: float, reasons: tuple[str, ...]) -> dict[str, object]:
    return {"lat": lat, "lon": lon, "quality_reasons": list(reasons)}


def _import(buffer: Buffer, files: list[Path]) -> None:
    from sigprobe.lists import read_points

    points = list(dict.fromkeys(point for file in files for point in lists.read_file(file, read_points)))
    path = lists.keep(buffer.configured_path, points)
    taken = ngettext(
        "{n} point imported; it is stored at {path}.", "{n} points imported; they are stored at {path}.", len(points)
    )
    terminal.current().say(taken.format(n=number(len(points)), path=path))


def _standpoint(loaded: Loaded, buffer: Buffer, given: tuple[float, float] | None) -> Standpoint | None:
    """Return the position to rank from: given, newest stored, the TPS's own in the list, or from the settings."""
    from sigprobe.lists import kept_tps, visits
    from sigprobe.render.nearest import Standpoint

    if given is not None:
        return Standpoint(*given, "manual")
    newest = visits.newest_position(lists.records(buffer, own=True))
    if newest is not None:
        return Standpoint(*newest[0], "history", newest[1])
    for station in lists.kept(buffer.configured_path, kept_tps):
        if station.tps_id == loaded.config.probe.tps_id and station.lat is not None and station.lon is not None:
            return Standpoint(station.lat, station.lon, "list")
    fixed = loaded.config.location.fixed
    return None if fixed is None else Standpoint(fixed.lat, fixed.lon, "fixed")


def _ranked(buffer: Buffer, lat: float, lon: float, limit: int | None) -> list[Near]:
    from sigprobe.lists import kept_points, visits
    from sigprobe.places import geometry

    tested = ((point, visit.connected) for visit in visits.visits(lists.records(buffer)) for point in _point(visit))
    listed = lists.kept(buffer.configured_path, kept_points)
    return geometry.rank(lat, lon, geometry.merged(tested, listed), limit)


def _point(visit: Visit) -> list[Point]:
    from sigprobe.places.geometry import Point

    if visit.position is None:
        return []
    return [
        Point(
            *visit.position,
            origin="history",
            name=None if visit.tps_id is None else f"TPS {visit.tps_id}",
            operator=visit.operator,
            rat=visit.rat,
            quality="good" if visit.healthy else "poor",
            at=visit.at,
            carried=not visit.own,
        )
    ]
