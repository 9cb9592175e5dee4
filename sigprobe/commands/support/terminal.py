"""The one door to the terminal: stdout is the result, stderr is progress and messages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
