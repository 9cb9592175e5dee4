"""What can come of one try to send a batch, a receipt sorted by what it says of each record, and a queue that fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from sigprobe.buffer import Row, SendingError, StorageError
from sigprobe.protocol import batches


class Came(Enum):
    """What came of one try."""

    DONE = "done"  # everything in the batch was settled or deferred
    SPLIT = "split"  # ours, and the content is at fault
    LARGE = "large"  # the same, and it may be no more than too much at once
    WAIT = "wait"  # ours: busy
    TOKEN = "token"  # noqa: S105 - ours: the token was refused
    FAILED = "failed"  # not ours, or no answer
    NOBODY = "nobody"  # no collector may be asked now, or no time is left to ask


SPLITS: Final = (Came.SPLIT, Came.LARGE)
"""Refusals of a whole batch by a collector of ours, for what is in it."""
ANSWERS: Final = (Came.DONE, *SPLITS)
"""What a collector of ours has to say of a batch."""


@contextmanager
def keeping() -> Iterator[None]:
    """While a queue is sent, its errors are no longer those of a result that was not saved: raises SendingError."""
    try:
        yield
    except SendingError:
        raise
    except StorageError as error:
        raise SendingError(str(error)) from error


@dataclass(slots=True)
class Sorted:
    """The records of a batch by what the receipt says of them; `left` are the positions of those it does not settle."""

    accepted: list[Row] = field(default_factory=list)
    duplicate: list[Row] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    left: list[int] = field(default_factory=list)

    @property
    def taken(self) -> list[Row]:
        """What the collector holds now."""
        return [*self.accepted, *self.duplicate]


def sort_answers(receipt: batches.Receipt, rows: Sequence[Row]) -> Sorted:
    """A word that is not known, and none at all, leave a record as it is."""
    answers = {answer.id: answer for answer in receipt.results}
    found = Sorted()
    for row in rows:
        answer = answers.get(row.id)
        if answer is None:
            found.left.append(row.pos)
        elif answer.status == batches.ACCEPTED:
            found.accepted.append(row)
        elif answer.status == batches.DUPLICATE:
            found.duplicate.append(row)
        elif answer.status in (batches.REJECTED, batches.CONFLICT):
            found.rejected.append((row.id, f"{answer.status}: {answer.reason or 'no reason given'}"))
        else:
            found.left.append(row.pos)
    return found
