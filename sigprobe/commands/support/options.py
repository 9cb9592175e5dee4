"""Options that several commands share, and the checks of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigprobe.commands.support.command_result import CommandError
from sigprobe.words.i18n import N_, _

ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="F", help=N_("The settings file to use."))]
JsonOption = Annotated[bool, typer.Option("--json", help=N_("Print JSON for programs."))]
CsvOption = Annotated[bool, typer.Option("--csv", help=N_("Print CSV."))]
DialectOption = Annotated[
    str,
    typer.Option(
        "--csv-dialect", metavar="plain|excel-id", help=N_("CSV for Indonesian Excel: semicolons and decimal commas.")
    ),
]
OperatorOption = Annotated[
    str, typer.Option("--operator", help=N_("Mobile operator, if no modem reports it, for example telkomsel."))
]
LatOption = Annotated[float | None, typer.Option("--lat", help=N_("Latitude, for example -6.91474."))]
LonOption = Annotated[float | None, typer.Option("--lon", help=N_("Longitude, for example 107.60981."))]
ForceOption = Annotated[bool, typer.Option("--force", help=N_("Overwrite existing files."))]


def position(lat: float | None, lon: float | None, tps_id: str | None = None) -> tuple[float, float] | None:
    """Return the position of `--lat` and `--lon`; None when neither is given. Raises CommandError.

    A position that only a slip explains is an error; any other that does not fit the TPS is a warning.
    """
    from sigprobe.commands.support import terminal
    from sigprobe.places.position_messages import position_doubt
    from sigprobe.places.position_slips import slip

    if lat is None and lon is None:
        return None
    if lat is None or lon is None:
        raise CommandError(_("--lat and --lon must be given together."))
    wrong = position_doubt(lat, lon, tps_id)
    meant = slip(lat, lon, tps_id)
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        bounds = _("--lat takes -90 to 90, --lon -180 to 180, in degrees.")
        raise CommandError(f"{bounds} {wrong if meant is not None else ''}".rstrip())
    if meant is not None and tps_id is not None:
        raise CommandError(f"--lat, --lon: {wrong}")
    if wrong:
        terminal.current().say(_("Warning: {text}").format(text=wrong))
    return lat, lon
