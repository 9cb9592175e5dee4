"""Define what a command returns or raises; only `draw` prints it.

A command neither formats nor prints: it returns a result that can describe itself as text, JSON, NDJSON or CSV.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Literal, TypeAlias

from sigprobe.commands.support.exit_codes import USAGE

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"
Dialect = Literal["plain", "excel-id"]
DOCUMENT_SCHEMA: Final = 1
"""Version of the shape of JSON documents; additive changes never raise it."""


class Form(StrEnum):
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Output:
    """The output form of the command line; `dialect` is for CSV alone."""

    form: Form = Form.TEXT
    dialect: Dialect = "plain"

    @property
    def for_people(self) -> bool:
        """Return True for text on a screen, False for programs."""
        return self.form is Form.TEXT


@dataclass(frozen=True, slots=True)
class Screen:
    """How text for people is drawn."""

    width: int = 80
    ascii: bool = False
    color: bool = False
    plain: bool = False
    verbose: bool = False
    quiet: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One message for stderr. `-q` leaves it out unless it is an `error`."""

    text: str
    error: bool = False


class CommandResult:
    """The result of one command. Subclasses override the forms that the command offers."""

    compact: ClassVar[bool] = False
    """True for a JSON document on one line."""
    prose: ClassVar[bool] = False
    """True for text that is wrapped at words on a terminal; tables and texts to be copied are not."""
    always: ClassVar[bool] = False
    """True where `-q` prints the text too, because the text is all that was asked for."""

    @property
    def exit_code(self) -> int:
        """Return the exit code of the process."""
        return 0

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield messages before the result."""
        return ()

    def text(self, screen: Screen) -> str:
        """Return the result for people; empty prints nothing."""
        return ""

    def document(self) -> Json:
        """Return the result as one JSON value."""
        raise NotImplementedError

    def json(self) -> Iterable[str]:
        """Yield the JSON document in pieces; a long one is never held in memory as a whole."""
        import json

        document = self.document()
        if isinstance(document, Mapping) and not document.keys() & {"schema", "report"}:
            document = {"schema": DOCUMENT_SCHEMA, **document}
        yield json.dumps(document, ensure_ascii=True, indent=None if self.compact else 2)

    def lines(self) -> Iterable[str]:
        """Return the result as NDJSON, one line a piece; what was streamed already is left out."""
        raise NotImplementedError

    def table(self, dialect: Dialect) -> Iterable[str]:
        """Return the result as CSV text, one piece a row."""
        raise NotImplementedError

    def hints(self, screen: Screen) -> Iterable[Message]:
        """Yield messages after the result, such as the next command."""
        return ()


class CommandError(Exception):
    """A command cannot go on: messages for stderr, and the exit code."""

    def __init__(self, *texts: str, exit_code: int = USAGE) -> None:
        super().__init__("\n".join(texts))
        self.texts = texts
        self.exit_code = exit_code
