"""Read and write the transfer files for records and receipts, used when there is no network.

A file is one gzip member of NDJSON: a header line, one line per record or receipt, and a trailer line. The trailer has
the count and the SHA-256 of all bytes before it. A record's line is its stored bytes. Nothing is imported before the
trailer is verified. Later reads are compared with the verified digests.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from sigprobe.files.atomic import sync_directory
from sigprobe.record.foreign_json import read_object
from sigprobe.record.result import MAX_LINE_BYTES

RESULTS: Final = "sigprobe-results"
RECEIPTS: Final = "sigprobe-receipts"
VERSION: Final = 1
SUFFIX: Final = ".ndjson.gz"

MAX_RAW_BYTES: Final = 2 * 1024**3
MAX_RATIO: Final = 200
CHUNK: Final = 500
"""Lines that are taken over together, and between two marks of the digest."""

_RATIO_FROM: Final = 1024 * 1024
_BLOCK: Final = 64 * 1024
# no time, name, flags or system: so each byte of a file has one right value
_GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
_MAX_ID: Final = 128
_MAX_TEXT: Final = 2000


class CarryError(Exception):
    """Raised when a file cannot be written or imported. `code` is a failure code, `detail` the technical reason."""

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(detail or code)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Header:
    """Header of a file. `probe_id` is the device that wrote it, null for a collector."""

    format: str
    version: int
    probe_id: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """Receipt of one record: SHA-256 of its stored bytes in hex, a status of the protocol, and the collector."""

    id: str
    sha256: str
    status: str
    collector: str


@dataclass(frozen=True, slots=True)
class Verified:
    """File with a verified trailer. `marks` are the digests after each `CHUNK` lines."""

    header: Header
    count: int
    file_bytes: int
    marks: tuple[bytes, ...]


# --- writing ------------------------------------------------------------------------------------------------


class Writer:
    """Write lines into an open file. `count` and `raw_bytes` grow with it."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self.count = 0
        self.raw_bytes = 0
        self._file = file
        self._packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._crc = 0
        self._digest = hashlib.sha256()
        file.write(_GZIP_HEAD)
        self._write(
            _to_line(
                {
                    "format": header.format,
                    "version": header.version,
                    "probe_id": header.probe_id,
                    "created_at": header.created_at,
                }
            )
        )

    def add(self, line: bytes) -> None:
        """Write one line. Raises CarryError when the file would exceed the size limit of readers."""
        if self.raw_bytes + len(line) > MAX_RAW_BYTES - MAX_LINE_BYTES:
            raise CarryError("file_too_big", f"more than {MAX_RAW_BYTES} bytes")
        self._write(line)
        self.count += 1

    def add_receipt(self, receipt: ReceiptLine) -> None:
        """Write one receipt."""
        self.add(
            _to_line(
                {
                    "id": receipt.id,
                    "sha256": receipt.sha256,
                    "status": receipt.status,
                    "collector": receipt.collector,
                }
            )
        )

    def finish(self) -> None:
        """Write the trailer. Readers reject a file without it."""
        self._write(_to_line({"end": True, "count": self.count, "sha256": self._digest.hexdigest()}))
        self._file.write(self._packer.flush() + struct.pack("<LL", self._crc, self.raw_bytes & 0xFFFFFFFF))

    def _write(self, line: bytes) -> None:
        raw = line + b"\n"
        self._digest.update(raw)
        self._crc = zlib.crc32(raw, self._crc)
        self.raw_bytes += len(raw)
        self._file.write(self._packer.compress(raw))


def _to_line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")


@contextmanager
def writing(path: Path, header: Header, *, overwrite: bool = False) -> Iterator[Writer]:
    """Write a file atomically: to a temporary file beside it, synced, then renamed over it.

    Raises CarryError: `file_exists`, `file_directory`, `file_full`, `file_unwritable`, `file_too_big`. After an error
    no temporary file remains, and an existing file is unchanged.
    """
    _refuse_taken(path, overwrite=overwrite)
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        file = os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644), "wb")
    except (OSError, ValueError) as error:
        raise _write_error(error) from error
    try:
        try:
            with file:
                writer = Writer(file, header)
                yield writer
                writer.finish()
                file.flush()
                os.fsync(file.fileno())
            _refuse_taken(path, overwrite=overwrite)
            part.replace(path)
        except OSError as error:
            raise _write_error(error) from error
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    sync_directory(path.parent)


def _refuse_taken(path: Path, *, overwrite: bool) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _write_error(error) from error
    if stat.S_ISDIR(mode):
        raise CarryError("file_directory")
    if not stat.S_ISREG(mode):
        raise CarryError("file_unwritable", "there is something at this name that is not a plain file")
    if not overwrite:
        raise CarryError("file_exists")


def _write_error(error: OSError | ValueError) -> CarryError:
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        return CarryError("file_full" if full else "file_unwritable", error.strerror or str(error))
    return CarryError("file_unwritable", str(error))


# --- reading ------------------------------------------------------------------------------------------------


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for verification and reading. Raises CarryError `file_unreadable` or `file_directory`."""
    try:
        # opening a pipe without a writer would block forever
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise CarryError("file_unreadable", getattr(error, "strerror", None) or str(error)) from error
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        if stat.S_ISDIR(mode):
            raise CarryError("file_directory")
        raise CarryError("file_unreadable", "it is not a plain file")
    with os.fdopen(fd, "rb") as file:
        yield file


def verify(file: BinaryIO, check: Callable[[Header, bytes], str | None]) -> Verified:
    """Verify a whole file in constant memory, without importing anything.

    `check` inspects each line between header and trailer and returns an error or None. Raises CarryError:
    `file_not_ours`, `file_newer`, `file_damaged`, `file_too_big`, `file_unreadable`.
    """
    digest = hashlib.sha256()
    marks: list[bytes] = []
    count = 0
    with _read_errors():
        lines = _lines(file)
        first = next(lines, None)
        if first is None:
            raise CarryError("file_damaged", "it is empty")
        header = _header(first)
        digest.update(first + b"\n")
        held: bytes | None = None
        for line in lines:
            if held is not None:
                fault = check(header, held)
                if fault is not None:
                    raise CarryError("file_damaged", f"line {count + 2}: {fault}")
                digest.update(held + b"\n")
                count += 1
                if count % CHUNK == 0:
                    marks.append(digest.digest())
            held = line
        if held is None:
            raise CarryError("file_damaged", "its end is missing")
        marks.append(digest.digest())
        _check_trailer(held, count, digest.hexdigest())
        return Verified(header, count, os.fstat(file.fileno()).st_size, tuple(marks))


def chunks(file: BinaryIO, verified: Verified) -> Iterator[list[bytes]]:
    """Read a verified file again, at most `CHUNK` lines at a time. Each chunk is checked against its digest first.

    Raises CarryError `file_changed` when a digest differs.
    """
    digest = hashlib.sha256()
    left = verified.count
    with _read_errors(), _changed():
        lines = _lines(file)
        digest.update(next(lines, b"") + b"\n")
        for mark in verified.marks:
            chunk: list[bytes] = []
            while left and len(chunk) < CHUNK:
                line = next(lines, b"")
                digest.update(line + b"\n")
                chunk.append(line)
                left -= 1
            if digest.digest() != mark:
                raise CarryError("file_changed", "its digest is another one now")
            if chunk:
                yield chunk


@contextmanager
def _changed() -> Iterator[None]:
    """Report any error in a verified file as `file_changed`."""
    try:
        yield
    except CarryError as error:
        raise CarryError("file_changed", error.detail) from error


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CarryError("file_unreadable", error.strerror or str(error)) from error


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the unpacked lines without line ends. The last line must have one, and the gzip member must be complete."""
    rest = b""
    for block in _unpacked(file):
        pieces = (rest + block).split(b"\n")
        rest = pieces.pop()
        if len(rest) > MAX_LINE_BYTES or any(len(piece) > MAX_LINE_BYTES for piece in pieces):
            raise CarryError("file_too_big", f"a line is longer than {MAX_LINE_BYTES} bytes")
        yield from pieces
    if rest:
        raise CarryError("file_damaged", "its last line has no end")


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    head = file.read(len(_GZIP_HEAD))
    if head != _GZIP_HEAD:
        cut = _GZIP_HEAD.startswith(head)
        raise CarryError(
            "file_damaged" if cut else "file_not_ours", "it is cut off" if cut else "it is packed otherwise"
        )
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    packed = len(head)
    raw = 0
    data = head
    while data or not unpacker.eof:
        try:
            block = unpacker.decompress(data, _BLOCK)
        except zlib.error as error:
            raise CarryError("file_damaged", str(error)) from error
        raw += len(block)
        if raw > MAX_RAW_BYTES or (raw > _RATIO_FROM and raw > MAX_RATIO * packed):
            raise CarryError("file_too_big", f"{raw} bytes out of {packed}")
        if block:
            yield block
        if unpacker.eof:
            if unpacker.unused_data or file.read(1):
                raise CarryError("file_damaged", "there is more after its end")
            return
        data = unpacker.unconsumed_tail
        if not data:
            data = file.read(_BLOCK)
            packed += len(data)
            if not data and not block:
                raise CarryError("file_damaged", "it is cut off")


def _header(line: bytes) -> Header:
    try:
        found = read_object(line)
    except ValueError as error:
        raise CarryError("file_not_ours", "its first line is no header") from error
    name, version = found.get("format"), found.get("version")
    if name not in (RESULTS, RECEIPTS) or not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise CarryError("file_not_ours", "its first line is no header")
    if version > VERSION:
        raise CarryError("file_newer", f"version {version}, this sigprobe knows {VERSION}")
    probe_id, created_at = found.get("probe_id"), found.get("created_at")
    return Header(name, version, probe_id if isinstance(probe_id, str) else None, str(created_at or ""))


def _check_trailer(line: bytes, count: int, digest: str) -> None:
    try:
        found = read_object(line)
    except ValueError:
        found = {}
    if found.get("end") is not True:
        raise CarryError("file_damaged", "its end is missing")
    if found.get("count") != count or isinstance(found["count"], bool):
        raise CarryError("file_damaged", f"it holds {count} lines, its end says another number")
    if found.get("sha256") != digest:
        raise CarryError("file_damaged", "its SHA-256 does not fit")


def read_record(line: bytes) -> dict[str, Any]:
    """Parse a record with an id that a receipt can name. Raises ValueError, as for a line of a batch."""
    record = read_object(line)
    name = record.get("id")
    if not isinstance(name, str) or not 1 <= len(name) <= _MAX_ID or not name.isprintable():
        raise ValueError("no id")
    return record


def read_receipt_line(line: bytes) -> ReceiptLine:
    """Parse a line of a receipts file. Raises ValueError for an invalid one."""
    found = read_object(line)
    values = [found.get(name) for name in ("id", "sha256", "status", "collector")]
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != len(values) or not _HEX.match(texts[1]):
        raise ValueError("no receipt")
    if any(len(text) > _MAX_TEXT or not text.isprintable() for text in texts):
        raise ValueError("no text fit for a screen")  # they are displayed on the device of origin
    return ReceiptLine(*texts)
