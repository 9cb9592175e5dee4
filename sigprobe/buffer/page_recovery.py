"""Recover records from the raw bytes of a broken queue file that SQLite cannot read.

A record's cell is recognised by its constant column types. These are null, a text of 36 bytes (the id), a blob of 32
(the digest), a text of 24 (a time), two small numbers, a blob (the line). Every page of the file and every frame of its
-wal is searched for that pattern, whatever the pages' own tables say. Longer lines continue in overflow pages. A record
counts only if its digest and its id verify, a state only if its checksum verifies. SQLite's file format:
https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from sigprobe.buffer import rows
from sigprobe.buffer.schema import PAGE_SIZE

MOST_BYTES: Final = 1 << 30
"""No more of a file is read: a queue is far smaller, and a foreign file may be of any size."""

_RECORD: Final = b"\x00\x55\x4c\x3d"  # null, text 36, blob 32, text 24; then two of 0x08/0x09 and the line's type
_FATE: Final = b"\x3d\x1c"  # text 24, blob 8; before them null and the state's type
_FRAME_HEADER: Final = 24
_WAL_HEADER: Final = 32
_ID, _DIGEST, _TIME, _CHECKSUM = 36, 32, 24, 8
_LONGEST_LINE: Final = 1 << 20
_LONGEST_TEXT: Final = 1 << 16
_MOST_VERSIONS: Final = 8


@dataclass(frozen=True, slots=True)
class RecoveredRecord:
    """Verified record. `pos` is None if its position could not be read."""

    pos: int | None
    id: str
    sha256: bytes
    put_at: str
    urgent: bool
    own: bool
    line: bytes


@dataclass(frozen=True, slots=True)
class StoredState:
    """Content of a state's cell; it is valid only for a record whose id matches `checksum`."""

    pos: int
    state: int
    at: str
    checksum: bytes
    collector: str | None
    reason: str | None


class PageRecovery:
    """Read the pages of a broken database and its -wal. Memory: one page and the offsets of the frames."""

    def __init__(self, path: Path) -> None:
        self.complete = True
        """False when the disk could not give back some of the bytes."""
        self._files: list[tuple[BinaryIO, list[tuple[int, int]]]] = []
        self._versions: dict[int, list[tuple[BinaryIO, int]]] = {}
        self._open(path, 0, PAGE_SIZE)
        self._open(path.with_name(path.name + "-wal"), _WAL_HEADER + _FRAME_HEADER, PAGE_SIZE + _FRAME_HEADER)

    def _open(self, path: Path, first: int, step: int) -> None:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        except OSError:
            self.complete = False
            return
        size = min(file.seek(0, 2), MOST_BYTES)
        places: list[tuple[int, int]] = []
        for index, offset in enumerate(range(first, size, step)):
            number = index + 1
            if first:
                number = int.from_bytes(self._read(file, offset - _FRAME_HEADER, 4), "big")
                # the newest frame of a page is the most likely continuation of a record
                self._versions.setdefault(number, []).insert(0, (file, offset))
            else:
                self._versions.setdefault(number, []).append((file, offset))
            places.append((number, offset))
        self._files.append((file, places))

    def close(self) -> None:
        """Close the files."""
        for file, _ in self._files:
            file.close()

    def __enter__(self) -> PageRecovery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pages(self) -> Iterator[bytes]:
        for file, places in self._files:
            for _, offset in places:
                yield self._read(file, offset, PAGE_SIZE)

    def _read(self, file: BinaryIO, offset: int, size: int) -> bytes:
        try:
            file.seek(offset)
            return file.read(size)
        except OSError:
            self.complete = False
            return b""

    def records(self) -> Iterator[RecoveredRecord]:
        """Yield every record that verifies; the same one may come more than once."""
        for page in self._pages():
            at = page.find(_RECORD, 1)
            while at > 0:
                found = self._record(page, at)
                if found is not None:
                    yield found
                at = page.find(_RECORD, at + 1)

    def _record(self, page: bytes, types: int) -> RecoveredRecord | None:
        urgent, own = page[types + 4 : types + 5], page[types + 5 : types + 6]
        kind, width = _varint(page, types + 6)
        header = 7 + width  # its own length byte, six types, the line's type
        if width == 0 or urgent not in (b"\x08", b"\x09") or own not in (b"\x08", b"\x09"):
            return None
        if page[types - 1] != header or kind < 12 or kind % 2:
            return None
        length = (kind - 12) // 2
        if length > _LONGEST_LINE:
            return None
        size = header + _ID + _DIGEST + _TIME + length
        for payload in self._payloads(page, types - 1, size):
            body = payload[header:]
            name = body[:_ID].decode("ascii", errors="replace")
            digest = body[_ID : _ID + _DIGEST]
            put_at = body[_ID + _DIGEST : _ID + _DIGEST + _TIME].decode("ascii", errors="replace")
            line = body[_ID + _DIGEST + _TIME :]
            if rows.verifies(name, digest, line):
                return RecoveredRecord(
                    _rowid(page, types - 1, size), name, digest, put_at, urgent == b"\x09", own == b"\x09", line
                )
        return None

    def _payloads(self, page: bytes, start: int, size: int) -> Iterator[bytes]:
        """Yield the possible payloads of a cell: complete, or continued in the newest or the oldest overflow pages."""
        most = PAGE_SIZE - 35
        if size <= most:
            if start + size <= len(page):
                yield page[start : start + size]
            return
        least = (PAGE_SIZE - 12) * 32 // 255 - 23
        here = least + (size - least) % (PAGE_SIZE - 4)
        here = here if here <= most else least
        if start + here + 4 > len(page):
            return
        following = int.from_bytes(page[start + here : start + here + 4], "big")
        for choice in (0, -1):
            rest = self._overflow(following, size - here, choice)
            if rest is not None:
                yield page[start : start + here] + rest

    def _overflow(self, number: int, size: int, choice: int) -> bytes | None:
        parts: list[bytes] = []
        # bounded by the expected size, so a circular chain ends as well
        while size > 0:
            versions = self._versions.get(number)
            if versions is None:
                return None
            file, offset = versions[choice]
            page = self._read(file, offset, PAGE_SIZE)
            parts.append(page[4 : 4 + size])
            if not parts[-1]:
                return None
            size -= len(parts[-1])
            number = int.from_bytes(page[:4], "big")
        return b"".join(parts)

    def states(self) -> dict[int, list[StoredState]]:
        """Return the states by position, unverified, a few versions of each at most."""
        found: dict[int, list[StoredState]] = {}
        for page in self._pages():
            at = page.find(_FATE, 3)
            while at > 0:
                kept = _state_cell(page, at - 2)
                if kept is not None:
                    known = found.setdefault(kept.pos, [])
                    if kept not in known and len(known) < _MOST_VERSIONS:
                        known.append(kept)
                at = page.find(_FATE, at + 1)
        return found


def _state_cell(page: bytes, types: int) -> StoredState | None:
    small = page[types + 1 : types + 2]
    if page[types] != 0 or small not in (b"\x01", b"\x09"):
        return None
    collector, first = _varint(page, types + 4)
    reason, second = _varint(page, types + 4 + first)
    header = 5 + first + second
    if not first or not second or page[types - 1] != header:
        return None
    lengths = [0 if kind == 0 else (kind - 13) // 2 for kind in (collector, reason)]
    if any(kind and (kind < 13 or not kind % 2) for kind in (collector, reason)) or max(lengths) > _LONGEST_TEXT:
        return None
    at = types - 1 + header
    state = 1
    if small == b"\x01":
        state = page[at] if at < len(page) else 0
        at += 1
    size = header + (small == b"\x01") + _TIME + _CHECKSUM + sum(lengths)
    pos = _rowid(page, types - 1, size)
    if pos is None or types - 1 + size > len(page):
        return None
    texts = [page[at : at + _TIME], b"", b""]
    checksum = page[at + _TIME : at + _TIME + _CHECKSUM]
    at += _TIME + _CHECKSUM
    for index, length in enumerate(lengths):
        texts[index + 1] = page[at : at + length]
        at += length
    when, who, why = (raw.decode("utf-8", errors="replace") for raw in texts)
    return StoredState(pos, state, when, checksum, who if collector else None, why if reason else None)


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """Read a varint of up to four bytes (no length here needs more) and its width; width 0 without one."""
    value = 0
    for width in range(1, 5):
        if at + width > len(page):
            return 0, 0
        byte = page[at + width - 1]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, width
    return 0, 0


def _rowid(page: bytes, start: int, size: int) -> int | None:
    """Read the row number before the payload at `start`; it follows the payload's size."""
    length = _encoded(size)
    for width in range(1, 9):
        at = start - width - len(length)
        if at < 0:
            return None
        value, used = _long_varint(page[start - width : start])
        if used == width and page[at : at + len(length)] == length:
            return value
    return None


def _encoded(value: int) -> bytes:
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def _long_varint(raw: bytes) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(raw):
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, index + 1
    return 0, 0
