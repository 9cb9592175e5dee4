"""Speed-test servers that redirect, answer in chunks, or stand behind a challenge."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput import kind
from sigprobe.measure.throughput.options import Options
from sigprobe.net.limits import Context, Deadline
from tests.support.servers.speedtests import GARBAGE, librespeed
from tests.support.servers.tcp import Peer, page, tcp_server

EMPTY_CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


def download(url: str) -> Measured:
    options = Options(name="x", url=url, direction="download", max_mb=4, max_s=2, streams=1)
    return kind.measure(options, Context(Deadline.after(15)))


def code(measured: Measured) -> str | None:
    return None if measured.failure is None else measured.failure.code


def redirecting(target: Callable[[str], str]) -> Callable[[Peer], None]:
    """Redirect every request to where `target` says for its path."""

    def answer(peer: Peer) -> None:
        while head := peer.head():
            peer.send(page(b"", "301 Moved", f"Location: {target(head.split()[1].decode())}"))

    return answer


def test_a_redirect_within_the_host_is_followed() -> None:
    """Another port or scheme of the same host is the same service."""
    with (
        librespeed() as (server, _),
        tcp_server(redirecting(lambda path: server.url(path.partition("?")[0]))) as front,
    ):
        measured = download(front.url())
    assert measured.outcome == "ok", measured.failure
    assert measured.data["download_bps"]


def test_a_redirect_to_another_host_is_not() -> None:
    """There is no speed test at this address."""
    with tcp_server(redirecting(lambda path: f"http://other.example{path}")) as front:
        assert code(download(front.url())) == "no_endpoint"


def gated(cookie: str, heads: list[bytes], to: str = "") -> Callable[[Peer], None]:
    """Answer as a speed test, and every request without the cookie with that cookie and a redirect to itself."""
    pair = cookie.partition(";")[0].encode()

    def answer(peer: Peer) -> None:
        while head := peer.head():
            heads.append(head)
            path = head.split()[1].decode()
            if b"\r\nCookie: " + pair + b"\r\n" not in head:
                peer.send(page(b"", "302 Found", f"Location: {to}{path}", f"Set-Cookie: {cookie}"))
            elif b"/backend/garbage" in head:
                peer.send(page(GARBAGE * 64))
            else:
                peer.send(page(b"") if b"/backend/empty" in head else page(b"", "404 Not Found"))

    return answer


@pytest.mark.parametrize("cookie", ["visited=1; Path=/", "visited=1", "visited=1; Path=/backend; HttpOnly; Max-Age=9"])
def test_a_cookie_and_a_redirect_to_itself_are_followed(cookie: str) -> None:
    """The cookie is sent back to all endpoints of this measurement; the next one begins without it."""
    heads: list[bytes] = []
    with tcp_server(gated(cookie, heads)) as server:
        for _ in range(2):
            heads.clear()
            measured = download(server.url())
            assert code(measured) is None, measured.failure
            assert measured.data["download_bps"]
            assert b"\r\nCookie:" not in heads[0]
            assert all(b"\r\nCookie: visited=1\r\n" in head for head in heads[1:])


@pytest.mark.parametrize("cookie", ["visited=1; Path=/elsewhere", "visited=1; Secure", "visited=1; Max-Age=0"])
def test_a_cookie_that_is_not_for_this_place_is_not_sent(cookie: str) -> None:
    """A redirect to itself that changes nothing leads nowhere."""
    heads: list[bytes] = []
    with tcp_server(gated(cookie, heads)) as server:
        assert code(download(server.url())) == "no_endpoint"
    assert not any(b"\r\nCookie:" in head for head in heads)


def test_redirects_without_end_are_left() -> None:
    """A circle has a name of its own."""
    turns = iter(range(10_000))
    with tcp_server(redirecting(lambda path: f"/{next(turns)}{path}")) as front:
        assert code(download(front.url())) == "redirect_limit"


@pytest.mark.parametrize(
    "empty",
    [
        EMPTY_CHUNKED,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + EMPTY_CHUNKED,
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"Set-Cookie: a=b\r\n" * 2000 + b"\r\n",
    ],
    ids=["chunked", "early hints", "204", "many headers"],
)
def test_an_empty_answer_in_any_framing_is_empty(empty: bytes) -> None:
    """Chunked framing without content is no page where nothing was expected."""

    def answer(peer: Peer) -> None:
        while head := peer.head():
            if b"/backend/empty" in head:
                peer.send(empty)
            elif b"/backend/garbage" in head:
                body = b"".join(b"%X;a=b\r\n%s\r\n" % (len(GARBAGE), GARBAGE) for _ in range(64))
                peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body, b"0\r\nX: trailer\r\n\r\n")
            else:
                peer.send(page(b"", "404 Not Found"))

    with tcp_server(answer) as server:
        measured = download(server.url())
    assert code(measured) is None
    assert measured.data["download_bps"]
