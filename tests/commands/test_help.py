"""Every help text: examples first, and in Indonesian no English left."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator

import pytest

from sigprobe.cli import run
from sigprobe.commands.verbs import INNER, VERBS
from tests.support.running_site import Run

COMMANDS = ["", *VERBS, *INNER]
ENGLISH = re.compile(
    r"\b(?:the|and|of|for|with|this|that|to|from|show|print|help|exit|settings|results|file|default|required|usage|"
    r"options|arguments|commands|examples|language|only|errors|address|number|which|where|write|read)\b",
    re.IGNORECASE,
)
ALLOWED = re.compile(
    r"sigprobe .*|--?[a-z-]+|<[^>]*>|\bpermanen\b|"  # examples, options and choices stay in every language
    r"plain\|excel-id|KIND\|NAME|only|[\w-]+(?:\|[\w-]+)+"
)


RAW = re.compile(r"\bx\s*[<>]=|<=x|<(?:str|int|float|path|datetime)\b|range>|<[\w-]+(?:\|[\w-]+)+>|\d\.0[\];]|\]  \[")
"""What Typer writes for ranges, types, choices and whole numbers."""


class Narrow(io.StringIO):
    """A terminal in memory; its width is COLUMNS."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def help_at(width: int, command: str, language: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a help text as a terminal of this width shows it."""
    monkeypatch.setenv("COLUMNS", str(width))
    shown = Narrow()
    assert run([*command.split(), "--help", "--lang", language], out=shown, err=shown) == 0
    return shown.getvalue()


@pytest.mark.parametrize("language", ["en", "id"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_on_narrow_terminals(command: str, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 40 and 60 columns no line is too wide unless it is one word, no word is broken, and nothing is lost."""
    words = help_at(80, command, language, monkeypatch).replace(" \\\n", " ").split()
    for width in (40, 60):
        text = help_at(width, command, language, monkeypatch)
        assert text.replace(" \\\n", " ").split() == words
        assert [line for line in text.splitlines() if len(line) > width and len(line.strip(" \\").split()) > 1] == []


def test_an_example_can_be_copied_from_any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folded example ends its lines with backslashes, and an option stays with its value: a shell reads the same."""
    text = help_at(40, "collector restore", "en", monkeypatch)
    block = text.partition("Examples:\n")[2].partition("\n\n")[0]
    commands = [shlex.split(command) for command in block.replace("\\\n", "").splitlines()]
    assert commands == [shlex.split(example) for example in INNER["collector restore"].examples]
    wide = help_at(80, "collector restore", "en", monkeypatch)
    assert "\\\n" in wide and not re.search(r"--\w+ \\\n", wide)


def test_ranges_are_words(sigprobe: Run) -> None:
    """Limits and defaults are said in the language in use."""
    english, indonesian = (sigprobe("nearest", "--help", "--lang", language).stdout for language in ("en", "id"))
    assert "[default: 5; from 1 to 1000]" in english and "[bawaan: 5; 1 sampai 1000]" in indonesian
    assert "[default: 10; at least 1]" in sigprobe("drive", "--help", "--lang", "en").stdout
    assert "[minimal 10]" in sigprobe("drive", "--help", "--lang", "id").stdout


@pytest.mark.parametrize(
    "raw", ["[x>=10]", "[default: 5; 1<=x<=9]", "<text|json>", "<str>", "[default: 3.0]", "a]  [b"]
)
def test_raw_notation_is_found(raw: str) -> None:
    """The check above can fail."""
    assert RAW.search(raw)


@pytest.mark.parametrize("language", ["en", "id"])
def test_plain_help_has_one_line_for_each_option(language: str, sigprobe: Run) -> None:
    """A screen reader reads each option with its whole text."""
    lines = sigprobe("drive", "--help", "--plain", "--lang", language).stdout.splitlines()
    options = [line for line in lines if line.startswith("  -")]
    assert len(options) > 15 and all(": " in line for line in options)
    assert not [line for line in lines if line.startswith("   ")]


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """The rows of a help text as (what, its description), continued lines joined."""
    what, words = "", ""
    _before, _usage, rows = text.partition(
        next(line for line in text.splitlines() if " sigprobe" in line and ":" in line)
    )
    for line in rows.splitlines():
        found = re.match(r"^  (\S.*?)(?:  +(\S.*))?$", line)
        if found:
            if words:
                yield what, words
            what, words = found[1], found[2] or ""
        elif line.startswith("   ") and line.strip():
            words = f"{words} {line.strip()}".strip()
        elif words:
            yield what, words
            what, words = "", ""
    if words:
        yield what, words


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, sigprobe: Run) -> None:
    """Help exits 0 on stdout, begins with what the command does and examples, and every description is translated."""
    texts = {}
    for language, title, usage in (("en", "Examples:", "Usage: "), ("id", "Contoh:", "Pemakaian: ")):
        done = sigprobe(*command.split(), "--help", "--lang", language)
        assert (done.returncode, done.stderr) == (0, "")
        text = texts[language] = done.stdout
        assert 0 < text.index(title) < text.index(usage), "examples come before everything else"
        example = text.split(title)[1].splitlines()[1].strip()
        assert example.startswith(f"sigprobe {command}".strip())
        assert [line for line in text.splitlines() if len(line) > 80] == []
        assert "..." not in re.sub(r"\[?ARG\S*", "", text), "no description is cut short"
        assert RAW.search(text) is None, "no piece of the parser's own notation"
    english, indonesian = (dict(pieces(texts[language])) for language in ("en", "id"))
    assert {what for what in english if what.startswith("-")} and len(english) == len(indonesian)
    for here, there in zip(english.items(), indonesian.items(), strict=True):
        if re.search("[a-z]{3}", here[1]):
            assert here[1] != there[1], f"not translated: {here}"
    for line in indonesian.values():
        left = ENGLISH.search(ALLOWED.sub("", line))
        assert left is None, f"English in {line!r}: {left}"
    assert texts["en"].splitlines()[0] != texts["id"].splitlines()[0]


def test_every_command_below_a_verb_is_in_the_table(sigprobe: Run) -> None:
    """The table that help, README and the tests above go by holds exactly the commands there are."""
    from sigprobe.commands.support import typer_shell

    def walk(command: object, path: str) -> Iterator[str]:
        for name, below in getattr(command, "commands", {}).items():
            yield f"{path} {name}"
            yield from walk(below, f"{path} {name}")

    root = typer_shell.root()
    found = [path for verb in VERBS for path in walk(root.get_command(None, verb), verb)]
    assert sorted(found) == sorted(INNER)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tset"], "test"),
        (["frobnicate"], "frobnicate"),
        (["config", "sho"], "show"),
        (["collector", "token", "mint"], "mint"),
        (["--frob"], "--frob"),
        (["import"], "FILE"),
        (["config", "schema", "foo"], "config, result"),
        (["collector", "serve", "--port", "99999"], "65535"),
    ],
)
def test_a_wrong_command(words: list[str], said: str, sigprobe: Run) -> None:
    """A slip of the hand: exit 2, one sentence in one's own language with the nearest right word, and where help is."""
    for language, way in (("id", "Untuk bantuan, jalankan: sigprobe"), ("en", "For help, run: sigprobe")):
        done = sigprobe(*words, "--lang", language)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr and way in done.stderr
        assert len(done.stderr.splitlines()) == 2


def test_no_words_at_all_is_help(sigprobe: Run) -> None:
    """`sigprobe` alone shows its help."""
    assert sigprobe("--lang", "en").stdout == sigprobe("--help", "--lang", "en").stdout


def test_version(sigprobe: Run) -> None:
    """`--version` says name and version, wherever it stands."""
    from sigprobe import __version__

    for words in (["--version"], ["-V"], ["--version", "--lang", "id"]):
        done = sigprobe(*words)
        assert (done.returncode, done.stdout) == (0, f"sigprobe {__version__}\n"), words
