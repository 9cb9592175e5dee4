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
