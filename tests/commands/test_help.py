"""Every help text: examples first, and in Indonesian no English left."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

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
    r"plain\|excel-id|KIND\|NAME|only"
)


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """The rows of a help text as (what, its description), continued lines joined."""
    what, words = "", ""
    for line in text.splitlines():
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
        assert all(len(line) <= 80 or "sigprobe" in line for line in text.splitlines())
        assert "..." not in re.sub(r"\[?ARG\S*", "", text), "no description is cut short"
        assert "<str>" not in text and "<float>" not in text and "range>" not in text
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
