"""Write to stdout (the result) and stderr (progress and messages); nothing else in the probe writes to them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, TextIO

from sigprobe.commands.support.command_result import CommandError, Output
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.render.console import traits
from sigprobe.words.i18n import _
from sigprobe.words.system_errors import reason_text


@dataclass(frozen=True, slots=True)
class Terminal:
    """The streams of this process and the output form.

    `quiet` is 0, 1 (`-q`: errors only) or 2 (`-qq`: nothing). `verbose` (`-v`) adds technical details to messages.
    `secrets` are words of the command line that look like tokens; all output shows `***` instead.
    """

    quiet: int = 0
    verbose: bool = False
    plain: bool = False
    color: bool = False
    ascii: bool = False
    width: int = 80
    out_tty: bool = False
    err_tty: bool = False
    err_ascii: bool = False
    err_width: int = 80
    output: Output = field(default_factory=Output)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def result(self, text: str) -> None:
        """Write a result for programs to stdout; `-q` prints it too."""
        with _to_stdout():
            _write(sys.stdout, self._masked(text))

    def result_pieces(self, pieces: Iterable[str]) -> None:
        """Write a long result piece by piece, with one line end after the last."""
        last = "\n"
        with _to_stdout():
            for piece in pieces:
                sys.stdout.write(self._masked(piece))
                last = piece or last
            if not last.endswith("\n"):
                sys.stdout.write("\n")
            sys.stdout.flush()

    def show(self, text: str) -> None:
        """Write a result for people to stdout; `-q` leaves it out."""
        if not self.quiet:
            with _to_stdout():
                _write(sys.stdout, self._masked(text))

    def say(self, text: str) -> None:
        """Write a message to stderr; `-q` leaves it out."""
        if not self.quiet:
            _to_stderr(self._fitted(self._masked(text)))

    def prompt(self, text: str) -> None:
        """Write a question to stderr and leave the cursor behind it."""
        sys.stderr.write(text)
        sys.stderr.flush()

    def error(self, text: str) -> None:
        """Write an error to stderr: one line under `-q`, for a cron mail; `-qq` leaves it out."""
        if self.quiet < 2:
            text = _CONTROL.sub("?", self._masked(text))
            _to_stderr(" ".join(text.split("\n")).rstrip() if self.quiet else self._fitted(text))

    def _fitted(self, text: str) -> str:
        """Return a message for stderr: wrapped at words on a terminal, elsewhere one line a sentence."""
        if not self.err_tty or self.plain:
            return text
        from sigprobe.render.words import fold

        return fold(text, self.err_width)

    def _masked(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")
"""Characters that could control a terminal; an error may quote a file or a command line."""


@contextmanager
def _to_stdout() -> Iterator[None]:
    """Tell why a result cannot be written, as on a full disk. A reader that has gone is not told: BrokenPipeError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        text = _("The output cannot be written: {reason}.").format(reason=reason_text(error))
        raise CommandError(text, exit_code=FAILED) from None


def _to_stderr(text: str) -> None:
    """Write a message; if nothing takes it, the command goes on, since a test must not end for want of a screen."""
    with suppress(OSError, ValueError):
        _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text if text.endswith("\n") else text + "\n")
    stream.flush()


def look_at_terminal(quiet: int, plain: bool, verbose: bool = False, secrets: tuple[str, ...] = ()) -> Terminal:
    """Read what this process's stdout and stderr can show."""
    out, err = traits(sys.stdout), traits(sys.stderr)
    return Terminal(
        quiet=quiet,
        verbose=verbose,
        plain=plain,
        color=out.color and not plain,
        ascii=out.ascii,
        width=out.width,
        out_tty=out.tty,
        err_tty=err.tty,
        err_ascii=err.ascii,
        err_width=err.width,
        secrets=secrets,
    )


_current = Terminal()


@contextmanager
def used(terminal: Terminal) -> Iterator[None]:
    """Make this the terminal inside the block. Replace characters that a stream cannot encode instead of failing."""
    global _current  # noqa: PLW0603 - one command at a time runs in a process
    before, streams = _current, (sys.stdout, sys.stderr)
    errors = [getattr(stream, "errors", None) for stream in streams]
    _current = terminal
    for stream in streams:
        _on_encoding_error(stream, "replace")
    try:
        yield
    finally:
        _current = before
        for stream, handler in zip(streams, errors, strict=True):
            _on_encoding_error(stream, handler)


def _on_encoding_error(stream: TextIO, handler: str | None) -> None:
    with suppress(AttributeError, ValueError, OSError):  # no text wrapper, closed, or its reader has gone
        stream.reconfigure(errors=handler)  # type: ignore[attr-defined]


def current() -> Terminal:
    """Return the terminal of the command that runs."""
    return _current
