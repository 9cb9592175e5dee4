"""Import lists for commands: read a file, report all its faults, and store it next to the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from sigprobe.commands.support import sentences, terminal
from sigprobe.commands.support.command_result import CommandError
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.words.i18n import _, ngettext, number

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.lists import Fault, Station
    from sigprobe.places.geometry import Point

Entry = TypeVar("Entry")

HISTORY: Final = 20_000
"""Newest records that are searched: two thousand tests and more."""


def read_file(path: Path, read: Callable[[bytes], tuple[list[Entry], list[Fault]]]) -> list[Entry]:
    """Read the entries of a file; its warnings go to stderr. Raises CommandError with all faults."""
    from sigprobe.lists import ListError

    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = sentences.system_reason(error)
        text = sentences.code_text("file_unreadable", name=path)
        raise CommandError(f"{text}\n" + _("Reason: {reason}").format(reason=reason)) from None
    try:
        entries, notes = read(raw)
    except ListError as error:
        faults = "\n".join(_said(path, error.faults))
        raise CommandError(faults, sentences.code_text("list_invalid", name=path)) from None
    for line in _said(path, notes, _("Warning: {text}")):
        terminal.current().say(line)
    return entries


def keep(queue: Path, entries: Sequence[Station] | Sequence[Point]) -> Path:
    """Store a list next to the queue. Raises CommandError."""
    from sigprobe import lists
    from sigprobe.buffer import StorageError

    try:
        return lists.keep(queue, entries)
    except (OSError, StorageError) as error:
        reason = sentences.system_reason(error)
        text = _("The list could not be stored next to the queue ({reason}).").format(reason=reason)
        raise CommandError(text, exit_code=FAILED) from None


def kept(queue: Path, read: Callable[[Path], list[Entry]]) -> list[Entry]:
    """Read a stored list; an unreadable one counts as empty, with a warning."""
    from sigprobe.lists import ListError

    try:
        return read(queue)
    except (OSError, ListError) as error:
        reason = sentences.system_reason(error)
        text = _("Warning: a stored list cannot be read: {reason}").format(reason=reason)
        terminal.current().say(text)
        return []


def records(buffer: Buffer, newest: int | None = HISTORY, *, own: bool = False) -> Iterator[tuple[bytes, bool]]:
    """Yield the stored records as (line, own), oldest first, without damaged ones; `own` yields only this device's."""
    from sigprobe.buffer import State

    wanted = [state for state in State if state is not State.DAMAGED]
    return ((row.line, row.own) for row in buffer.rows(*wanted, newest=newest, own=own))


def _said(path: Path, faults: Sequence[Fault], form: str = "{text}") -> Iterator[str]:
    from sigprobe.lists.problems import MOST_SAID

    for fault in faults[:MOST_SAID]:
        where = f"{path}:{fault.line}:" if fault.line is not None else f"{path}:"
        yield form.format(text=f"{where} {fault.message}")
    rest = len(faults) - MOST_SAID
    if rest > 0:
        yield ngettext("and {n} more", "and {n} more", rest).format(n=number(rest))
