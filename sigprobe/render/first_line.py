"""Print the first line of a test: what will be measured. Imports almost nothing, so it appears within half a second."""

from __future__ import annotations

from collections.abc import Sequence

from sigprobe.render import words
from sigprobe.words.i18n import _, duration, size


def first_line(
    tps: str | None,
    place: str | None,
    operator: str | None,
    steps: Sequence[str],
    seconds: float,
    bytes: int,
    *,
    width: int = 80,
    ascii: bool = False,
) -> str:
    """Return the line that is printed before anything else is loaded. No line end; no line exceeds `width`.

    `tps` is the TPS number or the site as displayed (see `identity`).
    """
    who = " · ".join(words.clean(part) for part in (tps, place, operator) if part)
    what = words.listed(steps, most=6)
    text = _("Testing {steps}: about {time}, at most {size}. Ctrl-C stops; finished checks are kept.").format(
        steps=what or "–", time=duration(seconds), size=size(bytes)
    )
    lines = [*(words.wrap(who, width, "  ") if who else ()), *words.wrap(text, width, "  ")]
    return "\n".join(words.to_ascii(line) if ascii else line for line in lines)
