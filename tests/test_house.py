"""The house stands as it was drawn: what starts cheaply stays cheap, arrows point down, one list drives the rest."""

from __future__ import annotations

import ast
import graphlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sigprobe.measure import KINDS
from sigprobe.record import kinds as record_kinds
from tests.support.requirements import ROOT, missing
from tests.support.running_site import Run

PACKAGE = ROOT / "sigprobe"
LIBRARIES = ("requests", "urllib3", "dns", "icmplib", "speedtest", "rich", "yaml", "pydantic", "typer", "apsw")


def loaded(code: str, *arguments: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after this code."""
    program = f"import sys\nsys.argv = ['sigprobe', *{list(arguments)!r}]\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split())


@pytest.mark.process
def test_version_loads_next_to_nothing() -> None:
    """`--version` answers before any library or any kind is loaded."""
    code = "from sigprobe.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass"
    modules = loaded(code, "--version")
    assert "sigprobe.cli" in modules, "the control: it did run"
    assert not modules & set(LIBRARIES)
    assert not {name for name in modules if name.startswith(("sigprobe.measure", "sigprobe.commands"))}


@pytest.mark.process
def test_help_loads_no_measuring() -> None:
    """`--help` lists the verbs without importing any of them."""
    code = "from sigprobe.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass"
    modules = loaded(code, "--help")
    assert "sigprobe.commands.support.typer_shell" in modules
    assert not modules & {"requests", "dns", "rich", "icmplib", "speedtest", "apsw", "yaml"}
    assert not {name for name in modules if name.startswith("sigprobe.measure")}


@pytest.mark.process
def test_the_kinds_load_their_libraries_when_they_measure() -> None:
    """Importing the registry loads none of the libraries that the kinds measure with."""
    modules = loaded("import sigprobe.measure")
    assert "sigprobe.measure.ping.kind" in modules
    assert not modules & {"requests", "urllib3", "dns", "icmplib", "speedtest", "rich"}


@pytest.mark.process
def test_arrows_point_downwards() -> None:
    """The stair of the design holds, and the collector lives apart from the probe."""
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    if program is None:
        missing("import-linter is not installed", "make setup")
    done = subprocess.run(
        [str(program), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout)


def imports_of(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, anywhere in it, under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            while name and name not in modules:
                name = name.rpartition(".")[0]  # noqa: PLW2901 - from a name to the module that holds it
            found |= {name} if name else set()
    return found


def circles(arrows: dict[str, set[str]]) -> list[str]:
    """The first circle of imports, as the modules on it; empty where there is none."""
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_circle_of_imports() -> None:
    """No file leads back to itself, neither by imports inside functions nor by those for type checkers alone."""
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    arrows = {name: imports_of(path, modules) - {name} for name, path in modules.items()}
    assert sum(map(len, arrows.values())) > 500, "the control: the imports were read"
    assert circles(arrows) == []
    assert circles({**arrows, "sigprobe.record.kinds": {"sigprobe.verdict.readings"}}), "the control: one is found"


def test_no_chain_of_kinds() -> None:
    """Outside the packages of the kinds and their table, no code compares a kind with a name."""
    chain = re.compile(r"\bkind (?:==|!=|in|not in) [(\"'{]*[\"'](?:" + "|".join(KINDS) + r")[\"']")
    assert chain.search('if result.kind == "ping":') and chain.search('kind in ("dns", "http")'), "the control"
    own = PACKAGE / "measure"
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in PACKAGE.rglob("*.py")
        if own not in path.parents
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if chain.search(line)
    ]
    assert found == []
    assert list(record_kinds.KINDS) == list(KINDS), "every kind of the registry is described for people"


def tracked() -> list[Path]:
    """Return every file under version control; without git or in an unpacked archive, every file."""
    listed = ""
    if (git := shutil.which("git")) is not None:
        listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not listed:
        skipped = {".venv", ".git", "__pycache__", "build", "dist"}
        return [path for path in ROOT.rglob("*") if path.is_file() and not skipped & set(path.parts)]
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


FOREIGN = re.compile(
    "|".join(
        (
            r"pypi\.org|files\.python" + r"hosted\.org|registry\.npm" + r"js\.org|index\.crates\.io",
            r"/(?:home|Users)/[a-z][a-z0-9_-]+/",
            r"/ro" + r"ot/|/tm" + r"p/w/|/wo" + r"rk/",
        )
    )
)
EXAMPLES = ("/home/user/", "/home/petugas/")
"""Homes of nobody, in samples."""


@pytest.mark.process
def test_nothing_of_the_workplace_is_in_the_repository() -> None:
    """No file names a package registry or an absolute path of the machine it was written on."""
    assert FOREIGN.search("https://files.python" + "hosted.org/x") and FOREIGN.search("/home/" + "budi/x"), (
        "the control"
    )
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            hit = FOREIGN.search(line)
            if hit and not hit[0].startswith(EXAMPLES):
                found.append(f"{path.relative_to(ROOT)}:{number}: {hit[0]}")
    assert not [line for line in found if not line.startswith("tests/test_house.py:")]


def test_every_kind_has_the_same_files() -> None:
    """Options, data and measurement of each kind stand in files of the same names."""
    for name, kind in KINDS.items():
        package = f"sigprobe.measure.{name}"
        assert kind.options.__module__ == f"{package}.options", name
        assert kind.data.__module__ == f"{package}.data", name
        assert kind.measure.__module__ == f"{package}.kind", name
        data = inspect.get_annotations(kind.data)
        assert data, "the control: the typed dict is read"


def test_one_list_drives_all(sigprobe: Run, tmp_path: Path) -> None:
    """The registry of kinds is the only list: settings, schemas, `--only` and the README follow from it."""
    kinds = list(KINDS)
    schema = json.loads(sigprobe("config", "schema", "config").stdout)
    targets = json.dumps(schema)
    record = json.dumps(json.loads(sigprobe("config", "schema", "result").stdout))
    for kind in kinds:
        assert (f'"const": "{kind}"' in targets) is KINDS[kind].configurable, kind
        assert f'"{kind}"' in record, kind
    path = tmp_path / "bad.yaml"
    path.write_text('probe: {site: "a"}\ntargets: [{kind: nonsense, name: a}]\n')
    said = sigprobe("config", "check", "--config", str(path)).stderr
    assert all((kind in said) for kind in kinds if KINDS[kind].configurable), said
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("<!-- kinds -->")[2].partition("<!-- /kinds -->")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == kinds
    for kind in kinds:
        assert not re.search(rf"[\"']{kind}[\"']\s*,\s*[\"']", (PACKAGE / "cli.py").read_text(encoding="utf-8"))
