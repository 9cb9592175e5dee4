"""Report all errors of a list together, each with its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST_SAID: Final = 30


@dataclass(frozen=True, slots=True)
class Fault:
    """One error: the line (from 1; None for the whole file) and a sentence in the language in use."""

    line: int | None
    message: str


class ListError(Exception):
    """Raised for a refused file; nothing of it was imported. `faults` holds every error."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f.message for f in faults[:3]))


def shown(text: str, limit: int = 40) -> str:
    """Shorten an external value for a sentence: one line, without control characters."""
    clean = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
