"""`sigprobe collector retention`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import typer

from sigprobe.commands.support import options
from sigprobe.commands.support.collector_database import DatabaseOption, using_database
from sigprobe.commands.support.command_result import CommandResult, Json, Screen
from sigprobe.words.i18n import N_, _, ngettext, number

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Retention(CommandResult):
    """How long sums are kept, and how many of their rows are due."""

    days: int
    dropped_before_s: int
    due: int
    dry_run: bool
    compact = True
    prose = True

    def text(self, screen: Screen) -> str:
        """Return how long what is kept, and what the worker drops next."""
        from datetime import UTC, datetime

        from sigprobe.record.result import format_time

        kept = ngettext(
            "Sums of five minutes are kept for {n} day; hourly sums and results stay.",
            "Sums of five minutes are kept for {n} days; hourly sums and results stay.",
            self.days,
        ).format(n=number(self.days))
        lines = [kept]
        if self.dropped_before_s:
            since = format_time(datetime.fromtimestamp(self.dropped_before_s, UTC))
            lines.append(_("Those from before {time} have been dropped.").format(time=since))
        text = (
            ngettext("{n} row would be dropped now.", "{n} rows would be dropped now.", self.due)
            if self.dry_run
            else ngettext("The worker drops {n} row next.", "The worker drops {n} rows next.", self.due)
        )
        return "\n".join([*lines, text.format(n=number(self.due))])

    def document(self) -> Json:
        """Return the same for programs."""
        return {
            "five_minutes_days": self.days,
            "dropped_before_s": self.dropped_before_s,
            "due_rows": self.due,
            "dry_run": self.dry_run,
        }


def retention(
    *,
    five_minutes: Annotated[
        int | None,
        typer.Option(metavar="DAYS", min=1, max=3650, help=N_("Keep sums of five minutes for so many days.")),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=N_("Only say what would be dropped."))] = False,
    database: DatabaseOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    """Show or set how long five-minute sums are kept; the worker drops older ones.

    Hourly sums and the results themselves are never dropped.
    """
    with using_database(database) as engine:
        from sigprobe.collector.rollups import retention as stored
        from sigprobe.collector.rollups.sums import FIVE_MINUTES

        with engine.execution_options(write=True).connect() as connection, connection.begin() as transaction:
            if five_minutes is not None:
                stored.keep(connection, FIVE_MINUTES, five_minutes * _DAY_S)
            (kept,) = (one for one in stored.read(connection) if one.width_s == FIVE_MINUTES)
            due = stored.count_due(connection)
            if dry_run:
                transaction.rollback()
        return Retention(kept.keep_s // _DAY_S, kept.dropped_before_s, due, dry_run)
