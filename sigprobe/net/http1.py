"""Parse HTTP/1.x response heads and chunked bodies, within limits of our own.

The one parser of the probe: checks, speed test and uploads all read answers with it. It accepts what browsers accept:
interim answers, bare LF, folded lines, a status line without a reason, thousands of header lines. Nothing here does
I/O. docs/design/003-by-hand.md says why it is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MAX_HEAD_BYTES: Final = 512 * 1024
"""Limit of one answer's head, interim answers included. Browsers stop between 256 and 384 KiB."""
MAX_HEADERS: Final = 10_000
MAX_LINE_BYTES: Final = 256 * 1024
MAX_INTERIM: Final = 64
MAX_CHUNK_LINE_BYTES: Final = 16 * 1024
MAX_TRAILER_BYTES: Final = 64 * 1024
_MAX_BLANK_LINES: Final = 16

_BOM: Final = b"\xef\xbb\xbf"
_STATUS: Final = re.compile(rb"HTTP/(\d)(?:\.(\d{1,3}))?[ \t]+([1-9]\d\d)(?!\d)[ \t]*(.*)", re.I | re.S)
_LENGTH: Final = re.compile(r"\d{1,18}")
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,15}")
ONE_VALUE: Final = frozenset({"location", "content-type", "date", "retry-after", "server", "content-range"})
"""Headers with one value: of several lines the first counts, others are not appended to it."""


class ProtocolError(Exception):
    """The peer sent something that is not a usable HTTP answer. Not an OSError: no library rewrites it."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of one final answer. Field values are Latin-1, as they came.

    `length` is None when the body is chunked or ends with the connection. `interim` holds the statuses of the 1xx
    answers before it, `size` the bytes of all of them together.
    """

    status: int
    reason: str
    version: str
    fields: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    chunked: bool
    length: int | None
    keep_alive: bool
    interim: tuple[int, ...] = ()
    size: int = 0

    def values(self, name: str) -> list[str]:
        """Return all values of a header, in order."""
        wanted = name.lower()
        return [value for key, value in self.fields if key.lower() == wanted]


class HeadParser:
    """Parse the head of the answer to one request from pieces of any size. `head` is None until it is complete."""

    def __init__(self, method: str = "GET") -> None:
        self.head: Head | None = None
        self._method = method.upper()
        self._buffer = bytearray()
        self._at = 0
        self._scanned = 0
        self._blank_lines = 0
        self._status: tuple[int, str, str] | None = None
        self._fields: list[tuple[str, list[str]]] = []
        self._interim: list[int] = []

    @property
    def started(self) -> bool:
        """Return whether any byte has come."""
        return bool(self._buffer)

    def feed(self, data: bytes | memoryview) -> bytes | None:
        """Parse the next piece. Return what follows the head once it is complete, else None. Raises ProtocolError."""
        self._buffer += data
        while True:
            end = self._buffer.find(b"\n", self._scanned)
            if end < 0:
                self._scanned = len(self._buffer)
                self._check_rest()
                return None
            if end - self._at > MAX_LINE_BYTES:
                raise ProtocolError(f"a header line of more than {MAX_LINE_BYTES} bytes")
            line = bytes(self._buffer[self._at : end])
            self._at = self._scanned = end + 1
            if self._at > MAX_HEAD_BYTES:
                raise ProtocolError(f"no end of the headers within {MAX_HEAD_BYTES} bytes")
            if self._line(line.removesuffix(b"\r")):
                return bytes(self._buffer[self._at :])

    def _check_rest(self) -> None:
        """Refuse an unfinished line early when it is too long, or is not HTTP."""
        if len(self._buffer) > MAX_HEAD_BYTES:
            raise ProtocolError(f"no end of the headers within {MAX_HEAD_BYTES} bytes")
        if len(self._buffer) - self._at > MAX_LINE_BYTES:
            raise ProtocolError(f"a header line of more than {MAX_LINE_BYTES} bytes")
        if self._status is None:
            begun = bytes(self._buffer[self._at : self._at + 64]).removeprefix(_BOM).lstrip()[:5]
            if not b"HTTP/".startswith(begun.upper()) and not _BOM.startswith(begun):
                raise ProtocolError(f"not HTTP: {bytes(self._buffer[self._at : self._at + 40])!r}")

    def _line(self, line: bytes) -> bool:
        """Parse one line; True when it ended the head of a final answer."""
        if self._status is None:
            self._begin(line)
        elif not line:
            return self._end()
        elif line[:1] in b" \t":
            if self._fields:  # obs-fold (RFC 9112, 5.2): one blank in its place
                self._fields[-1][1].append(line.strip().decode("latin-1"))
        else:
            name, colon, value = line.partition(b":")
            if colon and name.strip():  # as browsers do, a line without a name is passed over
                if len(self._fields) == MAX_HEADERS:
                    raise ProtocolError(f"more than {MAX_HEADERS} header lines")
                self._fields.append((name.strip().decode("latin-1"), [value.strip().decode("latin-1")]))
        return False

    def _begin(self, line: bytes) -> None:
        text = line.removeprefix(_BOM).strip()
        if not text:
            self._blank_lines += 1
            if self._blank_lines > _MAX_BLANK_LINES:
                raise ProtocolError("blank lines instead of a status line")
            return
        found = _STATUS.fullmatch(text)
        if found is None:
            raise ProtocolError(f"not HTTP: {line[:40]!r}")
        old = found[1] == b"0" or (found[1] == b"1" and found[2] in (None, b"0"))
        self._status = int(found[3]), found[4].decode("latin-1"), "1.0" if old else "1.1"

    def _end(self) -> bool:
        assert self._status is not None
        status, reason, version = self._status
        fields = tuple((name, " ".join(part for part in parts if part)) for name, parts in self._fields)
        if 100 <= status < 200 and status != 101:
            self._interim.append(status)
            if len(self._interim) > MAX_INTERIM:
                raise ProtocolError(f"more than {MAX_INTERIM} interim answers")
            self._status = None
            self._fields.clear()
            return False
        headers = _joined(fields)
        chunked, length = _framing(headers)
        if status in (101, 204, 304) or self._method == "HEAD" or (self._method == "CONNECT" and status < 300):
            chunked, length = False, 0
        tokens = {token.strip() for token in headers.get("connection", "").lower().split(",")}
        keep = "close" not in tokens and (version == "1.1" or "keep-alive" in tokens)
        # both framings at once: the end of this answer is ambiguous (RFC 9112, 6.1)
        keep = keep and (chunked or length is not None) and not (chunked and "content-length" in headers)
        self.head = Head(
            status, reason, version, fields, headers, chunked, length, keep, tuple(self._interim), self._at
        )
        return True


def _joined(fields: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Header values by lower-case name; several lines are joined with commas."""
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name.lower(), []).append(value)
    return {name: values[0] if name in ONE_VALUE else ", ".join(values) for name, values in found.items()}


def _framing(headers: Mapping[str, str]) -> tuple[bool, int | None]:
    """Return whether the body is chunked, and its length where that is announced. Raises ProtocolError."""
    codings = {token.strip() for token in headers.get("transfer-encoding", "").lower().split(",")} - {"", "identity"}
    if "chunked" in codings:
        return True, None
    if codings:
        return False, None
    # "5, 5" and repeated equal lines are one length; anything that is no number counts as absent, as in browsers
    lengths = {text.strip() for text in headers.get("content-length", "").split(",")} - {""}
    usable = {int(text) for text in lengths if _LENGTH.fullmatch(text)}
    if len(usable) > 1:
        raise ProtocolError(f"contradicting Content-Length {headers['content-length'][:40]!r}")
    return False, usable.pop() if len(usable) == len(lengths) == 1 else None


# --- chunked bodies -----------------------------------------------------------------------------------------


def chunk_size(line: bytes) -> int:
    """Return the size that a chunk's first line announces; extensions are ignored. Raises ProtocolError."""
    text = line.partition(b";")[0].strip()
    if _CHUNK_SIZE.fullmatch(text) is None:
        raise ProtocolError(f"broken chunked body: {line[:40]!r}")
    return int(text, 16)


class ChunkParser:
    """Parse chunked framing from pieces of any size and count the payload in them.

    `done` is set once the trailers have ended; `unused` is then what followed in the last piece, in bytes.
    """

    __slots__ = ("_after", "_left", "_line", "_trailer_bytes", "_trailers", "done", "unused")

    def __init__(self) -> None:
        self.done = False
        self.unused = 0
        self._left = 0
        self._after = False
        self._trailers = False
        self._trailer_bytes = 0
        self._line = bytearray()

    @property
    def payload_done(self) -> bool:
        """Whether the last chunk has come. Many servers close here, without the line that should end the body."""
        return self._trailers

    def feed(self, piece: memoryview, keep: bytearray | None = None) -> int:
        """Take the next piece; return the payload bytes in it, added to `keep` where given. Raises ProtocolError."""
        payload, at, size = 0, 0, len(piece)
        while at < size and not self.done:
            if self._left:
                step = min(self._left, size - at)
                if keep is not None:
                    keep += piece[at : at + step]
                payload += step
                self._left -= step
                self._after = self._left == 0
                at += step
            else:
                at += self._take_line(piece[at : at + MAX_CHUNK_LINE_BYTES])
        self.unused = size - at
        return payload

    def _take_line(self, piece: memoryview) -> int:
        text = bytes(piece[:64])
        found = text.find(b"\n")
        if found < 0 and len(piece) > 64:
            text = bytes(piece)
            found = text.find(b"\n")
        step = len(piece) if found < 0 else found + 1
        self._line += text[:step] if step <= len(text) else piece[:step]
        if found < 0:
            if len(self._line) > MAX_CHUNK_LINE_BYTES:
                raise ProtocolError("broken chunked body: a line without an end")
            return step
        line = bytes(self._line).strip()
        self._line.clear()
        if self._trailers:
            self._trailer_bytes += step
            if self._trailer_bytes > MAX_TRAILER_BYTES:
                raise ProtocolError(f"trailers of more than {MAX_TRAILER_BYTES} bytes")
            self.done = not line
        elif self._after:
            if line:
                raise ProtocolError(f"broken chunked body: {line[:40]!r} behind a chunk")
            self._after = False
        else:
            self._left = chunk_size(line)
            self._trailers = self._left == 0
        return step
