"""What the documents say is what the program does: tables, links and examples."""

from __future__ import annotations

import difflib
import re
import sys

import pytest

from sigprobe.commands.support import exit_codes
from tests.support.requirements import ROOT
from tests.support.running_site import Run

sys.path.insert(0, str(ROOT / "tools"))
import floors
import readme


@pytest.mark.parametrize("language", readme.READMES)
def test_the_readme_is_in_step_with_the_code(language: str) -> None:
    """The tables of kinds and commands in the README are what `tools/readme.py` writes today."""
    text = readme.READMES[language].read_text(encoding="utf-8")
    written = readme.written(text, language)
    assert text == written, "run: python tools/readme.py\n" + "\n".join(
        difflib.unified_diff(text.splitlines(), written.splitlines(), lineterm="", n=0)
    )


def test_a_missing_marker_is_no_silence() -> None:
    """A README without its markers is an error, not a table that is never checked again."""
    with pytest.raises(ValueError, match="kinds"):
        readme.written("# nothing\n")


def test_the_table_of_rooms_is_in_step_with_the_contract() -> None:
    """CONTRIBUTING's table has the floors of import-linter's contract, with each package's own description."""
    text = floors.CONTRIBUTING.read_text(encoding="utf-8")
    assert text == floors.written(text), "run: python tools/floors.py"
    rooms = [room for rooms in floors.floors() for room in rooms]
    assert re.findall(r"^\| \d+ \| `(\w+)` \|", text, re.MULTILINE) == rooms
    assert len(rooms) > 15, "the control: the contract was read"


@pytest.mark.parametrize("name", ["README.md", "README.id.md"])
def test_the_exit_codes_of_the_readme_are_all_there_are(name: str) -> None:
    """Each code has its line, and no other has one."""
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = text.partition("<!-- exit-codes -->")[2].partition("<!-- /exit-codes -->")[0]
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", lines, re.MULTILINE)}
    known = {value for value in vars(exit_codes).values() if isinstance(value, int)}
    assert told == known


@pytest.mark.parametrize("name", ["README.md", "README.id.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_links_lead_somewhere(name: str) -> None:
    """Every link into the repository names a file that is there."""
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not ((ROOT / name).parent / link).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "README.id.md"])
def test_commands_in_the_readme_exist(sigprobe: Run, name: str) -> None:
    """Each command line of the README's shell blocks names commands and options that its help knows."""
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = [
        line.partition("#")[0].strip()
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("sigprobe ")
    ]
    assert lines
    for line in dict.fromkeys(lines):
        words = line.split()[1:]
        verbs = [word for word in words if re.fullmatch(r"[a-z]+", word)]
        options = [word for word in words if word.startswith("--")]
        for depth in range(len(verbs), 0, -1):
            done = sigprobe(*verbs[:depth], "--help", "--lang", "en")
            if done.returncode == 0:
                break
        assert done.returncode == 0, line
        assert all(option in done.stdout for option in options), line
