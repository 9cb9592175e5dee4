"""docs/collector.md says what the program says and does: its options, endpoints, events, figures and words."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi import FastAPI

from sigprobe.collector.access import throttle, token_check
from sigprobe.collector.access.reader import all_routes
from sigprobe.collector.health import readiness
from sigprobe.collector.ingest import admission, fair_queue
from sigprobe.collector.store import readers
from sigprobe.collector.web import http_protocol, retry_after, threads
from sigprobe.collector.web.settings import Settings
from sigprobe.protocol import batches
from tests.support.collector_client import Collector
from tests.support.collector_process import run
from tests.support.requirements import ROOT

PAGE = (ROOT / "docs" / "collector.md").read_text(encoding="utf-8")
TEXT = re.sub(r"\s+", " ", PAGE)
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "sigprobe").rglob("*.py"))


def test_every_option_is_described() -> None:
    """The table has the options of `serve --help`, and no other."""
    text = run("serve", "--help", database="sqlite:///x").stdout
    # of an option and its opposite, the one that changes something is described
    pairs = [pair.split(" / ") for pair in re.findall(r"^ {2}(--[a-z-]+(?: / --[a-z-]+)?)", text, re.MULTILINE)]
    shown = {pair[-1] for pair in pairs} - {"--help", "--lang", "--plain"}
    rows = re.findall(r"^\| (`--.*?) \|", PAGE, re.MULTILINE)
    described = {option for row in rows for option in re.findall(r"--[a-z-]+", row)}
    assert shown <= described <= shown | {pair[0] for pair in pairs}


def test_every_endpoint_is_described(make_collector: Callable[..., Collector]) -> None:
    """The table has each route that a client may ask for; the speed test's stand together."""
    app = make_collector().client.app
    assert isinstance(app, FastAPI)
    described = set(re.findall(r"`(?:GET |POST )?(/[^`?]*)", PAGE))
    for _, path in all_routes(app.routes):
        if path.startswith(("/backend/", "/static", "/login", "/logout")):
            continue
        assert re.sub(r"{[^}]*}", "ID", path) in described, path


def test_every_event_of_the_log_is_described() -> None:
    """The table of events has those that the collector writes; each of the others stands in the program, too."""
    package = ROOT / "sigprobe" / "collector"
    called = re.compile(r'\blog\.(?:info|warning|error)\(\s*"([^"%]+)', re.MULTILINE)
    written = {
        event.strip(": ")
        for path in package.rglob("*.py")
        for event in called.findall(path.read_text(encoding="utf-8"))
    }
    begin = PAGE.index("| event | ")
    table = PAGE[begin : PAGE.index("\n\n", begin)]
    cells = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    described = {event for cell in cells for event in re.findall(r"`([^`]+)`", cell)}
    assert written - {"event loop"} <= described
    for event in described:
        assert f'"{event}' in SOURCES, event


def test_quoted_words_are_words_of_the_program() -> None:
    """What the page puts in quotation marks stands in the program's own texts."""
    prose = re.sub(r"```.*?```|`[^`]*`", "", PAGE, flags=re.DOTALL)
    quoted = re.findall(r'"([^"\n]{4,})"', prose)
    assert quoted
    for words in quoted:
        assert words in SOURCES, words


IN_WORDS = {2: "two", 5: "five", 8: "eight", 10: "ten", 15: "fifteen", 18: "eighteen"}


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("ends one within {} seconds", token_check.KNOWN_S),
        ("a request's head within {} seconds", http_protocol.HEAD_S),
        ("One token may have {} batches on the way at once", Settings().max_per_token),
        ("on average after {} seconds", Settings().body_grace_s),
        ("A batch has {} seconds for the database", round(threads.TOKEN_S + fair_queue.MAX_WAIT_S + threads.STORE_S)),
        ("and {w} seconds for a query", readers.QUERY_S),
        ("from {} seconds to 5 minutes", retry_after.SPAN_S),
        ("{} MiB compressed", batches.MAX_COMPRESSED_BYTES >> 20),
        ("{} MiB unpacked", batches.MAX_DECOMPRESSED_BYTES >> 20),
        ("ratio {}", batches.MAX_RATIO),
        ("{n} records", batches.MAX_RECORDS),
        ("{} KiB a line", batches.MAX_LINE_BYTES >> 10),
    ],
)
def test_figures_are_those_of_the_program(sentence: str, value: float) -> None:
    """Each limit that the page names has the value that the program uses."""
    number = round(value)
    wanted = sentence.replace("{w}", IN_WORDS.get(number, str(number))).replace("{n}", f"{number:,}")
    assert wanted.replace("{}", str(number)) in TEXT


def test_shares_are_those_of_the_program() -> None:
    """The parts that one network may have, and the tries of wrong tokens."""
    assert (admission.SIX_SHARE, admission.FOUR_SHARE, retry_after.LONGEST_S, readiness.DEADLINE_S) == (8, 2, 300, 1.5)
    assert "one IPv6 /64 an eighth of all places and one IPv4 address half of them" in TEXT
    assert throttle.WrongTries().__dict__["_each"] == 10 and "After ten wrong tokens from one address" in TEXT


def test_messages_about_revocation_name_the_same_time() -> None:
    """Help and message promise what the page does."""
    assert SOURCES.count(f"within {round(token_check.KNOWN_S)} seconds.") >= 2
    assert "within a minute" not in (ROOT / "sigprobe" / "commands" / "collector.py").read_text(encoding="utf-8")
