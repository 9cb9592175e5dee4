"""Decode the body of an answer: content encoding, then charset."""

from __future__ import annotations

import re
import zlib
from typing import Final

MAX_DECODED_BYTES: Final = 16 * 1024 * 1024

_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_-]{1,40})", re.I)
_TEXT_CODECS: Final = re.compile(
    r"(?:us-)?ascii|utf-?(?:8|16|32)(?:-?[lb]e)?|iso-?8859-?\d{1,2}|latin-?1|windows-\d{3,4}|cp\d{3,4}|koi8-[ru]"
    r"|gb\w+|big5\w*|shift_jis|euc-\w+|tis-620",
    re.I,
)


_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_PLAIN: Final = frozenset({"", "identity", "none", "binary", "8bit", "7bit", "utf-8", "utf8", "us-ascii", "iso-8859-1"})
"""Names that servers write for a body that is not packed; only the first two are right."""
_WINDOWS: Final = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}  # some send deflate without its header
MAX_LAYERS: Final = 4


_PACKED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip and zstd; brotli and deflate have none."""
_NO_TEXT: Final = bytes({*range(9), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)})
"""Control characters that no text has (WHATWG, MIME sniffing)."""
_MEDIA: Final = ("image/", "audio/", "video/", "font/")


def is_packed(content: bytes) -> bool:
    """Return whether a body is still gzip or zstd, by its first bytes."""
    return content.startswith(_PACKED)


def is_text(content: bytes, content_type: str) -> bool:
    """Return whether a body can be searched for a text; not so one that is packed and does not say it.

    That is one that is no UTF-8 and has control characters all over. Media is what it says it is: without the text.
    """
    if is_packed(content):
        return False
    if content.startswith(tuple(mark for mark, _ in _BOMS)) or content_type.strip().lower().startswith(_MEDIA):
        return True
    named = _CHARSET.search(content_type)
    if named and named.group(1).lower().startswith(("utf-16", "utf16", "utf-32", "utf32")):
        return True
    odd = len(content) - len(content.translate(None, _NO_TEXT))
    return odd * 50 <= len(content) or "\ufffd" not in content.decode("utf-8", "replace")


def text_of(content: bytes, content_type: str) -> str:
    """Decode a body: by its byte order mark, else the charset of header or page, else UTF-8; errors are replaced."""
    for mark, charset in _BOMS:
        if content.startswith(mark):
            return content[len(mark) :].decode(charset, "replace")
    named = _CHARSET.search(content_type) or _CHARSET.search(content[:1024].decode("ascii", "replace"))
    for charset in (named.group(1) if named else "utf-8", "utf-8"):
        # only charsets: Python also knows codecs that are slow or no text at all
        if _TEXT_CODECS.fullmatch(charset):
            try:
                return content.decode(charset, "replace")
            except LookupError:
                continue
    return content.decode("utf-8", "replace")


def decoded(body: bytes, encoding: str) -> bytes | None:
    """Undo gzip and deflate, also one on the other; at most `MAX_DECODED_BYTES`.

    None where that is not possible: `br`, `zstd`, `compress` and others, which some servers send unasked, and bytes
    that are not what the header says.
    """
    names = [name.strip().lower() for name in encoding.split(",")]
    packed = [name for name in names if name not in _PLAIN]
    if len(packed) > MAX_LAYERS or any(name not in _WINDOWS for name in packed):
        return None
    for name in reversed(packed):  # listed in the order in which they were applied
        found = None if body else b""
        for window in _WINDOWS[name]:
            found = _inflated(body, window) if found is None else found
        if found is None:
            return None
        body = found
    return body


def _inflated(body: bytes, window: int) -> bytes | None:
    """Unpack every member of a stream; what was cut short gives what there is of it. None for something else."""
    found = bytearray()
    while body and len(found) < MAX_DECODED_BYTES:
        stream = zlib.decompressobj(window)
        try:
            found += stream.decompress(body, MAX_DECODED_BYTES - len(found))
        except zlib.error:
            return bytes(found) if found else None
        if not stream.eof:
            break
        body = stream.unused_data if window == 31 else b""
    return bytes(found)
