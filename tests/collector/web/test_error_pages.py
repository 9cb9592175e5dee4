"""What a browser is shown when a request is refused, in both languages; programs get the problem itself."""

from __future__ import annotations

import pytest

from tests.support.collector_client import Collector

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.mark.parametrize(("lang", "sentence"), [("en", "There is no such page."), ("id", "Halaman ini tidak ada.")])
def test_a_page_that_is_not_there(collector: Collector, lang: str, sentence: str) -> None:
    """A browser gets a page in its language, a program problem+json, both with the same status."""
    collector.client.post("/login", data={"token": collector.admin})
    page = collector.client.get("/nowhere", headers={**BROWSER, "Accept-Language": lang})
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert f'<html lang="{lang}">' in page.text
    assert sentence in page.text, page.text
    plain = collector.client.get("/nowhere", headers={"Accept": "application/json"})
    assert (plain.status_code, plain.json()["sigprobe"]) == (404, 1)


def test_a_method_that_is_not_there(collector: Collector) -> None:
    """The header that the refusal carries stays on its page."""
    page = collector.client.put("/login", headers=BROWSER)
    assert page.status_code == 405
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["allow"]


def test_interfaces_of_programs_never_answer_with_pages(collector: Collector) -> None:
    """Whatever a client says it accepts: `/v1/` and `/backend/` speak JSON."""
    for path in ("/v1/results", "/v1/nowhere", "/backend/nowhere"):
        answer = collector.client.get(path, headers=BROWSER)
        assert answer.status_code in (401, 404)
        assert answer.json()["sigprobe"] == 1
