"""The `web` kind against pages whose parts are slow, broken, endless, packed, or elsewhere."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

import sigprobe.net.http_trace  # noqa: F401 - loaded here, so that no test's deadline pays for it
from sigprobe.measure.kind import Measured
from sigprobe.measure.web import kind
from sigprobe.net import sockets
from sigprobe.net.limits import Context, DataBudget, Deadline, Progress
from sigprobe.words.codes import CODES
from tests.support.servers.tcp import Peer, Server, http_server, page, tcp_server

SCHEMA = Draft202012Validator(TypeAdapter(kind.WebData).json_schema())
Answer = bytes | Callable[[Peer], object]


def check(url: str, seconds: float = 5, context: Context | None = None, **options: Any) -> Measured:
    """Run one check, and hold its data to the published shape."""
    resolve = options.pop("resolve", sockets.look_up)
    measured = kind.measure(
        kind.Options(name="x", url=url, **options), context or Context(Deadline.after(seconds)), resolve=resolve
    )
    SCHEMA.validate(dict(measured.data))
    assert set(measured.data) == set(kind.WebData.__annotations__)
    assert measured.failure is None or measured.failure.code in CODES
    return measured


@contextmanager
def site(pages: Mapping[str, Answer], tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server that keeps connections open and answers each path with its bytes; what is unknown is a 404."""
    lock = threading.Lock()
    heads: list[bytes] = []

    def answer(peer: Peer) -> None:
        while head := peer.head():
            path = head.split(b" ", 2)[1].decode()
            with lock:
                heads.append(head)
            found = pages.get(path, page(b"no", "404 Not Found"))
            if callable(found):
                found(peer)
                return
            peer.send(found)

    with tcp_server(answer, tls=tls) as server:
        server.heads = heads
        yield server


def html(*parts: str) -> bytes:
    return page(("<!doctype html>" + "".join(parts)).encode(), "200 OK", "Content-Type: text/html; charset=utf-8")


def code(measured: Measured) -> str | None:
    return None if measured.failure is None else measured.failure.code


# --- a healthy page -----------------------------------------------------------------------------------------


def test_a_page_and_its_parts_are_counted_to_the_byte() -> None:
    """Every part on the page's own host is fetched once; payload and heads add up to what the server sent."""
    sheet, script, picture = b"s" * 3000, b"j" * 20_000, b"i" * 70_000
    main = html(
        '<link rel="stylesheet" href="/a.css?v=1#top"><script src="b.js"></script>',
        '<img src="/c.png"><img src="/c.png"><a href="/never">x</a>',
        '<img src="http://other.example/x.png"><script src="//third.example/y.js"></script>',
    )
    answers = {
        "/": main,
        "/a.css?v=1": page(sheet),
        "/b.js": page(script),
        "/c.png": page(picture),
    }
    budget = DataBudget()
    seen: list[Progress] = []
    with site(answers) as server:
        context = Context(Deadline.after(5), budget=budget, progress=seen.append)
        measured = check(server.url("/"), context=context)
    data = measured.data
    assert measured.outcome == "ok"
    assert measured.address_used == server.authority
    assert (data["status_code"], data["ended"], data["total_failure"]) == (200, "complete", None)
    assert (data["resources_found"], data["resources_fetched"]) == (3, 3)
    assert (data["resources_failed"], data["resources_left_out"]) == (0, 0)
    assert (data["other_host_resources"], data["other_hosts"]) == (2, 2)
    page_bytes = len(main.partition(b"\r\n\r\n")[2])
    assert data["page_bytes"] == page_bytes
    assert data["bytes_received"] == page_bytes + len(sheet) + len(script) + len(picture)
    assert data["bytes_received"] + data["headers_bytes"] == sum(len(answer) for answer in answers.values())
    assert data["bytes_sent"] == sum(len(head) for head in server.heads)
    assert budget.used_bytes == data["bytes_received"] + data["headers_bytes"] + data["bytes_sent"]
    assert 0 < data["first_byte_ms"] <= data["page_ms"] <= data["total_ms"]
    assert (data["page_compressed"], data["resources_compressed"]) == (False, 0)
    shown = {row["url"].removeprefix(server.url("/")): row for row in data["resources"]}
    assert set(shown) == {"a.css?v=", "b.js", "c.png"}, "no query values are kept"
    assert shown["c.png"]["bytes_received"] == 70_000
    assert seen[-1].fraction == 1.0


def test_no_more_connections_than_asked_for_and_they_are_kept() -> None:
    """Thirty parts over three connections: three are opened, each serves many requests, all parts come."""
    answers: dict[str, Answer] = {f"/{n}": page(b"x" * 1000) for n in range(30)}
    answers["/"] = html(*(f'<img src="/{n}">' for n in range(30)))
    with site(answers) as server:
        measured = check(server.url("/"), connections=3)
        assert server.connections <= 3
    assert measured.data["resources_fetched"] == 30
    assert measured.data["connections"] == server.connections


def test_the_parts_come_side_by_side() -> None:
    """Six connections ask at once: a server that answers nobody before six have asked is served all the same."""
    barrier = threading.Barrier(6)

    def together(peer: Peer) -> None:
        barrier.wait(10)
        peer.send(page(b"x"))

    answers: dict[str, Answer] = {f"/{n}": together for n in range(6)}
    answers["/"] = html(*(f'<img src="/{n}">' for n in range(6)))
    with site(answers) as server:
        measured = check(server.url("/"), seconds=9)
    assert measured.data["resources_fetched"] == 6


def test_a_server_that_closes_each_connection_is_no_fault() -> None:
    """HTTP/1.0 habits: every answer on a connection of its own, and everything comes."""
    body = b"<img src=/1><img src=/2><img src=/3>"
    with http_server(page(body, "200 OK", "Content-Type: text/html"), page(b"y" * 10)) as server:
        measured = check(server.url("/"))
    assert measured.outcome == "ok"
    assert measured.data["resources_fetched"] == 3


def test_payload_is_what_crossed_the_wire() -> None:
    """A packed page is read for its parts, its bytes are the packed ones, and it is said that it was packed."""
    text = b"<img src=/a.png>" + b" " * 50_000
    packed = gzip.compress(text)
    answers = {
        "/": page(packed, "200 OK", "Content-Type: text/html", "Content-Encoding: gzip"),
        "/a.png": page(packed, "200 OK", "Content-Encoding: gzip"),
    }
    with site(answers) as server:
        data = check(server.url("/")).data
    assert data["page_bytes"] == len(packed)
    assert data["bytes_received"] == 2 * len(packed)
    assert (data["page_compressed"], data["resources_compressed"]) == (True, 1)
    assert b"Accept-Encoding: gzip" in server.heads[0]


def test_over_tls_every_part_comes_from_the_verified_host(tmp_path: Path) -> None:
    """An issuer of the collector's own is taken for its origin alone; without it the page fails with its code."""
    ca, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    answers = {"/": html("<img src=/a><img src=/b>"), "/a": page(b"x" * 10), "/b": page(b"y" * 10)}
    with site(answers, tls=tls) as server:
        url = server.url("/", "https")
        files = {f"https://{server.authority}": str(tmp_path / "ca.pem")}
        good = check(url, context=Context(Deadline.after(5), ca_files=files))
        strange = check(url)
    assert (good.outcome, good.data["resources_fetched"]) == ("ok", 2)
    assert good.data["tls_version"] == "TLSv1.3"
    assert good.data["tls_ms"] > 0
    assert (strange.outcome, code(strange)) == ("failed", "tls_untrusted")


def test_no_token_and_no_cookie_leaves() -> None:
    """Even a collector's own page gets no token, and a cookie that was set is not sent back."""
    answers = {
        "/": page(b"<img src=/a>", "200 OK", "Content-Type: text/html", "Set-Cookie: a=b"),
        "/a": page(b""),
    }
    with site(answers) as server:
        context = Context(Deadline.after(5), tokens={f"http://{server.authority}": "secret"})
        check(server.url("/"), context=context)
    assert len(server.heads) == 2
    assert not any(b"secret" in head or b"Cookie" in head for head in server.heads)


# --- what is on other hosts ---------------------------------------------------------------------------------


def test_a_redirect_to_another_host_is_reported_and_not_followed() -> None:
    """The page is elsewhere: nothing is asked there, and the result says where it would have gone."""
    with site({}) as other:
        to = f"http://localhost:{other.port}/x?token=1"
        with site({"/": page(b"", "302 Found", f"Location: {to}")}) as server:
            measured = check(server.url("/"))
        assert other.connections == 0
    assert (measured.outcome, code(measured)) == ("degraded", "redirect_elsewhere")
    assert measured.data["redirect_host"] == "localhost"
    assert measured.data["location"] == f"http://localhost:{other.port}/x?token="
    assert measured.data["total_ms"] is None
    assert measured.data["total_failure"] == "redirect_elsewhere"
    assert measured.data["first_byte_ms"] > 0


def test_a_redirect_on_the_same_host_is_followed() -> None:
    """The page moved within its host: it is measured where it is, redirect included, and its parts count from there."""
    answers = {
        "/": page(b"moved", "301 Moved Permanently", "Location: /new/"),
        "/new/": html('<img src="a.png">'),
        "/new/a.png": page(b"x" * 10),
    }
    with site(answers) as server:
        measured = check(server.url("/"))
    assert measured.outcome == "ok"
    assert (measured.data["redirects_followed"], measured.data["resources_fetched"]) == (1, 1)
    assert measured.data["bytes_received"] - measured.data["page_bytes"] == 10


def test_a_circle_of_redirects_ends() -> None:
    """A page that sends on to itself is a failure with a name, not an endless check."""
    with site({"/": page(b"", "302 Found", "Location: /")}) as server:
        assert code(check(server.url("/"))) == "redirect_limit"
        assert len(server.heads) == 21


# --- what goes wrong ----------------------------------------------------------------------------------------


def test_failed_parts_make_the_page_incomplete_and_stand_first() -> None:
    """A 404, a cut and a lie about the length are told apart; there is no time for all when not all came whole."""

    def cut(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 10)
        peer.reset()

    def lie(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n" + b"x" * 10)

    answers: dict[str, Answer] = {
        "/": html("<img src=/good><img src=/gone><img src=/cut><img src=/lie>"),
        "/good": page(b"x" * 500),
        "/cut": cut,
        "/lie": lie,
    }
    with site(answers) as server:
        measured = check(server.url("/"))
    data = measured.data
    assert (measured.outcome, code(measured)) == ("degraded", "page_incomplete")
    assert (data["resources_fetched"], data["resources_failed"]) == (1, 3)
    failures = {row["url"].rpartition("/")[2]: row["failure"] for row in data["resources"]}
    assert failures == {"good": None, "gone": "http_status", "cut": "reset", "lie": "http_truncated"}
    assert data["resources"][-1]["failure"] is None
    assert (data["total_ms"], data["total_failure"]) == (None, "page_incomplete")
    assert data["page_ms"] > 0


def test_a_missing_part_was_answered_whole() -> None:
    """A 404 is a failed part, but it came to its end: the time of everything is known."""
    with site({"/": html("<img src=/gone>")}) as server:
        measured = check(server.url("/"))
    assert (measured.outcome, measured.data["total_failure"]) == ("degraded", None)
    assert measured.data["total_ms"] > 0


@pytest.mark.slow
def test_a_part_slower_than_a_byte_a_second_ends_with_the_deadline() -> None:
    """A dripping part never comes whole: what is known is kept, the total is null with its reason."""

    def drip(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while not peer.closing.is_set():
            peer.send(b"x")
            peer.wait(1.2)

    with site({"/": html("<img src=/drip>"), "/drip": drip}) as server:
        measured = check(server.url("/"), seconds=1.5)
    assert (measured.outcome, code(measured)) == ("degraded", "page_incomplete")
    assert (measured.data["total_ms"], measured.data["total_failure"]) == (None, "timeout")
    assert measured.data["ended"] == "time_cap"
    assert measured.data["resources"][0]["failure"] == "timeout"
    assert measured.data["resources"][0]["ms"] is None


def test_a_part_without_end_is_cut_at_max_mb() -> None:
    """More than announced, or without end: no more than `max_mb` is read, and the result says so."""

    def flood(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not peer.closing.is_set():
            peer.send(b"x" * 65536)

    budget = DataBudget()
    with site({"/": html("<img src=/flood>"), "/flood": flood}) as server:
        measured = check(server.url("/"), context=Context(Deadline.after(9), budget=budget), max_mb=1)
    assert (measured.outcome, code(measured)) == ("degraded", "data_cap")
    assert (measured.data["ended"], measured.data["total_failure"]) == ("data_cap", "data_cap")
    assert 900_000 < budget.used_bytes <= 1_000_000 + 64 * 1024


def test_the_runs_data_budget_is_a_hard_cap() -> None:
    """What the run has left ends the check, over-run at most a read per connection; nothing at all left: skipped."""
    answers: dict[str, Answer] = {f"/{n}": page(b"x" * 100_000) for n in range(30)}
    answers["/"] = html(*(f"<img src=/{n}>" for n in range(30)))
    budget = DataBudget(500_000)
    with site(answers) as server:
        measured = check(server.url("/"), context=Context(Deadline.after(9), budget=budget))
    assert (measured.outcome, code(measured)) == ("degraded", "data_budget")
    assert measured.data["resources_left_out"] > 0
    assert budget.used_bytes <= 500_000 + 6 * 64 * 1024
    empty = DataBudget(0)
    measured = check(server.url("/"), context=Context(Deadline.after(9), budget=empty))
    assert (measured.outcome, code(measured)) == ("skipped", "data_budget")
    assert empty.used_bytes == 0


def test_no_more_parts_than_asked_for() -> None:
    """`max_resources` is a choice, no fault: the rest is counted as left out, and there is no time for all of it."""
    answers: dict[str, Answer] = {f"/{n}": page(b"x") for n in range(9)}
    answers["/"] = html(*(f"<img src=/{n}>" for n in range(9)))
    with site(answers) as server:
        measured = check(server.url("/"), max_resources=4)
        assert len(server.heads) == 5
    assert measured.outcome == "ok"
    assert (measured.data["resources_fetched"], measured.data["resources_left_out"]) == (4, 5)
    assert measured.data["ended"] == measured.data["total_failure"] == "resource_cap"
    assert measured.data["total_ms"] is None


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b"", "reset"),
        (b"rubbish\r\n\r\n", "bad_response"),
        (page(b"no", "500 Oops"), "http_status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nshort", "http_truncated"),
    ],
)
def test_a_page_that_fails_is_a_result(answer: bytes, wanted: str) -> None:
    """No answer, rubbish, an error page, a cut: each has its code, and no time of a last byte is made up."""
    with http_server(answer) as server:
        measured = check(server.url("/"))
    assert (measured.outcome, code(measured)) == ("failed", wanted)
    assert measured.data["total_ms"] is None
    assert measured.data["total_failure"] == wanted
    assert measured.data["resources_found"] is None


def test_nobody_listens_and_nothing_resolves() -> None:
    """A closed port refuses; a name without an address has its own code, and no time at all."""
    with http_server(page()) as server:
        closed = server.url("/")
    assert code(check(closed)) == "refused"
    nowhere = check("http://x.invalid/", resolve=lambda *_: sockets.Lookup(error="EAI_NONAME"))
    assert (nowhere.outcome, code(nowhere)) == ("failed", "name_not_found")
    assert nowhere.data["first_byte_ms"] is None


def test_a_dead_address_costs_once() -> None:
    """Of two addresses the first refuses: only the page's own connection tries it, the parts know better."""
    with http_server(page()) as gone:
        dead = gone.port
    answers: dict[str, Answer] = {f"/{n}": page(b"x") for n in range(12)}
    answers["/"] = html(*(f"<img src=/{n}>" for n in range(12)))
    asked = []
    with site(answers) as server:

        def resolve(host: str, port: int, *_: Any) -> sockets.Lookup:
            asked.append(host)
            good = sockets.Address(socket.AF_INET, ("127.0.0.1", server.port))
            return sockets.Lookup((sockets.Address(socket.AF_INET, ("127.0.0.1", dead)), good), 1.0)

        measured = check("http://site.example/", resolve=resolve)
    assert measured.outcome == "ok"
    assert asked == ["site.example"]
    assert [row["failure"] for row in measured.data["addresses_tried"]] == ["refused", None]


def test_a_stop_ends_it_at_once() -> None:
    """Ctrl-C in the middle: skipped, long before the deadline."""
    stop = threading.Event()

    def hang(peer: Peer) -> None:
        stop.set()
        peer.wait()

    with site({"/": html("<img src=/hang>"), "/hang": hang}) as server:
        measured = check(server.url("/"), context=Context(Deadline.after(60), stop=stop))
    assert (measured.outcome, code(measured)) == ("skipped", "interrupted")


@pytest.mark.parametrize("options", [{"url": "ftp://x/"}, {"url": "http://u:p@x/"}, {"connections": 0}, {"max_mb": 0}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    """What cannot be asked for is an error of the settings, before anything is sent."""
    with pytest.raises(ValidationError):
        kind.Options(**{"name": "x", "url": "http://x/", **options})
