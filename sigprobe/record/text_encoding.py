"""Decode text files as Windows editors save them: UTF-8 with or without a BOM, and UTF-16."""

from __future__ import annotations

import codecs
from typing import Final

_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode(raw: bytes) -> str:
    """Decode UTF-8 or UTF-16; the byte-order mark is removed. Raises UnicodeDecodeError.

    UTF-16 without a mark is recognised by its zero bytes, which ASCII text in UTF-8 never has.
    """
    if raw.startswith(_UTF_16):
        return raw.decode("utf-16")
    without_mark = _utf_16_without_mark(raw)
    return raw.decode(without_mark or "utf-8-sig")


def _utf_16_without_mark(raw: bytes) -> str | None:
    """Return the codec for ASCII text in UTF-16 without a mark; None for anything else."""
    head = raw[:64]
    if len(head) < 4 or len(raw) % 2:
        return None
    if not any(head[0::2]) and all(head[1::2]):
        return "utf-16-be"
    if all(head[0::2]) and not any(head[1::2]):
        return "utf-16-le"
    return None
