"""Mark texts for the catalogues. The screen translates them when it draws them."""

from __future__ import annotations


def N_(message: str) -> str:
    """Mark a message for the catalogues without translating it yet."""
    return message


class MessageError(ValueError):
    """A value that breaks a rule. `message` is a text of the catalogues; the screen translates and fills it.

    `{value}` in it is filled with the value of the setting unless `values` has one.
    """

    def __init__(self, message: str, **values: object) -> None:
        super().__init__(message)
        self.message = message
        self.values = values
