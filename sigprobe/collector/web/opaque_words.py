"""Write a text as a word that is safe in a URL and that no client should read, such as a cursor."""

from __future__ import annotations

import base64


def encode(text: str) -> str:
    """Return the word for a text of ASCII."""
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def decode(word: str) -> str:
    """Return the text of a word. Raises ValueError when it is none of ours."""
    return base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True).decode("ascii")
