"""Commands return results; only one place prints them, and no type is left open between the two."""

from __future__ import annotations

import re
from pathlib import Path

import sigprobe.commands

FOLDER = Path(sigprobe.commands.__file__).parent
PARSER = {"typer_shell.py", "usage_errors.py", "completion.py"}
"""Adapters to Typer's parser, whose own types are private."""
CALLBACKS = {"completion.py"}
"""Options that Typer answers by itself, before there is a command with a result."""


def uses(pattern: str, source: str) -> bool:
    """Whether a source prints or leaves a type open."""
    return re.search(pattern, source) is not None


PRINTS = r"typer\.echo|\bprint\(|sys\.std(out|err)\.write|current\(\)\.result\(|out\.result\("
OPEN = r"\bAny\b"


def test_only_one_place_prints_results() -> None:
    """Nothing but the terminal and the renderer writes a result."""
    printing = {p.name for p in FOLDER.rglob("*.py") if uses(PRINTS, p.read_text(encoding="utf-8"))}
    assert printing - CALLBACKS == {"terminal.py", "draw.py"}


def test_no_type_is_left_open() -> None:
    """Between commands and the renderer no value is `Any`."""
    assert {p.name for p in FOLDER.rglob("*.py") if uses(OPEN, p.read_text(encoding="utf-8"))} <= PARSER


def test_the_checks_can_fail() -> None:
    """A print and an open type are found."""
    assert uses(PRINTS, 'typer.echo("x")') and uses(OPEN, "def f(x: Any) -> None: ...")
    assert not uses(OPEN, "Anything")
