"""The `dns` kind over TLS: DoT and DoH against resolvers of our own, honest and not."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.message
import pytest
import trustme
from pydantic import ValidationError

from sigprobe.measure.dns import kind
from sigprobe.measure.kind import Measured
from sigprobe.net.limits import Context, DataBudget, Deadline
from tests.support.servers.dnsserver import Answer, records
from tests.support.servers.tcp import Peer, Server, tcp_server

A = "kpu.test. 300 IN A 192.0.2.1"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_for(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def exactly(peer: Peer, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = peer.sock.recv(count - len(data))
        if not piece:
            return data
        data += piece
    return data


@contextmanager
def dot(authority: trustme.CA, answer: Answer, *names: str) -> Iterator[Server]:
    def serve(peer: Peer) -> None:
        query = dns.message.from_wire(exactly(peer, int.from_bytes(exactly(peer, 2), "big")))
        for message in answer(query) or []:
            peer.send(len(message).to_bytes(2, "big") + message)

    with tcp_server(serve, tls=tls_for(authority, *(names or ("127.0.0.1",)))) as server:
        yield server


@contextmanager
def doh(
    authority: trustme.CA, answer: Answer, status: str = "200 OK", media: str = "application/dns-message"
) -> Iterator[Server]:
    def serve(peer: Peer) -> None:
        head, _, body = peer.head().partition(b"\r\n\r\n")
        length = int(
            next(row for row in head.split(b"\r\n") if row.lower().startswith(b"content-length")).split(b":")[1]
        )
        body += exactly(peer, length - len(body))
        for message in answer(dns.message.from_wire(body)) or []:
            peer.send(
                f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {len(message)}\r\n\r\n".encode(),
                message,
            )

    with tcp_server(serve, tls=tls_for(authority, "127.0.0.1")) as server:
        yield server


def check(authority: trustme.CA, folder: Path, *resolvers: str, seconds: float = 3) -> Measured:
    file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    places = [text.partition("#")[0] for text in resolvers]
    context = Context(
        Deadline.after(seconds),
        DataBudget(),
        ca_files={place.removesuffix("/dns-query"): str(file) for place in places},
    )
    chosen = kind.Options(name="x", hostname="kpu.test", resolvers=list(resolvers))

    def no_lookup(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    return kind.measure(chosen, context, getaddrinfo=no_lookup)


def test_dot_answers_and_is_timed(authority: trustme.CA, tmp_path: Path) -> None:
    """A resolver over TLS is measured like any other, its connection timed apart."""
    with dot(authority, records(A)) as server:
        measured = check(authority, tmp_path, f"tls://127.0.0.1:{server.port}")
    entry = measured.data["resolvers"][0]
    assert (measured.outcome, entry["protocol"], entry["answers"]) == ("ok", "dot", ["192.0.2.1"])
    assert entry["connect_ms"] > 0 and entry["query_ms"] > 0
    assert entry["bytes_sent"] > 20 and entry["bytes_received"] > 20


def test_doh_answers_and_is_timed(authority: trustme.CA, tmp_path: Path) -> None:
    """A resolver over HTTPS is measured like any other, its connection timed apart."""
    with doh(authority, records(A)) as server:
        measured = check(authority, tmp_path, f"https://127.0.0.1:{server.port}/dns-query")
    entry = measured.data["resolvers"][0]
    assert (measured.outcome, entry["protocol"], entry["answers"]) == ("ok", "doh", ["192.0.2.1"])
    assert entry["connect_ms"] > 0 and entry["query_ms"] > 0


def test_dot_for_a_name_is_verified_by_that_name(authority: trustme.CA, tmp_path: Path) -> None:
    """`#name` is what the certificate must be for; another name is refused."""
    with dot(authority, records(A), "dns.example") as server:
        right = check(authority, tmp_path, f"tls://127.0.0.1:{server.port}#dns.example")
        wrong = check(authority, tmp_path, f"tls://127.0.0.1:{server.port}#other.example")
    assert right.outcome == "ok"
    assert wrong.failure is not None and wrong.failure.code == "tls_hostname"


def test_an_unknown_issuer_is_never_believed(authority: trustme.CA, tmp_path: Path) -> None:
    """A resolver whose certificate comes from somebody else gives no answer, over DoT and DoH alike."""
    stranger = trustme.CA()
    with dot(stranger, records(A)) as one, doh(stranger, records(A)) as two:
        measured = check(authority, tmp_path, f"tls://127.0.0.1:{one.port}", f"https://127.0.0.1:{two.port}/dns-query")
    assert [e["failure"]["code"] for e in measured.data["resolvers"]] == ["tls_untrusted", "tls_untrusted"]
    assert [e["answers"] for e in measured.data["resolvers"]] == [None, None]


@pytest.mark.parametrize(
    ("status", "media"), [("404 Not Found", "application/dns-message"), ("200 OK", "text/html"), ("302 Found", "")]
)
def test_a_page_is_no_dns_answer(authority: trustme.CA, tmp_path: Path, status: str, media: str) -> None:
    """A portal that answers a DoH query with a page has not answered it."""
    with doh(authority, records(A), status, media) as server:
        measured = check(authority, tmp_path, f"https://127.0.0.1:{server.port}/dns-query")
    assert measured.failure is not None and measured.failure.code == "bad_response"


def test_nxdomain_over_tls_has_its_own_code(authority: trustme.CA, tmp_path: Path) -> None:
    """Error codes mean the same over every transport."""
    with dot(authority, records(rcode="NXDOMAIN")) as server:
        measured = check(authority, tmp_path, f"tls://127.0.0.1:{server.port}")
    assert measured.failure is not None and measured.failure.code == "dns_nxdomain"


def test_a_silent_resolver_over_tls_ends_with_the_deadline(authority: trustme.CA, tmp_path: Path) -> None:
    """Silence after the handshake is a timeout of the query, and its connection is still told."""
    with dot(authority, lambda _query: []) as server:
        measured = check(authority, tmp_path, f"tls://127.0.0.1:{server.port}", seconds=0.6)
    entry = measured.data["resolvers"][0]
    assert entry["failure"]["code"] in ("dns_timeout", "reset")
    assert entry["query_ms"] is None and entry["connect_ms"] > 0


@pytest.mark.parametrize(
    "text", ["tls://dns.example", "tls://1.1.1.1:0", "http://127.0.0.1/dns-query", "https://u:p@h/"]
)
def test_a_resolver_that_cannot_be_asked_is_refused(text: str) -> None:
    """A mistake in `resolvers` is found when the settings are read."""
    with pytest.raises(ValidationError):
        kind.Options(name="x", hostname="kpu.test", resolvers=[text])
