"""`sigprobe export`: the results that wait, into a file for a stick; or receipts for those carried for others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import common, terminal, transfer_ui
from sigprobe.words.i18n import N_, _, ngettext, number, size

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.upload.offline import Exported

_FAILED = 1


def export(
    *,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", show_default=False, help=N_("The file to write the results to."))
    ] = None,
    receipts: Annotated[
        Path | None,
        typer.Option("--receipts", metavar="OUT", help=N_("Write receipts for the results carried for others.")),
    ] = None,
    force: transfer_ui.ForceOption = False,
    config: common.ConfigOption = None,
    as_json: common.JsonOption = False,
) -> None:
    if file is None and receipts is None:
        terminal.current().error(_("Name the file to write to, for example: sigprobe export results.ndjson.gz"))
        raise typer.Exit(common.USAGE)
    loaded = common.settings(config)
    with common.open_buffer(loaded) as buffer:
        done = None if file is None else _write_results(buffer, file, force=force)
        given = None if receipts is None else _write_receipts(buffer, receipts, force=force)
    if as_json:
        terminal.current().result(
            json.dumps(
                {
                    "file": None if file is None else str(file),
                    "records": None if done is None else done.records,
                    "damaged": None if done is None else done.damaged,
                    "file_bytes": None if done is None else done.file_bytes,
                    "receipts_file": None if receipts is None else str(receipts),
                    "receipts": None if given is None else given.records,
                }
            )
        )
        return
    if done is not None:
        _say_results(done, file)
    if given is not None:
        _say_receipts(given, receipts)


def _write_results(buffer: Buffer, path: Path, *, force: bool) -> Exported:
    from sigprobe.upload import offline

    try:
        with transfer_ui.Bar(_("Writing"), buffer.pending()) as bar:
            return offline.export_results(buffer, path, overwrite=force, progress=bar.show)
    except offline.CarryError as error:
        transfer_ui.say_fault(error, path)
        raise typer.Exit(_FAILED) from None


def _write_receipts(buffer: Buffer, path: Path, *, force: bool) -> Exported:
    from sigprobe.upload import offline

    try:
        return offline.export_receipts(buffer, path, overwrite=force)
    except offline.CarryError as error:
        transfer_ui.say_fault(error, path)
        raise typer.Exit(_FAILED) from None


def _say_results(done: Exported, path: Path | None) -> None:
    out = terminal.current()
    if done.damaged:
        text = ngettext(
            "Warning: {n} damaged result was left out.", "Warning: {n} damaged results were left out.", done.damaged
        )
        out.error(text.format(n=number(done.damaged)))
    if not done.records:
        out.show(_("No results are waiting. {file} is written and holds none.").format(file=path))
        return
    text = ngettext("{n} result is in {file} ({size}).", "{n} results are in {file} ({size}).", done.records)
    out.show(text.format(n=number(done.records), file=path, size=size(done.file_bytes)))
    out.show(_("They also keep waiting on this device until the collector has them."))
    out.say(_("Next, on another laptop: sigprobe import {file}").format(file=path))


def _say_receipts(done: Exported, path: Path | None) -> None:
    text = ngettext("{n} receipt is in {file}.", "{n} receipts are in {file}.", done.records)
    terminal.current().show(text.format(n=number(done.records), file=path))
    if done.records:
        terminal.current().say(_("Next, on the device they come from: sigprobe import {file}").format(file=path))
