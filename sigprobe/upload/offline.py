"""Carrying results by hand, on the probe's side: out of the queue into a file, and back.

Exporting changes nothing in the queue: a copy on a stick is no proof of anything. A receipt that comes home in a file
only sets its record apart as `carried`; what acknowledges is the collector alone, over the network.
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
from sigprobe.record.result import envelope_fault, utc_now

Progress = Callable[[int], None]
_TAKEN: Final = frozenset({ACCEPTED, DUPLICATE})
_EXAMPLES: Final = 20
_SHOW_EVERY: Final = 100


@dataclass(slots=True)
class Exported:
    """What an export wrote. `damaged` records were left out: their bytes no longer fit their digest."""

    records: int = 0
    damaged: int = 0
    file_bytes: int = 0


@dataclass(slots=True)
class TakenIn:
    """What an import of results did; each record counts once.

    `conflicting` ids are here with other bytes, `refused` records no collector would keep. Of both, `examples` holds
    the first few with the reason.
    """

    records: int = 0
    new: int = 0
    known: int = 0
    conflicting: int = 0
    refused: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    def note(self, name: str, reason: str) -> None:
        """Keep this as an example, while there are few."""
        if len(self.examples) < _EXAMPLES:
            self.examples.append((name, reason))


@dataclass(slots=True)
class Receipted:
    """What a file of receipts did: every receipt of it counts once.

    `carried` records were set apart now, `known` ones had been settled before. `unknown` ids are not in this queue,
    for `other_bytes` ids it holds a record with another SHA-256, and `not_taken` by the collector stay as they are.
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
    """Write the pending records to a file; they stay pending. Raises CarryError when there is no file after all."""
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
    """Write what became of the records carried for others, as far as it is known here."""
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
    """Read a file of results or receipts through. Raises CarryError; nothing is taken before this has returned."""
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
    """Take the records of a verified file into the queue, as they are; those it knows stay as they are.

    Raises CarryError when the file has changed since, StorageError when the queue has no room. What was taken by then
    stays: the same file may be taken in again.
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
    """Hold others' results back from the room that this device's own next result needs.

    What the collector has acknowledged counts as room: the queue gives it up when it must.
    """
    stats = buffer.stats()
    kept = stats.pending + stats.rejected + stats.carried + stats.damaged
    if stats.size_bytes * kept // max(1, kept + stats.acked) + more_bytes > stats.max_bytes:
        raise BufferLimitError(f"{buffer.path} has reached {stats.max_bytes // 1_000_000} MB")


def apply_receipts(
    buffer: Buffer, file: BinaryIO, verified: Verified, *, progress: Progress = _no_progress
) -> Receipted:
    """Set apart as `carried` each pending record that a receipt names by id and SHA-256. Raises as `take_in` does."""
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
