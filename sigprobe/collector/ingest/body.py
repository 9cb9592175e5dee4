"""Read the body of a request into lines, within the protocol's limits."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sigprobe.collector.web.problems import ProblemError
from sigprobe.protocol import batches

_CHUNK: Final = 64 * 1024
_FEED: Final = 16 * 1024
_MAX_MEMBERS: Final = 1000
_GZIP: Final = 31  # zlib's window bits for a gzip header and trailer
_RATIO_FLOOR: Final = 64 * 1024
"""What any body may unpack to, however small: one record of the longest kind, which may well be repetitive."""

_SHA256: Final = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]*):\s*(?:;[^,]*)?(?=,|$)")
_DIGITS: Final = re.compile(r"[0-9]{1,15}")


def declared_length(header: str | None) -> int | None:
    """The Content-Length, None when the body is chunked. Raises ProblemError: 400 no number, 413 over the limit."""
    if header is None:
        return None
    if not _DIGITS.fullmatch(header.strip()):
        raise ProblemError(400, "Content-Length is not a number")
    length = int(header)
    if length > batches.MAX_COMPRESSED_BYTES:
        raise _too_large()
    return length


@dataclass(frozen=True, slots=True)
class Pace:
    """Minimum speed of a body: never silent for `idle_s`, and after `grace_s` at `least_bps` on average."""

    idle_s: float
    grace_s: float
    least_bps: float

    def left_s(self, elapsed_s: float, received: int) -> float:
        """Return seconds that the sender may still be silent; none left for one that is behind."""
        return min(self.idle_s, self.grace_s + received * 8 / self.least_bps - elapsed_s)


async def read_body(
    chunks: AsyncIterator[bytes],
    *,
    pace: Pace,
    arrived: Callable[[int], None] = lambda _size: None,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """Read at most `batches.MAX_COMPRESSED_BYTES`, whatever was declared; `arrived` is called for each piece.

    Raises ProblemError 413 past the limit and 408 for a sender slower than `pace`.
    """
    body = bytearray()
    began_s = clock()
    while True:
        left_s = pace.left_s(clock() - began_s, len(body))
        try:
            if left_s <= 0:
                raise TimeoutError
            async with asyncio.timeout(left_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return bytes(body)
        except TimeoutError as error:
            raise ProblemError(408, "the body came too slowly", headers={"Connection": "close"}) from error
        arrived(len(chunk))
        body += chunk
        if len(body) > batches.MAX_COMPRESSED_BYTES:
            raise _too_large()


def _too_large() -> ProblemError:
    return ProblemError(413, "the body is too large", f"at most {batches.MAX_COMPRESSED_BYTES} bytes as sent")


def check_digest(header: str | None, body: bytes) -> None:
    """Compare the body with its `Content-Digest`. Raises ProblemError 400 if missing, malformed or different."""
    found = _SHA256.search(header or "")
    if found is None:
        raise ProblemError(400, "Content-Digest with sha-256 is missing")
    try:
        wanted = base64.b64decode(found[1], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProblemError(400, "Content-Digest is not base64") from error
    if not hmac.compare_digest(wanted, hashlib.sha256(body).digest()):
        raise ProblemError(400, "the body is not what Content-Digest says", "it was changed on the way")


def unpack(body: bytes, encoding: str) -> Iterator[bytes]:
    """Return the body in pieces of at most 64 KiB. `encoding` is the Content-Encoding: `gzip`, `identity` or empty.

    Raises ProblemError: 415 for another encoding, 400 for bad gzip (cut off, garbage behind it), 413 when it
    unpacks to more than 16 MiB or to more than 100 times its size.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return iter([body] if body else [])
    if name not in ("gzip", "x-gzip"):
        raise ProblemError(415, "Content-Encoding must be gzip or identity")
    return _inflate(body)


def _inflate(body: bytes) -> Iterator[bytes]:
    limit = min(batches.MAX_DECOMPRESSED_BYTES, max(_RATIO_FLOOR, batches.MAX_RATIO * len(body)))
    total = 0
    position = 0
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(wbits=_GZIP)
        while not member.eof:
            # fed in slices: handing over the whole rest each time would copy it each time
            piece = member.unconsumed_tail
            if not piece:
                piece = body[position : position + _FEED]
                position += len(piece)
            try:
                chunk = member.decompress(piece, _CHUNK)
            except zlib.error as error:
                raise ProblemError(400, "the body is not valid gzip") from error
            if not piece and not chunk and not member.eof:
                raise ProblemError(400, "the gzip body is cut off")
            total += len(chunk)
            if total > limit:
                raise ProblemError(413, "the body unpacks to too much", f"at most {limit} bytes for this one")
            if chunk:
                yield chunk
        position -= len(member.unused_data)
        if position >= len(body):
            return
    raise ProblemError(400, "the gzip body has too many parts")


_FAILED: Final = re.compile(rb'"outcome"\s*:\s*"(?:failed|degraded)"')
_LOOKED_AT: Final = 16 * 1024


def has_failures(body: bytes) -> bool:
    """Return whether a small body, gzipped or not, holds a check that failed. A hint for its place in a queue."""
    if len(body) > _LOOKED_AT:
        return False
    if body[:2] == b"\x1f\x8b":
        try:
            body = zlib.decompressobj(wbits=_GZIP).decompress(body, 16 * _LOOKED_AT)
        except zlib.error:
            return False
    return _FAILED.search(body) is not None


def split_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines without their ends; empty ones are left out.

    Raises ProblemError 413 for a line over 64 KiB or more than 5,000 lines.
    """
    tail = b""
    count = 0
    for chunk in chunks:
        *lines, tail = (tail + chunk).split(b"\n")
        for line in (*lines, b"" if len(tail) <= batches.MAX_LINE_BYTES else tail):
            if len(line) > batches.MAX_LINE_BYTES:
                raise ProblemError(413, "a record is too long", f"at most {batches.MAX_LINE_BYTES} bytes a line")
            if line:
                count += 1
                _check_count(count)
                yield line
    if tail:
        _check_count(count + 1)
        yield tail


def _check_count(count: int) -> None:
    if count > batches.MAX_RECORDS:
        raise ProblemError(413, "too many records", f"at most {batches.MAX_RECORDS} in a batch")
