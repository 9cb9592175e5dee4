"""Keep the tables of both READMEs in step with the code: `python tools/readme.py` writes them, `check` only looks.

The kinds come from `KINDS`, the commands from the table of verbs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from sigprobe.commands.verbs import VERBS
from sigprobe.measure import KINDS
from sigprobe.record.kinds import info
from sigprobe.words.i18n import _, speaking

ROOT = Path(__file__).resolve().parent.parent
READMES = {"en": ROOT / "README.md", "id": ROOT / "README.id.md"}
HEADS = {
    "en": {"kinds": ("kind", "what it measures"), "commands": ("command", "what it does")},
    "id": {"kinds": ("jenis", "yang diukur"), "commands": ("perintah", "kegunaannya")},
}


def table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    """A Markdown table of two columns."""
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    lines += [f"| `{left}` | {right[0].upper()}{right[1:].rstrip('.')} |" for left, right in rows]
    return "\n".join(lines)


def written(text: str, language: str = "en") -> str:
    """A README with the tables as the code has them. Raises ValueError where a marker is missing."""
    with speaking(language):
        rows = {
            "kinds": [(name, _(info(name).meaning)) for name in KINDS],
            "commands": [(f"sigprobe {name}", _(verb.summary)) for name, verb in VERBS.items()],
        }
    for marker, head in HEADS[language].items():
        block = f"<!-- {marker} -->\n{table(head, rows[marker])}\n<!-- /{marker} -->"
        text, count = re.subn(rf"<!-- {marker} -->\n.*?<!-- /{marker} -->", lambda _found, b=block: b, text, flags=re.S)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"a README needs one pair of <!-- {marker} --> and <!-- /{marker} -->")
    return text


def main(arguments: list[str]) -> int:
    """Write the tables, or with `check` return 1 when they are not in step."""
    code = 0
    for language, path in READMES.items():
        before = path.read_text(encoding="utf-8")
        after = written(before, language)
        if arguments != ["check"]:
            path.write_text(after, encoding="utf-8")
        elif before != after:
            print(f"{path.name} is not in step with the code; run: python tools/readme.py", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
