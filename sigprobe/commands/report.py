"""`sigprobe report`: one file for a ticket, from a test that was kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sigprobe.commands.support import common, terminal
from sigprobe.words.i18n import N_, _

EARLIER = 10
RECENT = 5_000
"""Records that are looked through for the last run and those before it at its place: a queue may hold a year."""


def report(
    *,
    config: common.ConfigOption = None,
    last: Annotated[bool, typer.Option("--last", help=N_("The last test (as when nothing is said)."))] = False,
    run: Annotated[
        str, typer.Option("--run", metavar="ID", help=N_("The run to report instead of the last one."))
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="F", help=N_("The HTML file to write; the JSON lies beside it."))
    ] = None,
    force: Annotated[bool, typer.Option("--force", help=N_("Replace a file of that name."))] = False,
    as_json: common.JsonOption = False,
) -> None:
    from sigprobe.commands.support.stored_runs import place_of, runs_of
    from sigprobe.files.atomic import write_whole
    from sigprobe.render.report import Evidence, report_html, report_json
    from sigprobe.render.stored_run import view_of

    loaded = common.settings(config)
    profile = common.load_profile(loaded)
    shown = terminal.current()
    if last and run:
        shown.error(_("Choose one of --last and --run."))
        raise typer.Exit(common.USAGE)
    with common.open_buffer(loaded) as buffer:
        runs = runs_of(buffer, None if run else RECENT)
    chosen = run or next(reversed(runs), "")
    if chosen not in runs:
        shown.error(
            _("There is no such test on this device. Run: sigprobe test")
            if run
            else _("There is no test yet. Run: sigprobe test")
        )
        raise typer.Exit(common.USAGE)
    lines = runs[chosen]
    records = [json.loads(line) for line in lines]
    tps_id = records[0].get("tags", {}).get("tps_id")
    view = view_of(records, profile, common.place_name(tps_id))
    same = [name for name in runs if name != chosen and place_of(runs[name]) == place_of(lines)][-EARLIER:]
    earlier = [view_of([json.loads(line) for line in runs[name]], profile, None) for name in same]
    evidence = Evidence(lines, earlier)
    if as_json:
        shown.result(json.dumps(report_json(view, evidence)))
        return
    path = out or Path(f"sigprobe-{tps_id or 'report'}-{view.started_at:%Y%m%d-%H%M%S}.html")
    other = path.with_suffix(".json")
    taken = next((p for p in (path, other) if p.exists() and not force), None)
    if taken is not None:
        shown.error(_("{path} is there already; to replace it, add --force.").format(path=taken))
        raise typer.Exit(common.USAGE)
    try:
        write_whole(path, report_html(view, evidence), 0o644)
        write_whole(other, json.dumps(report_json(view, evidence), indent=2) + "\n", 0o644)
    except OSError as error:
        shown.error(_("The report could not be written: {reason}").format(reason=error.strerror or error))
        raise typer.Exit(1) from None
    shown.show(_("Report for the ticket: {path}").format(path=path))
    shown.show(_("The same for programs: {path}").format(path=other))
