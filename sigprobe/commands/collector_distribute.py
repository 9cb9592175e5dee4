"""`sigprobe collector database distribute`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sigprobe.commands.support import options, sentences
from sigprobe.commands.support.collector_database import DatabaseOption, database_url, open_database
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Screen
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.commands.support.transfer_ui import Bar
from sigprobe.commands.support.typer_shell import Command
from sigprobe.words.i18n import N_, _, number

if TYPE_CHECKING:
    from sigprobe.collector.store.distribution import Distributed as Done

_NO_POSTGRESQL: Final = N_("Only PostgreSQL with the extension Citus can be spread over several machines.")

app = typer.Typer(
    help=N_("Change how the database is laid out."),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@dataclass(frozen=True, slots=True)
class Distributed(CommandResult):
    """Tables that lie on several machines."""

    done: Done
    compact = True

    def text(self, screen: Screen) -> str:
        """Return what was spread over how many machines."""
        values = {"machines": number(self.done.machines), "shards": number(self.done.shards)}
        if not self.done.new:
            text = _("All large tables were spread before: {machines} machines, {shards} shards.")
        else:
            text = _("Spread over {machines} machines, {shards} shards: {tables}.")
        return text.format(tables=", ".join(self.done.new), **values)

    def document(self) -> Json:
        """Return the same for programs."""
        return {
            "new": list(self.done.new),
            "before": list(self.done.before),
            "machines": self.done.machines,
            "shards": self.done.shards,
            "citus": self.done.version,
        }


@app.command("distribute", cls=Command)
def distribute(
    *,
    shards: Annotated[
        int, typer.Option(min=1, max=1024, help=N_("Parts of each table; a few for each core of all machines."))
    ] = 32,
    database: DatabaseOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    """Spread the large tables over several machines with Citus."""
    url = database_url(database)
    if url.startswith("sqlite:"):
        raise CommandError(_(_NO_POSTGRESQL), exit_code=FAILED)
    engine = open_database(url)
    from sigprobe.collector.store import distribution
    from sigprobe.record.messages import MessageError

    try:
        with Bar(_("Spreading"), len(distribution.TABLES)) as bar:
            return Distributed(distribution.distribute(engine, shards, bar.show_of))
    except distribution.DistributionError as error:
        texts = {
            "no_postgresql": _NO_POSTGRESQL,
            "no_citus": N_(
                "This database lacks the extension Citus. Create it on all machines: CREATE EXTENSION citus"
            ),
            "no_machines": N_("Citus knows no machine yet. Add each one: SELECT citus_add_node('HOST', 5432)"),
            "backfill": N_("The worker is not done with results of an earlier version yet. Try again when it is."),
            "failed": N_("The tables were not spread: {detail}."),
        }
        told = MessageError(texts[error.code], detail=error.detail)
        raise CommandError(sentences.message_text(told, error.technical), exit_code=FAILED) from None
    finally:
        engine.dispose()
