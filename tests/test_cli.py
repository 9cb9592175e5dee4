"""`sigprobe.cli.run` in one process: many commands, each with its own language and streams, and nothing left behind."""

from __future__ import annotations

import gettext
import io
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from sigprobe import cli
from sigprobe.commands.support import terminal
from sigprobe.words import i18n


def call(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return cli.run(words, out=out, err=err), out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("words", "english", "indonesian"),
    [
        (["--help"], "Usage: sigprobe", "Pemakaian: sigprobe"),
        (["test", "--help"], "Usage: sigprobe", "Pemakaian: sigprobe"),
        (["schedule", "install", "--help"], "Options:", "Opsi:"),
    ],
)
def test_each_call_has_its_language(words: list[str], english: str, indonesian: str) -> None:
    """Two calls in one process with different `--lang` print their own language, in either order."""
    for language in ("id", "en", "id"):
        code, said, complaint = call(*words, "--lang", language)
        assert (code, complaint) == (0, "")
        assert (indonesian in said) is (language == "id"), said
        assert (english in said) is (language == "en"), said


def test_the_help_of_each_option_has_its_language() -> None:
    """No line of an option's help is the same in both languages, though the module was imported once."""
    told = {language: call("drive", "--help", "--lang", language)[1] for language in ("en", "id")}
    lines = {language: set(text.partition("\n\n")[2].splitlines()) for language, text in told.items()}
    shared = {line for line in lines["en"] & lines["id"] if line.startswith("  -")}
    assert len([line for line in lines["en"] if line.startswith("  -")]) > 10, "the control: options are listed"
    assert not shared


def test_usage_mistakes_have_their_language() -> None:
    """A mistake on the command line is said in the language of that call, and the exit code is 2."""
    said = [call("test", "--nonsense", "--lang", language) for language in ("id", "en", "id")]
    assert [code for code, _out, _err in said] == [2, 2, 2]
    assert said[0] == said[2] != said[1]
    assert "--nonsense" in said[1][2] and "For help, run: sigprobe test --help" in said[1][2]


STATE: dict[str, Callable[[], Any]] = {
    "language": i18n.language,
    "translation": lambda: i18n._("Usage: "),
    "parser's domain": gettext.textdomain,
    "terminal": terminal.current,
    "environment": lambda: dict(os.environ),
    "stdout": lambda: (sys.stdout, getattr(sys.stdout, "errors", None)),
    "stderr": lambda: (sys.stderr, getattr(sys.stderr, "errors", None)),
    "root's handlers": lambda: list(logging.getLogger().handlers),
    "own handlers": lambda: (list(logging.getLogger("sigprobe").handlers), logging.getLogger("sigprobe").propagate),
    "signals": lambda: [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
    "folder": os.getcwd,
}


@pytest.mark.parametrize(
    "words",
    [
        ["--help", "--lang", "id"],
        ["-qq", "--plain", "-v", "--lang", "id", "nonsense"],
        ["status", "--lang", "id"],
        ["init", "--no-input", "--site", "a"],
        ["config", "check", "--lang", "xx"],
    ],
)
def test_nothing_is_left_behind(words: list[str]) -> None:
    """Language, terminal, log handlers, signal handlers and environment are afterwards as they were."""
    before = {name: look() for name, look in STATE.items()}
    call(*words)
    cli.run(words)
    assert {name: look() for name, look in STATE.items()} == before


def test_an_unexpected_fault_is_a_sentence_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in a command ends with exit code 1 and one sentence; the log file's handler is closed again."""

    def broken(*_args: object) -> None:
        raise RuntimeError("broken for the test")

    monkeypatch.setattr("sigprobe.commands.support.opening.settings", broken)
    before = {name: look() for name, look in STATE.items()}
    code, said, complaint = call("status")
    assert (code, said) == (1, "")
    assert "broken for the test" not in complaint and "[SP-INT-01]" in complaint, "the log and -v have it"
    assert {name: look() for name, look in STATE.items()} == before


def test_output_goes_where_it_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """With `out` and `err` nothing reaches the streams of the process; without them everything does."""
    assert call("--version")[1].startswith("sigprobe ")
    assert capsys.readouterr() == ("", "")
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sigprobe ")
