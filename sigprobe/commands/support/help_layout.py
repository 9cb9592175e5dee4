"""Lay out help texts: summary, examples, usage line, options; wrapped at words for any width of the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sigprobe.render.words import columns
from sigprobe.words.i18n import _

Rows = Sequence[tuple[str, str]]

_WIDEST: Final = 30
"""Columns of the widest name that still has its text beside it."""
_LEAST: Final = 28
"""Columns that a text beside a name needs; on a narrower terminal it stands below the name."""
_SHORT_NOTE: Final = re.compile(r"\[[^\]]{1,24}\]")
"""A default or a range that is not broken over two lines."""
_STICKY: Final = "\N{NO-BREAK SPACE}"
_WHOLE_FLOAT: Final = re.compile(r"(?<=[ \[])(\d+)\.0(?=[;\]])")


def number_range(low: float | None, high: float | None) -> str | None:
    """Return which numbers an option takes, in words; None where it takes all."""
    if low is not None and high is not None:
        return _("from {low} to {high}").format(low=low, high=high)
    if low is not None:
        return _("at least {low}").format(low=low)
    return None if high is None else _("at most {high}").format(high=high)


def opening(text: str, width: int) -> str:
    """Return summary and examples. A long example is continued with a backslash, so that it can still be copied."""
    lines: list[str] = []
    for line in text.split("\n"):
        if line.startswith("  ") and columns(line) > width:
            lines += _continued(_with_values(line.split(), width), width)
        else:
            lines.append(_hanging(line, width, 0, 0) if columns(line) > width else line)
    return "\n".join(lines)


def _with_values(pieces: Iterable[str], width: int) -> list[str]:
    """Return the words of a command, each option together with its value where both fit on one line."""
    found: list[str] = []
    for piece in pieces:
        is_value = found and found[-1].startswith("--") and " " not in found[-1] and not piece.startswith("-")
        if is_value and columns(f"      {found[-1]} {piece} \\") <= width:
            found[-1] += f" {piece}"
        else:
            found.append(piece)
    return found


def _continued(pieces: Iterable[str], width: int) -> Iterator[str]:
    line = " "
    for piece in pieces:
        if line.strip() and columns(f"{line} {piece} \\") > width:
            yield f"{line} \\"
            line = "     "
        line += f" {piece}"
    yield line


def section(title: str, rows: Rows, width: int, *, plain: bool = False) -> str:
    """Return a titled list. On a narrow terminal each text stands below its name; `plain` gives one line a row."""
    named = [(name, _tidy(text)) for name, text in rows]
    first = max((columns(name) for name, _text in named if columns(name) <= _WIDEST), default=0)
    lines = [f"{title}:"]
    for name, text in named:
        if plain:
            lines.append(f"  {name}: {text}" if text else f"  {name}")
        elif width - first - 4 < _LEAST:
            lines += [_hanging(name, width, 2, 4), *([_hanging(text, width, 6, 6)] if text else [])]
        elif columns(name) > first:
            lines += [f"  {name}", *([_hanging(text, width, first + 4, first + 4)] if text else [])]
        else:
            beside = _hanging(text, width, first + 4, first + 4)[first + 4 :]
            lines.append(f"  {name}{' ' * (first - columns(name) + 2)}{beside}".rstrip())
    return "\n".join(lines)


def usage(prefix: str, command: str, pieces: str, width: int) -> str:
    """Return the usage line; its further lines are indented."""
    return _hanging(f"{prefix}{command} {pieces}".rstrip(), width, 0, 4)


def _tidy(text: str) -> str:
    """Join the parser's brackets to one, and take `.0` from whole numbers in them."""
    joined = re.sub(r"\]\s+\[", "; ", " ".join(text.split()))
    return _WHOLE_FLOAT.sub(r"\1", joined)


def _hanging(text: str, width: int, first: int, rest: int) -> str:
    """Wrap at spaces alone; a word longer than the line stays whole."""
    whole = _SHORT_NOTE.sub(lambda note: note[0].replace(" ", _STICKY), text)
    lines = [" " * first]
    for piece in whole.split(" "):
        if lines[-1].strip() and columns(f"{lines[-1]} {piece}") > width:
            lines.append(" " * rest)
        lines[-1] += piece if not lines[-1].strip() else f" {piece}"
    return "\n".join(lines).replace(_STICKY, " ")
