"""Engine `speedtest`: the real package over real sockets, against a small server that speaks its vendor's endpoints."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import speedtest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput import kind
from sigprobe.measure.throughput import speedtest as engine
from sigprobe.net.limits import Context, DataBudget, Deadline
from sigprobe.record.result import Outcome
from sigprobe.words.codes import CODES
from tests.support.servers.speedtests import GARBAGE, content_length, read_head
from tests.support.servers.tcp import Peer, Server, page, tcp_server

# the package asks `file` for the platform
pytestmark = pytest.mark.process

SCHEMA = Draft202012Validator(TypeAdapter(kind.ThroughputData).json_schema())
CONFIG = b"""<?xml version="1.0"?><settings>
<client ip="192.0.2.1" lat="-6.9" lon="107.6" isp="x" country="ID"/>
<server-config threadcount="2" ignoreids=""/>
<download testlength="1" threadsperurl="4"/>
<upload testlength="1" ratio="5" threads="2" maxchunkcount="6"/></settings>"""


@dataclass
class Vendor:
    """How the vendor behaves in a test, and what it has seen."""

    config: bytes = page(CONFIG)
    servers: bytes | None = None
    latency: bytes = page(b"test=test\n")
    download_wait_s: float = 0.001
    download_hangs: bool = False
    download: bytes | None = None
    sent: int = 0
    received: int = 0
    paths: list[str] = field(default_factory=list)


@contextmanager
def vendor(behaviour: Vendor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve the vendor's endpoints and point the package's fixed host name at them."""

    def answer(peer: Peer) -> None:
        head = read_head(peer)
        path = urlsplit(head.split(" ")[1]).path if head else ""
        behaviour.paths.append(path)
        if path == "/speedtest-config.php":
            peer.send(behaviour.config)
        elif path == "/speedtest-servers-static.php":
            listed = (
                f'<settings><servers><server url="http://{server.authority}/speedtest/upload.php" lat="-6.2" '
                f'lon="106.8" name="Jakarta" country="Indonesia" sponsor="x" id="1" host="{server.authority}"/>'
                "</servers></settings>"
            )
            peer.send(behaviour.servers or page(listed.encode()))
        elif path.endswith("latency.txt"):
            peer.send(behaviour.latency)
        elif "/random" in path:
            download(peer)
        elif path.endswith("upload.php"):
            left = content_length(head)
            while left > 0 and (piece := peer.sock.recv(min(left, 65_536))):
                left -= len(piece)
                behaviour.received += len(piece)
            peer.send(page(b"size=500"))
        else:
            peer.send(page(b"", "404 No"))

    def download(peer: Peer) -> None:
        if behaviour.download is not None:
            peer.send(behaviour.download)
            return
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n")
        if behaviour.download_hangs:
            peer.wait()
        for _ in range(30_000_000 // len(GARBAGE)):
            peer.send(GARBAGE)
            behaviour.sent += len(GARBAGE)
            peer.wait(behaviour.download_wait_s)

    build = speedtest.build_request

    def local(url: str, *args: Any, **options: Any) -> Any:
        request = build(url, *args, **options)
        parts = urlsplit(request.full_url)
        if parts.hostname and parts.hostname.endswith("speedtest.net"):
            behaviour.paths.append(f"{parts.scheme}:{parts.hostname}")
            request.full_url = urlunsplit(("http", server.authority, parts.path, parts.query, ""))
        return request

    with tcp_server(answer) as server:
        monkeypatch.setattr(speedtest, "build_request", local)
        yield server


def check(context: Context | None = None, seconds: float = 6, **options: Any) -> Measured:
    """Run one check, and hold its data to the published shape and its codes to the table."""
    chosen = kind.Options(name="x", engine="speedtest", **{"max_mb": 4, "max_s": 0.5, **options})
    measured = kind.measure(chosen, context or Context(Deadline.after(seconds)))
    SCHEMA.validate(dict(measured.data))
    assert measured.failure is None or measured.failure.code in CODES
    return measured


def test_both_directions_with_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates, bytes and ping; the upload is marked as the client's own count; the configuration is asked for by TLS."""
    behaviour = Vendor()
    with vendor(behaviour, monkeypatch) as server:
        context = Context(Deadline.after(6))
        measured = check(context)
        data = measured.data
        assert measured.outcome is Outcome.OK, measured.failure
        assert data["server"] == server.authority
    assert data["download_bps"] > 1e6 and data["upload_bps"] > 1e6
    assert data["upload_counted_by"] == "client"
    assert 0 < data["idle_rtt_ms"] < 1000
    assert 0 < data["bytes_received"] <= behaviour.sent
    assert context.budget.used_bytes == data["bytes_received"] + data["bytes_sent"]
    assert "https:www.speedtest.net" in behaviour.paths
    assert "http:www.speedtest.net" not in behaviour.paths


def test_the_data_cap_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package knows no limit in bytes; with the meter it stays at the cap and one read per thread."""
    behaviour = Vendor(download_wait_s=0)
    with vendor(behaviour, monkeypatch):
        data = check(max_mb=1, max_s=2).data
        spent = check(Context(Deadline.after(6), budget=DataBudget(200_000))).data
    assert data["bytes_received"] <= 500_000 + 4 * 10_240
    assert data["bytes_received"] + data["bytes_sent"] <= 1_000_000 + 8 * 16_384
    assert data["ended_download"] == "data_cap"
    assert spent["bytes_received"] + spent["bytes_sent"] <= 200_000 + 8 * 10_240


def test_a_timeout_is_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package would print 0.00 there is null and a reason, and the other direction keeps its number."""
    monkeypatch.setattr(engine, "SOCKET_TIMEOUT_S", 0.5)
    with vendor(Vendor(download_hangs=True), monkeypatch):
        measured = check()
    assert (measured.outcome, measured.failure and measured.failure.code) == (Outcome.DEGRADED, "one_direction")
    assert measured.data["download_bps"] is None
    assert measured.data["download_failure"] in ("timeout", "too_slow")
    assert measured.data["upload_bps"] > 0


def test_a_failed_ping_is_not_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's 1,800,000 ms for a server that answers no ping becomes null."""
    with vendor(Vendor(latency=page(b"", "500 Oops")), monkeypatch):
        data = check().data
    assert data["idle_rtt_ms"] is None
    assert data["download_bps"] > 0


@pytest.mark.parametrize(
    ("behaviour", "code", "detail"),
    [
        (Vendor(config=page(b"", "403 Forbidden")), "server_busy", "HTTP 403"),
        (Vendor(config=page(b"", "429 Enough")), "server_busy", "HTTP 429"),
        (Vendor(config=page(b"", "500 Oops")), "bad_response", "HTTP 500"),
        (Vendor(config=page(b"<html>log in here</html>")), "bad_response", ""),
        (Vendor(config=page(b"not xml")), "bad_response", "SpeedtestConfigError"),
        (Vendor(servers=page(b"<settings><servers/></settings>")), "no_endpoint", "SpeedtestBestServerFailure"),
        (Vendor(download=page(b"", "403 Forbidden")), "server_busy", "HTTP 403"),
    ],
    ids=["403", "429", "500", "portal", "no xml", "no servers", "403 on data"],
)
def test_the_vendor_s_refusals_have_codes(
    behaviour: Vendor, code: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the package only prints becomes a code with its detail, and no speed."""
    with vendor(behaviour, monkeypatch):
        measured = check(direction="download")
    assert (measured.outcome, measured.failure and measured.failure.code) == (Outcome.FAILED, code)
    assert measured.failure is not None and detail in (measured.failure.detail or "")
    assert measured.data["download_bps"] is None


@pytest.mark.slow
def test_stop_and_deadline_do_not_wait_for_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that hangs in a read is left behind: 0.3 s after a stop, and at the deadline."""
    behaviour = Vendor(download_hangs=True)
    with vendor(behaviour, monkeypatch):
        stop = threading.Event()
        timer = threading.Timer(0.5, stop.set)
        timer.start()
        start = time.monotonic()
        stopped = check(Context(Deadline.after(20), stop=stop), max_s=10)
        assert time.monotonic() - start < 0.5 + 0.35
        timer.join()
        start = time.monotonic()
        late = check(Context(Deadline.after(0.6)), max_s=10)
        assert time.monotonic() - start < 0.95
    assert (stopped.outcome, stopped.failure and stopped.failure.code) == (Outcome.SKIPPED, "interrupted")
    assert (late.outcome, late.failure and late.failure.code) == (Outcome.FAILED, "timeout")
    for thread in threading.enumerate():
        if thread.name == "speedtest":
            thread.join(10)


@pytest.mark.parametrize(
    ("part", "found"),
    [
        (engine._Part(0.0, 4_000_000, 0.5, False, None, 8.0), 64_000_000),
        (engine._Part(0.0, 4_000_000, 0.0, False, None, 8.0), "too_short"),
        (engine._Part(0.0, 900, 0.1, False, None, 8.0), "too_short"),
        (engine._Part(0.0, 900, 8.0, False, None, 8.0), "too_slow"),
        (engine._Part(0.0, 900, 0.1, True, None, 8.0), "data_budget"),
    ],
)
def test_no_rate_has_its_own_reason(part: engine._Part, found: int | str) -> None:
    """Only what had its time and moved next to nothing is slow; a short one, or one cut by its budget, is not."""
    data = kind.empty_data("speedtest")
    fault = engine._fill(data, "download", engine._State(parts={"download": part}), interrupted=False)
    assert (data["download_bps"] if fault is None else fault.code) == found
