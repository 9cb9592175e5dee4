"""`sigprobe explain`: what a code or a kind of check means, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import options
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Screen
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.words.codes import Code


@dataclass(frozen=True, slots=True)
class Explained(CommandResult):
    """One code with its meaning, or all codes."""

    codes: Sequence[Code]
    listed: bool

    def text(self, screen: Screen) -> str:
        """Return the meaning and the advice of one code; one line a code for the list."""
        from sigprobe.render.status import codes_text, explain_text

        if self.listed:
            return codes_text(self.codes, width=screen.width, ascii=screen.ascii, plain=screen.plain)
        return explain_text(self.codes[0], width=screen.width, ascii=screen.ascii, plain=screen.plain)

    def document(self) -> Json:
        """Return the same for programs: the codes only, since sentences depend on the language."""
        found = [{"code": code.code, "screen": code.screen} for code in self.codes]
        return found if self.listed else found[0]


@dataclass(frozen=True, slots=True)
class ExplainedKind(CommandResult):
    """One kind of check with its meaning; `run` is the record of a whole test."""

    kind: str
    configurable: bool

    def text(self, screen: Screen) -> str:
        """Return what it measures, and its line in the settings."""
        from sigprobe.render.status import explain_kind_text

        return explain_kind_text(self.kind, width=screen.width, ascii=screen.ascii, plain=screen.plain)

    def document(self) -> Json:
        """Return the same for programs: no sentences, since they depend on the language."""
        return {"kind": self.kind, "configurable": self.configurable}


def explain(
    code: Annotated[
        str,
        typer.Argument(metavar="CODE", show_default=False, help=N_("A code such as SP-NET-01 or a kind such as ping.")),
    ] = "",
    *,
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    from sigprobe.record import kinds
    from sigprobe.record.result import RUN_KIND
    from sigprobe.words.codes import CODES, find_code
    from sigprobe.words.similar import similar

    if not code:
        return Explained(sorted(CODES.values(), key=lambda entry: entry.screen), listed=True)
    found = find_code(code)
    if found is not None:
        return Explained([found], listed=False)
    wanted = code.strip().casefold().removeprefix("kind:").strip()
    if wanted in kinds.KINDS or wanted == RUN_KIND:
        return ExplainedKind(wanted, kinds.info(wanted).way is not kinds.Way.WALK and wanted != RUN_KIND)
    names = [*kinds.KINDS, *(name for entry in CODES.values() for name in (entry.screen, entry.code))]
    near = similar(wanted, names)
    text = _("There is no code {name}.").format(name=code)
    more = _("Did you mean {names}?").format(names=near[0]) if near else _("To list all codes: sigprobe explain")
    raise CommandError(f"{text} {more}")
