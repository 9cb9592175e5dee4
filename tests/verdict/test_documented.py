"""docs/verdict.md says of each cause what else would look the same, and why that is excluded or stays possible."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import sigprobe
from sigprobe.verdict import candidates
from sigprobe.verdict.failure_codes import OF_THE_WALK
from sigprobe.verdict.verdict import Candidate
from sigprobe.words.candidate_words import CAUSES, SETTLE
from sigprobe.words.codes import CODES
from sigprobe.words.verdict_codes import ROWS
from tests.support.requirements import ROOT

DOCS = ROOT / "docs" / "verdict.md"
NAMED, OPEN, REMAINING, OLD = (
    "Causes that name an owner",
    "Causes that stay open",
    "What remains possible",
    "Causes of older records",
)


def table(section: str) -> dict[str, list[str]]:
    """Return the cells of each row of a section's table, by every cause in its row."""
    text = DOCS.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    rows: dict[str, list[str]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for cause in re.findall(r"`([a-z0-9_]+)`", " ".join(cells[:2])):
            if line.startswith("|") and cause not in ("none", "local", "operator", "service", "collector"):
                rows[cause] = cells
    return rows


def said() -> dict[str, set[str]]:
    """Return by cause the owners with which a rule says it, read from the source of the rules."""
    found: dict[str, set[str]] = {}
    for path in Path(sigprobe.__file__).with_name("verdict").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say"):
                continue
            owner, cause = node.args[:2]
            assert isinstance(owner, ast.Name)
            for text in (n for n in ast.walk(cause) if isinstance(n, ast.Constant) and isinstance(n.value, str)):
                found.setdefault(str(text.value), set()).add(owner.id.lower())
            if isinstance(cause, ast.Name):  # the causes that a service states about itself
                found.update({name: {"service"} for name in ("service_error", "service_denied", "service_certificate")})
    return found


def test_each_cause_with_an_owner_says_what_is_excluded() -> None:
    """The owner, the evidence it takes, and what else would look the same."""
    rows = table(NAMED)
    for cause, owners in said().items():
        for owner in owners - {"uncertain"}:
            assert cause in rows, f"{cause} of {owner} is missing"
            assert rows[cause][0].strip("`") == owner, cause
            assert all(len(cell) > 15 for cell in rows[cause][2:4]), f"{cause}: {rows[cause]}"
    named = {cause for cause, owners in said().items() if owners - {"uncertain"}}
    assert set(rows) & set(CODES) == named, "the control: no row without a rule"
    assert len(named) > 15


def test_each_open_cause_says_what_was_seen_and_what_remains() -> None:
    """An open cause has its first candidates."""
    rows = table(OPEN)
    still_open = {cause for cause, owners in said().items() if "uncertain" in owners}
    assert still_open - set(rows) == set()
    for cause in still_open:
        assert len(rows[cause][1]) > 10 and len(rows[cause][2]) > 3, f"{cause}: {rows[cause]}"


def test_each_candidate_says_what_looks_the_same() -> None:
    """Every cause that can remain possible, what it looks like, and the step that tells it apart."""
    used = [c for c in vars(candidates).values() if isinstance(c, Candidate)]
    rows = table(REMAINING)
    assert {c.cause for c in used} == set(CAUSES) == set(rows)
    assert {c.settle for c in used} == set(SETTLE)
    for cause, cells in rows.items():
        assert all(len(cell) > 10 for cell in cells[1:4]), f"{cause}: {cells}"


def test_no_cause_of_the_registry_is_forgotten() -> None:
    """A cause that no rule says any more is listed as one of older records."""
    registry = {code for code, *_ in ROWS}
    assert registry - set(said()) - set(table(OLD)) - OF_THE_WALK == set()
    assert set(table(OLD)) & set(said()) == set()
