"""`sigprobe collector import`: store results that were carried here in a file, and write receipts for them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import cli_values, collector_database, options, signals, transfer_ui
from sigprobe.commands.support.collector_database import DatabaseOption
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Message, Output, Screen
from sigprobe.commands.support.exit_codes import FAILED, USAGE
from sigprobe.words.i18n import N_, _, ngettext, number

if TYPE_CHECKING:
    from sigprobe.collector.ingest.file_import import Imported


@dataclass(frozen=True, slots=True)
class Carried(CommandResult):
    """Results from a file, now in the database; `receipts` is the file of receipts, if any."""

    done: Imported
    receipts: Path | None
    compact = True
    prose = True

    def _counts(self) -> dict[str, int]:
        return {name: self.done.statuses[name] for name in ("accepted", "duplicate", "rejected", "conflict")}

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield a warning for results that were not accepted, with examples."""
        counts = self._counts()
        bad = counts["rejected"] + counts["conflict"]
        if bad and output.for_people:
            text = ngettext("Warning: {n} result was not accepted:", "Warning: {n} results were not accepted:", bad)
            examples = (f"  {name}: {reason}" for name, reason in self.done.examples)
            yield Message("\n".join([text.format(n=number(bad)), *examples]), error=True)

    def text(self, screen: Screen) -> str:
        """Return how many results are new, how many were known, and where the receipts are."""
        counts = self._counts()
        if not self.done.lines:
            text = _("This file contains no results.")
        elif counts["duplicate"] and not counts["accepted"]:
            text = ngettext(
                "Nothing new: the {n} result of this file is already here.",
                "Nothing new: the {n} results of this file are already here.",
                counts["duplicate"],
            ).format(n=number(counts["duplicate"]))
        else:
            text = self._imported(counts)
        if self.receipts is not None:
            more = _("The receipts are in {file}. On the device the results come from: {command}")
            command = shlex.join(["sigprobe", "import", str(self.receipts)])
            text += "\n" + more.format(file=self.receipts, command=command)
        return text

    def _imported(self, counts: dict[str, int]) -> str:
        text = ngettext(
            "{n} result imported, {known} already known.",
            "{n} results imported, {known} already known.",
            counts["accepted"],
        )
        return text.format(n=number(counts["accepted"]), known=number(counts["duplicate"]))

    def document(self) -> Json:
        """Return the same for programs."""
        return {
            "records": self.done.lines,
            **self._counts(),
            "examples": [{"id": name, "reason": reason} for name, reason in self.done.examples],
            "receipts_file": None if self.receipts is None else str(self.receipts),
        }


def import_file(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help=N_("A file that sigprobe export has written."))
    ],
    receipts: Annotated[
        Path | None,
        typer.Option(
            "--receipts", metavar="OUT", help=N_("Write receipts, to be imported on the device the results come from.")
        ),
    ] = None,
    force: options.ForceOption = False,
    carrier: Annotated[
        str, typer.Option("--carrier", metavar="NAME", help=N_("Name of the carrier; it is stored with each result."))
    ] = "import",
    database: DatabaseOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    """Import results that were carried here in a file."""
    cli_values.require_name(carrier)
    collector_database.require_extra()
    from sqlalchemy.exc import SQLAlchemyError

    from sigprobe.protocol import transfer_file

    try:
        done = _import(database, file, receipts, carrier, force=force)
    except transfer_file.CarryError as error:
        writing = error.code in ("file_exists", "file_full", "file_unwritable") or (
            error.code == "file_directory" and not file.is_dir()
        )
        text = transfer_ui.fault_text(error, receipts if writing and receipts is not None else file)
        raise CommandError(text, exit_code=FAILED if writing else USAGE) from None
    except KeyboardInterrupt as stop:
        text = _("Stopped. Imported results stay here; import {file} again for the rest: nothing is stored twice.")
        raise CommandError(text.format(file=file), exit_code=signals.code_of(stop)) from None
    except SQLAlchemyError as error:
        again = _("Import {file} again when the database works: nothing is stored twice.").format(file=file)
        raise CommandError(again, collector_database.database_text(error), exit_code=FAILED) from None
    return Carried(done, receipts)


def _import(database: str | None, file: Path, receipts: Path | None, carrier: str, *, force: bool) -> Imported:
    """Verify the file, then store it and write the receipts, if any. Raises CarryError and SQLAlchemyError.

    A wrong file must not leave a new, empty database behind, so the database is opened after it.
    """
    import socket

    from sigprobe.collector.ingest import file_import
    from sigprobe.protocol import transfer_file
    from sigprobe.record.result import utc_now

    with transfer_file.opened(file) as opened, ExitStack() as stack:
        verified = file_import.verify(opened)
        engine = collector_database.open_database(database)
        stack.callback(engine.dispose)
        writer = None
        if receipts is not None:
            header = transfer_file.Header(transfer_file.RECEIPTS, transfer_file.VERSION, None, utc_now())
            writer = stack.enter_context(transfer_file.writing(receipts, header, overwrite=force))
        with transfer_ui.Bar(_("Taking in"), verified.count) as bar:
            return file_import.import_results(
                engine,
                opened,
                verified,
                carrier=carrier,
                collector=socket.gethostname(),
                receipts=writer,
                progress=bar.show,
            )
