"""`sigprobe drive`: test again and again on the way; stop by itself; leave a map, GeoJSON and CSV."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sigprobe.commands.support import after_run, cli_values, common
from sigprobe.commands.support.drive_run import Trip, Wish, is_full, say_files
from sigprobe.commands.support.signals import caught
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.commands.support.drive_files import RouteFiles
    from sigprobe.config import Loaded
    from sigprobe.measure.kind import CommonOptions

FOR_S: Final = 2 * 3600.0
_SPAN: Final = re.compile(r"^(?:(\d+)\s*h)?\s*(?:(\d+)\s*m(?:in)?)?\s*(?:(\d+)\s*s)?$", re.IGNORECASE)


def drive(
    *,
    config: common.ConfigOption = None,
    every: Annotated[
        float | None,
        typer.Option("--every", metavar="S", min=1, help=N_("Seconds from one point to the next (10 by itself).")),
    ] = None,
    metres: Annotated[
        float | None,
        typer.Option(
            "--metres",
            metavar="M",
            min=10,
            help=N_("Metres from one point to the next; with --every the first counts."),
        ),
    ] = None,
    length: Annotated[
        str, typer.Option("--for", metavar="TIME", help=N_("How long, for example 30m or 1h30m (2h by itself)."))
    ] = "",
    points: Annotated[
        int | None, typer.Option("--points", metavar="N", min=1, help=N_("How many points at most."))
    ] = None,
    max_data: Annotated[
        str, typer.Option("--max-data", metavar="MB", help=N_("The most data the drive may use, for example 20MB."))
    ] = "",
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="KIND|NAME", help=N_("Only these checks; may be repeated. Speed tests run only so.")
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="NAME", help=N_("Name of the files without ending, or a folder for them.")),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help=N_("Replace files of that name."))] = False,
    csv_dialect: Annotated[
        str, typer.Option("--csv-dialect", metavar="plain|excel-id", help=N_("CSV for Indonesian Excel: ; and comma."))
    ] = "plain",
    tps: Annotated[
        str, typer.Option("--tps", metavar="ID", help=N_("Count the points for this TPS; otherwise for none."))
    ] = "",
    operator: Annotated[str, typer.Option("--operator", help=N_("Mobile operator, where no modem can tell."))] = "",
    no_upload: Annotated[
        bool, typer.Option("--no-upload", help=N_("Keep the results, send nothing at the end."))
    ] = False,
    as_json: common.JsonOption = False,
    ndjson: Annotated[bool, typer.Option("--ndjson", help=N_("Print each point as soon as it is on disk."))] = False,
) -> None:
    loaded = common.settings(config)
    if as_json and ndjson:
        cli_values.usage(_("Choose one of --json and --ndjson."))
    if csv_dialect not in ("plain", "excel-id"):
        cli_values.usage(_("--csv-dialect takes plain or excel-id."))
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
    profile = common.load_profile(loaded)
    form = "json" if as_json else "ndjson" if ndjson else ""
    with common.open_buffer(loaded) as buffer, _signals() as stop:
        senders = common.collectors(loaded) if not no_upload or cli_values.needs_token(loaded, wish.checks) else []
        trip = Trip(loaded, profile, buffer, senders, wish, form, stop)
        trip.look_at_budget()
        trip.files = _files(trip, out, csv_dialect, force=force)
        trip.announce()
        trip.go()
        sent = None
        if not no_upload and trip.ended != "stopped" and trip.fault is None and senders:
            sent = after_run.send(buffer, senders)
        trip.tell(sent, no_upload=no_upload)
        buffer.prune()
    raise typer.Exit(trip.exit_code)


# --- what was asked for -------------------------------------------------------------------------------------


def _checks(loaded: Loaded, only: list[str]) -> tuple[CommonOptions, ...]:
    from sigprobe.runs.drive import light, light_checks

    if only:
        return tuple(light(options) for options in cli_values.chosen(loaded, only))
    checks = light_checks(loaded.config.checks())
    if not checks:
        cli_values.usage(_("The settings have no ping, dns or http target, which a drive repeats. Choose with --only."))
    return checks


def _seconds(text: str) -> float:
    found = _SPAN.match(text.strip())
    hours, minutes, seconds = (0, 0, 0) if found is None else (int(part or 0) for part in found.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if not total:
        cli_values.usage(
            _("--for {text}: write hours, minutes or seconds, for example 30m or 1h30m.").format(text=text)
        )
    return float(total)


def _files(trip: Trip, out: Path | None, dialect: Any, *, force: bool) -> RouteFiles:
    from sigprobe.commands.support.drive_files import RouteFiles, without_suffix

    name = f"sigprobe-drive-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    base = Path(name) if out is None else out / name if out.is_dir() else without_suffix(out)
    files = RouteFiles(base, trip.drive_id, trip.who, trip.zone, trip.profile, dialect)
    taken = files.taken()
    if taken is not None and not force:
        cli_values.usage(_("{path} is there already; to replace it, add --force.").format(path=taken))
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        files.open(replace=force)
    except FileExistsError as error:
        cli_values.usage(_("{path} is there already; to replace it, add --force.").format(path=error.filename))
    except OSError as error:
        say_files(error)
        raise typer.Exit(common.NOT_SAVED if is_full(error) else common.USAGE) from None
    return files


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and a closed terminal set; the second time they end the process at once."""
    stop = threading.Event()

    def handle(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        # an Event is set by another thread: this one may be holding its lock right now
        threading.Thread(target=stop.set, daemon=True).start()

    with caught(handle):
        yield stop
