"""Convert styled text for printing: cut to width, reduced to ASCII, coloured by Rich if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from sigprobe.render import words

Line: TypeAlias = list[tuple[str, str]]
"""Pieces of (text, style); the style is Rich's, empty for none."""


def finish(lines: Sequence[Line], *, width: int, ascii: bool, color: bool) -> str:
    """Return the lines as text, each with a line end and none wider than `width` columns. Rich is loaded for colour
    only."""
    cut = [_cut(line, width) for line in lines]
    if ascii:
        cut = [_cut([(words.to_ascii(text), style) for text, style in line], width) for line in cut]
        cut = [[(words.to_ascii(text), style) for text, style in line] for line in cut]
    return _colored(cut, width) if color else "".join(f"{_text(line)}\n" for line in cut)


def _text(line: Line) -> str:
    return "".join(text for text, _ in line).rstrip()


def _cut(line: Line, width: int) -> Line:
    if words.columns(_text(line)) <= width:
        return line
    kept: Line = []
    room = width
    for text, style in line:
        piece = words.fit(text, room)
        kept.append((piece, style))
        room -= words.columns(piece)
        if piece != text:
            break
    return kept


def _colored(lines: Sequence[Line], width: int) -> str:
    import io

    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    console = Console(
        file=out,
        force_terminal=True,
        color_system="standard",
        width=width,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        _environ={},
    )
    for line in lines:
        text = Text()
        for piece, style in line:
            text.append(piece, style or None)
        text.rstrip()
        console.print(text, soft_wrap=True)
    return out.getvalue()
