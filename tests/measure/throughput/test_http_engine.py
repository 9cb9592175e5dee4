"""Engine `http` against servers that are healthy, LibreSpeed-like, or lying."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

import sigprobe.measure.throughput.http_engine  # noqa: F401 - loaded here, so that no test's deadline pays for it
from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput import http_engine as engine
from sigprobe.measure.throughput import kind
from sigprobe.measure.throughput.plan import Ended, Transfer
from sigprobe.measure.throughput.transfer import SMALL_BODY
from sigprobe.net.limits import OVERHEAD, Context, DataBudget, Deadline, Progress
from sigprobe.record.result import Outcome
from sigprobe.words.codes import CODES
from tests.support.servers.speedtests import GARBAGE, Books, Handler, collector, content_length, librespeed, settings
from tests.support.servers.tcp import Peer, http_server, page, tcp_server

SCHEMA = Draft202012Validator(TypeAdapter(kind.ThroughputData).json_schema())
OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"


def check(url: str, context: Context | None = None, seconds: float = 5, **options: Any) -> Measured:
    """Run one check, and hold its data to the published shape and its codes to the table."""
    chosen = kind.Options(name="x", url=url, **{"max_mb": 4, "max_s": 0.6, **options})
    measured = kind.measure(chosen, context or Context(Deadline.after(seconds)))
    SCHEMA.validate(dict(measured.data))
    assert set(measured.data) == set(kind.ThroughputData.__annotations__)
    if measured.failure is not None:
        assert measured.failure.code in CODES
    for way in ("download", "upload"):
        reason = measured.data[f"{way}_failure"]
        assert reason is None or (reason in CODES and measured.data[f"{way}_bps"] is None)
        assert measured.data[f"{way}_bps"] != 0
    return measured


def slow(rate_bps: float, piece: int = 4096) -> Handler:
    """Garbage at a steady pace: the server waits until each piece is due."""

    def send(peer: Peer, books: Books, head: str) -> None:
        peer.send(OK_HEAD % 100_000_000)
        begin, sent = time.monotonic(), 0
        while not peer.closing.is_set():
            peer.send(GARBAGE[:piece])
            sent += piece
            peer.wait(max(0.0, begin + sent * 8 / rate_bps - time.monotonic()))

    return send


# --- healthy ------------------------------------------------------------------------------------------------


def test_both_directions_against_the_collector() -> None:
    """Both rates with their bytes, seconds and latencies; the upload is what the server says has arrived."""
    seen: list[Progress] = []
    with collector() as url:
        context = Context(Deadline.after(5), progress=seen.append)
        measured = check(url, context, max_mb=40)
    data = measured.data
    assert (measured.outcome, measured.failure) == (Outcome.OK, None)
    for way in ("download", "upload"):
        assert 50e6 < data[f"{way}_bps"] < 200e9
        assert 0 < data[f"{way}_s"] < 1.5
    assert data["upload_counted_by"] == "server"
    assert data["bytes_received"] <= 20_000_000
    assert data["bytes_received"] + data["bytes_sent"] <= 40_000_000
    assert 0 < data["idle_rtt_ms"] < 50
    assert measured.address_used is not None and measured.address_used.startswith("127.0.0.1:")
    assert data["server"] == url.rstrip("/")
    moved = data["bytes_received"] + data["bytes_sent"]
    assert moved <= context.budget.used_bytes <= moved + 100_000
    assert data["wire_bytes"] == pytest.approx(context.budget.used_bytes * OVERHEAD, abs=2)
    assert data["wire_bytes"] <= 40_000_000
    assert {p.phase for p in seen} == {"idle", "download", "upload"}
    assert all(a.fraction <= b.fraction for a, b in pairwise(seen))  # type: ignore[operator]


def test_a_steady_link_is_read_within_five_percent_and_stops_by_itself() -> None:
    """A server that sends 8 Mbit/s, exactly paced, is read as such, long before its time or data is used up."""
    with librespeed(garbage=slow(8e6)) as (server, _):
        measured = check(server.url(), direction="download", max_s=5, streams=1, max_mb=20)
    data = measured.data
    assert data["download_bps"] == pytest.approx(8e6, rel=0.05)
    assert data["ended"] == data["ended_download"] == "converged"
    low, high = data["download_ci_bps"]
    assert low <= data["download_bps"] <= high
    # how soon it stops is bench/accuracy.py's to judge: here, before time and data are used up
    assert data["bytes_received"] < 5_000_000
    assert data["download_s"] < 5
    assert data["upload_bps"] is None and data["upload_failure"] is None


@pytest.mark.parametrize(("folder", "suffix"), [("/", ".php"), ("/", ""), ("/backend/", ".php"), ("/speed/", ".php")])
def test_a_librespeed_server_that_reports_nothing(folder: str, suffix: str) -> None:
    """Found under any of its layouts; what TCP has acknowledged is counted there, never the socket's buffer."""
    with librespeed(folder=folder, suffix=suffix) as (server, books):
        measured = check(server.url("/speed" if folder == "/speed/" else "/"), max_s=1)
    data = measured.data
    assert measured.outcome is Outcome.OK, measured.failure
    assert data["upload_counted_by"] == "tcp_info"
    assert data["download_bps"] and data["upload_bps"]
    # the server's threads may have been cut before they had read their last buffers
    assert books.received <= data["bytes_sent"]
    assert data["retransmits"] is not None
    assert all("Accept-Encoding: identity" in head for head in books.heads)


@pytest.mark.slow
def test_upload_to_a_server_that_reads_slowly_is_not_the_socket_buffer() -> None:
    """4 Mbit/s read at the other end is not called 100: only acknowledged bytes count."""

    def read(peer: Peer, books: Books, head: str) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        begin, done = time.monotonic(), 0
        while piece := peer.sock.recv(8192):
            done += len(piece)
            peer.wait(max(0.0, begin + done * 8 / 4e6 - time.monotonic()))

    with librespeed(upload=read) as (server, _):
        measured = check(server.url(), direction="upload", max_s=1.8, streams=1)
    assert measured.data["upload_bps"] == pytest.approx(4e6, rel=0.35)


# --- caps ---------------------------------------------------------------------------------------------------


def test_the_data_cap_holds_for_a_server_that_never_stops() -> None:
    """An endless body ends at `max_mb` to the byte; the connection is closed, not drained."""
    with librespeed() as (server, books):
        context = Context(Deadline.after(5))
        data = check(server.url(), context, max_mb=2, max_s=2).data
    assert data["bytes_received"] <= 1_000_000
    assert data["bytes_received"] + data["bytes_sent"] <= 2_000_000
    assert books.received <= 2_000_000
    assert context.budget.used_bytes <= 2_000_000
    assert data["ended"] == "data_cap"


def test_the_run_s_budget_ends_it_before_the_check_s_own_cap() -> None:
    """What the run has left is shared by both directions; when it is used up the check stops and says so."""
    with librespeed() as (server, _):
        context = Context(Deadline.after(5), budget=DataBudget(300_000))
        measured = check(server.url(), context)
        again = check(server.url(), context)
    assert context.budget.used_bytes <= 300_000
    assert measured.data["bytes_received"] <= 150_000
    assert measured.data["ended_download"] == measured.data["ended_upload"] == "data_cap"
    assert measured.outcome is Outcome.OK
    assert measured.data["upload_bps"] > 0
    assert (again.outcome, again.failure and again.failure.code) == (Outcome.SKIPPED, "data_budget")


def test_a_stop_is_obeyed_at_once() -> None:
    """Ctrl-C ends a running transfer within 0.3 s; what was not finished has no speed."""
    stop = threading.Event()
    with librespeed(garbage=slow(1e6)) as (server, _):
        timer = threading.Timer(0.4, stop.set)
        timer.start()
        start = time.monotonic()
        measured = check(server.url(), Context(Deadline.after(20), stop=stop), max_s=10)
        took = time.monotonic() - start
        timer.join()
    assert took < 0.7
    assert (measured.outcome, measured.failure and measured.failure.code) == (Outcome.SKIPPED, "interrupted")
    assert measured.data["download_bps"] is None
    assert measured.data["bytes_received"] > 0


def test_the_deadline_bounds_the_whole_check() -> None:
    """A server that accepts and stays silent costs no more than the check's own time."""
    with tcp_server(lambda peer: peer.wait()) as server:
        start = time.monotonic()
        measured = check(server.url(), seconds=0.5)
        took = time.monotonic() - start
    assert took < 0.9
    assert measured.failure is not None and measured.failure.code == "timeout"


# --- servers that fail or lie -------------------------------------------------------------------------------


def reset_after(count: int) -> Handler:
    def send(peer: Peer, books: Books, head: str) -> None:
        peer.send(OK_HEAD % 50_000_000, GARBAGE[:count])
        peer.reset()

    return send


def close_after(count: int) -> Handler:
    def send(peer: Peer, books: Books, head: str) -> None:
        peer.send(OK_HEAD % 50_000_000, GARBAGE[:count])
        peer.sock.shutdown(socket.SHUT_RDWR)

    return send


def fixed(answer: bytes) -> Handler:
    return lambda peer, books, head: peer.send(answer)


def silent(peer: Peer, books: Books, head: str) -> None:
    peer.wait()


def drip(peer: Peer, books: Books, head: str) -> None:
    peer.send(OK_HEAD % 1_000_000)
    while not peer.closing.is_set():
        peer.send(b"x")
        peer.wait(0.2)


def too_much(peer: Peer, books: Books, head: str) -> None:
    peer.send(OK_HEAD % 20_000, GARBAGE)


LIES: list[tuple[str, Handler, str]] = [
    ("compresses", fixed(page(GARBAGE, "200 OK", "Content-Encoding: gzip")), "bad_response"),
    ("sends a web page", fixed(page(GARBAGE, "200 OK", "Content-Type: text/html")), "bad_response"),
    ("sends nothing and says so", fixed(page(b"")), "bad_response"),
    ("sends more than announced", too_much, "bad_response"),
    ("speaks no HTTP", fixed(b"220 ready\r\n" * 10), "bad_response"),
    ("breaks its chunks", fixed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "bad_response"),
    ("is busy", fixed(page(b"", "503 Busy", "Retry-After: 7")), "server_busy"),
    ("has had enough", fixed(page(b"", "429 Enough")), "server_busy"),
    ("forbids", fixed(page(b"", "403 No")), "token_refused"),
    ("has no garbage", fixed(page(b"", "404 No")), "no_endpoint"),
    ("breaks down", fixed(page(b"", "500 Oops")), "bad_response"),
    ("resets", reset_after(20_000), "reset"),
    ("closes in the middle", close_after(20_000), "reset"),
    ("closes at once", close_after(0), "reset"),
    ("sends nothing at all", silent, "timeout"),
    ("drips", drip, "too_slow"),
]


@pytest.mark.parametrize(("garbage", "code"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_a_download_that_cannot_be_measured_has_no_speed(garbage: Handler, code: str) -> None:
    """Whatever the server does: null and the reason, bytes and seconds as they were, never 0 Mbit/s."""
    with librespeed(garbage=garbage) as (server, _):
        measured = check(server.url(), direction="download", max_s=0.5)
    assert (measured.outcome, measured.failure and measured.failure.code) == (Outcome.FAILED, code)
    assert measured.data["download_bps"] is None
    assert measured.data["download_failure"] == code
    assert measured.data["download_s"] is not None


def early(answer: bytes) -> Handler:
    def take(peer: Peer, books: Books, head: str) -> None:
        peer.send(answer)
        peer.wait()

    return take


def cut_upload(peer: Peer, books: Books, head: str) -> None:
    peer.sock.recv(1000)
    peer.reset()


BAD_UPLOADS: list[tuple[str, Handler, str]] = [
    ("answers before it has read", early(page(b"")), "bad_response"),
    ("is busy", early(page(b"", "503 Busy")), "server_busy"),
    ("wants a token", early(page(b"", "401 Who")), "token_refused"),
    ("takes no large bodies at all", early(page(b"", "413 Large")), "bad_response"),
    ("resets", cut_upload, "reset"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("upload", "code"), [bad[1:] for bad in BAD_UPLOADS], ids=[bad[0] for bad in BAD_UPLOADS])
def test_an_upload_that_cannot_be_measured_leaves_the_download(upload: Handler, code: str) -> None:
    """The direction that worked keeps its number; the other has none and its reason; the result is degraded."""
    with librespeed(upload=upload) as (server, _):
        measured = check(server.url(), max_s=0.5)
    data = measured.data
    assert (measured.outcome, measured.failure and measured.failure.code) == (Outcome.DEGRADED, "one_direction")
    assert measured.failure is not None and code in (measured.failure.detail or "")
    assert data["download_bps"] and data["upload_bps"] is None
    assert data["upload_failure"] == code


def test_a_limit_on_bodies_is_met_with_smaller_ones() -> None:
    """A server behind nginx's default limit of 1 MB is measured with bodies below it."""

    def limited(peer: Peer, books: Books, head: str) -> None:
        if content_length(head) > 1_000_000:
            peer.send(page(b"", "413 Large", "Connection: close"))
            peer.reset()
            return
        from tests.support.servers.speedtests import take_upload

        take_upload(peer, books, head)

    with librespeed(upload=limited) as (server, books):
        measured = check(server.url(), direction="upload", max_mb=4)
    assert measured.outcome is Outcome.OK, measured.failure
    assert books.received > SMALL_BODY


def test_addresses_that_are_not_there() -> None:
    """Refused, unknown name, and a web server without a speed test each have their own code."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert code_of(check(f"http://127.0.0.1:{port}/")) == "refused"
    with http_server(page(b"<html>welcome</html>")) as portal:
        assert code_of(check(portal.url())) == "no_endpoint"
    with http_server(page(b"", "302 Found", "Location: http://login.example/")) as portal:
        assert code_of(check(portal.url())) == "no_endpoint"

    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    data = kind.empty_data("http")
    context = Context(Deadline.after(5))
    measured = engine.measure(
        data,
        context,
        url="http://nowhere.example/",
        direction="both",
        streams=None,
        max_bytes=10**6,
        max_s=1,
        getaddrinfo=unknown,
    )
    assert code_of(measured) == "name_not_found"


def test_nine_dead_addresses_of_ten() -> None:
    """A name with ten addresses of which one answers is measured at that one."""
    with librespeed() as (server, _):
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", 1)) for n in range(2, 11)]
        rows.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)))
        measured = engine.measure(
            kind.empty_data("http"),
            Context(Deadline.after(5)),
            url=server.url(host="ten.example"),
            direction="download",
            streams=2,
            max_bytes=10**6,
            max_s=1,
            getaddrinfo=lambda *_, **__: rows,
        )
    assert measured.outcome is Outcome.OK, measured.failure
    assert measured.address_used == server.authority


def code_of(measured: Measured) -> str | None:
    return None if measured.failure is None else measured.failure.code


# --- tokens -------------------------------------------------------------------------------------------------


def test_the_token_goes_to_its_own_origin_alone() -> None:
    """The collector's token opens the collector; a target elsewhere never sees one."""
    with collector(settings(mode="token")) as url:
        tokens = {url.rstrip("/"): "right"}
        # long enough that one stall of a busy machine does not fill it
        assert check(url, Context(Deadline.after(20), tokens=tokens), max_s=4).outcome is Outcome.OK
        assert code_of(check(url)) == "token_refused"
        assert code_of(check(url, Context(Deadline.after(5), tokens={url.rstrip("/"): "stale"}))) == "token_refused"
    with librespeed() as (server, books):
        near = {
            f"https://127.0.0.1:{server.port}": "a",
            f"http://localhost:{server.port}": "b",
            "http://127.0.0.1": "c",
            f"http://127.0.0.1:{server.port + 1}": "d",
        }
        check(server.url(), Context(Deadline.after(5), tokens=near))
    assert books.heads and not any("authorization" in head.lower() for head in books.heads)


def test_tls_is_verified_with_the_collector_s_own_ca(tmp_path: Path) -> None:
    """Both directions over TLS with the configured CA; without it the certificate is refused and nothing is sent."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    with librespeed(tls=tls) as (server, books):
        url = server.url(scheme="https")
        origin = url.rstrip("/")
        assert code_of(check(url, Context(Deadline.after(5), tokens={origin: "t"}))) == "tls_untrusted"
        assert not books.heads
        own = Context(Deadline.after(5), tokens={origin: "t"}, ca_files={origin: str(tmp_path / "ca.pem")})
        measured = check(url, own)
    assert measured.outcome is Outcome.OK, measured.failure
    assert measured.data["upload_counted_by"] == "tcp_info"
    assert books.received <= measured.data["bytes_sent"] * 1.01
    assert all("Authorization: Bearer t" in head for head in books.heads)


# --- options ------------------------------------------------------------------------------------------------


def test_options_say_what_they_need() -> None:
    """A URL is needed and checked for engine http; the address shown carries neither password nor query."""
    for url in (None, "ftp://x/", "http://", "http://x:99999/"):
        with pytest.raises(ValidationError):
            kind.Options(name="x", url=url)
    chosen = kind.Options(name="x", url="https://me:secret@host.example:8443/speed?key=1#x", max_s=3, max_mb=7)
    assert chosen.configured_address() == "https://host.example:8443/speed"
    assert chosen.timeout_s() == 16
    assert chosen.estimate().bytes * OVERHEAD == pytest.approx(7_000_000, abs=2)
    assert chosen.estimate().seconds == 8
    assert kind.Options(name="x", engine="speedtest").url is None


@pytest.mark.parametrize(
    ("count", "ended", "code"),
    [(900, "time_cap", "too_slow"), (900, "data_cap", "data_budget"), (4_000_000, "data_cap", "too_short")],
)
def test_no_rate_has_its_own_reason(count: int, ended: Ended, code: str) -> None:
    """A transfer that moved much at one moment of the clock was too short to measure, and not slow."""
    data = kind.empty_data("http")
    engine._fill(data, "download", Transfer(bytes=count, elapsed_s=0.01, ended=ended))
    assert (data["download_bps"], data["download_failure"]) == (None, code)
