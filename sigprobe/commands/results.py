"""`sigprobe results`: the records that are stored on this device."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import opening, options
from sigprobe.commands.support.command_result import CommandError, CommandResult, Dialect, Json, Screen
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.buffer import Row, State
    from sigprobe.config import Loaded


@dataclass(frozen=True, slots=True)
class Stored(CommandResult):
    """The stored records of some states. They are read while they are printed, so that memory stays flat."""

    loaded: Loaded
    states: Sequence[State]

    def text(self, screen: Screen) -> str:
        """Return the last records as a table."""
        from sigprobe import places
        from sigprobe.render.status import LAST, ListedResult, results_text

        with opening.open_to_read(self.loaded) as buffer:
            rows = list(buffer.rows(*self.states, newest=LAST))
        return results_text(
            [ListedResult(json.loads(row.line), row.state.name.lower(), row.own) for row in rows],
            chosen=bool(self.states),
            zone=places.zone(self.loaded.config.probe.tps_id),
            width=screen.width,
            ascii=screen.ascii,
            plain=screen.plain,
        )

    def json(self) -> Iterable[str]:
        """Yield a list of all records with their state in the queue."""
        between = "["
        for row in self._rows():
            yield f"{between}{json.dumps(_with_state(row), ensure_ascii=True)}"
            between = "\n,"
        yield "\n]" if between != "[" else "[]"

    def lines(self) -> Iterable[str]:
        """Return the stored lines, unchanged."""
        return (row.line.decode() for row in self._rows())

    def table(self, dialect: Dialect) -> Iterable[str]:
        """Return one row a record."""
        from sigprobe.render import machine

        return machine.csv_rows((row.line for row in self._rows()), dialect)

    def _rows(self) -> Iterator[Row]:
        with opening.open_to_read(self.loaded) as buffer:
            yield from buffer.rows(*self.states)


def results(
    *,
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    ndjson: Annotated[bool, typer.Option("--ndjson", help=N_("Print the stored lines unchanged."))] = False,
    csv: options.CsvOption = False,
    csv_dialect: options.DialectOption = "plain",
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", metavar="STATE", help=N_("Only this state: pending, acked, rejected, carried or damaged.")
        ),
    ] = None,
) -> CommandResult:
    from sigprobe.buffer import State

    loaded = opening.settings(config)
    known = {s.name.lower(): s for s in State}
    wrong = next((word for word in state or [] if word.lower() not in known), None)
    if wrong is not None:
        raise CommandError(_("--state {word}: choose from {names}").format(word=wrong, names=", ".join(known)))
    return Stored(loaded, [known[word.lower()] for word in state or []])


def _with_state(row: Row) -> Json:
    return {
        "state": row.state.name.lower(),
        "stored_at": row.put_at,
        "settled_at": row.at,
        "collector": row.collector,
        "reason": row.reason,
        "own": row.own,
        "result": json.loads(row.line),
    }
