"""Find known names that a mistyped one is close to."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Final

_LEAST: Final = 0.68
"""One typing error in four letters passes, two different letters of three do not."""


def similar(word: str, names: Iterable[str], most: int = 1) -> list[str]:
    """Return the names closest to a mistyped word, the closest first; none if all differ much.

    Case and leading hyphens do not count: `--bar` and `--lat` share only what every option has.
    """
    wanted = _bare(word)
    ranked = sorted(((_closeness(wanted, _bare(name)), name) for name in names), key=lambda pair: -pair[0])
    return [name for closeness, name in ranked if closeness >= _LEAST][:most]


def _bare(text: str) -> str:
    return text.lstrip("-").casefold()


def _closeness(word: str, name: str) -> float:
    return SequenceMatcher(None, word, name).ratio()
