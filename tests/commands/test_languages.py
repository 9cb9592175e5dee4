"""`--json` of every command is the same in both languages, and English tails stay out of Indonesian screens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from sigprobe.commands.support import typer_shell
from tests.commands.conftest import CLOSED, PING, TPS, Settings
from tests.render.samples import result as make_result

# each case builds a world of its own
pytestmark = pytest.mark.slow

Run = Callable[..., Any]

VOLATILE = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}|\d+([.,:]\d+)*( (s|ms|min|h|d|GB|MB|kB))?"
)


@dataclass(frozen=True)
class World:
    """A folder with settings, one stored run, another device's file and queue, and two databases."""

    folder: Path
    sigprobe: Run

    @property
    def config(self) -> str:
        return str(self.folder / "config.yaml")

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def run(self, *words: str) -> Any:
        """Run a command that must work."""
        done = self.sigprobe(*words)
        assert done.returncode == 0, (words, done.stderr)
        return done


def told(value: Any, folder: str = "") -> Any:
    """A document without what differs between two runs: numbers, ids, and the folder of the test."""
    if isinstance(value, dict):
        # how busy this machine was is the test machine's own business
        return {key: told(inner, folder) for key, inner in value.items() if key != "processor"}
    if isinstance(value, list):
        seen = [told(inner, folder) for inner in value]
        return [] if all(inner == 0 for inner in seen) else seen
    if isinstance(value, str):
        plain = unquote(value) if value.startswith("https://wa.me/") else value
        return VOLATILE.sub("#", plain.replace(folder, "") if folder else plain)
    # a time that one of two runs could not measure is none of the language's business
    return 0 if value is None or (isinstance(value, int | float) and not isinstance(value, bool)) else value


def a_world(folder: Path, sigprobe: Run) -> World:
    """Build the folder; everything in it is this test's own."""
    world = World(folder, sigprobe)
    token = folder / "token"
    token.write_text("sigprobe-probe-0123456789abcdef\n")
    token.chmod(0o600)
    for name in ("config", "other"):
        document = {
            "probe": {"tps_id": TPS},
            "location": {"source": "none"},
            "targets": [PING, CLOSED],
            "buffer": {"path": world.path(f"{name}/buffer.db")},
            "upload": {"collectors": [{"url": "http://127.0.0.1:9/", "token_file": str(token)}]},
        }
        (folder / f"{name}.yaml").write_text(json.dumps(document))
        world.run("test", "--no-upload", "--only", "device", "--config", world.path(f"{name}.yaml"))
    world.run("export", world.path("stick.gz"), "--config", world.path("other.yaml"))
    for name in ("here", "there"):
        url = f"sqlite:///{world.path(name)}.db"
        world.run("collector", "token", "create", "--probe", f"laptop-{name}", "--database", url)
    world.run(
        *("collector", "import", world.path("stick.gz"), "--receipts", world.path("receipts.gz")),
        *("--database", f"sqlite:///{world.path('there')}.db"),
    )
    world.run("collector", "backup", world.path("copy.db"), "--database", f"sqlite:///{world.path('there')}.db")
    (folder / "tps.csv").write_text(f"id,name,lat,lon\n{TPS},TPS 5,-6.9,107.6\n3273011001006,TPS 6,-6.91,107.61\n")
    return world


CASES: dict[str, list[tuple[str, ...]]] = {
    "test": [("--no-upload", "--only", "device"), ("--no-upload",)],
    "upload": [()],
    "drive": [("--points", "1", "--no-upload", "--out", "{folder}/route")],
    "status": [(), ("--coverage", "--list", "{folder}/tps.csv")],
    "results": [()],
    "export": [("{folder}/mine.gz",)],
    "import": [("{folder}/stick.gz",), ("{folder}/receipts.gz",)],
    "nearest": [("--lat", "-6.9", "--lon", "107.6")],
    "share": [()],
    "report": [()],
    "ready": [()],
    "config check": [()],
    "config show": [(), ("--origin",)],
    "doctor": [()],
    "explain": [(), ("SP-NET-01",), ("path",)],
    "collector backup": [("{folder}/new.db", "--database", "{here}")],
    "collector restore": [("{folder}/copy.db", "--database", "sqlite:///{folder}/restored.db")],
    "collector merge": [("{folder}/there.db", "--database", "{here}")],
    "collector import": [("{folder}/stick.gz", "--receipts", "{folder}/r.gz", "--database", "{here}")],
    "collector check": [("--database", "{there}")],
    "collector migrate": [("--database", "{there}"), ("--dry-run", "--database", "{there}")],
    "collector retention": [("--database", "{there}"), ("--five-minutes", "9", "--dry-run", "--database", "{there}")],
    "collector erase": [("00000000-0000-7000-8000-000000000000", "--database", "{there}")],
    "collector token list": [("--database", "{here}")],
    "collector maintenance add": [
        (
            *("--from", "2029-02-14T22:00:00+07:00", "--to", "2029-02-15T02:00:00+07:00", "--reason", "serat"),
            *("--person", "A", "--database", "{there}"),
        )
    ],
    "collector maintenance list": [("--database", "{there}")],
    "collector site promote": [("--database", "{postgres}")],
    "collector database compact": [("--database", "{postgres}")],
}
"""For every command with `--json` the ways to call it; `{here}`, `{there}` and `{postgres}` are databases."""


def fill(words: tuple[str, ...], folder: Path, request: pytest.FixtureRequest) -> list[str]:
    """Fill a way to call a command; a PostgreSQL is started only where one is named."""
    server = request.getfixturevalue("postgres").new_database() if "{postgres}" in words else ""
    names = {name: f"sqlite:///{folder}/{name}.db" for name in ("here", "there")}
    return [word.format(folder=folder, postgres=server, **names) for word in words]


def commands_with_json() -> set[str]:
    """The paths of all commands that take `--json`, from the command line itself."""

    def walk(command: Any, path: str) -> Iterator[str]:
        names = command.list_commands(None) if hasattr(command, "list_commands") else []
        for name in names:
            yield from walk(command.get_command(None, name), f"{path} {name}".strip())
        if not names and any("--json" in param.opts for param in command.params):
            yield path

    return set(walk(typer_shell.root(), ""))


def test_every_command_with_json_has_its_case() -> None:
    """A new command with `--json` fails here until it is compared in both languages."""
    assert commands_with_json() == set(CASES) | {"collector database distribute"}, "the last one has its own test"


def test_json_of_distribute_is_the_same_in_both_languages() -> None:
    """Its machines with Citus are not here, so its result is compared as it is made."""
    from sigprobe.collector.store.distribution import Distributed as Done
    from sigprobe.commands.collector_distribute import Distributed
    from sigprobe.words.i18n import speaking

    texts = []
    for language in ("id", "en"):
        with speaking(language):
            texts.append("".join(Distributed(Done(("results",), ("boots",), 3, 32, "13.0")).json()))
    assert texts[0] == texts[1] and json.loads(texts[0])["machines"] == 3


def _marks(words: tuple[str, ...]) -> list[pytest.MarkDecorator]:
    """A case that needs PostgreSQL starts a program."""
    return [pytest.mark.process] if "{postgres}" in words else []


def _case(command: str, words: tuple[str, ...]) -> Any:
    return pytest.param(command, words, marks=_marks(words), id=" ".join((command, *words)))


@pytest.mark.parametrize(
    ("command", "words"), [_case(command, words) for command, ways in CASES.items() for words in ways]
)
def test_json_is_the_same_in_both_languages(
    command: str, words: tuple[str, ...], tmp_path: Path, sigprobe: Run, request: pytest.FixtureRequest
) -> None:
    """Keys and values of `--json` do not depend on `--lang`."""
    documents = []
    for language in ("id", "en"):
        folder = tmp_path / language
        folder.mkdir()
        world = a_world(folder, sigprobe)
        filled = fill(words, folder, request)
        config = [] if command.startswith("collector ") else ["--config", world.config]
        done = sigprobe(*command.split(), *filled, "--json", "--lang", language, *config)
        assert done.returncode in (0, 1, 4), done.stderr
        documents.append(told(json.loads(done.stdout), str(folder)))
    assert documents[0] == documents[1]


@pytest.mark.parametrize("command", [pytest.param(name, marks=_marks(CASES[name][0])) for name in sorted(CASES)])
def test_json_is_one_versioned_document(
    command: str, tmp_path: Path, sigprobe: Run, request: pytest.FixtureRequest
) -> None:
    """An object names the version of its shape first; a list of records has the version in each record."""
    world = a_world(tmp_path, sigprobe)
    words = fill(CASES[command][0], tmp_path, request)
    config = [] if command.startswith("collector ") else ["--config", world.config]
    document = json.loads(sigprobe(*command.split(), *words, "--json", *config).stdout)
    if isinstance(document, dict):
        assert next(iter(document)) in ("schema", "report") and next(iter(document.values())) == 1


@pytest.mark.parametrize("form", ["--csv", "--ndjson"])
@pytest.mark.parametrize("command", ["test", "results"])
def test_other_forms_for_programs_are_the_same(command: str, form: str, tmp_path: Path, sigprobe: Run) -> None:
    """CSV and NDJSON do not depend on `--lang` either."""
    texts = []
    for language in ("id", "en"):
        folder = tmp_path / language
        folder.mkdir()
        world = a_world(folder, sigprobe)
        more = ["--no-upload"] if command == "test" else []
        done = sigprobe(command, form, *more, "--lang", language, "--config", world.config)
        assert done.returncode == 0, done.stderr
        texts.append(re.sub(r"[\W\d_]+", " ", VOLATILE.sub("#", done.stdout)))
    assert texts[0] == texts[1]


def test_the_comparison_can_fail() -> None:
    """A translated value, key or unit is seen; another number, id or folder is not."""
    english = told({"a": ["connection refused after 5 s"], "at": "/tmp/en/x", "id": "0a" * 16, "n": 1}, "/tmp/en")
    assert (
        told({"a": ["connection refused after 7 s"], "at": "/tmp/id/x", "id": "1b" * 16, "n": 2}, "/tmp/id") == english
    )
    assert told({"a": ["sambungan ditolak setelah 5 s"], "at": "/x", "id": "#", "n": 1}) != english
    assert told({"a": ["connection refused after 5 detik"], "at": "/x", "id": "#", "n": 1}) != english


@pytest.fixture
def measured(settings: Settings, sigprobe: Run) -> str:
    """Settings with one stored run."""
    config = str(settings(PING, CLOSED, upload={"collectors": [{"url": "https://127.0.0.1:9/"}]}))
    assert sigprobe("test", "--no-upload", "--only", "device", "--config", config).returncode == 0
    return config


def test_doctor_speaks_indonesian_and_shows_technical_words_only_when_asked(measured: str, sigprobe: Run) -> None:
    """Causes are words of the language; what the library said stands in brackets under `-v`."""
    plain = sigprobe("doctor", "--lang", "id", "--config", measured)
    loud = sigprobe("doctor", "-v", "--lang", "id", "--config", measured)
    wrong = re.compile(r"\[Errno|refused|Connection|Error:|icmp-|wal \+|Pool\(|\bfile\b")
    assert not wrong.search(plain.stdout), plain.stdout
    assert re.search(r"SQLite \d", loud.stdout) and not re.search(r"SQLite \d", plain.stdout)


@pytest.mark.parametrize(("state", "cause", "mark"), [("none", "healthy", "✓"), ("operator", "no_internet", "✗")])
def test_a_run_is_listed_by_its_verdict(state: str, cause: str, mark: str) -> None:
    """A run that found trouble has no ✓ in `results`, though it came to its end."""
    from sigprobe.render.status import ListedResult, results_text

    data = {"verdict": {"owner": state, "cause": cause, "confidence": 0.9, "evidence": []}}
    record = json.loads(make_result("run", "run", **data).to_line())
    line = results_text([ListedResult(record, "pending")]).splitlines()[1]
    assert mark in line and ("✓" in line) == (mark == "✓")


def test_what_was_not_tested_has_its_own_mark() -> None:
    """A path that no reference is set for is neither good nor failed."""
    from sigprobe.render.run_table import result_rows

    row = next(iter(result_rows(make_result("path", "path", code="no_reference"), None)))
    assert (row.mark, row.word) == ("skipped", "not tested")
    failed = next(iter(result_rows(make_result("path", "path", code="no_network"), None)))
    assert failed.mark == "failed", "the control"


def test_explain_a_kind_of_check(sigprobe: Run) -> None:
    """`explain throughput` states when a speed varies, in the language asked for; its JSON has no sentences."""
    for language, word in (("en", "A speed varies when"), ("id", "berubah-ubah")):
        assert word in sigprobe("explain", "throughput", "--lang", language).stdout
    assert json.loads(sigprobe("explain", "throughput", "--json").stdout) == {
        "schema": 1,
        "kind": "throughput",
        "configurable": True,
    }


def test_explain_without_a_code_lists_all(sigprobe: Run) -> None:
    """Each screen code is listed once with its sentence, in both languages."""
    from sigprobe.words.codes import CODES

    for language in ("id", "en"):
        done = sigprobe("explain", "--lang", language)
        assert done.returncode == 0
        missing = [code.screen for code in CODES.values() if code.screen not in done.stdout]
        assert missing == []


def test_init_writes_the_language_that_was_used(tmp_path: Path, sigprobe: Run) -> None:
    """A cron run with LANG=C reads the language from the file."""
    for language in ("id", "en"):
        path = tmp_path / f"{language}.yaml"
        done = sigprobe("init", "--site", "x", "--no-input", "--lang", language, "--config", str(path))
        assert done.returncode == 0, done.stderr
        assert f"language: {language}\n" in path.read_text()


def test_status_on_a_carriers_laptop_tells_own_from_others(settings: Settings, tmp_path: Path, sigprobe: Run) -> None:
    """Results of another device are counted apart, and their age is not this device's."""

    def laptop(name: str) -> str:
        return str(settings(PING, name=f"{name}.yaml", buffer={"path": str(tmp_path / name / "buffer.db")}))

    theirs, mine, stick = laptop("theirs"), laptop("mine"), str(tmp_path / "stick.gz")
    assert sigprobe("test", "--no-upload", "--only", "device", "--config", theirs).returncode == 0
    assert sigprobe("export", stick, "--config", theirs).returncode == 0
    assert sigprobe("import", stick, "--config", mine).returncode == 0
    told = json.loads(sigprobe("status", "--json", "--config", mine).stdout)
    assert 0 < told["pending"] == told["pending_of_others"]
    text = sigprobe("status", "--lang", "en", "--config", mine).stdout
    assert "from other device" in text or "from another device" in text
    assert "Oldest waiting" not in text
    assert "Oldest waiting" in sigprobe("status", "--lang", "en", "--config", theirs).stdout, "the control"
