"""Make text safe for a column."""

from __future__ import annotations

from sigprobe.collector.store.schema import MAX_TEXT


def sound_text(text: str) -> str:
    """Text as a column can hold it: no NUL (PostgreSQL), no lone surrogate, at most `MAX_TEXT` characters."""
    if len(text) <= MAX_TEXT and text.isascii() and "\0" not in text:
        return text
    return text[:MAX_TEXT].replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
