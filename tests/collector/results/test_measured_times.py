"""When a check was measured stands first, in the zone of its TPS; late, wrong and doubled ones are marked."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from sigprobe.record.result import Tags, format_time
from tests.support.collector_client import PROBE_ID, Collector, make_result


@pytest.fixture
def seen(collector: Collector) -> Collector:
    """A collector with a session."""
    collector.client.post("/login", data={"token": collector.admin})
    return collector


@pytest.mark.parametrize(
    ("age", "mark"),
    [
        (timedelta(seconds=5), None),
        (timedelta(minutes=30, seconds=10), "received 30 minutes later"),
        (timedelta(hours=5, minutes=1), "received 5 hours later"),
        (timedelta(days=3, hours=1), "received 3 days"),
        (timedelta(days=-2), "the laptop's clock is ahead"),
        (None, "the laptop's clock is wrong"),
    ],
    ids=["now", "minutes", "hours", "days", "ahead", "wrong"],
)
def test_late_results_are_marked(seen: Collector, age: timedelta | None, mark: str | None) -> None:
    """Three days of a blank spot do not look like this minute, on the list and on the record's own page."""
    started = "1970-01-01T00:05:00Z" if age is None else format_time(datetime.now(UTC) - age)
    result = make_result(started_at=started)
    seen.send(result)
    for path in ("/?lang=en", f"/results/{result.id}?lang=en"):
        text = seen.client.get(path).text.replace("&#39;", "'")
        shown = re.findall(r'<small class="late">([^<]*)</small>', text)
        assert [text[: len(mark or "")] for text in shown] == ([] if mark is None else [mark])


def test_the_time_is_that_of_the_tps(seen: Collector) -> None:
    """A polling station in Papua is shown in WIT, not in the zone of the server."""
    seen.send(make_result(started_at="2029-02-14T00:05:00Z", tags=Tags(tps_id="9171011001005")))
    first = re.search(r"<time[^>]*>([^<]*)</time>", seen.client.get("/?lang=en").text)
    assert first is not None
    assert "09:05" in first[1].replace(".", ":") and "WIT" in first[1]


def test_doubled_numbers_are_marked(seen: Collector) -> None:
    """Two records of one probe, stream and number come from a copied disk image; one alone does not."""
    one, other, alone = make_result(7), make_result(7), make_result(8)
    assert one.probe_id == other.probe_id == PROBE_ID
    seen.send(one, other, alone)
    for result, marked in ((one, True), (other, True), (alone, False)):
        assert ("copied disk image" in seen.client.get(f"/results/{result.id}?lang=en").text) is marked
