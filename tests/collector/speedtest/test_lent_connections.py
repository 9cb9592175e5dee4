"""Uploads over lent connections: every byte counted, the connection usable afterwards, and limits that hold."""

from __future__ import annotations

import json
import socket
import ssl
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from sigprobe.collector.serve import tls_context
from sigprobe.collector.speedtest import api as endpoints
from tests.support.servers.speedtests import collector, settings

HEAD = "POST /backend/empty{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n"


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as sock:
        yield sock


def head(sock: socket.socket) -> bytes:
    """The head of an answer."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        assert piece, data
        data += piece
    return data


def answer(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One answer: status, headers, body; nothing of what follows is read."""
    first, *lines = head(sock).decode().strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = b""
    while len(body) < int(headers["content-length"]):
        body += sock.recv(int(headers["content-length"]) - len(body))
    return int(first.split(" ")[1]), headers, body


def received(sock: socket.socket, session: str) -> int:
    """What the collector says has arrived, asked over the same connection."""
    sock.sendall(f"GET /backend/received?session={session} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    status, _, body = answer(sock)
    assert status == 200
    return int(json.loads(body)["bytes"])


@pytest.mark.parametrize("lending", [True, False])
@pytest.mark.parametrize("sizes", [(0,), (1,), (65_536,), (3_000_000, 1, 500_000), (0, 0, 20_000)])
def test_every_byte_is_counted_and_the_connection_goes_on(sizes: tuple[int, ...], lending: bool) -> None:
    """Bodies one after the other over one connection are each answered; the count is their sum."""
    session = str(uuid.uuid4())
    with collector(lending=lending) as url, connected(url) as sock:
        for size in sizes:
            head = HEAD.format(query=f"?session={session}", length=size, more="")
            sock.sendall(head.encode() + bytes(size))
            status, headers, body = answer(sock)
            assert (status, body) == (200, b"")
            assert headers["access-control-allow-origin"] == "*"
            assert headers["connection"] == "keep-alive"
        assert received(sock, session) == sum(sizes)


def test_requests_sent_without_waiting_are_not_swallowed() -> None:
    """What follows a body in the same packets is the next request, not more of the body."""
    session = str(uuid.uuid4())
    one = HEAD.format(query=f"?session={session}", length=70_000, more="").encode() + bytes(70_000)
    with collector() as url, connected(url) as sock:
        sock.sendall(one * 3)
        assert [answer(sock)[0] for _ in range(3)] == [200, 200, 200]
        assert received(sock, session) == 210_000


def test_a_body_that_waits_for_permission_gets_it() -> None:
    """`Expect: 100-continue`, as curl sends it for large bodies, is answered before the body comes."""
    with collector() as url, connected(url) as sock:
        sock.sendall(HEAD.format(query="", length=5, more="Expect: 100-continue\r\n").encode())
        assert head(sock).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"12345")
        assert answer(sock)[0] == 200


@pytest.mark.slow
def test_a_client_that_leaves_is_counted_until_then_and_its_place_is_free() -> None:
    """Uploads are cut as a rule: what had arrived counts, and the next may come."""
    session = str(uuid.uuid4())
    with collector(settings(daily_mb=100, behind_proxy=True)) as url:
        for _ in range(12):  # more than there are places for one address
            with connected(url) as sock:
                sock.sendall(HEAD.format(query=f"?session={session}", length=10**9, more="").encode() + bytes(50_000))
                time.sleep(0.05)
        time.sleep(0.2)
        with connected(url) as sock:
            assert received(sock, session) == 600_000


def test_the_day_s_allowance_ends_an_upload_on_its_way() -> None:
    """Above the limit the answer is 429 with Retry-After, in the middle of the body, and the connection is closed."""
    with collector(settings(daily_mb=1, behind_proxy=True)) as url, connected(url) as sock:
        sock.sendall(HEAD.format(query="", length=10**9, more="").encode())
        sock.settimeout(5)
        with pytest.raises(OSError):
            for _ in range(1000):
                sock.sendall(bytes(65_536))
    with collector(settings(daily_mb=1, behind_proxy=True)) as url, connected(url) as sock:
        sock.sendall(HEAD.format(query="", length=10**9, more="").encode() + bytes(1_000_001))
        status, headers, body = answer(sock)
    assert (status, headers["connection"]) == (429, "close")
    assert int(headers["retry-after"]) > 0
    assert json.loads(body)["sigprobe"] == 1


def test_a_silent_client_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing for the stall time: 408, and closed."""
    monkeypatch.setattr(endpoints, "STALL_S", 0.3)
    with collector() as url, connected(url) as sock:
        sock.sendall(HEAD.format(query="", length=1000, more="").encode() + b"1")
        assert answer(sock)[0] == 408
        assert sock.recv(10) == b""


@pytest.mark.parametrize("lending", [True, False])
@pytest.mark.parametrize(("name", "value"), [("LEAST_BPS", 1e6), ("BODY_S", 1.0), ("", None)])
def test_a_client_that_sends_a_byte_now_and_then_loses_its_place(
    monkeypatch: pytest.MonkeyPatch, lending: bool, name: str, value: float | None
) -> None:
    """Silence alone must not be what ends a body: with neither a least rate nor a time for the whole it goes on."""
    monkeypatch.setattr(endpoints, "STALL_S", 0.5)
    monkeypatch.setattr(endpoints, "LEAST_BPS", 0.0)
    monkeypatch.setattr(endpoints, "BODY_S", 3600.0)
    if name:
        monkeypatch.setattr(endpoints, name, value)
    with collector(lending=lending) as url, connected(url) as sock:
        sock.sendall(HEAD.format(query="", length=1000, more="").encode())
        sock.settimeout(0.05)
        heard = b""
        for _ in range(400 if name else 60):
            with suppress(TimeoutError, ConnectionError):
                heard = heard or sock.recv(12)
            if heard:
                break
            with suppress(OSError):
                sock.sendall(b"1")
    assert heard == (b"HTTP/1.1 408" if name else b""), "the control"


def test_over_tls_too(tmp_path: Path) -> None:
    """The collector's own server, with a certificate: the same counts."""
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.private_key_pem.write_to_path(key)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(cert, append=True)
    session = str(uuid.uuid4())
    client = ssl.create_default_context()
    ca.configure_trust(client)
    with (
        collector(tls=tls_context(cert, key)) as url,
        connected(url.replace("https", "http")) as plain,
        client.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        for size in (200_000, 3):
            sock.sendall(HEAD.format(query=f"?session={session}", length=size, more="").encode() + bytes(size))
            assert answer(sock)[0] == 200
        assert received(sock, session) == 200_003
