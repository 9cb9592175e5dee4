"""`--json` of every command is the same in both languages, and English tails stay out of Indonesian screens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import CLOSED, PING, Settings
from tests.render.samples import result as make_result

Run = Callable[..., Any]

COMMANDS = [
    ("config", "check"),
    ("config", "show", "--origin"),
    ("doctor",),
    ("explain",),
    ("explain", "SP-NET-01"),
    ("nearest", "--lat", "-6.9", "--lon", "107.6"),
    ("ready",),
    ("report",),
    ("results",),
    ("status",),
]
VOLATILE = re.compile(r"\d+([.,]\d+)?( (s|ms|min|h|d|GB|MB|kB))?")


def told(value: Any) -> Any:
    """A document with its numbers taken out of texts: two runs a second apart are not two languages."""
    if isinstance(value, dict):
        return {key: told(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [told(inner) for inner in value]
    return VOLATILE.sub("#", value) if isinstance(value, str) else None if isinstance(value, float) else value


@pytest.fixture
def measured(settings: Settings, sigprobe: Run) -> str:
    """Settings with one stored run."""
    config = str(settings(PING, CLOSED, upload={"collectors": [{"url": "https://127.0.0.1:9/"}]}))
    assert sigprobe("test", "--no-upload", "--only", "device", "--config", config).returncode == 0
    return config


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_json_is_the_same_in_both_languages(words: tuple[str, ...], measured: str, sigprobe: Run) -> None:
    """Keys and values of `--json` do not depend on `--lang`."""
    documents = []
    for language in ("id", "en"):
        done = sigprobe(*words, "--json", "--lang", language, "--config", measured)
        assert done.returncode in (0, 1), done.stderr
        documents.append(told(json.loads(done.stdout)))
    size_bytes = [d.pop("size_bytes", None) for d in documents if isinstance(d, dict)]
    assert len(size_bytes) in (0, 2)
    assert documents[0] == documents[1]


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
