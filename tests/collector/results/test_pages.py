"""The pages: who may see them, what they show, in which language, and that a hostile record stays text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from sigprobe.collector.access import queries as access_queries
from sigprobe.collector.access.throttle import WrongTries
from sigprobe.collector.access.token_check import TokenCheck
from sigprobe.record.result import Failure, Location, Network, Operator, Outcome, Tags, Target
from tests.support.collector_client import Collector, failed_result, make_result


def sign_in(collector: Collector, token: str | None = None, **headers: str) -> Any:
    return collector.client.post("/login", data={"token": token or collector.admin}, headers=headers)


def test_pages_want_a_session(collector: Collector) -> None:
    """Without a session every page leads to the form, and shows nothing of a record."""
    result = make_result()
    collector.send(result)
    for path in ("/", f"/results/{result.id}", "/results/x"):
        answer = collector.client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_signing_in_and_out(collector: Collector) -> None:
    """An administrator's token opens a session in a cookie that no script and no other site can use."""
    answer = sign_in(collector)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert collector.admin not in answer.headers["set-cookie"]
    assert collector.client.get("/").status_code == 200
    session = collector.client.cookies["sigprobe_session"]
    assert collector.client.post("/logout").status_code == 303
    collector.client.cookies.set("sigprobe_session", session)
    assert collector.client.get("/").status_code == 303


def test_cookies_are_secure_where_browsers_come_by_https(make_collector: Callable[..., Collector]) -> None:
    """With TLS or behind a proxy the session cookie never travels in the clear."""
    assert "secure" in sign_in(make_collector(secure_cookies=True)).headers["set-cookie"].lower()


@pytest.mark.parametrize("which", ["wrong", "probe", ""])
def test_wrong_token(collector: Collector, which: str) -> None:
    """A wrong token, a probe's or none opens nothing and says so."""
    token = collector.probe if which == "probe" else which
    answer = collector.client.post("/login?lang=en", data={"token": token})
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "sigprobe_session" not in answer.headers.get("set-cookie", "")


def test_revoked_token_ends_the_session(collector: Collector) -> None:
    """Revoking a token closes the page of whoever signed in with it."""
    sign_in(collector)
    found = TokenCheck(collector.engine).find(collector.admin)
    assert found is not None
    access_queries.revoke_token(collector.engine, found.name)
    assert collector.client.get("/").status_code == 303


def test_one_time_link(collector: Collector) -> None:
    """The link of `serve` signs in once; looking ahead does not use it up, a second use is refused."""
    once = access_queries.create_once(collector.engine)
    ahead = collector.client.get("/login", params={"once": once}, headers={"Sec-Purpose": "prefetch"})
    assert ahead.status_code == 403
    first = collector.client.get("/login", params={"once": once})
    assert first.status_code == 200
    assert once not in first.text
    assert collector.client.get("/").status_code == 200
    collector.client.cookies.clear()
    second = collector.client.get("/login", params={"once": once})
    assert second.status_code == 403
    assert collector.client.get("/").status_code == 303


def test_guessing_is_slowed_and_the_right_token_always_works(make_collector: Callable[..., Collector]) -> None:
    """After ten wrong tokens of a /64 its wrong ones get 429; a right one signs in all the same, from there too."""
    collector = make_collector(behind_proxy=True)
    for n in range(201):
        answer = sign_in(collector, "wrong", **{"X-Forwarded-For": f"2001:db8:1:2::{n % 20:x}"})
        assert answer.status_code == (401 if n < 9 else 429), n
    assert int(answer.headers["retry-after"]) > 0
    assert sign_in(collector, "wrong", **{"X-Forwarded-For": "2001:db8:1:3::1"}).status_code == 401, "the control"
    assert sign_in(collector, **{"X-Forwarded-For": "2001:db8:1:2::1"}).status_code == 303


def test_wrong_tries_are_forgotten() -> None:
    """The limit is per group and ends with its window."""
    now = 0.0
    wrong = WrongTries(each=2, window_s=60, clock=lambda: now)
    wrong.note("a")
    wrong.note("a")
    assert wrong.wait_s("a") == 60
    assert wrong.wait_s("b") is None
    now = 60.0
    assert wrong.wait_s("a") is None


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}]
)
def test_forms_of_other_sites(collector: Collector, headers: dict[str, str]) -> None:
    """A form that another site sends neither signs in nor out."""
    assert sign_in(collector, **headers).status_code == 403
    assert collector.client.post("/logout", headers=headers).status_code == 403


def test_form_of_ours(collector: Collector) -> None:
    """The browser's own headers for our form are accepted, and a form of megabytes is not read."""
    assert sign_in(collector, Origin="http://127.0.0.1").status_code == 303
    assert collector.client.post("/login", content=b"token=" + b"x" * 100_000).status_code == 413


@pytest.fixture
def seen(collector: Collector) -> Collector:
    """A collector with a session."""
    sign_in(collector)
    return collector


def test_empty_page_says_what_to_do(seen: Collector) -> None:
    """With nothing stored the page gives the next commands, with this collector's own address."""
    text = seen.client.get("/").text
    assert "sigprobe collector token create --probe" in text
    assert "http://127.0.0.1/" in text
    assert "sigprobe test" in text


def test_results_are_shown(seen: Collector) -> None:
    """The list has place, kind, target, outcome as a word, the sentence of a failure, operator and position."""
    seen.send(make_result(), failed_result("timeout", seq=2))
    text = seen.client.get("/?lang=en").text
    for part in (
        "3273011001005",
        "Ping",
        "gateway",
        "ok",
        "62 ms",
        "SP-TGT-01",
        "did not answer",
        "Telkomsel",
        "-6.91474",
    ):
        assert part in text, part
    assert "-6,91474" in seen.client.get("/?lang=id").text


def test_newest_first_filters_and_paging(seen: Collector) -> None:
    """The newest stand first, filters narrow the list, and older pages are a link away."""
    for n in range(52):
        seen.send(make_result(n + 1, target=Target(f"t{n}")))
    seen.send(failed_result(seq=60, target=Target("broken")))
    text = seen.client.get("/").text
    shown = re.findall(r"</span> (t\d+|broken)</div></td>", text)
    assert shown[:2] == ["broken", "t51"]
    assert len(shown) == 50
    older = re.search(r'class="next" href="([^"]+)"', text)
    assert older is not None
    rest = re.findall(r"</span> (t\d+)</div></td>", seen.client.get(older[1]).text)
    assert rest == ["t2", "t1", "t0"]
    assert "broken" in seen.client.get("/", params={"outcome": "failed"}).text
    assert "t51" not in seen.client.get("/", params={"outcome": "failed"}).text
    for params in ({"tps_id": "none"}, {"operator": "no\0ne"}, {"outcome": "x"}):
        assert 'class="empty"' in seen.client.get("/", params=params).text
    assert seen.client.get("/", params={"before": "nonsense"}).status_code == 200


HOSTILE = '<script>alert("1")</script>&\' {{ 7*7 }} %s'


def test_hostile_records_stay_text(seen: Collector) -> None:
    """Markup in any field of a record is shown as text, on the list and on the record's own page."""
    result = make_result(
        kind=HOSTILE[:60],
        target=Target(HOSTILE),
        outcome=Outcome.FAILED,
        failure=Failure(HOSTILE, HOSTILE),
        data={HOSTILE: HOSTILE, "rtt_avg_ms": 10**400},
        tags=Tags(
            tps_id=HOSTILE, site=HOSTILE, location=Location(1, 2), network=Network(operator=Operator(HOSTILE, HOSTILE))
        ),
    )
    seen.send(result)
    for path in ("/", f"/results/{result.id}", "/?operator=" + HOSTILE, '/?tps_id="><script>'):
        text = seen.client.get(path).text
        assert "<script>alert" not in text
        assert '"><script>' not in text
        assert "49 %" not in text
    assert "&lt;script&gt;" in seen.client.get("/").text


def test_an_upload_that_a_proxy_counted_is_marked(collector: Collector) -> None:
    """The list says so in both languages; an upload that the server counted, and any download, stay plain."""
    data = {"download_bps": 9e6, "upload_bps": 8e6}
    collector.send(make_result(1, kind="throughput", data={**data, "upload_counted_by": "proxy"}))
    sign_in(collector)
    english = collector.client.get("/?lang=en").text
    assert "↑ ≤ 8.0 Mbps (counted at a proxy)" in english and "↓ 9.0 Mbps" in english
    assert "↑ ≤ 8,0 Mbps (dihitung di proxy)" in collector.client.get("/?lang=id").text
    collector.send(make_result(2, kind="throughput", data={**data, "upload_counted_by": "server"}))
    assert "↑ 8.0 Mbps" in collector.client.get("/?lang=en").text


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("throughput", {"download_bps": 12.4e6, "upload_bps": None}),
        ("throughput", {"download_bps": "fast", "upload_bps": True}),
        ("dns", {"query_ms": 41.2}),
        ("dns", {"comparison": {"word": "tampered", "system": 7, "others": [None, {}]}}),
        ("http", {"status_code": 503, "total_ms": 380}),
        ("http", {"status_code": [], "total_ms": {}}),
        ("ping", {"rtt_avg_ms": 1e300, "loss_ratio": "all"}),
        ("run", {"verdict": {"owner": "service", "cause": "targets_failed"}}),
        ("run", {"verdict": "none"}),
    ],
)
def test_any_numbers(seen: Collector, kind: str, data: dict[str, Any]) -> None:
    """Numbers of every kind are shown where they are numbers, and left out where they are not."""
    result = make_result(kind=kind, data=data)
    seen.send(result)
    assert seen.client.get("/").status_code == 200
    assert seen.client.get(f"/results/{result.id}").status_code == 200
    if data.get("download_bps") == 12.4e6:
        assert "↓ 12,4 Mbps" in seen.client.get("/?lang=id").text


def test_a_lower_bound_is_shown_as_one(seen: Collector) -> None:
    """A speed that a data cap cut off stands as what was seen at least."""
    capped = {"engine": "http", "ended_upload": "data_cap", "upload_bps": 2e6, "upload_ci_bps": None}
    seen.send(make_result(kind="throughput", data={"download_bps": 12.4e6, **capped}))
    assert "↓ 12.4 Mbps · ↑ ≥ 2.0 Mbps" in seen.client.get("/?lang=en").text


def test_a_false_answer_is_shown_with_both(seen: Collector) -> None:
    """What the network's resolver told and what all others tell, in the list as on the record's page."""
    compared = {"word": "tampered", "reason": "private", "system": ["10.33.1.1"], "others": ["203.0.113.7"]}
    result = make_result(kind="dns", data={"query_ms": 4.0, "comparison": compared})
    seen.send(result)
    assert "10.33.1.1 instead of 203.0.113.7" in seen.client.get("/?lang=en").text
    assert "10.33.1.1, seharusnya 203.0.113.7" in seen.client.get(f"/results/{result.id}?lang=id").text


def test_record_page(seen: Collector) -> None:
    """A record's page shows its stored JSON; an unknown id is a page that leads back."""
    result = make_result(started_at="9999-12-31T23:59:59Z")
    seen.send(result)
    text = seen.client.get(f"/results/{result.id}").text
    assert "&#34;probe_id&#34;" in text
    for name in ("x", "0190a5c0-0000-7000-8000-00000000ffff"):
        answer = seen.client.get(f"/results/{name}")
        assert answer.status_code == 404
        assert 'href="/"' in answer.text


def test_overview_counts(seen: Collector) -> None:
    """The overview counts checks by outcome per operator and per polling station."""
    seen.send(make_result(), make_result(2), failed_result(seq=3))
    text = seen.client.get("/?lang=en").text
    assert len(re.findall(r"✓</span> 2 ok", text)) == 2
    assert len(re.findall(r"✗</span> 1 failed", text)) == 2


@pytest.mark.parametrize(
    ("header", "lang"),
    [
        ("", "id"),
        ("en-GB,en;q=0.9", "en"),
        ("fr,en;q=0.2,id;q=0.8", "id"),
        ("in", "id"),
        (";q=x,en;q=", "id"),
        ("en", "en"),
    ],
)
def test_language_of_the_browser(collector: Collector, header: str, lang: str) -> None:
    """The browser's wish counts, and Indonesian where it has none."""
    answer = collector.client.get("/login", headers={"Accept-Language": header})
    assert f'<html lang="{lang}">' in answer.text


def test_language_is_remembered(collector: Collector) -> None:
    """A language chosen once stays, over the browser's own wish; an unknown one is ignored."""
    english = {"Accept-Language": "en"}
    assert '<html lang="id">' in collector.client.get("/login?lang=id", headers=english).text
    assert '<html lang="id">' in collector.client.get("/login?lang=xx", headers=english).text
    assert '<html lang="id">' in collector.client.get("/login", headers=english).text


def test_nothing_from_elsewhere(seen: Collector) -> None:
    """Pages load nothing from another host and hold no inline script or style."""
    seen.send(make_result())
    for path in ("/", "/login"):
        text = seen.client.get(path).text
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
        assert not re.findall(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", text)
    for path in ("/static/style.css", "/static/live.js", "/static/icon.svg"):
        assert seen.client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("owner", "cause", "word"),
    [("none", "healthy", "baik"), ("local", "no_network", "gangguan"), ("uncertain", "uncertain", "belum pasti")],
)
def test_a_verdict_is_never_green_beside_bad_news(seen: Collector, owner: str, cause: str, word: str) -> None:
    """A run that went through is `ok` as a record; its badge says what it found."""
    run = make_result(kind="run", data={"verdict": {"owner": owner, "cause": cause}})
    seen.send(run)
    head = seen.client.get(f"/results/{run.id}?lang=id").text.partition("</h1>")[0].rpartition("<h1>")[2]
    assert word in head
    assert ("baik" in head) == (owner == "none")
