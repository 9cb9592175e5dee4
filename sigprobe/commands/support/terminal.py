"""The one door to the terminal: stdout is the result, stderr is progress and messages."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

from sigprobe.render.console import traits


@dataclass(frozen=True, slots=True)
class Terminal:
    """What may be written where. `quiet` is 0, 1 (`-q`: errors only) or 2 (`-qq`: nothing).

    `verbose` (`-v`) adds the words of libraries and servers to plain sentences, for those who look closer.
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

    def result(self, text: str) -> None:
        """The result itself, on stdout; asked for by a format flag, it is printed under `-q` too."""
        _write(sys.stdout, text)

    def show(self, text: str) -> None:
        """A result for people, on stdout; `-q` leaves it out."""
        if not self.quiet:
            _write(sys.stdout, text)

    def say(self, text: str) -> None:
        """A message on stderr; `-q` leaves it out."""
        if not self.quiet:
            _write(sys.stderr, text)

    def error(self, text: str) -> None:
        """What went wrong, on stderr: under `-q` as one line, for a cron mail; only `-qq` leaves it out."""
        if self.quiet < 2:
            _write(sys.stderr, " ".join(text.split("\n")).rstrip() if self.quiet else text)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text if text.endswith("\n") else text + "\n")
    stream.flush()


def look_at_terminal(quiet: int, plain: bool, verbose: bool = False) -> Terminal:
    """What this process's stdout and stderr can do."""
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
    )


_current = Terminal()


def use(terminal: Terminal) -> None:
    """Make this the terminal of the process. Text that a stream cannot show is replaced, never an error."""
    global _current  # noqa: PLW0603 - a process has one terminal
    _current = terminal
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def current() -> Terminal:
    """The terminal of this process."""
    return _current
