"""The report for a ticket: whole, escaped, and bound to the stored records by their hash."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from sigprobe.record.result import Result
from sigprobe.render.report import Evidence, report_html, report_json
from sigprobe.render.route_map import Spot, frame_of, svg
from tests.render.samples import dns, ping, result, speed, view, web

Speak = Callable[[str], None]

UUID = "0193b3a0-0000-7000-8000-00000000000"


def stored(*results: Result) -> tuple[list[Result], Evidence]:
    placed = [
        replace(r.placed(probe_id=UUID + "1", stream_id=UUID + "2", seq=n, boot_id=None), id=f"{UUID}{n}")
        for n, r in enumerate(results, start=1)
    ]
    return placed, Evidence([r.to_line() for r in placed], [])


class Page(HTMLParser):
    """What a browser would fetch or run, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.scripts += 1
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "data", "action", "poster")]
        self.fetched += [name for name, _value in attrs if name.startswith("on")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", ["id", "en"])
def test_the_report_is_one_whole_page_that_fetches_nothing(speak: Speak, language: str) -> None:
    """It opens without a network: no script, no link, every element closed, and the verdict stands in it."""
    speak(language)
    results, evidence = stored(ping(), dns(), web(), speed())
    text = report_html(view(results, place="Kota Bandung"), evidence)
    page = Page(text)
    assert (page.open, page.fetched, page.scripts) == ([], [], 0)
    assert f'<html lang="{language}">' in text
    assert "TPS 3273011001005" in text and "Kota Bandung" in text
    assert ("INTERNET LAMBAT" in text) == (language == "id")
    assert "<svg" in text


def test_hostile_names_and_answers_stay_text(speak: Speak) -> None:
    """A record that holds markup shows it and does not run it."""
    speak("en")
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    bad = result("http", evil, code="refused")
    path = result("path", "path", interface=evil, gateway={"address": evil, "answers": False, "failure": evil})
    results, evidence = stored(bad, path)
    page = Page(report_html(view(results, place=evil), evidence))
    assert (page.fetched, page.scripts) == ([], 0)


def test_the_hash_is_that_of_the_stored_lines(speak: Speak) -> None:
    """Whoever has the lines can check the report, and a changed line changes the hash."""
    speak("en")
    results, evidence = stored(ping(), web())
    wanted = hashlib.sha256(b"".join(line + b"\n" for line in evidence.lines)).hexdigest()
    assert wanted in report_html(view(results), evidence)
    document = report_json(view(results), evidence)
    assert document["sha256"] == wanted
    assert document["records"] == [json.loads(line) for line in evidence.lines]
    assert document["record_sha256"] == [hashlib.sha256(line).hexdigest() for line in evidence.lines]
    changed = Evidence([evidence.lines[0].replace(b"62.4", b"12.4"), evidence.lines[1]], [])
    assert changed.digest() != wanted


def test_the_way_outwards_is_shown_with_its_times(speak: Speak) -> None:
    """Gateway, hop, reference and collector stand in their order; what was silent says so."""
    speak("en")
    path = result(
        "path",
        "path",
        interface="wwan0",
        gateway={"address": "10.0.0.1", "answers": True, "rtt_median_ms": 3.25},
        hops=[{"address": "10.1.0.1", "rtt_ms": 20.5}],
        references=[{"address": "192.0.2.1", "answers": False, "failure": "timeout"}],
        collectors=[{"host": "collector.example", "port": 443, "failure": None}],
    )
    results, evidence = stored(path)
    text = re.sub(r"<[^>]+>", " ", report_html(view(results), evidence))
    places = [text.index(word) for word in ("10.0.0.1", "10.1.0.1", "192.0.2.1", "collector.example")]
    assert places == sorted(places)
    assert "3.3 ms" in text or "3.2 ms" in text
    assert "no answer [SP-TGT-01]" in text


def test_the_map_holds_every_spot(speak: Speak) -> None:
    """A spot is drawn inside the frame wherever it lies, and land is drawn around it."""
    for spots in ([Spot(-6.9, 107.6)], [Spot(5.9, 95.3), Spot(-8.5, 140.4)], []):
        west, south, east, north = frame_of(spots)
        assert all(west < s.lon < east and south < s.lat < north for s in spots)
        drawing = svg(spots, whole=not spots)
        assert drawing.count("<circle") == len(spots)
        assert 'class="land"' in drawing
