"""Keep CONTRIBUTING's table of rooms in step with the code: `python tools/floors.py` writes it, `check` only compares.

The order comes from import-linter's contract in `pyproject.toml`, each description from the docstring of the package.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTRIBUTING = ROOT / "CONTRIBUTING.md"


def floors() -> list[list[str]]:
    """The rooms of each floor, the top floor first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (stair,) = [c for c in contracts if c["type"] == "layers" and c["containers"] == ["sigprobe"]]
    return [re.split(r"\s*[|:]\s*", layer) for layer in stair["layers"]]


def describe(room: str) -> str:
    """The first paragraph of a room's docstring. Raises ValueError where there is none."""
    path = ROOT / "sigprobe" / room / "__init__.py"
    source = path if path.is_file() else path.parent.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))
    if not text:
        raise ValueError(f"{source.relative_to(ROOT)} needs a docstring that says what the room does")
    return " ".join(text.partition("\n\n")[0].split())


def table() -> Iterator[str]:
    """The lines of the table."""
    yield "| floor | room | what it does |"
    yield "|---|---|---|"
    stair = floors()
    for index, rooms in enumerate(stair):
        for room in rooms:
            yield f"| {len(stair) - index} | `{room}` | {describe(room)} |"


def written(text: str) -> str:
    """The text with the table as the code has it. Raises ValueError where a marker is missing."""
    found = re.subn(
        r"(<!-- floors -->\n).*?(<!-- /floors -->)",
        lambda mark: mark[1] + "".join(f"{line}\n" for line in table()) + mark[2],
        text,
        flags=re.DOTALL,
    )
    if found[1] != 1:
        raise ValueError("CONTRIBUTING.md needs one pair of <!-- floors --> and <!-- /floors -->")
    return found[0]


def main(arguments: list[str]) -> int:
    """Write the table, or with `check` return 1 when it is not in step."""
    before = CONTRIBUTING.read_text(encoding="utf-8")
    after = written(before)
    if arguments == ["check"]:
        if before != after:
            print("CONTRIBUTING.md is not in step with the code; run: python tools/floors.py", file=sys.stderr)
        return int(before != after)
    CONTRIBUTING.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
