"""Answers of a working service that a check cannot judge: packed in an unknown way, or behind a challenge."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from sigprobe.measure.http import kind as http
from sigprobe.measure.http.options import Options as HttpOptions
from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput import kind as throughput
from sigprobe.measure.throughput.options import Options as SpeedOptions
from sigprobe.measure.video import kind as video
from sigprobe.measure.video.options import Options as VideoOptions
from sigprobe.measure.web import kind as web
from sigprobe.measure.web.options import Options as WebOptions
from sigprobe.net.limits import Context, Deadline
from tests.support.servers.tcp import http_server, page

PACKED = bytes.fromhex("1b0906309c07760c0dbed4c2547b6e63eb3656dde33411f2543c53195696d6")


def run(kind: str, answer: bytes, **options: Any) -> Measured:
    """Run a check of a kind against a server with one answer."""
    context = Context(Deadline.after(5))
    with http_server(answer) as server:
        url = server.url("/a")
        if kind == "http":
            return http.measure(HttpOptions(name="x", url=url, **options), context)
        if kind == "web":
            return web.measure(WebOptions(name="x", url=url), context)
        if kind == "video":
            return video.measure(VideoOptions(name="x", url=url), context)
        return throughput.measure(SpeedOptions(name="x", url=server.url(), direction="download"), context)


def code(measured: Measured) -> str | None:
    return None if measured.failure is None else measured.failure.code


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br"])
@pytest.mark.parametrize("kind", ["http", "web", "video"])
def test_what_cannot_be_unpacked_is_not_a_missing_text(kind: str, encoding: str) -> None:
    """The service has answered: degraded, with a code of its own."""
    options = {"expect_text": "Selamat datang"} if kind == "http" else {}
    answer = page(PACKED, "200 OK", "Content-Type: text/html", f"Content-Encoding: {encoding}")
    measured = run(kind, answer, **options)
    assert (measured.outcome, code(measured)) == ("degraded", "http_unreadable")
    assert measured.data["status_code"] == 200
    if kind == "http":
        assert (measured.data["text_found"], measured.data["body_bytes"]) == (None, None)


def test_without_a_text_to_look_for_it_is_a_good_answer() -> None:
    """Nothing had to be read."""
    assert run("http", page(PACKED, "200 OK", "Content-Encoding: br")).outcome == "ok"


@pytest.mark.parametrize(
    ("body", "encoding", "outcome"),
    [
        (gzip.compress(b"Selamat datang", mtime=0), "gzip", "ok"),
        (gzip.compress(b"Login", mtime=0), "gzip", "http_text"),
        (b"Selamat datang", "gzip", "ok"),
        (b"Login", "identity", "http_text"),
        (b"Login", "gzip", "http_unreadable"),
    ],
)
def test_what_can_be_read_is_judged(body: bytes, encoding: str, outcome: str) -> None:
    """Also plain text under a wrong header."""
    measured = run("http", page(body, "200 OK", f"Content-Encoding: {encoding}"), expect_text="Selamat datang")
    assert (code(measured) or measured.outcome) == outcome


GZIP = gzip.compress(b"Selamat datang", mtime=0)
ZSTD = bytes.fromhex("28b52ffd2000010000")


def chunked(body: bytes, codings: str) -> bytes:
    """Return an answer with a transfer encoding of its own, in one chunk."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: {codings}\r\n\r\n"
    return head.encode() + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [page(GZIP), page(ZSTD), page(GZIP, "200 OK", "Content-Type: text/html"), chunked(GZIP, "gzip, chunked")],
    ids=["gzip", "zstd", "gzip as HTML", "transfer encoding"],
)
@pytest.mark.parametrize("kind", ["http", "web", "video"])
def test_what_does_not_say_that_it_is_packed_is_not_a_missing_text(kind: str, answer: bytes) -> None:
    """Its first bytes say it; browsers do not unpack it either."""
    options = {"expect_text": "Selamat datang"} if kind == "http" else {}
    measured = run(kind, answer, **options)
    assert (measured.outcome, code(measured)) == ("degraded", "http_unreadable")
    if kind == "http":
        assert measured.data["text_found"] is None


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (PACKED, "text/html", "http_unreadable"),
        (PACKED, "image/png", "http_text"),
        ("Masuk".encode("utf-16"), "text/html", "http_text"),
        ("Masuk".encode("utf-16-le"), "text/html; charset=utf-16-le", "http_text"),
        ("Masuk é".encode("latin-1"), "text/html; charset=iso-8859-1", "http_text"),
        (b"Masuk \x00 UTF-8", "text/html", "http_text"),
        (b"", "text/html", "http_text"),
    ],
    ids=["brotli", "an image", "UTF-16", "UTF-16 by header", "Latin-1", "a stray control character", "empty"],
)
def test_only_a_text_can_miss_a_text(body: bytes, content_type: str, expected: str) -> None:
    """Brotli has no first bytes of its own; other charsets are texts."""
    answer = page(body, "200 OK", f"Content-Type: {content_type}")
    assert code(run("http", answer, expect_text="Selamat datang")) == expected


@pytest.mark.parametrize("kind", ["http", "web", "video", "throughput"])
@pytest.mark.parametrize(
    ("status", "mark"),
    [
        ("403 Forbidden", "cf-mitigated: challenge"),
        ("503 Busy", "CF-Mitigated: Challenge"),
        ("202 Accepted", "x-amzn-waf-action: challenge"),
        ("405 No", "x-amzn-waf-action: captcha"),
        ("429 Many", "x-vercel-mitigated: challenge"),
    ],
)
def test_a_challenge_is_no_failed_service(kind: str, status: str, mark: str) -> None:
    """A page for browsers stands in the way; what is behind it is not known."""
    measured = run(kind, page(b"<html>Just a moment", status, "Content-Type: text/html", mark))
    assert code(measured) == "http_challenge"
    assert measured.outcome == ("failed" if kind == "throughput" else "degraded")


def test_the_same_status_without_the_mark_is_a_failure() -> None:
    """Only the header tells them apart."""
    assert code(run("http", page(b"", "403 Forbidden", "cf-ray: 1"))) == "http_status"


def test_a_status_that_is_expected_is_good() -> None:
    """Who expects 403 gets it."""
    assert run("http", page(b"", "403 No", "cf-mitigated: challenge"), expect_status=403).outcome == "ok"
