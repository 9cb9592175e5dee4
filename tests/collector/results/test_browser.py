"""A real browser signs in, opens the page and sees the result that was sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from sigprobe.record.result import Location, Network, Operator, Tags, Target
from tests.support.collector_client import batch_of, failed_result, make_result
from tests.support.collector_process import Server, Spawn, new_token, serve
from tests.support.requirements import needs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    path = needs("chromium", "chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def filled(spawn: Spawn, tmp_path: Path) -> tuple[Server, str, str]:
    """A serving collector, an administrator's token and a probe's."""
    url = f"sqlite:///{tmp_path}/collector.db"
    admin, probe = new_token("admin", "boss", url), new_token("probe", "laptop-1", url)
    return serve(spawn, url), admin, probe


SPEED = {
    "download_bps": 12.4e6,
    "upload_bps": 1.1e6,
    "upload_counted_by": "proxy",
    "upload_window": {"mean_bps": 1.1e6, "p10_bps": 2e5, "p90_bps": 4e6, "seconds": 8, "stalls": 2},
}
"""A speed with all remarks that it may have: a long line on a small screen."""


def send_day(server: Server, probe: str) -> None:
    """A few places, operators and outcomes."""
    other = Tags(
        tps_id="3101011001001",
        location=Location(-5.74012, 106.60981),
        network=Network(operator=Operator("51001", "Indosat")),
    )
    results = [
        make_result(1),
        make_result(2, kind="throughput", target=Target("center"), data=SPEED),
        make_result(3, kind="http", target=Target("sirekap"), data={"status_code": 200, "total_ms": 380.2}),
        make_result(4, kind="run", target=Target("run"), data={"verdict": {"owner": "none", "cause": "healthy"}}),
        failed_result("timeout", seq=5, target=Target("sirekap"), kind="http", tags=other, data={}),
        failed_result("name_not_found", seq=6, target=Target("kpu"), kind="dns", tags=other, data={}),
        failed_result(
            "no_internet",
            seq=7,
            kind="run",
            target=Target("run"),
            tags=other,
            data={"verdict": {"owner": "operator", "cause": "no_internet"}},
        ),
    ]
    assert server.post(batch_of(*results), probe).status_code == 200


def sign_in(page: Page, server: Server, token: str, lang: str) -> None:
    page.goto(f"{server.url}login?lang={lang}")
    page.fill("#token", token)
    page.click("main button")
    page.wait_for_url(server.url)


def photograph(page: Page, name: str) -> None:
    """Keep a picture when somebody wants to look: PICTURES_OF_PAGES names a directory."""
    directory = os.environ.get("PICTURES_OF_PAGES")
    if directory:
        page.screenshot(path=f"{directory}/{name}.png", full_page=True)


@pytest.mark.parametrize("lang", ["id", "en"])
@pytest.mark.parametrize("width", [1280, 390, 360])
def test_the_result_is_seen(browser: Browser, filled: tuple[Server, str, str], lang: str, width: int) -> None:
    """Signed in, the page shows the sent result, in both languages, on a screen and (never sideways) on a phone."""
    server, admin, probe = filled
    page = browser.new_page(viewport={"width": width, "height": 900}, locale="en-GB")
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    try:
        sign_in(page, server, admin, lang)
        photograph(page, f"empty-{lang}-{width}")
        assert "sigprobe collector token create --probe" in page.inner_text("main")
        send_day(server, probe)
        page.reload()
        photograph(page, f"results-{lang}-{width}")
        assert page.get_attribute("html", "lang") == lang
        assert page.locator("table.results tbody tr").count() == 7
        text = page.inner_text("table.results")
        assert "3273011001005" in text
        assert ("12,4 Mbps" if lang == "id" else "12.4 Mbps") in text
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        late = "[...document.querySelectorAll('.late')].map(e => getComputedStyle(e).whiteSpace)"
        wraps = page.evaluate(late)
        assert wraps and set(wraps) == {"normal"}
        page.click("table.results tbody tr:last-child a")
        photograph(page, f"record-{lang}-{width}")
        assert '"rtt_median_ms": 62.4' in page.inner_text("pre.record")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert faults == []
    finally:
        page.close()


def test_results_appear_by_themselves(browser: Browser, filled: tuple[Server, str, str]) -> None:
    """A result that arrives while the page is open appears without a reload."""
    server, admin, probe = filled
    page = browser.new_page()
    try:
        page.clock.install()
        sign_in(page, server, admin, "en")
        assert page.locator("table.results").count() == 0
        send_day(server, probe)
        page.clock.run_for(11_000)
        page.wait_for_selector("table.results", timeout=10_000)
        assert page.locator("table.results tbody tr").count() == 7
    finally:
        page.close()


def test_works_without_scripts(browser: Browser, filled: tuple[Server, str, str]) -> None:
    """Signing in, filtering and signing out need no JavaScript; a markup record stays text in a real browser too."""
    server, admin, probe = filled
    send_day(server, probe)
    mark = '<img src=x onerror=alert(1)><h1 id="evil">x</h1>'
    server.post(batch_of(make_result(9, target=Target(mark))), probe)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    try:
        sign_in(page, server, admin, "en")
        assert page.locator("#evil").count() == 0
        assert mark in page.inner_text("table.results")
        page.select_option("select[name=outcome]", "failed")
        page.click("form.filters button")
        assert page.locator("table.results tbody tr").count() == 3
        page.click("header button")
        page.wait_for_url(server.url + "login*")
    finally:
        context.close()


def test_one_time_link_signs_in(browser: Browser, filled: tuple[Server, str, str], tmp_path: Path) -> None:
    """The one-time link leads to the results page by itself, even when another site's page held it."""
    from sigprobe.collector import store
    from sigprobe.collector.access import queries as access_queries

    server, _admin, _probe = filled
    engine = store.open_store(f"sqlite:///{tmp_path}/collector.db")
    once = access_queries.create_once(engine)
    engine.dispose()
    page = browser.new_page()
    try:
        page.set_content(f'<a href="{server.url}login?once={once}">open</a>')
        page.click("a")
        page.wait_for_url(server.url)
        assert page.locator("header form").count() == 1
        assert requests.get(server.url, timeout=10, allow_redirects=False).status_code == 303
    finally:
        page.close()
