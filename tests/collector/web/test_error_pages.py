"""What a browser is shown when a request is refused, in both languages; programs get the problem itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError

from sigprobe.collector.results import queries
from tests.support.collector_client import Collector
from tests.support.taken_away import taken_away

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


PAGES = {
    403: ("This request is not allowed.", "Permintaan ini tidak diizinkan."),
    500: (
        "Something went wrong on this server. Please try again later.",
        "Terjadi kesalahan di server ini. Silakan coba lagi nanti.",
    ),
    503: (
        "The server is busy, or its database is not available now. Please try again in a few seconds.",
        "Server sedang sibuk atau basis datanya belum tersedia. Silakan coba lagi beberapa detik lagi.",
    ),
}


@pytest.mark.parametrize("status", PAGES)
@pytest.mark.parametrize("lang", ["en", "id"])
def test_what_went_wrong_is_said_in_both_languages(
    make_collector: Callable[..., Collector], lang: str, status: int
) -> None:
    """A form of another site, a fault of our own, and a database that is away: a page each, with its title."""
    collector = make_collector()
    headers = {**BROWSER, "Accept-Language": lang}
    if status == 403:
        page = collector.client.post("/login", data={"token": "x"}, headers={**headers, "Sec-Fetch-Site": "cross-site"})
    else:
        assert collector.client.post("/login", data={"token": collector.admin}).status_code == 303
        fault = OperationalError("SELECT secret", {}, Exception("x")) if status == 503 else RuntimeError("secret")

        def fail(*_args: object, **_options: object) -> None:
            raise fault

        with taken_away(queries, "list_newest", fail):
            page = collector.client.get("/", headers=headers)
    assert (page.status_code, page.headers["content-type"][:9]) == (status, "text/html")
    assert PAGES[status][lang == "id"] in page.text
    assert f"<title>{PAGES[status][lang == 'id']} – sigprobe</title>" in page.text
    assert "secret" not in page.text
    assert (status == 503) is ("retry-after" in page.headers)


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
