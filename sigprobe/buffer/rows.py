"""What a row of the queue is: its states, its verdicts, how it is read, and how it proves itself.

A record's SHA-256 covers its bytes, a fate's seal covers which record it settles and how. So a flipped bit can neither
send an altered record nor make one that still waits look acknowledged.
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
# text is read as bytes: one flipped bit in it must be a damaged row, not an exception of the decoder
_SELECT: Final = (
    "SELECT record.pos, CAST(id AS BLOB), CAST(line AS BLOB), CAST(sha256 AS BLOB), CAST(put_at AS BLOB), own,"
    " coalesce(state, 0), CAST(at AS BLOB), CAST(collector AS BLOB), CAST(reason AS BLOB)"
    " FROM record LEFT JOIN fate ON fate.pos = record.pos WHERE {where} ORDER BY record.pos LIMIT ?"
)


class State(IntEnum):
    """What has become of a record."""

    PENDING = 0
    ACKED = 1
    REJECTED = 2
    CARRIED = 3
    DAMAGED = 4


class Stored(NamedTuple):
    """A record that is on disk: its bytes, fixed for good, and the place in the queue's order that they carry."""

    pos: int
    line: bytes
    measured: Result
    probe_id: str
    stream_id: str
    seq: int
    boot_id: str | None

    @property
    def result(self) -> Result:
        """The record with its place."""
        return self.measured.placed(
            probe_id=self.probe_id, stream_id=self.stream_id, seq=self.seq, boot_id=self.boot_id
        )


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it lies in the queue. Times are RFC 3339 UTC."""

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
    """What a receipt settled: ids taken by the collector, and ids it will not take, each with its reason."""

    acked: Sequence[str] = ()
    rejected: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Stats:
    """The queue in numbers. `size_bytes` counts the file's pages in use."""

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
    """Cut a long run into pages, each read before a transaction begins."""
    waiting = iter(items)
    while page := list(islice(waiting, most)):
        yield page


def select(db: apsw.Connection, where: str, values: Sequence[Any], most: int) -> Iterator[Row]:
    """Rows in the order of `put`. `where` is made of fixed words; values are bound."""
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
    """Let every refused record wait once more; returns how many."""
    db.execute("DELETE FROM fate WHERE state = ?", (int(State.REJECTED),))
    return db.changes()


def same_record(line: bytes, head: bytes, tail: bytes) -> bool:
    """True when a stored line is this record, whatever place it was given."""
    between = line[len(head) : len(line) - len(tail)]
    return line.startswith(head) and line.endswith(tail) and between.isdigit()


def text(value: bytes | None) -> str | None:
    """Text that was read as bytes; what is not UTF-8 any more is shown as such."""
    return None if value is None else value.decode("utf-8", errors="replace")


def _state(value: object) -> State:
    return State(value) if isinstance(value, int) and value in _STATES else State.DAMAGED


_STATES: Final = frozenset(int(state) for state in State)


def verifies(name: object, digest: object, line: object) -> bool:
    """True when the bytes match their digest and carry the id that the row is filed under."""
    if not (isinstance(name, str) and isinstance(digest, bytes) and isinstance(line, bytes)):
        return False
    if hashlib.sha256(line).digest() != digest:
        return False
    try:
        # a receipt settles by the id column: were it another's, the wrong row would be settled
        return bool(json.loads(line)["id"] == name)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def seal(name: str, state: int) -> bytes:
    """Eight bytes that tie a fate to its record."""
    return hashlib.sha256(f"{name} {int(state)}".encode()).digest()[:8]
