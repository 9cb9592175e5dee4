"""Define the rows of the queue: states, decoding and verification.

A record's SHA-256 covers its bytes. A state's checksum covers the record's id and the state. So a flipped bit can
neither send an altered record nor make a pending one look acknowledged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

import apsw

from sigprobe.record.result import Result

PAGE: Final = 500

# fixed words of SQL; the values are always bound
PENDING: Final = "NOT EXISTS (SELECT 1 FROM fate f WHERE f.pos = record.pos)"
COUNT_PENDING: Final = "SELECT (SELECT count(*) FROM record) - (SELECT count(*) FROM fate)"
INSERT: Final = "INSERT INTO record (id, sha256, put_at, urgent, own, line) VALUES (?, ?, ?, ?, ?, ?)"
DECIDE: Final = (
    "INSERT INTO fate (pos, state, at, seal, collector, reason) SELECT pos, ?, ?, ?, ?, ? FROM record WHERE {which}"
    " ON CONFLICT (pos) DO UPDATE SET state = excluded.state, at = excluded.at, seal = excluded.seal,"
    " collector = excluded.collector, reason = excluded.reason WHERE {unless}"
)
ADD_USAGE: Final = (
    "INSERT INTO usage VALUES (?, ?, ?) ON CONFLICT (day, interface) DO UPDATE SET bytes = bytes + excluded.bytes"
)
SUM_USAGE: Final = (
    "SELECT coalesce(sum(bytes), 0) FROM usage WHERE substr(day, 1, ?) = ? AND (? IS NULL OR interface = ?)"
)
# text is read as bytes: a flipped bit in it must give a damaged row, not a decoder exception
_SELECT: Final = (
    "SELECT record.pos, CAST(id AS BLOB), CAST(line AS BLOB), CAST(sha256 AS BLOB), CAST(put_at AS BLOB), own,"
    " coalesce(state, 0), CAST(at AS BLOB), CAST(collector AS BLOB), CAST(reason AS BLOB)"
    " FROM record LEFT JOIN fate ON fate.pos = record.pos WHERE {where} ORDER BY record.pos LIMIT ?"
)


class State(IntEnum):
    """State of a record."""

    PENDING = 0
    ACKED = 1
    REJECTED = 2
    CARRIED = 3
    DAMAGED = 4


class Stored(NamedTuple):
    """Stored record: its fixed bytes, and its position in the queue's order."""

    pos: int
    line: bytes
    measured: Result
    probe_id: str
    stream_id: str
    seq: int
    boot_id: str | None

    @property
    def result(self) -> Result:
        """Return the record with its position."""
        return self.measured.placed(
            probe_id=self.probe_id, stream_id=self.stream_id, seq=self.seq, boot_id=self.boot_id
        )


@dataclass(frozen=True, slots=True)
class Row:
    """Row of the queue. Times are RFC 3339 UTC."""

    pos: int
    id: str
    line: bytes
    sha256: bytes
    put_at: str
    own: bool
    state: State
    at: str | None
    collector: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Final statuses of a receipt: accepted ids, and rejected ids with their reasons."""

    acked: Sequence[str] = ()
    rejected: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Imported:
    """Records of other devices that this queue holds, by state; they are part of the counts in `Stats`."""

    pending: int = 0
    acked: int = 0
    rejected: int = 0
    carried: int = 0
    damaged: int = 0
    oldest_pending_at: str | None = None
    oldest_pending_line: bytes | None = None
    """The first waiting record of another device, as it was stored; the time above is that of its import."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of the queue. `size_bytes` counts the file's pages in use.

    The counts include records of other devices; `oldest_pending_at` is of this device's own.
    """

    pending: int
    acked: int
    rejected: int
    carried: int
    damaged: int
    oldest_pending_at: str | None
    last_upload_at: str | None
    size_bytes: int
    max_bytes: int
    set_aside_files: tuple[str, ...]
    newer_files: tuple[str, ...]


_T = TypeVar("_T")


def batched(items: Iterable[_T], most: int = PAGE) -> Iterator[list[_T]]:
    """Split a long sequence into pages, each read before its transaction begins."""
    waiting = iter(items)
    while page := list(islice(waiting, most)):
        yield page


def select(db: apsw.Connection, where: str, values: Sequence[Any], most: int) -> Iterator[Row]:
    """Yield rows in the order of `put`. `where` consists of fixed words; values are bound."""
    for row in db.execute(_SELECT.format(where=where), (*values, most)):
        pos, name, line, digest, put_at, own, state, at, collector, reason = row
        yield Row(
            pos,
            text(name) or "",
            line or b"",
            digest or b"",
            text(put_at) or "",
            bool(own),
            _state(state),
            text(at),
            text(collector),
            text(reason),
        )


def send_again(db: apsw.Connection) -> int:
    """Set every refused record back to pending; return how many."""
    db.execute("DELETE FROM fate WHERE state = ?", (int(State.REJECTED),))
    return db.changes()


def same_record(line: bytes, head: bytes, tail: bytes) -> bool:
    """Return True when a stored line is this record, whatever its position."""
    between = line[len(head) : len(line) - len(tail)]
    return line.startswith(head) and line.endswith(tail) and between.isdigit()


def text(value: bytes | None) -> str | None:
    """Decode text that was read as bytes; invalid UTF-8 is shown escaped."""
    return None if value is None else value.decode("utf-8", errors="replace")


def _state(value: object) -> State:
    return State(value) if isinstance(value, int) and value in _STATES else State.DAMAGED


_STATES: Final = frozenset(int(state) for state in State)


def verifies(name: object, digest: object, line: object) -> bool:
    """Return True when the bytes match their digest and carry the row's id."""
    if not (isinstance(name, str) and isinstance(digest, bytes) and isinstance(line, bytes)):
        return False
    if hashlib.sha256(line).digest() != digest:
        return False
    try:
        # a receipt settles by the id column: with another id, the wrong row would be settled
        return bool(json.loads(line)["id"] == name)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def state_checksum(name: str, state: int) -> bytes:
    """Return eight bytes that bind a state to its record."""
    return hashlib.sha256(f"{name} {int(state)}".encode()).digest()[:8]
