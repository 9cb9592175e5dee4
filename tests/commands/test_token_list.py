"""The list of tokens fits the terminal, and its times are for people."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sigprobe.collector.access.queries import Token
from sigprobe.commands import collector_tokens
from sigprobe.commands.support.command_result import Screen
from sigprobe.words.i18n import speaking

WHEN = datetime(2029, 2, 14, 13, 24, tzinfo=UTC)


@pytest.mark.parametrize("language", ["id", "en"])
@pytest.mark.parametrize("width", [40, 80])
def test_the_list_fits(width: int, language: str) -> None:
    """A table where it has room, one block a token where it has none; with --plain one line each."""
    tokens = [Token(name, name, "probe", WHEN, None, WHEN) for name in ("laptop-1", "b")]
    with speaking(language):
        text = collector_tokens.Tokens(tokens).text(Screen(width=width))
        plain = collector_tokens.Tokens(tokens).text(Screen(width=width, plain=True))
    assert max(map(len, text.splitlines())) <= width
    assert text.count("WIB") == 4 and "T13:24" not in text
    assert len(plain.splitlines()) == 2 and "laptop-1" in plain
