"""`sigprobe nearest`: the nearest points with a signal, from one's own tests and from lists. Needs no network."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sigprobe.commands import lists
from sigprobe.commands.support import common, terminal
from sigprobe.words.i18n import N_, _, ngettext, number

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.config import Loaded
    from sigprobe.lists.visits import Visit
    from sigprobe.places.geometry import Near, Point
    from sigprobe.render.nearest import Standpoint
    from sigprobe.runs.session import RunReport

BLANK: Final = frozenset(
    {"no_network", "no_signal", "no_internet", "weak_signal", "modem_no_data", "dead_after_hop", "no_way_beyond"}
)
"""The verdict causes under which it helps to know where there is a signal."""


def nearest(
    *,
    config: common.ConfigOption = None,
    lat: Annotated[float | None, typer.Option("--lat", help=N_("Latitude, for example -6.91474."))] = None,
    lon: Annotated[float | None, typer.Option("--lon", help=N_("Longitude, for example 107.60981."))] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help=N_("How many points."))] = 5,
    take_in: Annotated[
        list[Path] | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help=N_("Take in points (CSV, GeoJSON) in place of those kept; repeatable."),
        ),
    ] = None,
    as_json: common.JsonOption = False,
) -> None:
    loaded = common.settings(config)
    if (lat is None) != (lon is None):
        _usage(_("--lat and --lon belong together."))
    if lat is not None and lon is not None and not (-90 <= lat <= 90 and -180 <= lon <= 180):
        _usage(_("--lat takes -90 to 90, --lon -180 to 180, in degrees."))
    with common.open_buffer(loaded) as buffer:
        if take_in:
            _take_in(buffer, take_in)
        here = _standpoint(loaded, buffer, None if lat is None or lon is None else (lat, lon))
        if here is None:
            if take_in:
                return
            _usage(
                _("No position is known yet. Give it: {command}").format(
                    command="sigprobe nearest --lat -6.9 --lon 107.6"
                )
            )
            return
        found = _ranked(buffer, here.lat, here.lon, limit)
    from sigprobe.render.nearest import nearest_json, nearest_text

    out, now = terminal.current(), datetime.now(UTC)
    if as_json:
        out.result(json.dumps(nearest_json(here, found, now), ensure_ascii=True, indent=2))
    else:
        out.show(nearest_text(here, found, now, ascii=out.ascii, plain=out.plain))


def after_blank_spot(loaded: Loaded, buffer: Buffer, report: RunReport) -> str | None:
    """The sentence that ends the verdict of a blank spot: the nearest known signal; None when none is known."""
    from sigprobe.lists import visits
    from sigprobe.render.nearest import nearest_sentence

    if report.verdict.cause not in BLANK:
        return None
    place = report.run.result.tags.location
    here = None if place is None else visits.position(_plain(place.lat, place.lon, place.quality_reasons))
    if here is None:
        known = _standpoint(loaded, buffer, None)
        here = None if known is None else (known.lat, known.lon)
    found = [] if here is None else _ranked(buffer, *here, 1)
    return nearest_sentence(found[0], datetime.now(UTC)) if found else None


def _plain(lat: float, lon: float, reasons: tuple[str, ...]) -> dict[str, object]:
    return {"lat": lat, "lon": lon, "quality_reasons": list(reasons)}


def _usage(text: str) -> None:
    terminal.current().error(text)
    raise typer.Exit(common.USAGE)


def _take_in(buffer: Buffer, files: list[Path]) -> None:
    from sigprobe.lists import read_points

    points = list(dict.fromkeys(point for file in files for point in lists.read_file(file, read_points)))
    path = lists.keep(buffer.configured_path, points)
    taken = ngettext("{n} point taken in; it is kept at {path}.", "{n} points taken in; they are kept at {path}.",
                     len(points))  # fmt: skip
    terminal.current().say(taken.format(n=number(len(points)), path=path))


def _standpoint(loaded: Loaded, buffer: Buffer, given: tuple[float, float] | None) -> Standpoint | None:
    """Where one stands: as given, the last position kept, the TPS's own in the list, the one in the settings."""
    from sigprobe.lists import kept_tps, visits
    from sigprobe.render.nearest import Standpoint

    if given is not None:
        return Standpoint(*given, "manual")
    newest = visits.newest_position(lists.records(buffer))
    if newest is not None:
        return Standpoint(*newest[0], "history", newest[1])
    for station in lists.kept(buffer.configured_path, kept_tps):
        if station.tps_id == loaded.config.probe.tps_id and station.lat is not None and station.lon is not None:
            return Standpoint(station.lat, station.lon, "list")
    fixed = loaded.config.location.fixed
    return None if fixed is None else Standpoint(fixed.lat, fixed.lon, "fixed")


def _ranked(buffer: Buffer, lat: float, lon: float, limit: int) -> list[Near]:
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
        )
    ]
