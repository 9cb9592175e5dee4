"""Where redirects lead, as browsers read `Location`, and which URLs name one host."""

from __future__ import annotations

import pytest

from sigprobe.net.urls import redirect_target, same_host

BASE = "http://a.id/b/c?d"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/halaman utama", "http://a.id/halaman%20utama"),
        ("/cari?q=a b&c=%zz", "http://a.id/cari?q=a%20b&c=%zz"),
        ("  /trim\t", "http://a.id/trim"),
        ("/a\tb", "http://a.id/ab"),
        ("lain", "http://a.id/b/lain"),
        ("../atas", "http://a.id/atas"),
        ("?q=1", "http://a.id/b/c?q=1"),
        ("#bagian", "http://a.id/b/c?d"),
        ("http://x.id/a#b", "http://x.id/a"),
        ("//www.x.id/a", "http://www.x.id/a"),
        ("///x.id/a", "http://x.id/a"),
        ("https:\\\\x.id\\a", "https://x.id/a"),
        ("\\atas", "http://a.id/atas"),
        ("http:/sama", "http://a.id/sama"),
        ("https:/x.id/a", "https://x.id/a"),
        ("HTTP://X.id", "http://X.id/"),
        ("http://user:pw@x.id:8080/", "http://x.id:8080/"),
        ("/a%20b%E2%80%93", "http://a.id/a%20b%E2%80%93"),
        ("/kafé".encode().decode("latin-1"), "http://a.id/kaf%C3%A9"),
        ("/caf\xe9", "http://a.id/caf%E9"),
        ("http://kafé.id/ü".encode().decode("latin-1"), "http://xn--kaf-dma.id/%C3%BC"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("ftp://x.id/", "ftp://x.id/"),
        ("", None),
        ("   ", None),
        ("http://[bad", None),
    ],
)
def test_where_a_redirect_leads(location: str, target: str | None) -> None:
    """Blanks and other scripts are encoded, odd slashes mended, userinfo and fragment dropped."""
    assert redirect_target(BASE, 302, {"Location": location}) == target


@pytest.mark.parametrize("status", [200, 300, 304, 305, 404, None])
def test_other_answers_lead_nowhere(status: int | None) -> None:
    """Only the five statuses that browsers follow."""
    assert redirect_target(BASE, status, {"Location": "/x"}) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://kpu.example/", "https://www.kpu.example/", True),
        ("https://www.kpu.example:8443/", "http://KPU.example/a", True),
        ("http://kpu.example/", "http://kpu.example./", True),
        ("http://xn--kaf-dma.id/", "http://www.kafé.id/", True),
        ("http://kpu.example/", "http://cdn.kpu.example/", False),
        ("http://kpu.example/", "http://www2.kpu.example/", False),
        ("http://www.id/", "http://id/", False),
        ("http://127.0.0.1/", "http://127.0.0.2/", False),
        ("http://[::1]/", "http://[::1]:80/", True),
        ("http://kpu.example/", "javascript:alert(1)", False),
    ],
)
def test_one_host(one: str, other: str, same: bool) -> None:
    """`www.`, scheme, port and spelling do not make another host of it."""
    assert same_host(one, other) is same
