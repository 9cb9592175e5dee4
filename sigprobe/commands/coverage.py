"""`sigprobe status --coverage`: which of one's own TPS have no test, an old one, one that failed, or a good one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sigprobe.commands import lists
from sigprobe.commands.support import common, terminal
from sigprobe.words.i18n import ngettext, number

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.lists import Station


def show(buffer: Buffer, file: Path | None, hours: float, *, as_json: bool, as_csv: bool) -> None:
    """Take a list in when one is given, else use the one that is kept, and print the coverage."""
    from sigprobe.lists import tps_file, visits
    from sigprobe.lists.coverage import coverage
    from sigprobe.render.coverage import coverage_csv, coverage_json, coverage_text

    out = terminal.current()
    stations = _stations(buffer, file)
    newest = visits.newest_by_tps(visits.visits(lists.records(buffer, newest=None)))
    found = coverage(stations, newest, datetime.now(UTC), timedelta(hours=hours))
    if as_json:
        document = coverage_json(found, hours, str(tps_file(buffer.configured_path)))
        out.result(json.dumps(document, ensure_ascii=True, indent=2))
    elif as_csv:
        out.result(coverage_csv(found))
    else:
        out.show(coverage_text(found, hours, ascii=out.ascii, plain=out.plain))


def _stations(buffer: Buffer, file: Path | None) -> list[Station]:
    from sigprobe.lists import kept_tps, read_tps

    queue = buffer.configured_path
    if file is None:
        stations = lists.kept(queue, kept_tps)
        if not stations:
            common.say_code("list_missing", command="sigprobe status --coverage --list tps.csv")
            raise typer.Exit(common.USAGE)
        return stations
    stations = lists.read_file(file, read_tps)
    path = lists.keep(queue, stations)
    taken = ngettext("{n} TPS taken in; the list is kept at {path}.", "{n} TPS taken in; the list is kept at {path}.",
                     len(stations))  # fmt: skip
    terminal.current().say(taken.format(n=number(len(stations)), path=path))
    return stations
