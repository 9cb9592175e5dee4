"""`sigprobe import`: take in the results of another device, or receipts for one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from sigprobe.commands.support import common, terminal, transfer_ui
from sigprobe.words.i18n import N_, _, ngettext, number

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.protocol.transfer_file import Verified
    from sigprobe.upload.offline import Receipted, TakenIn


def import_(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help=N_("A file of results or of receipts."))
    ],
    config: common.ConfigOption = None,
    as_json: common.JsonOption = False,
) -> None:
    from sigprobe.buffer import StorageError
    from sigprobe.protocol import transfer_file
    from sigprobe.upload import offline

    loaded = common.settings(config)
    document: dict[str, Any]
    with common.open_buffer(loaded) as buffer:
        try:
            with transfer_file.opened(file) as opened:
                verified = offline.verify(opened)
                if verified.header.format == transfer_file.RESULTS:
                    document = _take_in(buffer, opened, verified, as_json=as_json)
                else:
                    document = _apply(buffer, opened, verified, as_json=as_json)
        except transfer_file.CarryError as error:
            transfer_ui.say_fault(error, file)
            raise typer.Exit(common.USAGE) from None
        except StorageError as error:
            common.say_code(error.code, str(error))
            terminal.current().error(_("Then import {file} again: nothing is doubled.").format(file=file))
            raise typer.Exit(common.NOT_SAVED) from None
        if as_json:
            terminal.current().result(json.dumps({**document, "pending": buffer.pending()}))


def _take_in(buffer: Buffer, file: BinaryIO, verified: Verified, *, as_json: bool) -> dict[str, Any]:
    from sigprobe.upload import offline

    with transfer_ui.Bar(_("Taking in"), verified.count) as bar:
        done = offline.take_in(buffer, file, verified, progress=bar.show)
    if not as_json:
        _say_results(done)
    return {
        "kind": "results",
        "probe_id": verified.header.probe_id,
        "records": done.records,
        "new": done.new,
        "known": done.known,
        "conflicting": done.conflicting,
        "refused": done.refused,
        "examples": [{"id": name, "reason": reason} for name, reason in done.examples],
    }


def _apply(buffer: Buffer, file: BinaryIO, verified: Verified, *, as_json: bool) -> dict[str, Any]:
    from sigprobe.upload import offline

    with transfer_ui.Bar(_("Reading receipts"), verified.count) as bar:
        done = offline.apply_receipts(buffer, file, verified, progress=bar.show)
    if not as_json:
        _say_receipts(done)
    return {
        "kind": "receipts",
        "receipts": done.receipts,
        "carried": done.carried,
        "known": done.known,
        "unknown": done.unknown,
        "other_bytes": done.other_bytes,
        "not_taken": done.not_taken,
    }


def _say_results(done: TakenIn) -> None:
    out = terminal.current()
    text = ngettext(
        "{n} result taken in, {known} known already.", "{n} results taken in, {known} known already.", done.new
    )
    out.show(text.format(n=number(done.new), known=number(done.known)))
    if done.conflicting:
        text = ngettext(
            "Warning: {n} result is here already with other contents; the one here stays.",
            "Warning: {n} results are here already with other contents; the ones here stay.",
            done.conflicting,
        )
        out.error(text.format(n=number(done.conflicting)))
    if done.refused:
        text = ngettext(
            "Warning: {n} result was left out because no collector would take it.",
            "Warning: {n} results were left out because no collector would take them.",
            done.refused,
        )
        out.error(text.format(n=number(done.refused)))
    for name, reason in done.examples:
        out.error(f"  {name}: {reason}")
    if done.new:
        out.say(_("Next: sigprobe upload"))


def _say_receipts(done: Receipted) -> None:
    out = terminal.current()
    text = ngettext(
        "{n} result is with the collector, says this file; it is kept and no longer waits.",
        "{n} results are with the collector, says this file; they are kept and no longer wait.",
        done.carried,
    )
    out.show(text.format(n=number(done.carried)))
    if done.known:
        text = ngettext("{n} was settled before.", "{n} were settled before.", done.known)
        out.show(text.format(n=number(done.known)))
    unfit = done.unknown + done.other_bytes
    if unfit:
        text = ngettext(
            "{n} receipt fits no result of this device and changed nothing.",
            "{n} receipts fit no result of this device and changed nothing.",
            unfit,
        )
        out.error(text.format(n=number(unfit)))
    if done.not_taken:
        text = ngettext(
            "{n} result was not taken by the collector and stays as it is.",
            "{n} results were not taken by the collector and stay as they are.",
            done.not_taken,
        )
        out.error(text.format(n=number(done.not_taken)))
