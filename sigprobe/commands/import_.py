"""`sigprobe import`: import the results of another device, or receipts for the results of this one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from sigprobe.commands.support import opening, options, sentences, transfer_ui
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Message, Output, Screen
from sigprobe.commands.support.exit_codes import NOT_SAVED
from sigprobe.commands.support.signals import code_of
from sigprobe.words.i18n import N_, _, ngettext, number

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.protocol.transfer_file import Verified
    from sigprobe.upload.offline import Receipted, TakenIn


@dataclass(frozen=True, slots=True)
class ImportedResults(CommandResult):
    """Results of another device, now in this queue."""

    done: TakenIn
    probe_id: str | None
    pending: int
    has_collector: bool = True
    compact = True
    prose = True

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield a warning for each kind of result that was not imported, with examples."""
        if not output.for_people:
            return
        done = self.done
        if done.conflicting:
            text = ngettext(
                "Warning: {n} result is already here with different content; the stored one is kept.",
                "Warning: {n} results are already here with different content; the stored ones are kept.",
                done.conflicting,
            )
            yield Message(text.format(n=number(done.conflicting)), error=True)
        if done.refused:
            text = ngettext(
                "Warning: {n} result was left out because no collector would accept it.",
                "Warning: {n} results were left out because no collector would accept them.",
                done.refused,
            )
            yield Message(text.format(n=number(done.refused)), error=True)
        for name, reason in done.examples:
            yield Message(f"  {name}: {reason}", error=True)

    def text(self, screen: Screen) -> str:
        """Return how many results are new and how many were already there."""
        if not self.done.records:
            return _("This file contains no results.")
        if self.done.known and not self.done.new:
            text = ngettext(
                "Nothing new: the {n} result of this file is already here.",
                "Nothing new: the {n} results of this file are already here.",
                self.done.known,
            )
            return text.format(n=number(self.done.known))
        text = ngettext(
            "{n} result imported, {known} already known.", "{n} results imported, {known} already known.", self.done.new
        )
        return text.format(n=number(self.done.new), known=number(self.done.known))

    def hints(self, screen: Screen) -> Iterable[Message]:
        """Yield the next command."""
        if self.done.new:
            command = "sigprobe upload" if self.has_collector else "sigprobe explain SP-SYN-07"
            yield Message(_("Next: {command}").format(command=command))

    def document(self) -> Json:
        """Return the same for programs."""
        done = self.done
        return {
            "kind": "results",
            "probe_id": self.probe_id,
            "records": done.records,
            "new": done.new,
            "known": done.known,
            "conflicting": done.conflicting,
            "refused": done.refused,
            "examples": [{"id": name, "reason": reason} for name, reason in done.examples],
            "pending": self.pending,
        }


@dataclass(frozen=True, slots=True)
class ImportedReceipts(CommandResult):
    """Receipts for results of this device."""

    done: Receipted
    pending: int
    compact = True
    prose = True

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield a message for receipts without effect."""
        if not output.for_people:
            return
        unfit = self.done.unknown + self.done.other_bytes
        if unfit:
            text = ngettext(
                "{n} receipt matches no result of this device and was ignored.",
                "{n} receipts match no result of this device and were ignored.",
                unfit,
            )
            yield Message(text.format(n=number(unfit)), error=True)
        if self.done.not_taken:
            text = ngettext(
                "{n} result was not accepted by the collector and is unchanged here.",
                "{n} results were not accepted by the collector and are unchanged here.",
                self.done.not_taken,
            )
            yield Message(text.format(n=number(self.done.not_taken)), error=True)

    def text(self, screen: Screen) -> str:
        """Return how many results the collector has."""
        done = self.done
        if not done.receipts:
            return _("This file contains no receipts.")
        if not done.carried and done.known:
            text = ngettext(
                "Nothing new: the receipt of this file for {n} result was already imported.",
                "Nothing new: the receipts of this file for {n} results were already imported.",
                done.known,
            )
            return text.format(n=number(done.known))
        if not done.carried:
            return _("This file confirms no result of this device.")
        text = ngettext(
            "According to this file the collector already has {n} result; it stays on this device but will not be "
            "sent again.",
            "According to this file the collector already has {n} results; they stay on this device but will not be "
            "sent again.",
            done.carried,
        )
        lines = [text.format(n=number(done.carried))]
        if done.known:
            text = ngettext("{n} had already been confirmed.", "{n} had already been confirmed.", done.known)
            lines.append(text.format(n=number(done.known)))
        return "\n".join(lines)

    def document(self) -> Json:
        """Return the same for programs."""
        done = self.done
        return {
            "kind": "receipts",
            "receipts": done.receipts,
            "carried": done.carried,
            "known": done.known,
            "unknown": done.unknown,
            "other_bytes": done.other_bytes,
            "not_taken": done.not_taken,
            "pending": self.pending,
        }


def import_(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help=N_("A file of results or of receipts."))
    ],
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    from sigprobe.buffer import StorageError
    from sigprobe.protocol import transfer_file
    from sigprobe.upload import offline

    loaded = opening.settings(config)
    with opening.open_buffer(loaded, saves=True) as buffer:
        try:
            with transfer_file.opened(file) as opened:
                verified = offline.verify(opened)
                if verified.header.format == transfer_file.RESULTS:
                    return _import_results(buffer, opened, verified, bool(loaded.config.upload.collectors))
                return _import_receipts(buffer, opened, verified)
        except transfer_file.CarryError as error:
            raise CommandError(transfer_ui.fault_text(error, file)) from None
        except StorageError as error:
            again = _("Then import {file} again: nothing is stored twice.").format(file=file)
            raise CommandError(sentences.code_text(error.code, str(error)), again, exit_code=NOT_SAVED) from None
        except KeyboardInterrupt as stop:
            text = _("Stopped. Imported results stay here; import {file} again for the rest: nothing is stored twice.")
            raise CommandError(text.format(file=file), exit_code=code_of(stop)) from None


def _import_results(buffer: Buffer, file: BinaryIO, verified: Verified, has_collector: bool) -> ImportedResults:
    from sigprobe.upload import offline

    with transfer_ui.Bar(_("Importing"), verified.count) as bar:
        done = offline.take_in(buffer, file, verified, progress=bar.show)
    return ImportedResults(done, verified.header.probe_id, buffer.pending(), has_collector)


def _import_receipts(buffer: Buffer, file: BinaryIO, verified: Verified) -> ImportedReceipts:
    from sigprobe.upload import offline

    with transfer_ui.Bar(_("Reading receipts"), verified.count) as bar:
        done = offline.apply_receipts(buffer, file, verified, progress=bar.show)
    return ImportedReceipts(done, buffer.pending())
