"""Detect what a console can show: width, colour, and characters beyond ASCII."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TextIO

MAX_WIDTH: Final = 80
_NEEDED: Final = "✓✗▁█·±…×"


@dataclass(frozen=True, slots=True)
class Traits:
    """Drawing properties of a stream. `width` is in columns, at most 80: a screen must fit one photo of a phone."""

    width: int
    tty: bool
    color: bool
    ascii: bool


def traits(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Traits:
    """Detect the properties of a stream. NO_COLOR and TERM=dumb are obeyed; there is never colour off a terminal."""
    tty = _is_tty(stream)
    dumb = environ.get("TERM", "") == "dumb"
    width = shutil.get_terminal_size((MAX_WIDTH, 24)).columns if tty else MAX_WIDTH
    return Traits(
        width=min(width, MAX_WIDTH),
        tty=tty and not dumb,
        color=tty and not dumb and not environ.get("NO_COLOR"),
        ascii=dumb or not can_show(_NEEDED, getattr(stream, "encoding", None)),
    )


def can_show(text: str, encoding: str | None) -> bool:
    """Return whether `text` can be encoded; an unknown encoding counts as ASCII."""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _is_tty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
