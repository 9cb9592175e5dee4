"""`sigprobe drive`: repeated tests while travelling; it stops by itself and leaves a map, GeoJSON and CSV."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sigprobe.commands.support import after_run, cli_values, opening, options
from sigprobe.commands.support.command_result import CommandError, CommandResult, Dialect
from sigprobe.commands.support.drive_result import files_text
from sigprobe.commands.support.drive_run import Trip, Wish, is_full
from sigprobe.commands.support.exit_codes import NOT_SAVED, USAGE
from sigprobe.commands.support.signals import Ending, caught
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.commands.support.drive_files import RouteFiles
    from sigprobe.config import Loaded
    from sigprobe.measure.kind import CommonOptions

FOR_S: Final = 2 * 3600.0
_SPAN: Final = re.compile(r"^(?:(\d+)\s*h)?\s*(?:(\d+)\s*m(?:in)?)?\s*(?:(\d+)\s*s)?$", re.IGNORECASE)


def drive(
    *,
    config: options.ConfigOption = None,
    every: Annotated[
        float | None,
        typer.Option("--every", metavar="S", min=1, help=N_("Seconds between points. [default: 10]")),
    ] = None,
    metres: Annotated[
        float | None,
        typer.Option(
            "--metres", metavar="M", min=10, help=N_("Metres between points; with --every, whichever comes first.")
        ),
    ] = None,
    length: Annotated[
        str, typer.Option("--for", metavar="TIME", help=N_("Duration, for example 30m or 1h30m. [default: 2h]"))
    ] = "",
    points: Annotated[
        int | None, typer.Option("--points", metavar="N", min=1, help=N_("Stop after this many points."))
    ] = None,
    max_data: Annotated[
        str, typer.Option("--max-data", metavar="MB", help=N_("Data limit of the drive, for example 20MB."))
    ] = "",
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="KIND|NAME",
            help=N_("Only these checks; may be repeated. Speed tests run only if named here."),
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="NAME", help=N_("File name without extension, or a folder for the files.")),
    ] = None,
    force: options.ForceOption = False,
    csv_dialect: options.DialectOption = "plain",
    tps: Annotated[
        str,
        typer.Option(
            "--tps", metavar="ID", help=N_("Record the points for this TPS; without this option, for no TPS.")
        ),
    ] = "",
    operator: options.OperatorOption = "",
    no_upload: Annotated[
        bool, typer.Option("--no-upload", help=N_("Store the results, send nothing at the end."))
    ] = False,
    as_json: options.JsonOption = False,
    ndjson: Annotated[bool, typer.Option("--ndjson", help=N_("Print each point as soon as it is on disk."))] = False,
) -> CommandResult:
    loaded = opening.settings(config)
    wish = Wish(
        checks=_checks(loaded, only or []),
        every_s=every,
        metres=metres,
        for_s=_seconds(length) if length else FOR_S,
        most_points=points,
        max_bytes=cli_values.size_bytes(max_data) if max_data else None,
        tps_id=cli_values.tps_id(tps) if tps else None,
        operator=operator,
    )
    profile = opening.load_profile(loaded)
    ending = Ending()
    with opening.open_buffer(loaded, saves=True) as buffer, _signals(ending) as stop:
        senders = opening.collectors(loaded) if not no_upload or cli_values.needs_token(loaded, wish.checks) else []
        trip = Trip(loaded, profile, buffer, senders, wish, stop)
        trip.look_at_budget()
        trip.files = _files(trip, out, "excel-id" if csv_dialect == "excel-id" else "plain", force=force)
        trip.announce()
        trip.go()
        sent = None
        if not no_upload and trip.ended != "stopped" and trip.fault is None and senders:
            sent = after_run.send(buffer, senders)
        driven = trip.result(sent, no_upload=no_upload, ended_by=ending.exit_code)
        buffer.prune()
    return driven


# --- what was asked for -------------------------------------------------------------------------------------


def _checks(loaded: Loaded, only: list[str]) -> tuple[CommonOptions, ...]:
    from sigprobe.runs.drive import light, light_checks

    if only:
        return tuple(light(options) for options in cli_values.chosen(loaded, only))
    checks = light_checks(loaded.config.checks())
    if not checks:
        cli_values.usage(
            _("The settings have no ping, dns or http target that a drive can repeat. Choose checks with --only.")
        )
    return checks


_LONGEST_S: Final = 7 * 86_400


def _seconds(text: str) -> float:
    found = _SPAN.match(text.strip())
    hours, minutes, seconds = (0, 0, 0) if found is None else (int(part or 0) for part in found.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if not total:
        cli_values.usage(
            _("--for {text}: write hours, minutes or seconds, for example 30m or 1h30m.").format(text=text)
        )
    if total > _LONGEST_S:
        cli_values.usage(_("--for {text}: a drive takes at most {most} days.").format(text=text, most=7))
    return float(total)


def _files(trip: Trip, out: Path | None, dialect: Dialect, *, force: bool) -> RouteFiles:
    from sigprobe.commands.support.drive_files import RouteFiles, without_suffix

    name = f"sigprobe-drive-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    base = Path(name) if out is None else out / name if out.is_dir() else without_suffix(out)
    files = RouteFiles(base, trip.drive_id, trip.who, trip.zone, trip.profile, dialect)
    taken = files.taken()
    if taken is not None and not force:
        cli_values.usage(_("{path} already exists; to overwrite it, add --force.").format(path=taken))
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        files.open(replace=force)
    except FileExistsError as error:
        cli_values.usage(_("{path} already exists; to overwrite it, add --force.").format(path=error.filename))
    except OSError as error:
        raise CommandError(files_text(error), exit_code=NOT_SAVED if is_full(error) else USAGE) from None
    return files


@contextmanager
def _signals(ending: Ending) -> Iterator[threading.Event]:
    """Return an event that Ctrl-C, SIGTERM and SIGHUP set; a second signal ends the process at once."""
    stop = threading.Event()

    def handle(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        ending.exit_code = 128 + number
        # an Event is set by another thread: this one may be holding its lock right now
        threading.Thread(target=stop.set, daemon=True).start()

    with caught(handle, ignored_stay=True):
        yield stop
