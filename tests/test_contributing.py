"""CONTRIBUTING's walk-throughs, followed literally in a copy of the tree; each touches as many files as it says."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.support.requirements import ROOT
from tests.support.survivors import end

pytestmark = pytest.mark.process


@dataclass
class Copy:
    """A copy of the package, in which the steps are followed and commands are run."""

    root: Path
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    target: str = ""

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run sigprobe in the copy; its stdout."""
        return self.python("-m", "sigprobe", *arguments, code=code)

    def python(self, *arguments: str, code: int = 0) -> str:
        """Run Python in the copy; its stdout."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def environment(self) -> dict[str, str]:
        """The environment of its commands."""
        database = f"sqlite:///{self.root / 'collector.db'}"
        return {**os.environ, "PYTHONPATH": str(self.root), "SIGPROBE_DATABASE": database}


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """The fenced blocks with a title: (language, title, content without the indentation of its list item)."""
    for indent, language, title, content in re.findall(
        r'^( *)```(\w+) title="([^"]+)"\n(.*?)^\1```$', text, re.DOTALL | re.MULTILINE
    ):
        yield language, title, re.sub(rf"^{indent}", "", content, flags=re.MULTILINE)


def patched(source: str, diff: str) -> str:
    """Apply one hunk: its lines with a space or `-` must stand in the source exactly once."""
    lines = [line or " " for line in diff.splitlines()]
    old = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
    new = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
    assert source.count(old) == 1, f"CONTRIBUTING.md shows lines that are not there once:\n{old}"
    return source.replace(old, new)


@pytest.fixture
def follow(tmp_path: Path) -> Callable[[str], Copy]:
    """Follow a section of CONTRIBUTING.md in a copy, and hold it to the number of files it states."""

    def follow(title: str) -> Copy:
        text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
        section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        assert section, f"CONTRIBUTING.md has no section {title!r}"
        shutil.copytree(ROOT / "sigprobe", tmp_path / "sigprobe", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "config.example.yaml", tmp_path)
        copy = Copy(tmp_path)
        for language, name, content in blocks(section):
            path = tmp_path / name
            if language == "diff":
                path.write_text(patched(path.read_text(encoding="utf-8"), content), encoding="utf-8")
                copy.changed.append(name)
            elif name == "targets":
                copy.target = content.strip()
            else:
                assert not path.exists(), f"{name} is there already"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
                copy.new.append(name)
        stated = re.search(r"It touches (\d+) files", section)
        assert stated, "the section must say how many files it touches"
        assert len({*copy.new, *copy.changed}) == int(stated[1]), (copy.new, copy.changed)
        return copy

    return follow


def test_a_hunk_that_does_not_fit_is_an_error() -> None:
    """The control: lines that are not there, or twice, are never skipped."""
    assert patched("a\nb\n", " a\n+x\n-b\n") == "a\nx\n"
    for source in ("b\n", "a\na\n"):
        with pytest.raises(AssertionError, match="not there once"):
            patched(source, " a\n+x\n")


@pytest.fixture
def door() -> Iterator[int]:
    """A port of loopback that takes connections."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


def test_a_kind_is_added_as_contributing_says(follow: Callable[[str], Copy], door: int) -> None:
    """A new kind is checked, measured, graded and published, on the screen, in a drive, in CSV and at the collector."""
    copy = follow("Add a measurement kind")
    assert len([name for name in copy.changed if name.endswith("record/kinds.py")]) == 1
    name = re.sub(r"- \{kind: (\w+).*", r"\1", copy.target)
    target = copy.target.replace("port: 9", f"port: {door}")
    profiles = copy.root / "profiles"
    profiles.mkdir()
    metrics = "metrics: {tcp_connect_ms: {good: 0.000001, fair: 0.000002, poor: 60000}}\n"
    head = "name: doors\nversion: 2026-11-22\ntitle: Doors\nsource: a test\n"
    (profiles / "doors.yaml").write_text(head + metrics)
    config = copy.root / "config.yaml"
    settings = f"probe: {{site: here}}\nlocation: {{source: none}}\nprofile: doors\ntargets:\n  {target}\n"
    config.write_text(settings)
    at = ("--config", str(config))

    assert "ok" in copy.run("config", "check", *at)
    document = json.loads(copy.run("test", "--json", "--only", name, *at))
    result = document["results"][0]
    assert result["kind"] == name and result["outcome"] == "ok", result
    taken = result["data"]["connect_ms"]
    schema = json.loads(copy.run("config", "schema", "result"))
    jsonschema.Draft202012Validator(schema).validate(result)
    assert f'"{name}"' in json.dumps(schema)
    assert f"{name.title()}Options" in json.loads(copy.run("config", "schema", "config"))["$defs"]

    screen = copy.run("test", "--only", name, "--lang", "en", *at)
    assert re.search(r"Connection time\s+[\d.,]+ ms\s+! poor", screen), screen
    assert "CONNECTIONS ARE SLOW" in screen, screen

    rows = list(csv.DictReader(io.StringIO(copy.run("results", "--csv", *at))))
    assert [row for row in rows if row["kind"] == name and row["connect_ms"] == repr(taken)]
    published = copy.python("-c", "from sigprobe.render.machine import CSV_COLUMNS; print(*CSV_COLUMNS)").split()
    assert published[-2:] == ["connect_ms", "data_json"], "a new column stands behind the published ones"

    driven = json.loads(
        copy.run("drive", "--points", "1", "--no-upload", "--out", str(copy.root / "way"), "--json", *at)
    )
    point = _only(driven)
    assert point["tcp_connect_ms"] is not None and point["checks"]["door"] == "ok", driven

    page = _collectors_page(copy, config, settings)
    rows = [re.sub(r"<[^>]*>|\s+", " ", row) for row in page.split("<tr")]
    assert [row for row in rows if " TCP " in row and re.search(r"[\d.,]+ ms", row)], page


def _only(document: dict[str, Any]) -> dict[str, Any]:
    (point,) = document["points"] if isinstance(document["points"], list) else document["rows"]
    found: dict[str, Any] = point
    return found


def _collectors_page(copy: Copy, config: Path, settings: str) -> str:
    """Send what was measured to a collector of the copy; the text of its first page, read by a person."""
    probe = copy.run("collector", "token", "create", "--probe", "here").splitlines()[-1]
    token = copy.root / "token"
    token.write_text(probe)
    token.chmod(0o600)

    def send(url: str) -> None:
        config.write_text(f"{settings}upload: {{collectors: [{{url: '{url}', token_file: {token}}}]}}\n")
        copy.run("upload", "--config", str(config))

    return _page(copy, "", send)


def _page(copy: Copy, path: str, before: Callable[[str], None] = lambda url: None) -> str:
    """Return a page of the copy's collector in English after a login, which it must need."""
    reader = copy.run("collector", "token", "create", "--admin", "centre").splitlines()[-1]
    process = subprocess.Popen(
        [sys.executable, "-m", "sigprobe", "collector", "serve", "--port", "0"],
        cwd=copy.root,
        env=copy.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        while (found := re.search(r"http://[\d.]+:\d+/", said)) is None:
            line = process.stdout.readline()
            assert line, said
            said += line
        url = found[0]
        before(url)
        jar = urllib.request.HTTPCookieProcessor()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)
        _hold_login(f"{url}{path}")
        with opener.open(f"{url}login", f"token={reader}".encode(), timeout=10) as answer:
            answer.read()
        with opener.open(f"{url}{path}?lang=en", timeout=10) as answer:
            return str(answer.read().decode())
    finally:
        end(process)


def _hold_login(url: str) -> None:
    """Hold that a page leads to the login without a session."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:  # follows the redirect
        assert answer.url.partition("?")[0].endswith("/login"), answer.url


def test_a_cause_is_added_as_contributing_says(follow: Callable[[str], Copy]) -> None:
    """The new cause is decided for the run it is for, not for one that differs in a single fact, and explained."""
    copy = follow("Add a verdict cause")
    program = """
import sys
from tests.support.records import record
from tests.support.survivors import end
from dataclasses import replace
from sigprobe.record.result import Failure, Network, Outcome, Tags
from sigprobe.verdict import decide
for roaming in (True, False):
    tags = Tags(network=Network(roaming=roaming, access="cellular"))
    result = replace(record(), kind="http", outcome=Outcome.FAILED, failure=Failure("timeout"), data={}, tags=tags)
    print(decide([result], None).cause)
"""
    shutil.copytree(ROOT / "tests", copy.root / "tests", ignore=shutil.ignore_patterns("__pycache__", "test_*"))
    with_rule, without = copy.python("-c", program).split()
    assert with_rule == "roaming_refused" and without != "roaming_refused"
    assert "roaming" in copy.run("explain", "SP-VER-90", "--lang", "en")


def test_a_setting_is_added_as_contributing_says(follow: Callable[[str], Copy]) -> None:
    """The new setting is read, bounded, overridden by the environment, shown with its origin, and in the schema."""
    copy = follow("Add a setting")
    config = copy.root / "config.example.yaml"
    shown = copy.run("config", "show", "--config", str(config))
    assert "first_after_min: 0" in shown
    program = """
import os
from pathlib import Path
from sigprobe.config import load
print(load(Path("config.example.yaml")).config.schedule.first_after_min)
"""
    assert copy.python("-c", program).strip() == "0"
    program = program.replace("import os", "import os; os.environ['SIGPROBE_SCHEDULE__FIRST_AFTER_MIN'] = '7'")
    assert copy.python("-c", program).strip() == "7"
    config.write_text(config.read_text().replace("first_after_min: 0 ", "first_after_min: 99 "))
    copy.run("config", "check", "--config", str(config), code=2)
    assert "first_after_min" in copy.run("config", "schema", "config")


def test_a_page_is_added_as_contributing_says(follow: Callable[[str], Copy]) -> None:
    """The new page needs a session, and is served in the frame of all pages and in the reader's language."""
    page = _page(follow("Add a page of the collector"), "kinds")
    assert re.search(r"<code>web</code> Whole page", page) and "<h1>Kinds</h1>" in page, page
