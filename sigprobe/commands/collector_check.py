"""`sigprobe collector check` and `sigprobe collector erase`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import options
from sigprobe.commands.support.collector_database import DatabaseOption, using_database
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Message, Output, Screen
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.commands.support.transfer_ui import Bar
from sigprobe.words.i18n import N_, _, ngettext, number

if TYPE_CHECKING:
    from sigprobe.collector.worker.recount import Recount


@dataclass(frozen=True, slots=True)
class Checked(CommandResult):
    """The sums compared with a fresh count of the results."""

    found: Recount
    waiting: int
    compact = True
    prose = True

    @property
    def exit_code(self) -> int:
        """Return 1 when something differs."""
        return FAILED if self.found.different else 0

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield the differences, with examples."""
        if self.found.different and output.for_people:
            text = ngettext("{n} sum differs:", "{n} sums differ:", self.found.different)
            examples = (f"  {line}" for line in self.found.examples)
            yield Message("\n".join([text.format(n=number(self.found.different)), *examples]), error=True)

    def text(self, screen: Screen) -> str:
        """Return how much was counted."""
        text = _("{rows} results counted, {entries} sums compared, {different} differ.").format(
            rows=number(self.found.rows), entries=number(self.found.entries), different=number(self.found.different)
        )
        if self.waiting:
            waiting = ngettext(
                "{n} batch is not in the sums yet.", "{n} batches are not in the sums yet.", self.waiting
            )
            text += "\n" + waiting.format(n=number(self.waiting))
        return text

    def document(self) -> Json:
        """Return the same for programs."""
        return {
            "results": self.found.rows,
            "sums": self.found.entries,
            "different": self.found.different,
            "examples": list(self.found.examples),
            "batches_waiting": self.waiting,
        }


@dataclass(frozen=True, slots=True)
class Erased(CommandResult):
    """Records of a probe that are gone."""

    records: int
    compact = True
    prose = True

    def text(self, screen: Screen) -> str:
        """Return how many results were erased."""
        return ngettext("{n} result erased.", "{n} results erased.", self.records).format(n=number(self.records))

    def document(self) -> Json:
        """Return the same for programs."""
        return {"results": self.records}


def check(
    *,
    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help=N_("Check only so many TPS or sites, drawn at random.")),
    ] = None,
    database: DatabaseOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    """Count the sums anew from the stored results and report each difference."""
    with using_database(database) as engine:
        from sigprobe.collector.worker import recount

        waiting = recount.behind(engine)
        if sample is not None:
            return Checked(recount.check_sample(engine, sample), waiting)
        with Bar(_("Counting"), recount.count(engine)) as bar:
            return Checked(recount.check_whole(engine, bar.show), waiting)


def erase(
    probe: Annotated[str, typer.Argument(metavar="PROBE_ID", show_default=False, help=N_("The id of the device."))],
    database: DatabaseOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    """Erase all results of one device, and take them out of the sums."""
    try:
        name = str(uuid.UUID(probe))
    except ValueError:
        raise CommandError(_("{id} is not the id of a device.").format(id=probe)) from None
    with using_database(database, _("Erase again when it works: what is gone stays gone.")) as engine:
        from sigprobe.collector.worker.erasing import erase_probe

        return Erased(erase_probe(engine, name))
