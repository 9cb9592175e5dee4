"""`sigprobe config`: check the settings, show them with their origin, print the published schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import opening, options, terminal
from sigprobe.commands.support.command_result import CommandResult, Json, Screen
from sigprobe.commands.support.typer_shell import Command
from sigprobe.words.i18n import N_, _, ngettext

if TYPE_CHECKING:
    from sigprobe.config import Loaded

app = typer.Typer(no_args_is_help=True)


class SchemaName(StrEnum):
    """The schemas that are published."""

    CONFIG = "config"
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class Checked(CommandResult):
    """Settings without a mistake, and the names of the checks that a test runs with them."""

    path: str
    targets: int
    checks: Sequence[str]
    prose = True

    def text(self, screen: Screen) -> str:
        """Return the file, and the checks that a test runs."""
        count = len(self.checks)
        text = ngettext("{path}: ok, {count} check ({names})", "{path}: ok, {count} checks ({names})", count)
        return text.format(path=self.path, count=count, names=", ".join(self.checks))

    def document(self) -> Json:
        """Return the same for programs."""
        return {"path": self.path, "ok": True, "targets": self.targets, "checks": list(self.checks)}


@dataclass(frozen=True, slots=True)
class Shown(CommandResult):
    """The settings in use, as YAML for people and as JSON for programs."""

    loaded: Loaded
    origin: bool
    always = True

    def text(self, screen: Screen) -> str:
        """Return the settings as YAML; with their origin when that was asked for."""
        from sigprobe.config import show as shows

        queue = "# " + _("queue: {path}").format(path=opening.buffer_path(self.loaded))
        return f"# {self.loaded.path}\n{queue}\n{shows.to_yaml(self.loaded, with_origin=self.origin)}"

    def document(self) -> Json:
        """Return the settings and, when asked for, the origin of each key."""
        from sigprobe.config import show as shows

        queue = str(opening.buffer_path(self.loaded))
        found: dict[str, Json] = {"path": str(self.loaded.path), "queue": queue, "config": shows.values(self.loaded)}
        if self.origin:
            found["origins"] = shows.origins(self.loaded)
        return found


@dataclass(frozen=True, slots=True)
class Schema(CommandResult):
    """A published JSON Schema; it is JSON in every form."""

    schema: Mapping[str, Json]
    always = True

    def text(self, screen: Screen) -> str:
        """Return the schema with sorted keys."""
        return json.dumps(self.schema, ensure_ascii=False, indent=2, sort_keys=True)

    def document(self) -> Json:
        """Return the schema."""
        return self.schema


@app.command(cls=Command)
def check(config: options.ConfigOption = None, as_json: options.JsonOption = False) -> CommandResult:
    """Check the settings file and name every mistake with its line."""
    loaded = opening.settings(config)
    for doubt in opening.contacts_doubt(loaded):
        terminal.current().error(doubt)
    return Checked(str(loaded.path), len(loaded.config.targets), [check.name for check in loaded.config.checks()])


@app.command(cls=Command)
def show(
    config: options.ConfigOption = None,
    origin: Annotated[bool, typer.Option("--origin", help=N_("Show where each value comes from."))] = False,
    as_json: Annotated[bool, typer.Option("--json", help=N_("Print JSON instead of YAML."))] = False,
) -> CommandResult:
    """Show the settings in use, defaults included."""
    return Shown(opening.settings(config), origin)


@app.command(cls=Command)
def schema(
    name: Annotated[SchemaName, typer.Argument(help=N_("Which schema to print."))] = SchemaName.CONFIG,
) -> CommandResult:
    """Print the JSON Schema of the settings file or of a result."""
    if name is SchemaName.RESULT:
        from sigprobe.measure.schema import result_schema

        return Schema(result_schema())
    from sigprobe.config.schema import config_schema

    return Schema(config_schema())
