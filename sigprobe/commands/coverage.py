"""`sigprobe status --coverage`: which TPS of a list have no test, an old, a failed or a good one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sigprobe.commands import lists
from sigprobe.commands.support import sentences, terminal
from sigprobe.commands.support.command_result import CommandError, CommandResult, Dialect, Json, Screen
from sigprobe.words.i18n import ngettext, number

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.lists import Station
    from sigprobe.lists.coverage import Covered


@dataclass(frozen=True, slots=True)
class Coverage(CommandResult):
    """The TPS of the list, each with its newest test."""

    found: Sequence[Covered]
    hours: float
    path: str

    def text(self, screen: Screen) -> str:
        """Return one line a TPS, and the totals."""
        from sigprobe.render.coverage import coverage_text

        return coverage_text(self.found, self.hours, width=screen.width, ascii=screen.ascii, plain=screen.plain)

    def document(self) -> Json:
        """Return the same for programs."""
        from sigprobe.render.coverage import coverage_json

        return coverage_json(self.found, self.hours, self.path)

    def table(self, dialect: Dialect) -> Iterable[str]:
        """Yield one row a TPS."""
        from sigprobe.render.coverage import coverage_csv

        yield coverage_csv(self.found)


def find(buffer: Buffer, file: Path | None, hours: float) -> Coverage:
    """Import a list if one is given, else use the stored one, and compare it with the stored tests."""
    from sigprobe.lists import tps_file, visits
    from sigprobe.lists.coverage import coverage

    stations = _stations(buffer, file)
    newest = visits.newest_by_tps(visits.visits(lists.records(buffer, newest=None)))
    found = coverage(stations, newest, datetime.now(UTC), timedelta(hours=hours))
    return Coverage(found, hours, str(tps_file(buffer.configured_path)))


def _stations(buffer: Buffer, file: Path | None) -> list[Station]:
    from sigprobe.lists import kept_tps, read_tps

    queue = buffer.configured_path
    if file is None:
        stations = lists.kept(queue, kept_tps)
        if not stations:
            raise CommandError(sentences.code_text("list_missing"))
        return stations
    stations = lists.read_file(file, read_tps)
    path = lists.keep(queue, stations)
    taken = ngettext(
        "{n} TPS imported; the list is stored at {path}.",
        "{n} TPS imported; the list is stored at {path}.",
        len(stations),
    )
    terminal.current().say(taken.format(n=number(len(stations)), path=path))
    return stations
