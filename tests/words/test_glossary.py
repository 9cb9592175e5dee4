"""One word for one thing: no message uses a word that the glossary forbids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = re.compile(r"sigprobe [a-z ]+|--[a-z-]+|\([a-z]+\)|\{\w+\}")


def forbidden() -> dict[str, list[str]]:
    """The words that the glossary forbids, by language."""
    rows = [line.split("|")[1:-1] for line in (ROOT / "docs" / "glossary.md").read_text().splitlines() if "|" in line]
    found: dict[str, list[str]] = {"en": [], "id": []}
    for row in rows[2:]:
        for language, cell in (("en", row[3]), ("id", row[4])):
            found[language] += [word.strip() for word in cell.split(",") if word.strip()]
    return found


def messages(language: str) -> Iterator[str]:
    """Every text of a catalogue."""
    path = ROOT / "sigprobe" / "words" / "locale" / language / "LC_MESSAGES" / "sigprobe.po"
    with path.open("rb") as file:
        for message in read_po(file):
            if message.id:
                yield from [message.string] if isinstance(message.string, str) else message.string


def uses(text: str, word: str) -> bool:
    """Whether a text uses a word, commands and fields aside."""
    return re.search(rf"\b{re.escape(word)}\b", COMMANDS.sub("", text), re.IGNORECASE) is not None


@pytest.mark.parametrize("language", ["en", "id"])
def test_no_message_uses_a_forbidden_word(language: str) -> None:
    """Each thing has one word in this language."""
    words = forbidden()[language]
    assert len(words) > 5, "the control: the table was read"
    assert [(word, text) for text in messages(language) for word in words if uses(text, word)] == []


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md")]
EXEMPT = {"verdict.md": {"name server", "resolver"}, "glossary.md": None}
"""The verdict tells resolvers from name servers; the glossary names the words it forbids."""


def prose(page: Path) -> Iterator[str]:
    """The lines of a document without its code."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    yield from re.sub(r"`[^`]*`", "", text).splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_document_uses_a_forbidden_word(page: Path) -> None:
    """Documents have the words of the screens."""
    allowed = EXEMPT.get(page.name, set())
    if allowed is not None:
        words = [word for word in forbidden()["en"] if word not in allowed]
        assert [(word, line) for line in prose(page) for word in words if uses(line, word)] == []


def test_the_check_can_fail() -> None:
    """A forbidden word is found in whatever case, and a part of another word is none."""
    assert uses("Hanya Kolektor yang tidak terjangkau.", "kolektor")
    assert not uses("Jalankan: sigprobe collector serve", "kolektor")
    assert not uses("Proposisi", "posisi")
