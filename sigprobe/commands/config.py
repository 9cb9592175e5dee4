"""`sigprobe config`: check the settings, show them with their origin, print the published schemas."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from sigprobe.commands.support import common
from sigprobe.words.i18n import N_, _, ngettext

app = typer.Typer(help=N_("Check and show the settings."), no_args_is_help=True)


class SchemaName(StrEnum):
    """The schemas that are published."""

    CONFIG = "config"
    RESULT = "result"


@app.command()
def check(config: common.ConfigOption = None) -> None:
    """Check the settings file and name every mistake with its line."""
    loaded = common.settings(config)
    count = len(loaded.config.targets)
    text = ngettext("{path}: ok, {count} target", "{path}: ok, {count} targets", count)
    typer.echo(text.format(path=loaded.path, count=count))


@app.command()
def show(
    config: common.ConfigOption = None,
    origin: Annotated[bool, typer.Option("--origin", help=N_("Say where each value comes from."))] = False,
    as_json: Annotated[bool, typer.Option("--json", help=N_("Print JSON instead of YAML."))] = False,
) -> None:
    """Show the settings in use, defaults included."""
    loaded = common.settings(config)
    from sigprobe.config import show as shows

    queue = common.buffer_path(loaded)
    if not as_json:
        means = "# " + _("queue: {path}").format(path=queue)
        typer.echo(f"# {loaded.path}\n{means}\n{shows.to_yaml(loaded, with_origin=origin)}", nl=False)
        return
    document = {"path": str(loaded.path), "queue": str(queue), "config": shows.values(loaded)}
    if origin:
        document["origins"] = shows.origins(loaded)
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))


@app.command()
def schema(
    name: Annotated[SchemaName, typer.Argument(help=N_("Which schema to print."))] = SchemaName.CONFIG,
) -> None:
    """Print the JSON Schema of the settings file or of a result."""
    if name is SchemaName.RESULT:
        from sigprobe.measure.schema import result_schema

        document = result_schema()
    else:
        from sigprobe.config.schema import config_schema

        document = config_schema()
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True))
