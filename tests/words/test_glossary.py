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


def test_the_check_can_fail() -> None:
    """A forbidden word is found in whatever case, and a part of another word is none."""
    assert uses("Hanya Kolektor yang tidak terjangkau.", "kolektor")
    assert not uses("Jalankan: sigprobe collector serve", "kolektor")
    assert not uses("Proposisi", "posisi")
