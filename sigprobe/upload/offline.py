"""Export results from the queue into a file, and import results and receipts from files.

An export changes nothing in the queue: a file copy proves no delivery. A receipt from a file only marks its record as
`carried`. Only the collector acknowledges, over the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from sigprobe.buffer import Buffer, BufferLimitError, State
from sigprobe.protocol import transfer_file
from sigprobe.protocol.batches import ACCEPTED, CONFLICT, DUPLICATE, REJECTED
from sigprobe.protocol.transfer_file import CarryError, Header, ReceiptLine, Verified
from sigprobe.record.read_record import envelope_fault
from sigprobe.record.result import utc_now

Progress = Callable[[int], None]
_TAKEN: Final = frozenset({ACCEPTED, DUPLICATE})
_EXAMPLES: Final = 20
_SHOW_EVERY: Final = 100


@dataclass(slots=True)
class Exported:
    """Result of an export. `damaged` records were left out: their bytes do not match their digest."""

    records: int = 0
    damaged: int = 0
    file_bytes: int = 0


@dataclass(slots=True)
class TakenIn:
    """Result of an import of results; each record counts once.

    `conflicting` ids are already stored with other bytes. `refused` records are invalid for every collector. `examples`
    holds the first few of both, with the reason.
    """

    records: int = 0
    new: int = 0
    known: int = 0
    conflicting: int = 0
    refused: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    def note(self, name: str, reason: str) -> None:
        """Keep an example, up to a small number."""
        if len(self.examples) < _EXAMPLES:
            self.examples.append((name, reason))


@dataclass(slots=True)
class Receipted:
    """Result of an import of receipts; each receipt counts once.

    `carried` records were marked now, `known` ones had been settled before. `unknown` ids are not in this queue.
    Records of `other_bytes` ids have another SHA-256. They and the `not_taken` ones stay unchanged.
    """

    receipts: int = 0
    carried: int = 0
    known: int = 0
    unknown: int = 0
    other_bytes: int = 0
    not_taken: int = 0


def _no_progress(_done: int) -> None:
    return None


def export_results(
    buffer: Buffer,
    path: Path,
    *,
    overwrite: bool = False,
    now: Callable[[], str] = utc_now,
    progress: Progress = _no_progress,
) -> Exported:
    """Write the pending records to a file; they stay pending. Raises CarryError when no file was written."""
    done = Exported()
    header = Header(transfer_file.RESULTS, transfer_file.VERSION, buffer.probe_id, now())
    with transfer_file.writing(path, header, overwrite=overwrite) as writer:
        for row in buffer.rows(State.PENDING):
            if hashlib.sha256(row.line).digest() != row.sha256:
                done.damaged += 1
                continue
            writer.add(row.line)
            if writer.count % _SHOW_EVERY == 0:
                progress(writer.count)
        done.records = writer.count
    done.file_bytes = path.stat().st_size
    return done


def export_receipts(
    buffer: Buffer,
    path: Path,
    *,
    overwrite: bool = False,
    now: Callable[[], str] = utc_now,
) -> Exported:
    """Write receipts for the imported records of other devices, with their present status."""
    done = Exported()
    header = Header(transfer_file.RECEIPTS, transfer_file.VERSION, buffer.probe_id, now())
    with transfer_file.writing(path, header, overwrite=overwrite) as writer:
        for row in buffer.rows(State.ACKED, State.CARRIED, State.REJECTED):
            if row.own:
                continue
            status = ACCEPTED
            if row.state is State.REJECTED:
                status = CONFLICT if (row.reason or "").startswith(CONFLICT) else REJECTED
            writer.add_receipt(ReceiptLine(row.id, row.sha256.hex(), status, row.collector or ""))
        done.records = writer.count
    done.file_bytes = path.stat().st_size
    return done


def verify(file: BinaryIO) -> Verified:
    """Verify a whole file of results or receipts. Raises CarryError; nothing is imported before it returns."""
    return transfer_file.verify(file, _fault)


def _fault(header: Header, line: bytes) -> str | None:
    try:
        if header.format == transfer_file.RESULTS:
            transfer_file.read_record(line)
        else:
            transfer_file.read_receipt_line(line)
    except ValueError as error:
        return str(error)
    return None


def take_in(buffer: Buffer, file: BinaryIO, verified: Verified, *, progress: Progress = _no_progress) -> TakenIn:
    """Import the records of a verified file unchanged. Records that are already stored stay unchanged.

    Raises CarryError when the file has changed since, StorageError when the queue is full. Records imported before the
    error stay, and the same file may be imported again.
    """
    done = TakenIn()
    for lines in transfer_file.chunks(file, verified):
        good: list[tuple[str, bytes]] = []
        for line in lines:
            record = transfer_file.read_record(line)
            fault = envelope_fault(record)
            if fault is None:
                good.append((record["id"], line))
            else:
                done.refused += 1
                done.note(record["id"], fault)
        _leave_room(buffer, sum(len(line) for _name, line in good))
        new, known, conflicting = buffer.take_in(good)
        done.new += new
        done.known += known
        done.conflicting += len(conflicting)
        for name in conflicting:
            done.note(name, "this id is here with other bytes")
        done.records += len(lines)
        progress(done.records)
    return done


def _leave_room(buffer: Buffer, more_bytes: int) -> None:
    """Reserve space for this device's own next result.

    Acknowledged records count as free space: the queue deletes them when it must.
    """
    stats = buffer.stats()
    kept = stats.pending + stats.rejected + stats.carried + stats.damaged
    if stats.size_bytes * kept // max(1, kept + stats.acked) + more_bytes > stats.max_bytes:
        raise BufferLimitError(f"{buffer.path} has reached {stats.max_bytes // 1_000_000} MB")


def apply_receipts(
    buffer: Buffer, file: BinaryIO, verified: Verified, *, progress: Progress = _no_progress
) -> Receipted:
    """Mark as `carried` each pending record that a receipt names by id and SHA-256. Raises as `take_in` does."""
    done = Receipted()
    for lines in transfer_file.chunks(file, verified):
        matching: dict[str, list[tuple[str, str]]] = {}
        for receipt in _matching(buffer, lines, done):
            matching.setdefault(receipt.collector, []).append((receipt.id, receipt.sha256))
        for collector, pairs in matching.items():
            changed = buffer.mark_carried(pairs, collector)
            done.carried += changed
            done.known += len(pairs) - changed
        done.receipts += len(lines)
        progress(done.receipts)
    return done


def _matching(buffer: Buffer, lines: list[bytes], done: Receipted) -> Iterator[ReceiptLine]:
    for line in lines:
        receipt = transfer_file.read_receipt_line(line)
        row = buffer.find(receipt.id)
        if row is None:
            done.unknown += 1
        elif row.sha256.hex() != receipt.sha256:
            done.other_bytes += 1
        elif receipt.status not in _TAKEN:
            done.not_taken += 1
        else:
            yield receipt


__all__ = [
    "CarryError",
    "Exported",
    "Receipted",
    "TakenIn",
    "apply_receipts",
    "export_receipts",
    "export_results",
    "take_in",
    "verify",
]
