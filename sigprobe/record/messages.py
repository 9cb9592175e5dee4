"""Mark texts for the catalogues. The screen translates them when it draws them."""

from __future__ import annotations


def N_(message: str) -> str:
    """Mark a message for the catalogues without translating it yet."""
    return message
