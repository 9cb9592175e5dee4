"""The body of a page: its content encoding undone and its charset applied, whatever a server claims."""

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


def text_of(content: bytes, content_type: str) -> str:
    """A body as text: in the charset that header or page names, else UTF-8. What does not fit is replaced."""
    named = _CHARSET.search(content_type) or _CHARSET.search(content[:1024].decode("ascii", "replace"))
    for charset in (named.group(1) if named else "utf-8", "utf-8"):
        # only charsets: Python also knows codecs that are slow or no text at all
        if _TEXT_CODECS.fullmatch(charset):
            try:
                return content.decode(charset, "replace")
            except LookupError:
                continue
    return content.decode("utf-8", "replace")


def decoded(body: bytes, encoding: str) -> bytes:
    """Undo gzip or deflate, which some servers send unasked; at most `MAX_DECODED_BYTES`."""
    modes = {"gzip": 31, "x-gzip": 31, "deflate": 15}
    mode = modes.get(encoding.strip().lower())
    if mode is None:
        return body
    for wbits in (mode, -15):  # some servers send deflate without its header
        try:
            return zlib.decompressobj(wbits).decompress(body, MAX_DECODED_BYTES)
        except zlib.error:
            continue
    return body
