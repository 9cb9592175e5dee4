"""Define the outcomes of one attempt to send a batch, and sort a receipt by record status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from sigprobe.buffer import Row, SendingError, StorageError
from sigprobe.protocol import batches


class SendOutcome(Enum):
    """Outcome of one attempt to send a batch."""

    DONE = "done"  # everything in the batch was settled or deferred
    SPLIT = "split"  # from a real collector, and the content is at fault
    LARGE = "large"  # the same, but the batch may only be too large
    WAIT = "wait"  # from a real collector: busy
    TOKEN = "token"  # noqa: S105 - ours: the token was refused
    FAILED = "failed"  # not from a collector, or no answer
    NOBODY = "nobody"  # no collector may be asked now, or no time is left to ask


SPLITS: Final = (SendOutcome.SPLIT, SendOutcome.LARGE)
"""Refusals of a whole batch by a collector of ours, for what is in it."""
ANSWERS: Final = (SendOutcome.DONE, *SPLITS)
"""What a collector of ours has to say of a batch."""


@contextmanager
def keeping() -> Iterator[None]:
    """Convert storage errors during an upload to SendingError, so that they do not read as an unsaved result."""
    try:
        yield
    except SendingError:
        raise
    except StorageError as error:
        raise SendingError(str(error)) from error


@dataclass(slots=True)
class Sorted:
    """Records of a batch by their status in the receipt. `left` are the positions without a final status."""

    accepted: list[Row] = field(default_factory=list)
    duplicate: list[Row] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    left: list[int] = field(default_factory=list)

    @property
    def taken(self) -> list[Row]:
        """Return the records that the collector has stored now."""
        return [*self.accepted, *self.duplicate]


def sort_answers(receipt: batches.Receipt, rows: Sequence[Row]) -> Sorted:
    """Sort the records of a batch. Unknown or missing statuses leave the record pending."""
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
