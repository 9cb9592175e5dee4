"""Keep the README's tables in step with the code: `python tools/readme.py` writes them, `check` only looks.

The kinds come from `KINDS`, the commands from the table of verbs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from sigprobe.commands.verbs import VERBS
from sigprobe.measure import KINDS

README = Path(__file__).resolve().parent.parent / "README.md"


def table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    """A Markdown table of two columns."""
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    lines += [f"| `{left}` | {right[0].upper()}{right[1:].rstrip('.')} |" for left, right in rows]
    return "\n".join(lines)


def kinds() -> str:
    """The kinds in the order of the registry, each with its summary."""
    return table(("kind", "what it measures"), ((name, kind.summary) for name, kind in KINDS.items()))


def commands() -> str:
    """The verbs in the order of the help text, each with its summary."""
    return table(("command", "what it does"), ((f"sigprobe {name}", verb.summary) for name, verb in VERBS.items()))


def written(text: str) -> str:
    """The README with the tables as the code has them. Raises ValueError where a marker is missing."""
    for marker, content in (("kinds", kinds()), ("commands", commands())):
        text, count = re.subn(
            rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)",
            lambda found, content=content: f"{found[1]}{content}\n{found[2]}",  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(f"README.md needs one pair of <!-- {marker} --> and <!-- /{marker} -->")
    return text


def main(arguments: list[str]) -> int:
    """Write the tables, or with `check` return 1 when they are not in step."""
    before = README.read_text(encoding="utf-8")
    after = written(before)
    if arguments == ["check"]:
        if before != after:
            print("README.md is not in step with the code; run: python tools/readme.py", file=sys.stderr)
        return int(before != after)
    README.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
