"""`sigprobe explain`: what a code means and what to do."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

import typer

from sigprobe.commands.support import common, terminal
from sigprobe.words.i18n import N_, _


def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help=N_("A code such as SP-NET-01 or timeout."))],
    *,
    config: common.ConfigOption = None,
) -> None:
    from sigprobe.render.status import explain_text
    from sigprobe.words.codes import CODES, find_code

    out = terminal.current()
    found = find_code(code)
    if found is None:
        names = [name for entry in CODES.values() for name in (entry.code, entry.screen)]
        near = get_close_matches(code, names, 1, cutoff=0.5) or get_close_matches(code.upper(), names, 1)
        text = _("There is no code {name}.").format(name=code)
        out.error(text + (" " + _("Did you mean {names}?").format(names=near[0]) if near else ""))
        raise typer.Exit(common.USAGE)
    out.show(explain_text(found, ascii=out.ascii))
