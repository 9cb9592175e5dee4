"""What the verbs share that take lists in: reading a file with all its faults said, and keeping it beside the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import typer

from sigprobe.commands.support import common, terminal
from sigprobe.words.i18n import _, ngettext, number

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.lists import Fault, Station
    from sigprobe.places.geometry import Point

Entry = TypeVar("Entry")

HISTORY: Final = 20_000
"""How many records are looked at, the newest ones: two thousand tests and more."""


def read_file(path: Path, read: Callable[[bytes], tuple[list[Entry], list[Fault]]]) -> list[Entry]:
    """The entries of a file; its warnings go to stderr, and with any fault all faults do, and exit 2."""
    from sigprobe.lists import ListError

    try:
        raw = path.read_bytes()
    except OSError as error:
        common.say_code("file_unreadable", error.strerror or str(error), name=path)
        raise typer.Exit(common.USAGE) from None
    try:
        entries, notes = read(raw)
    except ListError as error:
        terminal.current().error("\n".join(_said(path, error.faults)))
        common.say_code("list_invalid", name=path)
        raise typer.Exit(common.USAGE) from None
    for line in _said(path, notes, _("Warning: {text}")):
        terminal.current().say(line)
    return entries


def keep(queue: Path, entries: Sequence[Station] | Sequence[Point]) -> Path:
    """Keep a list beside the queue, or say why not and exit 1."""
    from sigprobe import lists
    from sigprobe.buffer import StorageError

    try:
        return lists.keep(queue, entries)
    except (OSError, StorageError) as error:
        terminal.current().error(
            _("The list could not be kept beside the queue ({reason}).").format(
                reason=getattr(error, "strerror", None) or str(error)
            )
        )
        raise typer.Exit(1) from None


def kept(queue: Path, read: Callable[[Path], list[Entry]]) -> list[Entry]:
    """A kept list; one that cannot be read any more counts as none, and that is said."""
    from sigprobe.lists import ListError

    try:
        return read(queue)
    except (OSError, ListError) as error:
        terminal.current().say(_("Warning: {text}").format(text=_("a kept list cannot be read: {reason}")).format(
            reason=error
        ))  # fmt: skip
        return []


def records(buffer: Buffer, newest: int | None = HISTORY) -> Iterator[tuple[bytes, bool]]:
    """The kept records as history wants them, oldest first; damaged ones are left out."""
    from sigprobe.buffer import State

    wanted = [state for state in State if state is not State.DAMAGED]
    return ((row.line, row.own) for row in buffer.rows(*wanted, newest=newest))


def _said(path: Path, faults: Sequence[Fault], form: str = "{text}") -> Iterator[str]:
    from sigprobe.lists.problems import MOST_SAID

    for fault in faults[:MOST_SAID]:
        where = f"{path}:{fault.line}:" if fault.line is not None else f"{path}:"
        yield form.format(text=f"{where} {fault.message}")
    rest = len(faults) - MOST_SAID
    if rest > 0:
        yield ngettext("and {n} more", "and {n} more", rest).format(n=number(rest))
