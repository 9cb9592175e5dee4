"""Report errors in a configuration as sentences for its author."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sigprobe.files.tokens import looks_like_token, masked
from sigprobe.words.codes import CODES
from sigprobe.words.i18n import _

Key = tuple[str | int, ...]
"""The way to a value: names of keys and numbers of list items."""

_USERINFO: Final = re.compile(r'//[^/\s"]*@')
_WORD: Final = re.compile(r"[A-Za-z0-9+=_.~-]{20,}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One error. `path` is the file, or the environment variable's name; line and column count from 1."""

    path: str
    line: int | None
    column: int | None
    key: str
    message: str
    hint: str = ""

    def render(self) -> str:
        """Return one line: `file:line:column: key: what is wrong. What helps.`"""
        where = ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)
        return " ".join(
            part for part in (f"{where}:", f"{self.key}:" if self.key else "", self.message, self.hint) if part
        )


class ConfigError(Exception):
    """Raised for an unusable configuration. `problems` holds every error."""

    def __init__(self, problems: Sequence[Problem], *, missing: bool = False, named: str = "") -> None:
        self.problems = tuple(problems)
        self.missing = missing
        """True when there is no file at all, so that `init` is the next command."""
        self.named = named
        """The missing file, if `--config` named it."""
        super().__init__(self.render())

    def render(self) -> str:
        """Return every problem on its own line, in the order of the file."""
        return "\n".join(problem.render() for problem in self.problems)


def report(error: ConfigError) -> str:
    """Return what a command prints on stderr: every problem, and one sentence with its code and the next command."""
    code = CODES["config_missing" if error.missing else "config_invalid"]
    command = shlex.join(["sigprobe", "init", "--config", error.named]) if error.named else ""
    advice = _("Run: {command}").format(command=command) if command else _(code.advice)
    sentence = _(code.sentence)
    if not error.missing and not any(problem.line or problem.key for problem in error.problems):
        # the file as a whole: there is no line to correct
        sentence = _("The settings cannot be read.")
        advice = _("Give another file with --config, or create one: sigprobe init")
    summary = f"{sentence} {advice} [{code.screen}]"
    return f"{summary}\n{error.render()}" if error.missing else f"{error.render()}\n{summary}"


def dotted(key: Key) -> str:
    """Return a key as text: `targets[0].count`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shown(value: Any, limit: int = 60) -> str:
    """Return a value as it would stand in the file, shortened, without the secrets in it."""
    if isinstance(value, str) and (looks_like_token(value) or masked(value) != value):
        value = "***"
    text = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, int | float):
        return shortened(text, limit)  # a token has letters; unquoted digits are a number
    text = _USERINFO.sub("//…@", _WORD.sub(lambda word: "***" if looks_like_token(word[0]) else word[0], text))
    return shortened(text, limit)


def shortened(text: str, limit: int = 60) -> str:
    """Return a text of at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
