"""Install or print the completion of the shell in use. Typer has the scripts; its own messages are English only."""

from __future__ import annotations

from typing import Any, Final

from typer import Exit

from sigprobe.commands.support import terminal
from sigprobe.commands.support.exit_codes import DONE, FAILED, USAGE
from sigprobe.words.i18n import _

SHELLS: Final = ("bash", "zsh", "fish", "powershell", "pwsh")
_SHOWN: Final = "bash, zsh, fish, PowerShell"


def install(ctx: Any, _param: object, wanted: object) -> object:
    """Install the script for the shell in use; a callback of Typer's option."""
    if not wanted or ctx.resilient_parsing:
        return wanted
    from typer._completion_shared import install as write

    from sigprobe.commands.support.sentences import system_reason

    out = terminal.current()
    try:
        shell, path = write(shell=_shell_in_use(), prog_name="sigprobe")
    except OSError as error:
        out.error(_("Completion could not be installed: {reason}").format(reason=system_reason(error)))
        raise Exit(FAILED) from None
    text = _("Completion for {shell} is installed: {path}. Open a new terminal to use it.")
    out.say(text.format(shell=shell, path=path))
    raise Exit(DONE)


def show(ctx: Any, _param: object, wanted: object) -> object:
    """Print the script for the shell in use; a callback of Typer's option."""
    if not wanted or ctx.resilient_parsing:
        return wanted
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="sigprobe", complete_var="_SIGPROBE_COMPLETE", shell=_shell_in_use())
    terminal.current().result(script)
    raise Exit(DONE)


def _shell_in_use() -> str:
    """Return the name of the shell that started this process; end with what to do if it has no completion."""
    from shellingham import ShellDetectionFailure, detect_shell  # type: ignore[import-untyped]

    try:
        name: str = detect_shell()[0]
    except ShellDetectionFailure:
        name = ""
    if name in SHELLS:
        return name
    out = terminal.current()
    if name:
        out.error(_("The shell {name} has no completion; these have: {shells}.").format(name=name, shells=_SHOWN))
    else:
        out.error(_("The shell in use was not recognised; completion is for: {shells}.").format(shells=_SHOWN))
    out.error(_("Start one of them, and run this command in it."))
    raise Exit(USAGE)
