"""The command line: parse, wire, print, exit. `main` is the console script.

Nothing heavy is imported here; `--version` needs no parser at all.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Final, NoReturn, TextIO

from sigprobe import __version__
from sigprobe.words import i18n
from sigprobe.words.i18n import _

USAGE: Final = 2
FAILED: Final = 1
INTERRUPTED: Final = 130
_STDERR: Final = 2


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    _open_closed_streams()
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"sigprobe {__version__}\n")
        sys.exit(0)
    code = run(arguments)
    try:
        sys.stdout.flush()
    except OSError:
        # the reader of our output has gone, as with `| head`, or its disk is full; stdout must not complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or FAILED
    sys.exit(code)


def _open_closed_streams() -> None:
    """Open /dev/null in place of each standard stream that the caller closed, as with `>&-`.

    Otherwise the next file would get its number: what a library prints would go into the queue.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(handle, True)
    os.close(handle)
    sys.stdin = sys.stdin or os.fdopen(0, "r", encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w", encoding="utf-8", closefd=False)


def run(words: Sequence[str], *, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Run one command in this process and return its exit code (0 done, 1 unexpected, 2 usage, 3–6, 130 and 143).

    The command writes to `out` and `err`, by default to `sys.stdout` and `sys.stderr`. Language, terminal, log
    handlers and environment are afterwards as they were, so one process may run many commands, one at a time.
    """
    with ExitStack() as undo:
        if out is not None:
            undo.enter_context(redirect_stdout(out))
        if err is not None:
            undo.enter_context(redirect_stderr(err))
        arguments, everywhere = take_everywhere(list(words))
        if arguments in (["--version"], ["-V"]):
            sys.stdout.write(f"sigprobe {__version__}\n")
            return 0

        from sigprobe.commands.support import logfile, terminal, typer_shell

        undo.enter_context(i18n.speaking(wanted_language(arguments, everywhere.get("lang"), os.environ)))
        undo.enter_context(logfile.scope())
        quiet = int(everywhere.get("quiet", "0"))
        undo.enter_context(
            terminal.used(
                terminal.look_at_terminal(quiet, "plain" in everywhere, "verbose" in everywhere, secrets_in(words))
            )
        )
        if everywhere.get("lang") not in (None, *i18n.LANGUAGES):
            terminal.current().error(_("--lang takes one of: {choices}").format(choices=", ".join(i18n.LANGUAGES)))
            return USAGE
        _warn_of_language(os.environ.get("SIGPROBE_LANG", ""))
        undo.enter_context(typer_shell.parser_speaking(i18n.language()))
        return _dispatch(arguments)


def _warn_of_language(wish: str) -> None:
    """Warn if SIGPROBE_LANG names no language of ours: it has no effect then."""
    from sigprobe.commands.support import terminal

    if wish and wish not in i18n.LANGUAGES:
        text = _("SIGPROBE_LANG={value} has no effect; it takes one of: {choices}")
        said = text.format(value=wish[:20], choices=", ".join(i18n.LANGUAGES))
        terminal.current().say(_("Warning: {text}").format(text=said))


def _dispatch(arguments: list[str]) -> int:
    from typer import Abort, Exit, TyperException

    from sigprobe.commands.support import draw, signals, terminal, typer_shell, usage_errors
    from sigprobe.commands.support.command_result import CommandError
    from sigprobe.files.locations import NoHomeError
    from sigprobe.words.system_errors import reason_text

    out = terminal.current()
    if not arguments:
        arguments = ["--help"]
    try:
        with signals.terminated():
            code = typer_shell.root().main(arguments, prog_name="sigprobe", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except Exit as stop:
        return stop.exit_code
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            out.result(error.format_message())
            return 0
        out.error(usage_errors.explain_usage(error))
        return USAGE
    except NoHomeError:
        out.error(
            _(
                "This user has no home directory, so sigprobe has no place for its files. Set HOME, or give "
                "the files: --config FILE, and buffer.path in the settings."
            )
        )
        return USAGE
    except (KeyboardInterrupt, Abort) as stop:
        out.say(_("Stopped."))
        return signals.code_of(stop) if isinstance(stop, KeyboardInterrupt) else INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except CommandError as error:
        return draw.error(error)
    except OSError as error:
        if "--help" in arguments:  # Typer writes it by itself
            out.error(_("The output cannot be written: {reason}.").format(reason=reason_text(error)))
            return FAILED
        return _unexpected(error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a sentence, and the trace in the log
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    from sigprobe.buffer.errors import StorageError
    from sigprobe.commands.support import logfile, terminal
    from sigprobe.commands.support.exit_codes import NOT_SAVED
    from sigprobe.commands.support.sentences import queue_text

    if isinstance(error, StorageError):
        terminal.current().error(queue_text(error, None, saves=False))
        return NOT_SAVED
    path = logfile.record(error)
    terminal.current().error(
        _("Unexpected error. [SP-INT-01]")
        + "\n"
        + _("Please report it with this file: {path}").format(path=path)
        + (f"\n({type(error).__name__}: {error})" if terminal.current().verbose else "")
    )
    return FAILED


def secrets_in(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a command line, and the values behind `=`, that look like tokens; the longest first."""
    if not any(len(word) >= 16 for word in words):
        return ()
    from sigprobe.files.tokens import is_secret_for_path, looks_like_token

    pieces = {piece.strip().lstrip("-") for word in words for piece in (*word.split(), word.partition("=")[2])}
    found = {piece for piece in pieces if looks_like_token(piece)}
    # of a path, only the last part can be one
    found |= {piece.rpartition("/")[2] for piece in pieces - found if is_secret_for_path(piece)}
    return tuple(sorted(found, key=len, reverse=True))


def take_everywhere(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Take out the options that stand anywhere on the line: `--lang`, `-q`, `-qq`, `--quiet`, `-v`, `--plain`."""
    rest: list[str] = []
    found: dict[str, str] = {}
    quiet = 0
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
            break
        if word == "--lang":
            found["lang"] = next(words, "")
        elif word.startswith("--lang="):
            found["lang"] = word.partition("=")[2]
        elif word in ("-q", "--quiet"):
            quiet += 1
        elif word == "-qq":
            quiet += 2
        elif word in ("-v", "--verbose"):
            found["verbose"] = "1"
        elif word == "--plain":
            found["plain"] = "1"
        else:
            rest.append(word)
    if quiet:
        found["quiet"] = str(min(quiet, 2))
    return rest, found


def wanted_language(arguments: list[str], flag: str | None, environ: Mapping[str, str]) -> str:
    """The language to begin with: flag, SIGPROBE_LANG, the settings file, the locale.

    Help is made before the settings are read, so only that one line of the file is looked at here.
    """
    wishes = (flag, environ.get("SIGPROBE_LANG"), environ.get("SIGPROBE_LANGUAGE"))
    if any(wish in i18n.LANGUAGES for wish in wishes):
        return i18n.choose_language(*wishes, environ=environ)
    return i18n.choose_language(_language_in_file(arguments, environ), environ=environ)


_LANGUAGE_LINE: Final = re.compile(
    r"""^(?:[^#\n]*[{,])?[ \t]*["']?language["']?[ \t]*:[ \t]*["']?(id|en)\b""", re.MULTILINE
)


def _language_in_file(arguments: list[str], environ: Mapping[str, str]) -> str | None:
    from sigprobe.files import locations
    from sigprobe.record import text_encoding

    given = next((b for a, b in pairwise(arguments) if a == "--config"), None)
    given = given or next((a.partition("=")[2] for a in arguments if a.startswith("--config=")), None)
    path = locations.find(None if given is None else Path(given), environ)
    try:
        raw = b"" if path is None or not path.is_file() else path.read_bytes()[:1_000_000]
    except (OSError, ValueError):
        return None
    try:
        text = text_encoding.decode(raw)
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # the fault is reported when the settings are read
    found = _LANGUAGE_LINE.search(text)
    return None if found is None else found[1]
