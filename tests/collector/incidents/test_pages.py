"""Pages and `GET /v1/incidents`: what is wrong, whose it is, how sure, and what speaks against it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sigprobe.collector.incidents import queries
from tests.support.collector_client import Collector, make_result
from tests.support.stored_incidents import SINCE, an_incident, save

BEGAN = datetime.fromtimestamp(SINCE, UTC)


@pytest.fixture
def signed_in(collector: Collector) -> Collector:
    """Return a collector whose client has a session."""
    assert collector.client.post("/login", data={"token": collector.admin}).status_code == 303
    return collector


def work(**changes: Any) -> queries.Work:
    """Return maintenance announced the day before."""
    fields: dict[str, Any] = {
        "id": "6f1c2c57-6c3c-4d0a-9b57-51f1b0d6a7c1",
        "plmn": "51010",
        "area": "32",
        "target": None,
        "begins_at": BEGAN - timedelta(minutes=5),
        "ends_at": BEGAN + timedelta(hours=3),
        "person": "Budi",
        "reason": "penggantian <antena>",
        "announced_at": BEGAN - timedelta(days=1),
        "ended_at": None,
    }
    return queries.Work(**(fields | changes))


def test_incidents_are_for_readers_alone(collector: Collector) -> None:
    """Without a session the pages lead to the form; programs get 401."""
    save(collector.engine, an_incident())
    for path in ("/insiden", f"/insiden/{an_incident().id}"):
        answer = collector.client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    for path in ("/v1/incidents", f"/v1/incidents/{an_incident().id}"):
        assert collector.client.get(path).status_code == 401
        assert collector.get(path).status_code == 200


def test_the_list_shows_open_ones_first(signed_in: Collector) -> None:
    """Open before ended, whatever was found last; each with its share, its certainty and its place."""
    save(signed_in.engine, an_incident(1))
    save(signed_in.engine, an_incident(2, area="3204", ended_at=SINCE + 1800, found_at=SINCE + 900, late=True))
    save(signed_in.engine, an_incident(3, kind="uncertain", area="3374", silent=True, confidence=0.6))
    text = signed_in.client.get("/insiden?lang=id").text
    assert text.index("Kota Semarang") < text.index("Kab. Bandung"), text
    for words in (
        "Insiden terbuka: 2",
        "Telkomsel (51010)",
        "9 dari 12 TPS",
        "diam, tidak diukur",
        "ditemukan belakangan",
    ):
        assert words in text, words
    english = signed_in.client.get("/insiden?lang=en").text
    for words in (
        "Open incidents: 2",
        "does not work in Kota Bandung",
        "9 of 12 TPS",
        "silent, not measured",
        "found late",
    ):
        assert words in english, words


def test_no_incident_is_said(signed_in: Collector) -> None:
    """An empty list is a sentence, and no promise that all is well."""
    text = signed_in.client.get("/insiden?lang=id").text
    assert "Tidak ada insiden terbuka" in text and "bukan berarti" in text


def test_one_incident_says_what_speaks_for_and_against_it(signed_in: Collector) -> None:
    """Evidence, counter-evidence, alternatives, course, and links to stored results."""
    result = make_result()
    signed_in.send(result)
    incident = an_incident(parts_working=("327305",))
    save(signed_in.engine, incident, refs=(result.id,))
    incident.ended_at = SINCE + 2400
    assert save(signed_in.engine, incident, now=SINCE + 3000, refs=(result.id,)) == "ended"
    text = signed_in.client.get(f"/insiden/{incident.id}?lang=en").text
    for words in (
        "9 of 12 TPS affected",
        "9 devices with 9 tokens",
        "In the same places work: Indosat (51001)",
        "3 of 12 TPS heard there work",
        "1 parts of the area work",
        "What else it could be",
        "ended",
        f'href="/results/{result.id}"',
        "<svg",
    ):
        assert words in text, words
    assert "No other operator was heard" not in text
    assert signed_in.client.get(f"/results/{result.id}").status_code == 200
    alone = an_incident(2, others={}, probes=3, tokens=3)
    save(signed_in.engine, alone)
    text = signed_in.client.get(f"/insiden/{alone.id}?lang=en").text
    assert "No other operator was heard working there" in text and "Only 3 devices say so" in text
    for name in ("6f1c2c57-6c3c-4d0a-9b57-000000000000", "x"):
        assert signed_in.client.get(f"/insiden/{name}").status_code == 404


def test_hostile_names_stay_text(signed_in: Collector) -> None:
    """A target or an operator named by a probe never becomes markup."""
    evil = "<script>alert(1)</script>"
    save(signed_in.engine, an_incident(kind="service", plmn=None, area="", target=evil))
    save(signed_in.engine, an_incident(2, plmn=evil, others={evil: 9.0}))
    for path in ("/insiden", *(f"/insiden/{an_incident(n).id}" for n in (1, 2))):
        answer = signed_in.client.get(path)
        assert answer.status_code == 200 and "<script>alert" not in answer.text and "&lt;script&gt;" in answer.text


def test_programs_page_through_all_of_them(collector: Collector) -> None:
    """Each incident once, found last first, although several were found in the same moment."""
    for number in range(1, 8):
        save(collector.engine, an_incident(number, found_at=SINCE + 600 + number // 3))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = collector.get("/v1/incidents", limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += [entry["id"] for entry in page["incidents"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(an_incident(n).id for n in range(1, 8)) and len(seen) == 7
    times = [collector.get(f"/v1/incidents/{name}").json()["found_at"] for name in seen]
    assert times == sorted(times, reverse=True)
    assert collector.get("/v1/incidents", cursor="nonsense").status_code == 422
    assert collector.get("/v1/incidents", state="lost").status_code == 422
    assert collector.get("/v1/incidents/x").status_code == 404


def test_one_incident_for_programs(collector: Collector) -> None:
    """Missing is null, the nation has no area, and every change is there."""
    incident = an_incident(kind="service", plmn=None, area="", target="sirekap")
    save(collector.engine, incident)
    incident.failing = 40
    save(collector.engine, incident, now=SINCE + 900)
    found = collector.get(f"/v1/incidents/{incident.id}").json()
    assert (found["plmn"], found["area"], found["target"], found["state"]) == (None, None, "sirekap", "open")
    assert [(step["number"], step["what"]) for step in found["changes"]] == [(1, "found"), (2, "changed")]
    assert found["changes"][1]["values"]["failing"] == 40
    assert found["evidence"]["timeline"][1]["failing"] == 9
    assert collector.get("/v1/incidents", state="ended").json()["incidents"] == []


def test_announced_work_silences_what_lies_within_it(signed_in: Collector) -> None:
    """Who and why are shown; what began outside, is of another operator, or came before the announcement alerts."""
    queries.announce(signed_in.engine, work())
    save(signed_in.engine, an_incident(1, ended_at=SINCE + 1800))
    save(signed_in.engine, an_incident(2, plmn="51001", ended_at=SINCE + 1800))
    save(signed_in.engine, an_incident(3, area="51", ended_at=SINCE + 1800))
    save(signed_in.engine, an_incident(4, since=SINCE - 3600, ended_at=SINCE + 1800))
    found = {entry["id"]: entry["maintenance"] for entry in signed_in.get("/v1/incidents").json()["incidents"]}
    covered = an_incident(1).id
    assert found[covered] is not None and (found[covered]["person"], found[covered]["area"]) == ("Budi", "32")
    assert [name for name, told in found.items() if told is not None] == [covered]
    text = signed_in.client.get(f"/insiden/{covered}?lang=id").text
    assert "penggantian &lt;antena&gt; (Budi" in text
    assert not queries.end_maintenance(signed_in.engine, "x", BEGAN)
    assert queries.end_maintenance(signed_in.engine, work().id, BEGAN - timedelta(minutes=1))
    assert not queries.end_maintenance(signed_in.engine, work().id, BEGAN), "it has ended already"
    assert signed_in.get(f"/v1/incidents/{covered}").json()["maintenance"] is None


def test_metrics_count_open_incidents(collector: Collector) -> None:
    """Open ones by kind; ended ones do not count."""
    save(collector.engine, an_incident(1))
    save(collector.engine, an_incident(2, ended_at=SINCE + 1800))
    text = collector.client.get("/metrics").text
    assert 'sigprobe_open_incidents{aspect="works",kind="operator",silent="false"} 1.0' in text
    assert "sigprobe_undelivered_alerts 0.0" in text
