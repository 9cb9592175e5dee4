"""What is wrong in a list, each with its line, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST_SAID: Final = 30


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding: the line (from 1; None for the file as a whole) and a sentence in the language in use."""

    line: int | None
    message: str


class ListError(Exception):
    """The file was refused; nothing of it was taken. `faults` holds everything that was found."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f.message for f in faults[:3]))


def shown(text: str, limit: int = 40) -> str:
    """A value from outside for a sentence: on one line, without control characters, short."""
    clean = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
