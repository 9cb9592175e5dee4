"""The `http` kind against servers that are slow, broken, or not what they say."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

import sigprobe.net.http_trace  # noqa: F401 - loaded here, so that no test's deadline pays for it
from sigprobe.measure.http import kind
from sigprobe.measure.kind import Measured
from sigprobe.net import http1, sockets
from sigprobe.net.limits import Context, DataBudget, Deadline
from sigprobe.words.codes import CODES
from tests.support.servers.tcp import Peer, http_server, page, tcp_server

SCHEMA = Draft202012Validator(TypeAdapter(kind.HttpData).json_schema())


def check(url: str, seconds: float = 3, context: Context | None = None, **options: Any) -> Measured:
    """Run one check, and hold its data to the published shape."""
    resolve = options.pop("resolve", sockets.look_up)
    chosen = kind.Options(name="x", url=url, **options)
    measured = kind.measure(chosen, context or Context(Deadline.after(seconds)), resolve=resolve)
    SCHEMA.validate(dict(measured.data))
    assert set(measured.data) == set(kind.HttpData.__annotations__)
    assert measured.failure is None or measured.failure.code in CODES
    return measured


def answered(answer: bytes, **options: Any) -> Measured:
    """Run one check against a server that answers with these bytes and closes."""
    with http_server(answer) as server:
        return check(server.url(), **options)


def code(measured: Measured) -> str | None:
    return None if measured.failure is None else measured.failure.code


# --- phases -------------------------------------------------------------------------------------------------


def test_a_page_is_ok_with_its_numbers() -> None:
    """A healthy page gives status, phases, bytes and the address used; nothing of it is a guess."""
    budget = DataBudget()
    with http_server(page(b"x" * 5000)) as server:
        measured = check(server.url("/a?b=1"), context=Context(Deadline.after(3), budget=budget))
    data = measured.data
    assert measured.outcome == "ok"
    assert measured.address_used == data["address"] == server.authority
    assert (data["status_code"], data["http_version"], data["family"]) == (200, "1.1", "ipv4")
    assert (data["bytes_received"], data["body_bytes"], data["body_cut"]) == (5000, 5000, False)
    assert data["headers_bytes"] == len(page(b"x" * 5000)) - 5000
    assert data["bytes_sent"] == len(server.heads[0])
    assert budget.used_bytes == data["bytes_sent"] + data["headers_bytes"] + data["bytes_received"]
    assert (data["dns_ms"], data["tls_ms"], data["tls_version"], data["proxy"]) == (None, None, None, None)
    assert min(data["tcp_ms"], data["send_ms"], data["ttfb_ms"]) > 0
    assert data["total_ms"] >= data["tcp_ms"] + data["send_ms"] + data["ttfb_ms"]
    assert [row["failure"] for row in data["addresses_tried"]] == [None]


def test_the_request_says_who_asks_and_nothing_else() -> None:
    """The version is named; no compression, no token, no second use of the connection."""
    with http_server(page(b"", "302 Found", "Location: /next"), page()) as server:
        check(
            server.url("/?q=1"),
            follow_redirects=True,
            context=Context(Deadline.after(3), tokens={f"http://{server.authority}": "secret"}),
        )
        assert server.connections == 2
    for head in server.heads:
        assert b"User-Agent: sigprobe/" in head
        assert b"Accept-Encoding: identity" in head
        assert b"Connection: close" in head
        assert b"secret" not in head
    assert server.heads[0].startswith(b"GET /?q=1 HTTP/1.1\r\nHost: 127.0.0.1:")


def test_the_environment_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment does not carry a measurement."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert answered(page()).outcome == "ok"


def test_each_phase_has_the_time_its_server_took() -> None:
    """Lookup, first byte and whole page are what they really took, to two milliseconds.

    The best of five, since machines are busy; none may be shorter than the truth.
    """
    truth: dict[str, float] = {}

    def answer(peer: Peer) -> None:
        peer.head()
        start = time.monotonic()
        peer.wait(0.03)
        truth["ttfb_ms"] = (time.monotonic() - start) * 1000
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        peer.wait(0.04)
        truth["total_ms"] = (time.monotonic() - truth["start"]) * 1000
        peer.send(b"cd")

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        truth["start"] = time.monotonic()
        threading.Event().wait(0.02)
        truth["dns_ms"] = (time.monotonic() - truth["start"]) * 1000
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    def resolve(host: str, port: int, deadline: Deadline, stop: threading.Event) -> sockets.Lookup:
        return sockets.look_up(host, port, deadline, stop, getaddrinfo=getaddrinfo)

    errors: dict[str, list[float]] = {"dns_ms": [], "ttfb_ms": [], "total_ms": []}
    with tcp_server(answer) as server:
        for _ in range(5):
            data = check(server.url(host="kpu.test"), resolve=resolve).data
            for name, seen in errors.items():
                seen.append(data[name] - truth[name])
            assert data["tcp_ms"] < 20
    for seen in errors.values():
        assert min(seen) < 2
    assert min(errors["dns_ms"]) >= 0
    # the client's clock starts a moment before the server has read the request, or a moment after
    assert min(errors["ttfb_ms"]) > -2


def test_a_body_that_drips_is_cut_at_the_deadline() -> None:
    """A byte now and then never resets the clock: the deadline is for the whole check."""

    def drip(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not peer.closing.is_set():
            peer.send(b"x")
            peer.wait(0.05)

    start = time.monotonic()
    with tcp_server(drip) as server:
        measured = check(server.url(), seconds=0.4)
    assert time.monotonic() - start < 1
    assert code(measured) == "timeout"
    assert "answer" in (measured.failure.detail if measured.failure else "")
    assert measured.data["status_code"] == 200
    assert 1 <= measured.data["bytes_received"] <= 12
    assert measured.data["total_ms"] is None


def test_headers_that_drip_are_cut_at_the_deadline() -> None:
    """So is an answer whose headers come byte by byte."""

    def drip(peer: Peer) -> None:
        peer.head()
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000:
            peer.send(bytes([byte]))
            peer.wait(0.02)

    start = time.monotonic()
    with tcp_server(drip) as server:
        measured = check(server.url(), seconds=0.3)
    assert time.monotonic() - start < 1
    assert code(measured) == "timeout"
    assert measured.data["status_code"] is None
    assert measured.data["ttfb_ms"] is not None


def test_silence_names_its_phase() -> None:
    """A server that accepts and says nothing timed out while it was waited for."""
    with tcp_server(lambda peer: peer.wait()) as server:
        measured = check(server.url(), seconds=0.3)
    assert code(measured) == "timeout"
    assert "wait" in (measured.failure.detail if measured.failure else "")
    assert measured.data["tcp_ms"] is not None
    assert measured.data["ttfb_ms"] is None


# --- the way to the server ----------------------------------------------------------------------------------


def test_nobody_listening_is_refused() -> None:
    """A closed port is told apart from silence."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    measured = check(f"http://127.0.0.1:{port}/")
    assert code(measured) == "refused"
    assert measured.address_used is None
    assert measured.data["tcp_ms"] is None
    assert measured.data["addresses_tried"][0]["failure"] == "refused"


def test_a_cut_connection_is_a_reset() -> None:
    """RST before, and close without, an answer both say that the connection was cut."""

    def cut(peer: Peer) -> None:
        peer.head()
        peer.reset()

    with tcp_server(cut) as server:
        assert code(check(server.url())) == "reset"
    assert code(answered(b"")) == "reset"


def test_a_name_that_is_not_found_has_its_own_code() -> None:
    """No address is not a fault of the web server."""

    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    def resolve(host: str, port: int, deadline: Deadline, stop: threading.Event) -> sockets.Lookup:
        return sockets.look_up(host, port, deadline, stop, getaddrinfo=unknown)

    measured = check("http://kpu.test/", resolve=resolve)
    assert code(measured) == "name_not_found"
    assert measured.failure is not None
    assert measured.failure.detail == "EAI_NONAME"


def test_a_lookup_that_hangs_ends_at_the_deadline() -> None:
    """The system's resolver has no timeout; the check has."""
    release = threading.Event()

    def resolve(host: str, port: int, deadline: Deadline, stop: threading.Event) -> sockets.Lookup:
        return sockets.look_up(host, port, deadline, stop, getaddrinfo=lambda *_, **__: [release.wait(10)])

    start = time.monotonic()
    measured = check("http://kpu.test/", seconds=0.2, resolve=resolve)
    assert time.monotonic() - start < 1
    release.set()
    assert code(measured) == "timeout"
    assert "dns" in (measured.failure.detail if measured.failure else "")


def several(*found: sockets.Address) -> Any:
    return lambda *_: sockets.Lookup(tuple(found), 1.0)


def test_dead_addresses_are_passed_over() -> None:
    """Nine refusing addresses before the good one do not fail the check, and are listed."""
    with http_server(page()) as server:
        dead = [sockets.Address(socket.AF_INET, (f"127.0.0.{n}", server.port)) for n in range(2, 11)]
        good = sockets.Address(socket.AF_INET, ("127.0.0.1", server.port))
        measured = check(server.url(host="kpu.test"), resolve=several(*dead, good))
    assert measured.outcome == "ok"
    assert measured.address_used == server.authority
    assert [row["failure"] for row in measured.data["addresses_tried"]] == ["refused"] * 9 + [None]


def test_a_silent_address_gets_its_share_of_the_time_only() -> None:
    """An address that never answers leaves time for the next one."""
    with http_server(page()) as server, socket.socket() as full:
        full.bind(("127.0.0.2", server.port))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]  # a full queue drops further SYNs: that is silence
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        silent = sockets.Address(socket.AF_INET, address)
        good = sockets.Address(socket.AF_INET, ("127.0.0.1", server.port))
        measured = check(server.url(host="kpu.test"), seconds=0.9, resolve=several(silent, good))
        for filler in fillers:
            filler.close()
    assert measured.outcome == "ok"
    assert [row["failure"] for row in measured.data["addresses_tried"]] == ["timeout", None]
    assert 200 <= measured.data["addresses_tried"][0]["ms"] < 600


def test_ipv6_works() -> None:
    """A URL with an IPv6 address is fetched over IPv6, with a right Host header."""
    with http_server(page(), host="::1") as server:
        measured = check(server.url())
    assert measured.outcome == "ok"
    assert measured.data["family"] == "ipv6"
    assert measured.address_used == server.authority
    assert f"Host: {server.authority}\r\n".encode() in server.heads[0]


def test_a_stop_ends_the_check_at_once() -> None:
    """Ctrl-C does not wait for the deadline."""
    stop = threading.Event()

    def stopper(peer: Peer) -> None:
        peer.head()
        stop.set()
        peer.wait()

    start = time.monotonic()
    with tcp_server(stopper) as server:
        measured = check(server.url(), context=Context(Deadline.after(30), stop=stop))
    assert time.monotonic() - start < 2
    assert (measured.outcome, code(measured)) == ("skipped", "interrupted")


# --- what came back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected", "outcome"),
    [
        ("200 OK", None, "ok"),
        ("204 No Content", None, "ok"),
        ("301 Moved", None, "ok"),
        ("400 Bad", None, "failed"),
        ("503 Busy", None, "failed"),
        ("503 Busy", 503, "ok"),
        ("200 OK", 204, "failed"),
        ("401 No", [200, 401], "ok"),
        ("404 No", [200, 401], "failed"),
    ],
)
def test_the_status_decides(status: str, expected: Any, outcome: str) -> None:
    """200 to 399 is good, or what was expected instead; the status is stored either way."""
    measured = answered(page(b"", status), expect_status=expected)
    assert measured.outcome == outcome
    assert code(measured) == (None if outcome == "ok" else "http_status")
    assert measured.data["status_code"] == int(status[:3])


@pytest.mark.parametrize(
    ("body", "header", "expected", "found"),
    [
        (b"Selamat datang", "Content-Type: text/html", "datang", True),
        (b"Selamat datang", "Content-Type: text/html", "Login", False),
        ("Pemilu – kafé".encode(), "X: y", "– kafé", True),
        ("kafé".encode("latin-1"), "Content-Type: text/html; charset=ISO-8859-1", "kafé", True),
        ("kafé".encode("utf-16"), 'Content-Type: text/html; charset="utf-16"', "kafé", True),
        ('<meta charset="windows-1252">kafé'.encode("cp1252"), "X: y", "kafé", True),
        (b"hello", "Content-Type: text/html; charset=no-such", "hello", True),
        (b"hello", "Content-Type: text/html; charset=idna", "hello", True),
        (gzip.compress(b"Selamat datang", mtime=0), "Content-Encoding: gzip", "datang", True),
        (b"not gzip at all", "Content-Encoding: gzip", "gzip", True),
    ],
)
def test_the_text_decides(body: bytes, header: str, expected: str, found: bool) -> None:
    """The expected text is looked for in the decoded page, in the page's own charset."""
    measured = answered(page(body, "200 OK", header), expect_text=expected)
    assert measured.data["text_found"] is found
    assert code(measured) == (None if found else "http_text")
    assert measured.data["bytes_received"] == len(body)


def test_a_compressed_page_is_counted_as_sent() -> None:
    """bytes_received is what went over the link, body_bytes what it unpacks to."""
    packed = gzip.compress(b"a" * 100_000)
    measured = answered(page(packed, "200 OK", "Content-Encoding: gzip"))
    assert measured.data["bytes_received"] == len(packed)
    assert measured.data["body_bytes"] == 100_000


def test_a_compression_bomb_is_bounded() -> None:
    """A small answer that unpacks to gigabytes is unpacked to its limit only."""
    measured = answered(page(gzip.compress(b"\0" * 40_000_000), "200 OK", "Content-Encoding: gzip"))
    assert measured.data["body_bytes"] == 16 * 1024 * 1024


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
def test_a_body_that_ends_too_early_is_truncated(answer: bytes) -> None:
    """Less than was announced is a failure, with the status and the bytes that did come."""
    measured = answered(answer)
    assert code(measured) == "http_truncated"
    assert measured.data["status_code"] == 200
    assert measured.data["bytes_received"] in (3, 5)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x01\x02\x03" * 100,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (http1.MAX_HEADERS + 1) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * http1.MAX_LINE_BYTES + b"\r\n\r\n",
        b"HTTP/1.1 200 " + b"y" * http1.MAX_LINE_BYTES + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + (b"X: " + b"y" * 100_000 + b"\r\n") * 6 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    ],
)
def test_nonsense_is_a_bad_response(answer: bytes) -> None:
    """What is no HTTP, or far too much of it, is named so and crashes nothing."""
    measured = answered(answer)
    assert code(measured) == "bad_response"
    assert measured.outcome == "failed"


def test_endless_headers_are_bounded() -> None:
    """A server that never ends its headers is left at the limit, long before the deadline."""

    def endless(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 100 Continue\r\n")
        while not peer.closing.is_set():
            peer.send(b"X: " + b"y" * 1000 + b"\r\n")

    start = time.monotonic()
    with tcp_server(endless) as server:
        measured = check(server.url(), seconds=20)
    assert time.monotonic() - start < 5
    assert code(measured) == "bad_response"
    assert measured.data["headers_bytes"] <= http1.MAX_HEAD_BYTES


def endless_body(peer: Peer) -> None:
    peer.head()
    peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while not peer.closing.is_set():
        peer.send(b"x" * 65536)


def test_an_endless_body_is_cut_at_its_limit() -> None:
    """More than max_kb is not read: the check is good, and says that it read a part."""
    with tcp_server(endless_body) as server:
        measured = check(server.url(), seconds=20, max_kb=100)
        lacking = check(server.url(), seconds=20, max_kb=1, expect_text="y")
    assert measured.outcome == "ok"
    assert measured.data["bytes_received"] == 100 * 1024
    assert measured.data["body_cut"] is True
    assert "first 1024 bytes" in (lacking.failure.detail if lacking.failure else "")


def test_a_body_of_just_the_limit_is_whole() -> None:
    """The limit itself is not a cut."""
    measured = answered(page(b"x" * 1024), max_kb=1)
    assert (measured.data["bytes_received"], measured.data["body_cut"]) == (1024, False)


def test_endless_chunk_headers_are_bounded() -> None:
    """Framing without payload counts, too."""

    def endless(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not peer.closing.is_set():
            peer.send(b"1;" + b"z" * 1000 + b"\r\nx\r\n")

    with tcp_server(endless) as server:
        measured = check(server.url(), seconds=20, max_kb=64)
    assert measured.data["body_cut"] is True
    assert measured.data["bytes_received"] + measured.data["headers_bytes"] < 400_000


def test_the_data_budget_is_a_hard_limit() -> None:
    """A budget below the page's size ends the reading there."""
    budget = DataBudget(50_000)
    with tcp_server(endless_body) as server:
        measured = check(server.url(), context=Context(Deadline.after(20), budget=budget))
    assert measured.data["body_cut"] is True
    assert 49_000 < budget.used_bytes <= 50_000
    spent = check(server.url(), context=Context(Deadline.after(20), budget=budget))
    assert (spent.outcome, code(spent)) == ("skipped", "data_budget")


def test_old_and_bare_answers_are_understood() -> None:
    """HTTP/1.0 without any header is a page that ends with the connection."""
    measured = answered(b"HTTP/1.0 200 OK\r\n\r\nhello")
    assert measured.outcome == "ok"
    assert (measured.data["http_version"], measured.data["bytes_received"]) == ("1.0", 5)


def test_head_reads_no_body() -> None:
    """HEAD takes the announced length for what it is."""
    with http_server(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n") as server:
        measured = check(server.url(), method="HEAD")
    assert server.heads[0].startswith(b"HEAD / ")
    assert measured.outcome == "ok"
    assert measured.data["bytes_received"] == 0


# --- redirects ----------------------------------------------------------------------------------------------


def redirect(location: str, status: str = "302 Found") -> bytes:
    return page(b"elsewhere", status, f"Location: {location}")


def test_a_redirect_is_reported_and_not_followed() -> None:
    """Where it points is stored without query values; another host is named."""
    with http_server(redirect("http://user:pw@portal.test/login?token=secret&x=1#top")) as server:
        measured = check(server.url())
        assert server.connections == 1
    data = measured.data
    assert measured.outcome == "ok"
    assert data["status_code"] == 302
    assert data["location"] == "http://portal.test/login?token=&x="
    assert (data["redirect_host"], data["redirects_followed"]) == ("portal.test", 0)


def test_a_redirect_on_the_same_host_names_no_other() -> None:
    """A relative redirect stays at home."""
    measured = answered(redirect("/next"))
    assert measured.data["redirect_host"] is None
    assert measured.data["location"].endswith("/next")


def test_redirects_are_followed_when_asked() -> None:
    """The last answer decides; each step has its own connection, and the total covers them all."""
    with http_server(redirect("/two"), redirect("three", "308 There"), page(b"arrived")) as server:
        measured = check(server.url("/one"), follow_redirects=True, expect_text="arrived")
        assert server.connections == 3
    assert [head.split()[1] for head in server.heads] == [b"/one", b"/two", b"/three"]
    assert measured.outcome == "ok"
    assert (measured.data["status_code"], measured.data["redirects_followed"]) == (200, 2)


def test_a_circle_of_redirects_ends() -> None:
    """Twenty are followed, as browsers do; one more is too many."""
    with http_server(redirect("/")) as server:
        measured = check(server.url(), follow_redirects=True)
        assert server.connections == 21
    assert code(measured) == "redirect_limit"
    assert measured.data["redirects_followed"] == 20


@pytest.mark.parametrize("location", ["ftp://x.test/", "http://[bad", "javascript:alert(1)", "http://:99999/"])
def test_a_redirect_to_nowhere_crashes_nothing(location: str) -> None:
    """A target that cannot be asked is never asked."""
    with http_server(redirect(location)) as server:
        measured = check(server.url(), follow_redirects=True)
        assert server.connections == 1
    assert measured.outcome in ("ok", "failed")
    assert code(measured) in (None, "bad_response")


# --- options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        {"url": "ftp://example.org/"},
        {"url": "example.org"},
        {"url": "http://"},
        {"url": "http://user:pw@example.org/"},
        {"url": "http://user@example.org/"},
        {"url": "http://example.org:99999/"},
        {"url": "http://example.org/a b"},
        {"url": "http://exam\\ple.org/"},
        {"url": "http://exam..ple/"},
        {"url": "http://example.org/\r\nX: y"},
        {"method": "POST"},
        {"expect_status": 42},
        {"expect_status": []},
        {"expect_status": "200"},
        {"expect_text": ""},
        {"expect_text": "x", "method": "HEAD"},
        {"max_kb": 0},
        {"unknown": 1},
    ],
)
def test_bad_options_are_refused(bad: dict[str, Any]) -> None:
    """What cannot be asked is an error of the settings, not of the measurement."""
    with pytest.raises(ValidationError):
        kind.Options(**{"name": "x", "url": "https://example.org/", **bad})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org/a?key=secret&b=2#part", "https://example.org/a?key=&b="),
        ("https://example.org/?baretoken", "https://example.org/"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("https://situs.kpu.go.id", "https://situs.kpu.go.id"),
    ],
)
def test_the_stored_address_holds_no_secret(url: str, shown: str) -> None:
    """Query values and fragments stay on the device."""
    assert kind.Options(name="x", url=url).configured_address() == shown


def test_defaults() -> None:
    """Without further keys: GET, no redirects, two megabytes, fifteen seconds."""
    options = kind.Options(name="x", url="https://example.org/")
    assert (options.method, options.follow_redirects, options.max_kb) == ("GET", False, 2048)
    assert options.timeout_s() == 15.0
    assert options.estimate().bytes >= 2048 * 1024
