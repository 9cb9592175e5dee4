"""Cookies within one chain of redirects, and not beyond."""

from __future__ import annotations

import pytest

from sigprobe.measure.http import kind as http
from sigprobe.measure.http.options import Options as HttpOptions
from sigprobe.measure.kind import Measured
from sigprobe.measure.web import kind as web
from sigprobe.measure.web.options import Options as WebOptions
from sigprobe.net.cookies import MAX_COOKIES, ChainCookies
from sigprobe.net.limits import Context, Deadline
from tests.support.servers.tcp import Peer, http_server, page, tcp_server

DATE = "Wed, 14 Feb 2029 02:00:00 GMT"


@pytest.mark.parametrize(
    ("set_at", "line", "asked", "sent"),
    [
        ("http://a.id/x/y", "k=v", "http://a.id/x/z", "k=v"),
        ("http://a.id/x/y", "k=v", "http://a.id/", None),
        ("http://a.id/x/y", "k=v; Path=/", "http://a.id/", "k=v"),
        ("http://a.id/", "k=v; Path=/x", "http://a.id/xy", None),
        ("http://a.id/", "k=v; Path=/x", "http://a.id/x/y", "k=v"),
        ("http://a.id/", "k=v", "http://b.a.id/", None),
        ("http://a.id/", "k=v; Domain=a.id", "http://b.a.id/", "k=v"),
        ("http://a.id/", "k=v; Domain=.A.ID", "http://b.a.id/", "k=v"),
        ("http://b.a.id/", "k=v; Domain=a.id", "http://a.id/", "k=v"),
        ("http://a.id/", "k=v; Domain=other.id", "http://other.id/", None),
        ("http://a.id/", "k=v; Domain=id", "http://b.id/", None),
        ("http://127.0.0.1/", "k=v; Domain=0.0.1", "http://127.0.0.1/", None),
        ("https://a.id/", "k=v; Secure", "https://a.id/", "k=v"),
        ("https://a.id/", "k=v; Secure", "http://a.id/", None),
        ("http://a.id/", "k=v; Secure", "https://a.id/", None),
        ("https://a.id/", "__Host-k=v; Secure; Path=/", "https://a.id/", "__Host-k=v"),
        ("https://a.id/", "__Host-k=v; Path=/", "https://a.id/", None),
        ("http://a.id/", "k=v; Max-Age=0", "http://a.id/", None),
        ("http://a.id/", "k=v; Max-Age=-5", "http://a.id/", None),
        ("http://a.id/", "k=v; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://a.id/", "k=v"),
        ("http://a.id/", "k=v; Expires=Thu, 01-Jan-1970 00:00:00 GMT", "http://a.id/", None),
        ("http://a.id/", "k=v; Expires=Wed, 14 Feb 2029 03:00:00 GMT", "http://a.id/", "k=v"),
        ("http://a.id/", "k=v; Expires=nonsense", "http://a.id/", "k=v"),
        ("http://a.id/", 'k="v w"; HttpOnly; SameSite=Lax', "http://a.id/", 'k="v w"'),
        ("http://a.id/", "k=a=b", "http://a.id/", "k=a=b"),
        ("http://a.id/", "k", "http://a.id/", "k"),
        ("http://a.id/", "=v", "http://a.id/", "v"),
        ("http://a.id/", ";", "http://a.id/", None),
        ("http://a.id/", "k=" + "v" * 5000, "http://a.id/", None),
        ("http://a.id/", "k=v\x01", "http://a.id/", None),
    ],
)
def test_which_cookie_goes_where(set_at: str, line: str, asked: str, sent: str | None) -> None:
    """As RFC 6265 says; the answer's own date decides what has expired."""
    cookies = ChainCookies(wall=lambda: 0.0)
    cookies.take(set_at, [line], DATE)
    assert cookies.header(asked) == sent


def test_a_wrong_clock_deletes_no_cookie() -> None:
    """This device says 2040; the server's `Date` counts."""
    cookies = ChainCookies(wall=lambda: 2_208_988_800.0)
    cookies.take("http://a.id/", ["k=v; Expires=Wed, 14 Feb 2029 03:00:00 GMT"], DATE)
    assert cookies.header("http://a.id/") == "k=v"


def test_a_later_cookie_replaces_and_deletes() -> None:
    """One name, domain and path is one cookie; longer paths are sent first."""
    cookies = ChainCookies()
    cookies.take("http://a.id/x/", ["k=1; Path=/", "k=2; Path=/", "p=3; Path=/x", "gone=1"])
    cookies.take("http://a.id/x/", ["gone=; Max-Age=0"])
    assert cookies.header("http://a.id/x/y") == "p=3; k=2"


def test_the_number_is_bounded() -> None:
    """5,000 cookies are not sent back."""
    cookies = ChainCookies()
    cookies.take("http://a.id/", [f"k{n}=v" for n in range(5000)])
    assert len((cookies.header("http://a.id/") or "").split("; ")) == MAX_COOKIES


# --- in a check ---------------------------------------------------------------------------------------------


def by_http(url: str) -> Measured:
    return http.measure(HttpOptions(name="x", url=url, follow_redirects=True), Context(Deadline.after(5)))


def by_web(url: str) -> Measured:
    return web.measure(WebOptions(name="x", url=url), Context(Deadline.after(5)))


READERS = pytest.mark.parametrize("check", [by_http, by_web], ids=["http", "web"])


def back_with_a_cookie(peer: Peer) -> None:
    """Set a cookie and redirect to itself, as some sites do."""
    head = peer.head()
    if b"Cookie: seen=1" in head:
        peer.send(page(b"ok", "200 OK", "Connection: close"))
    else:
        peer.send(page(b"", "302 Found", "Location: /", "Set-Cookie: seen=1; Path=/", "Connection: close"))


@READERS
def test_a_site_that_sets_a_cookie_and_redirects_to_itself(check: object) -> None:
    """The cookie is sent back within the chain; the next check begins without it."""
    with tcp_server(back_with_a_cookie) as server:
        first, second = check(server.url()), check(server.url())  # type: ignore[operator]
    assert (first.outcome, first.data["redirects_followed"]) == ("ok", 1)
    assert (second.outcome, second.data["redirects_followed"]) == ("ok", 1)


@READERS
def test_a_circle_with_changing_cookies_ends(check: object) -> None:
    """Cookies do not make an endless check."""
    count = iter(range(1000))

    def answer(peer: Peer) -> None:
        peer.head()
        peer.send(page(b"", "302 Found", "Location: /", f"Set-Cookie: n={next(count)}", "Connection: close"))

    with tcp_server(answer) as server:
        measured = check(server.url())  # type: ignore[operator]
    assert measured.failure is not None and measured.failure.code == "redirect_limit"


def test_no_cookie_goes_to_another_host() -> None:
    """Within one chain, too."""
    with http_server(page(b"other")) as other:
        moved = page(b"", "302 Found", f"Location: {other.url(host='localhost')}", "Set-Cookie: k=v; Path=/")
        with http_server(moved) as server:
            by_http(server.url())
    assert other.heads and b"ookie" not in other.heads[0]
