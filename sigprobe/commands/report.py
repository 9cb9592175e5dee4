"""`sigprobe report`: one file for a ticket, from a stored test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import automation, opening, options, sentences, terminal
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Screen
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.render.report import Evidence
    from sigprobe.render.view import RunView

EARLIER = 10
RECENT = 5_000
"""Records that are searched for the last run and for earlier runs at its place: a queue may hold a year."""


@dataclass(frozen=True, slots=True)
class Reported(CommandResult):
    """The report of one run; `page` and `data` are the files it was written to, None with `--json`."""

    view: RunView
    evidence: Evidence
    page: Path | None = None
    data: Path | None = None
    compact = True

    def text(self, screen: Screen) -> str:
        """Return the names of the files."""
        return (
            _("Report for the ticket: {path}").format(path=self.page)
            + "\n"
            + _("The same for programs: {path}").format(path=self.data)
        )

    def document(self) -> Json:
        """Return the whole report."""
        from sigprobe.render.report import report_json

        return report_json(self.view, self.evidence)


def report(
    *,
    config: options.ConfigOption = None,
    last: Annotated[bool, typer.Option("--last", help=N_("The last test (the default)."))] = False,
    run: Annotated[
        str, typer.Option("--run", metavar="ID", help=N_("The run to report instead of the last one."))
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="F", help=N_("HTML file to write, or a folder for it; the JSON is saved next to it.")
        ),
    ] = None,
    force: options.ForceOption = False,
    as_json: options.JsonOption = False,
) -> CommandResult:
    from sigprobe.commands.support.stored_runs import place_of, runs_of
    from sigprobe.render.report import Evidence
    from sigprobe.render.stored_run import view_of

    loaded = opening.settings(config)
    profile = opening.load_profile(loaded)
    if last and run:
        raise CommandError(_("Choose one of --last and --run."))
    with opening.open_to_read(loaded) as buffer:
        runs = runs_of(buffer, None if run else RECENT)
    chosen = run or next(reversed(runs), "")
    if chosen not in runs:
        if run:
            raise CommandError(_("There is no such test on this device. To list all: sigprobe results"))
        raise CommandError(_("There is no test yet. Run: sigprobe test"))
    lines = runs[chosen]
    records = [json.loads(line) for line in lines]
    automatic = automation.find(opening.buffer_path(loaded)).way is not None
    tps_id = records[0].get("tags", {}).get("tps_id")
    name = sentences.place_name(tps_id)
    view = view_of(records, profile, name, automatic=automatic, folder=loaded.path.parent)
    same = [name for name in runs if name != chosen and place_of(runs[name]) == place_of(lines)][-EARLIER:]
    earlier = [view_of([json.loads(line) for line in runs[name]], profile, None) for name in same]
    made = Reported(view, Evidence(lines, earlier))
    if not terminal.current().output.for_people:
        return made
    name = f"sigprobe-{tps_id or 'report'}-{view.started_at:%Y%m%d-%H%M%S}.html"
    page = Path(name) if out is None else out / name if out.is_dir() else out
    return _written(made, page, force=force)


def _written(made: Reported, page: Path, *, force: bool) -> Reported:
    """Write the page and its JSON. Raises CommandError."""
    from sigprobe.files.atomic import write_whole
    from sigprobe.render.report import report_html

    data = page.with_suffix(".json")
    taken = next((path for path in (page, data) if path.exists() and not force), None)
    if taken is not None:
        raise CommandError(_("{path} already exists; to overwrite it, add --force.").format(path=taken))
    try:
        write_whole(page, report_html(made.view, made.evidence), 0o644)
        write_whole(data, json.dumps(made.document(), indent=2) + "\n", 0o644)
    except OSError as error:
        text = _("The report {path} could not be written: {reason}. Choose another place with --out.")
        reason = sentences.system_reason(error)
        raise CommandError(text.format(path=page, reason=reason), exit_code=FAILED) from None
    return Reported(made.view, made.evidence, page, data)
