"""Import a file of results into the store, with the checks of a batch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO, Final

from sqlalchemy import Engine

from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import answers, sort_lines
from sigprobe.collector.web.problems import ProblemError
from sigprobe.protocol import transfer_file
from sigprobe.protocol.transfer_file import CarryError, Header, ReceiptLine, Verified, Writer

_EXAMPLES: Final = 20


@dataclass(slots=True)
class Imported:
    """Result of an import: lines read, how often each status was given, and the first few reasons for rejection."""

    lines: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str]] = field(default_factory=list)


def verify(file: BinaryIO) -> Verified:
    """Verify a whole file of results and store nothing. Raises CarryError, also for a file of receipts."""
    verified = transfer_file.verify(file, _fault)
    if verified.header.format != transfer_file.RESULTS:
        raise CarryError("file_of_receipts")
    return verified


def _fault(header: Header, line: bytes) -> str | None:
    if header.format != transfer_file.RESULTS:
        return None
    try:
        sort_lines([line])
    except ProblemError as error:
        return error.title
    return None


def import_results(
    engine: Engine,
    file: BinaryIO,
    verified: Verified,
    *,
    carrier: str,
    collector: str,
    receipts: Writer | None = None,
    progress: Callable[[int], None] = lambda _done: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Imported:
    """Store a verified file in batches, each committed before a receipt for it is written.

    Storing the same file again changes nothing and gives its receipts again. Raises CarryError when the file has
    changed since, and SQLAlchemyError; what was committed by then stays.
    """
    done = Imported()
    for lines in transfer_file.chunks(file, verified):
        batch = sort_lines(lines)
        stored = ingest_queries.add_results(engine, batch.rows, carrier=carrier, token_id=None, now=now())
        found = answers(batch, stored)
        done.statuses.update(answer.status for answer in found)
        reasons = [(answer.id, f"{answer.status}: {answer.reason}") for answer in found if answer.reason is not None]
        done.examples += reasons[: _EXAMPLES - len(done.examples)]
        if receipts is not None:
            digests = dict(_digests(lines))
            for answer in found:
                receipts.add_receipt(ReceiptLine(answer.id, digests[answer.id], answer.status, collector))
        done.lines += len(lines)
        progress(done.lines)
    return done


def _digests(lines: list[bytes]) -> Iterator[tuple[str, str]]:
    # reversed: of an id that comes twice the first line counts
    for line in reversed(lines):
        yield transfer_file.read_record(line)["id"], hashlib.sha256(line).hexdigest()
