"""Every hostile record of the fuzzer, on every page that shows records."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from sigprobe.collector.results import view
from sigprobe.collector.results.queries import Filters, list_newest
from sigprobe.collector.store import schema
from sigprobe.record.result import Failure, Outcome, Result, Target, new_id
from tests.support.collector_client import Collector, batch_of, make_result
from tests.support.hostile_records import ODD_VALUES, with_odd_values

COMPARED = {"word": "tampered", "reason": "private", "system": ["10.33.1.1"], "others": ["203.0.113.7"]}
VERDICT = {"owner": "operator", "cause": "no_internet", "confidence": 0.9, "where": {"hop": 3}}
OF_KINDS: tuple[Result, ...] = (
    make_result(kind="throughput", data={"download_bps": 12.4e6, "upload_bps": 2e6, "ended_upload": "data_cap"}),
    make_result(kind="dns", data={"query_ms": 4.0, "comparison": COMPARED}),
    make_result(kind="http", data={"status_code": 503, "total_ms": 380.0}),
    make_result(kind="run", data={"verdict": VERDICT}),
    make_result(outcome=Outcome.FAILED, failure=Failure("timeout", "no answer")),
)
LIST_BYTES = 400_000
"""The most that a page of 50 rows may be, whatever they hold: columns end at 200 characters."""
RECORD_FACTOR = 8
"""What escaping and indenting may add to a stored line."""


def hostile_lines() -> list[bytes]:
    """A whole record with an odd value at each place, and those parts of other kinds that pages read."""
    lines = list(with_odd_values(make_result().to_line()))
    for one in OF_KINDS:
        lines += with_odd_values(one.to_line(), under=("data", "failure"))
    return lines


def send_all(collector: Collector, lines: Sequence[bytes]) -> list[str]:
    """Send the lines under ids of their own; the ids that were stored."""
    stored = []
    named = []
    for line in lines:
        record = json.loads(line)
        named.append(line.replace(record["id"].encode(), new_id().encode(), 1))
    for at in range(0, len(named), 40):
        answer = collector.post(batch_of(*named[at : at + 40]))
        assert answer.status_code == 200, answer.text
        stored += [entry["id"] for entry in answer.json()["results"] if entry["status"] == "accepted"]
    return stored


@pytest.fixture
def seen(collector: Collector) -> Collector:
    """A collector with a session."""
    collector.client.post("/login", data={"token": collector.admin})
    return collector


def is_sound(answer: Any) -> bool:
    """Whether a page came whole: 200, readable text, closed at its end, no markup of a record's."""
    text = answer.content.decode("utf-8")
    return answer.status_code == 200 and text.rstrip().endswith("</html>") and "<b>" not in text and "49 %" not in text


@pytest.mark.slow
def test_every_hostile_record_on_every_page(seen: Collector) -> None:
    """Each page answers 200 within its bounds for what was accepted; and much was, or this would show nothing."""
    stored = send_all(seen, hostile_lines())
    assert len(stored) > 300, "the control"
    path: str | None = "/?lang=en"
    shown: set[str] = set()
    while path is not None:
        answer = seen.client.get(path)
        assert is_sound(answer), (path, answer.status_code)
        assert len(answer.content) < LIST_BYTES, path
        shown |= set(re.findall(r'href="/results/([0-9a-f-]{36})"', answer.text))
        older = re.search(r'class="next" href="([^"]+)"', answer.text)
        path = None if older is None else older[1].replace("&amp;", "&")
    assert shown == set(stored)
    sizes = {row.id: len(row.line) for row in list_newest(seen.engine, Filters(), limit=len(stored))}
    for number, name in enumerate(stored):
        answer = seen.client.get(f"/results/{name}?lang={('en', 'id')[number % 2]}")
        assert is_sound(answer), name
        assert len(answer.content) < 20_000 + RECORD_FACTOR * sizes[name], name
    cursor, count = None, 0
    while True:
        answer = seen.get("/v1/results", **({} if cursor is None else {"cursor": cursor}), limit=1000)
        assert answer.status_code == 200
        count += len(answer.json()["results"])
        cursor = answer.json()["next"]
        if cursor is None:
            break
    assert count == len(stored)
    for value in ODD_VALUES:
        for name in ("tps_id", "operator", "outcome", "before", "lang"):
            wanted = str(value)[:2_000].encode("utf-8", "replace").decode()
            assert is_sound(seen.client.get("/", params={name: wanted})), (name, wanted[:40])


@pytest.mark.parametrize("levels", [63, 940])
def test_deep_records_are_refused(seen: Collector, levels: int) -> None:
    """A record nested deeper than 64 levels is refused with its reason; one within is stored and shown."""
    deep: Any = "x"
    for _ in range(levels - 2):  # the record and its data are two levels already
        deep = [deep]
    result = make_result(data={"deep": deep})
    answer = seen.post(batch_of(result)).json()["results"][0]
    assert answer["status"] == ("accepted" if levels < 64 else "rejected")
    assert ("64 levels" in answer.get("reason", "")) == (levels > 64)
    assert is_sound(seen.client.get("/"))
    assert seen.client.get(f"/results/{result.id}").status_code == (200 if levels < 64 else 404)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 30_000,
        b'{"data":' + b"[" * 940 + b"0," * 20_000 + b"0" + b"]" * 940 + b"}",
        b"\xff\xfe\x00not JSON at all",
        b'{"target":{"name":"\\ud800\\udfff\\ud83d"},"data":{"rtt_avg_ms":' + b"9" * 5000 + b"}}",
        b"",
    ],
    ids=["brackets", "deep", "bytes", "surrogates", "empty"],
)
def test_what_an_older_release_stored_is_shown(seen: Collector, line: bytes) -> None:
    """A line that would be refused today, and is stored all the same, blanks no page and makes none grow."""
    result = make_result()
    seen.send(result)
    with seen.engine.execution_options(write=True).begin() as connection:
        connection.execute(schema.results.update().values(line=line))
    for path in ("/", f"/results/{result.id}"):
        answer = seen.client.get(path)
        assert is_sound(answer), path
        assert len(answer.content) < 20_000 + RECORD_FACTOR * len(line), path


def test_rendering_has_a_last_defence(seen: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that no earlier place made sound is made so by the page itself, instead of a 500 for everybody."""
    seen.send(make_result(target=Target("before\ud800after")))
    monkeypatch.setattr(view, "sound", lambda text: text)
    answer = seen.client.get("/")
    assert is_sound(answer)
    assert "before?after" in answer.text
