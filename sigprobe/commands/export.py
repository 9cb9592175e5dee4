"""`sigprobe export`: write pending results to a file, or receipts for results carried for others."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import opening, options, transfer_ui
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Message, Output, Screen
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.commands.support.signals import code_of
from sigprobe.words.i18n import N_, _, ngettext, number, size

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.upload.offline import Exported


@dataclass(frozen=True, slots=True)
class Written(CommandResult):
    """What was written: results, receipts, or both."""

    file: Path | None
    results: Exported | None
    receipts_file: Path | None
    receipts: Exported | None
    compact = True
    prose = True

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield a warning for results that were left out."""
        if self.results is not None and self.results.damaged:
            text = ngettext(
                "Warning: {n} damaged result was left out.",
                "Warning: {n} damaged results were left out.",
                self.results.damaged,
            )
            yield Message(text.format(n=number(self.results.damaged)), error=True)

    def text(self, screen: Screen) -> str:
        """Return how many results and receipts are in which file."""
        lines: list[str] = []
        done = self.results
        if done is not None and not done.records:
            lines.append(_("No results are waiting. {file} was written and is empty.").format(file=self.file))
        elif done is not None:
            text = ngettext("{n} result is in {file} ({size}).", "{n} results are in {file} ({size}).", done.records)
            lines.append(text.format(n=number(done.records), file=self.file, size=size(done.file_bytes)))
            lines.append(_("They also stay in the queue of this device until the collector has them."))
        if self.receipts is not None:
            count = self.receipts.records
            text = ngettext("{n} receipt is in {file}.", "{n} receipts are in {file}.", count)
            lines.append(text.format(n=number(count), file=self.receipts_file))
            if not count:
                lines.append(_("No result of another device has been sent from here yet."))
        return "\n".join(lines)

    def hints(self, screen: Screen) -> Iterable[Message]:
        """Yield the command for the other device."""
        if self.results is not None and self.results.records:
            yield Message(_("Next, on another laptop: sigprobe import {file}").format(file=shlex.quote(str(self.file))))
        if self.receipts is not None and self.receipts.records:
            text = _("Next, on the device they come from: sigprobe import {file}")
            yield Message(text.format(file=shlex.quote(str(self.receipts_file))))

    def document(self) -> Json:
        """Return the same for programs."""
        done, given = self.results, self.receipts
        return {
            "file": None if self.file is None else str(self.file),
            "records": None if done is None else done.records,
            "damaged": None if done is None else done.damaged,
            "file_bytes": None if done is None else done.file_bytes,
            "receipts_file": None if self.receipts_file is None else str(self.receipts_file),
            "receipts": None if given is None else given.records,
        }


def export(
    *,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", show_default=False, help=N_("The file to write the results to."))
    ] = None,
    receipts: Annotated[
        Path | None,
        typer.Option("--receipts", metavar="OUT", help=N_("Write receipts for results carried for other devices.")),
    ] = None,
    force: options.ForceOption = False,
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    if file is None and receipts is None:
        raise CommandError(_("Give the file to write, for example: sigprobe export results.ndjson.gz"))
    loaded = opening.settings(config)
    with opening.open_to_read(loaded) as buffer:
        done = None if file is None else _write_results(buffer, file, force=force)
        given = None if receipts is None else _write_receipts(buffer, receipts, force=force)
    return Written(file, done, receipts, given)


def _write_results(buffer: Buffer, path: Path, *, force: bool) -> Exported:
    from sigprobe.upload import offline

    try:
        with transfer_ui.Bar(_("Writing"), buffer.pending()) as bar:
            return offline.export_results(buffer, path, overwrite=force, progress=bar.show)
    except offline.CarryError as error:
        raise CommandError(transfer_ui.fault_text(error, path), exit_code=FAILED) from None
    except KeyboardInterrupt as stop:
        raise _stopped(path, stop) from None


def _write_receipts(buffer: Buffer, path: Path, *, force: bool) -> Exported:
    from sigprobe.upload import offline

    try:
        return offline.export_receipts(buffer, path, overwrite=force)
    except offline.CarryError as error:
        raise CommandError(transfer_ui.fault_text(error, path), exit_code=FAILED) from None
    except KeyboardInterrupt as stop:
        raise _stopped(path, stop) from None


def _stopped(path: Path, stop: KeyboardInterrupt) -> CommandError:
    """Return the error after a signal: the file is written as a whole or not at all."""
    text = _("Stopped. {file} was not written; the results are still in the queue of this device.")
    return CommandError(text.format(file=path), exit_code=code_of(stop))
