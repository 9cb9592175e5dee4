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

    def __str__(self) -> str:
        """Return the English text, for logs and tests; a value that is missing keeps its field."""
        return self.message.format_map(_Fields(self.values))


class _Fields(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"
