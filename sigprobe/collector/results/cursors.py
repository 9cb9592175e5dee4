"""Make and read the cursors of `GET /v1/results`, and tell which of them still hold.

A cursor names an epoch of the database, a number, and the last part of the id that had this number. A restored or
promoted copy begins a new epoch (`store/epochs.py`). A cursor of an earlier epoch holds as long as both have the same
history up to its number; otherwise its reader must be told, or it would skip records without a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from sigprobe.collector.results import reading
from sigprobe.collector.store.schema import FIRST_ARRIVAL, epochs, receive_order
from sigprobe.collector.web import opaque_words

_FORMAT: Final = re.compile(
    r"1:(?P<old>[0-9]{1,19})|2:(?P<epoch>[0-9a-f]{8}):(?P<number>[0-9]{1,18}):(?P<check>[0-9a-f]{8}|-)"
)


class NotOursError(Exception):
    """The text is no cursor."""


class GoneError(Exception):
    """The cursor belongs to a history that this database does not share. `resume` is where both still agree."""

    def __init__(self, resume: str | None) -> None:
        super().__init__()
        self.resume = resume


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the order of readers. Without an epoch it is from a version that had none."""

    number: int
    epoch: str | None = None
    check: str | None = None


def encode(cursor: Cursor) -> str:
    """Return an opaque, URL-safe word."""
    text = f"2:{cursor.epoch}:{cursor.number}:{cursor.check or '-'}"
    return opaque_words.encode(text)


def decode(word: str) -> Cursor:
    """Return what a word stands for. Raises NotOursError."""
    try:
        found = _FORMAT.fullmatch(opaque_words.decode(word))
    except ValueError as error:
        raise NotOursError from error
    if found is None:
        raise NotOursError
    if found["old"] is not None:
        return Cursor(int(found["old"]))
    check = found["check"]
    return Cursor(int(found["number"]), found["epoch"], None if check == "-" else check)


def check_of(name: str) -> str:
    """Return the part of an id that a cursor holds."""
    return name[-8:]


def hold(connection: Connection, cursor: Cursor) -> int:
    """Return the number after which to go on. Raises GoneError."""
    known = connection.execute(select(epochs.c.epoch, epochs.c.first_no).order_by(epochs.c.number)).all()
    last = int(connection.execute(select(receive_order.c.last_no)).scalar_one())
    names = [row.epoch for row in known]
    if cursor.epoch is not None and cursor.epoch not in names:
        raise GoneError(None)
    # up to the first number that a later epoch gave out anew, both histories are the same
    after = known[names.index(cursor.epoch) + 1 :] if cursor.epoch is not None else known[1:]
    common = min([last, *(int(row.first_no) for row in after)])
    if cursor.number > common:
        # an arrival time instead of a number: from a program of the version before, beside this one
        resume = None if cursor.number >= FIRST_ARRIVAL else encode(Cursor(common, names[-1]))
        raise GoneError(resume)
    if cursor.check is not None:
        name = reading.id_at(connection, cursor.number)
        if name is not None and check_of(name) != cursor.check:
            raise GoneError(None)
    return cursor.number
