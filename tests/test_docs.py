"""What the documents say is what the program does: tables, examples, and the way to a new kind."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.support.requirements import ROOT
from tests.support.running_site import Run

sys.path.insert(0, str(ROOT / "tools"))
import readme


def test_the_readme_is_in_step_with_the_code() -> None:
    """The tables of kinds and commands in the README are what `tools/readme.py` writes today."""
    text = readme.README.read_text(encoding="utf-8")
    written = readme.written(text)
    assert text == written, "run: python tools/readme.py\n" + "\n".join(
        difflib.unified_diff(text.splitlines(), written.splitlines(), lineterm="", n=0)
    )


def test_a_missing_marker_is_no_silence() -> None:
    """A README without its markers is an error, not a table that is never checked again."""
    with pytest.raises(ValueError, match="kinds"):
        readme.written("# nothing\n")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(name: str) -> None:
    """Every link into the repository names a file that is there."""
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_commands_in_the_readme_exist(sigprobe: Run) -> None:
    """Each command line of the README's shell blocks names commands and options that its help knows."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
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


# --- CONTRIBUTING.md: add a measurement kind -------------------------------------------------------------------


def blocks(text: str) -> list[tuple[str, str, str]]:
    """The fenced blocks with a title: (language, title, content without the indentation of its list item)."""
    found = re.findall(r'^( *)```(\w+) title="([^"]+)"\n(.*?)^\1```$', text, re.DOTALL | re.MULTILINE)
    return [
        (language, title, re.sub(rf"^{indent}", "", content, flags=re.MULTILINE))
        for indent, language, title, content in found
    ]


def patched(source: str, diff: str) -> str:
    """Apply lines with `-` and `+`: each `+` takes the place of the `-` before it, else it ends `KINDS`."""
    old: list[str] = [line[1:] for line in diff.splitlines() if line.startswith("-")]
    new = [line[1:] for line in diff.splitlines() if line.startswith("+")]
    if old:
        wanted = "\n".join(old)
        assert source.count(wanted) == 1, f"CONTRIBUTING.md shows a line that is not there: {wanted!r}"
        return source.replace(wanted, "\n".join(new))
    head, brace, tail = source.partition("KINDS: Final[Mapping[str, Kind]] = {\n")
    assert brace, "the registry has another form than CONTRIBUTING.md thinks"
    inside, end, rest = tail.partition("}\n")
    return head + brace + inside + "".join(f"{line}\n" for line in new) + end + rest


def test_a_kind_is_added_as_contributing_says(tmp_path: Path) -> None:
    """The steps of CONTRIBUTING.md, followed literally in a copy: the kind is checked, measured and published."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Add a measurement kind")[2]
    shutil.copytree(ROOT / "sigprobe", tmp_path / "sigprobe", ignore=shutil.ignore_patterns("__pycache__"))
    target = ""
    for language, title, content in blocks(section):
        if language == "python":
            assert not (tmp_path / title).exists(), "a new kind is a new file"
            (tmp_path / title).write_text(content, encoding="utf-8")
        elif language == "diff":
            path = tmp_path / title
            path.write_text(patched(path.read_text(encoding="utf-8"), content), encoding="utf-8")
        elif language == "yaml":
            target = content.strip()
    assert target.startswith("- {kind: "), "the section must show the kind in use"
    name = re.sub(r"- \{kind: (\w+).*", r"\1", target)
    config = tmp_path / "config.yaml"
    config.write_text(f"probe: {{site: here}}\nlocation: {{source: none}}\ntargets:\n  {target}\n")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "sigprobe", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "ok" in run("config", "check", "--config", str(config))
    document = json.loads(run("test", "--json", "--only", name, "--config", str(config)))
    result = document["results"][0]
    assert result["kind"] == name and result["outcome"] in ("ok", "failed")
    assert result["failure"] is None or result["failure"]["code"] != "internal", result
    schema = json.loads(run("config", "schema", "result"))
    jsonschema.Draft202012Validator(schema).validate(result)
    assert f'"{name}"' in json.dumps(schema)
    run("test", "--config", str(config))
