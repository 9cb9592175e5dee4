"""Every command and option that a document names exists, and every one that exists is in a document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from sigprobe.commands.support import typer_shell
from sigprobe.commands.verbs import INNER, VERBS
from sigprobe.words.i18n import speaking
from tests.support.requirements import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md")])
EVERYWHERE = {"--lang", "-q", "-qq", "--quiet", "-v", "--verbose", "--plain", "--help", "--version", "-V"}
_NAMED = re.compile(r"(?:^|[`\s(/$])sigprobe((?: +(?:[a-z][a-z-]*|--?[A-Za-z][\w-]*|[^\s`|#>&;)]+))+)", re.MULTILINE)


@cache
def commands() -> dict[str, set[str]]:
    """The options of each command, by its path."""

    def walk(command: Any, path: str) -> Iterator[tuple[str, set[str]]]:
        yield path, {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
        for name in getattr(command, "commands", None) or (VERBS if not path else ()):
            below = command.get_command(None, name)
            yield from walk(below, f"{path} {name}".strip())

    with speaking("en"):
        return dict(walk(typer_shell.root(), ""))


def shell_words(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each mention of `sigprobe …` in code of a page: the path of the command, and its options."""
    joined = text.replace("\\\n", " ")
    code = [*re.findall(r"```(?:sh|text|bash)?\n(.*?)```", joined, re.DOTALL), *re.findall(r"`([^`\n]+)`", joined)]
    code += re.findall(r"^ {4}(\S.*)$", joined, re.MULTILINE)
    for piece in code:
        for line in piece.splitlines():
            for found in _NAMED.finditer(line):
                words = found[1].split()
                path = ""
                while words and f"{path} {words[0]}".strip() in commands():
                    path = f"{path} {words.pop(0)}".strip()
                if path:
                    yield path, words


def wrong_options(text: str) -> list[tuple[str, str]]:
    """Options of a page that their command does not have, and words that are no command."""
    wrong = []
    for path, words in shell_words(text):
        known = commands()[path] | EVERYWHERE
        wrong += [(path, word) for word in words if word.startswith("--") and word.partition("=")[0] not in known]
        below = {name for name in commands() if name.startswith(f"{path} ")}
        if below and words and re.fullmatch(r"[a-z]+", words[0]):
            wrong.append((path, words[0]))
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_documents_exist(page: Any) -> None:
    """A page shows no command or option that the program does not know."""
    assert wrong_options(page.read_text(encoding="utf-8")) == []


def test_what_does_not_exist_is_found() -> None:
    """The search sees options and commands in blocks, in lines and over a continued line."""
    assert len([path for page in PAGES for path, _words in shell_words(page.read_text())]) > 60, "the control"
    assert wrong_options("`sigprobe test --nonesuch`") == [("test", "--nonesuch")]
    assert wrong_options("```sh\nsigprobe collector restore X \\\n  --inot /srv\n```") == [
        ("collector restore", "--inot")
    ]
    assert wrong_options("`sigprobe collector mint`") == [("collector", "mint")]
    assert wrong_options("`sigprobe test --only ping --max-data=20MB`") == []


def test_every_command_is_in_a_document() -> None:
    """Outside the table of the README, each command is described somewhere."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "CHANGELOG.md")
    text = re.sub(r"<!-- commands -->.*?<!-- /commands -->", "", text, flags=re.DOTALL)
    missing = [path for path in (*VERBS, *INNER) if f"sigprobe {path}" not in text and f"`{path}" not in text]
    assert missing == []


def test_every_option_is_in_a_document() -> None:
    """An option that no page, example or table names would be found in its help alone."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "CHANGELOG.md")
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) | EVERYWHERE
    missing = sorted(
        {(path, option) for path, options in commands().items() for option in options if option.startswith("--")}
        - {(path, option) for path, options in commands().items() for option in options if option in named}
    )
    assert missing == []
