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
    authority: trustme.CA,
    answer: Answer,
    status: str = "200 OK",
    media: str = "application/dns-message",
    more: str = "",
) -> Iterator[Server]:
    def serve(peer: Peer) -> None:
        head, _, body = peer.head().partition(b"\r\n\r\n")
        length = int(
            next(row for row in head.split(b"\r\n") if row.lower().startswith(b"content-length")).split(b":")[1]
        )
        body += exactly(peer, length - len(body))
        for message in answer(dns.message.from_wire(body)) or []:
            peer.send(
                f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\n{more}Content-Length: {len(message)}\r\n\r\n".encode(),
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


@pytest.mark.parametrize(
    "more",
    [f"X-Long: {'a' * 110_000}\r\n", "".join(f"X-{n}: {'a' * 30}\r\n" for n in range(5_000))],
    ids=["a line of 110 kB", "5000 lines"],
)
def test_long_heads_are_read_as_in_other_checks(authority: trustme.CA, tmp_path: Path, more: str) -> None:
    """The limits are those of the one parser of answers."""
    with doh(authority, records(A), more=more) as server:
        measured = check(authority, tmp_path, f"https://127.0.0.1:{server.port}/dns-query")
    assert (measured.outcome, measured.data["resolvers"][0]["answers"]) == ("ok", ["192.0.2.1"])


def test_a_head_beyond_the_limits_is_a_bad_response(authority: trustme.CA, tmp_path: Path) -> None:
    """What the parser refuses is a result, and its detail says which limit it was."""
    more = "".join(f"X-{n}: {n}\r\n" for n in range(10_001))
    with doh(authority, records(A), more=more) as server:
        measured = check(authority, tmp_path, f"https://127.0.0.1:{server.port}/dns-query")
    assert measured.failure is not None
    assert (measured.failure.code, measured.failure.detail) == ("bad_response", "more than 10000 header lines")


@pytest.mark.parametrize(("status", "media"), [("403 Forbidden", "text/html"), ("200 OK", "text/html")])
def test_a_challenge_page_judges_no_resolver(authority: trustme.CA, tmp_path: Path, status: str, media: str) -> None:
    """A protection service stands before the resolver: degraded, as in the other checks."""
    with doh(authority, records(A), status, media, "cf-mitigated: challenge\r\n") as server:
        measured = check(authority, tmp_path, f"https://127.0.0.1:{server.port}/dns-query")
    assert (measured.outcome, measured.failure and measured.failure.code) == ("degraded", "http_challenge")
    assert measured.failure is not None and "cf-mitigated: challenge" in (measured.failure.detail or "")


def test_a_challenge_hides_no_failure_of_another_resolver(authority: trustme.CA, tmp_path: Path) -> None:
    """The failure that is one counts, wherever it stands in the list."""
    with (
        doh(authority, records(A), "403 Forbidden", "text/html", "cf-mitigated: challenge\r\n") as page,
        dot(authority, records(rcode="NXDOMAIN")) as denied,
    ):
        places = (f"https://127.0.0.1:{page.port}/dns-query", f"tls://127.0.0.1:{denied.port}")
        measured = check(authority, tmp_path, *places)
    assert (measured.outcome, measured.failure and measured.failure.code) == ("failed", "dns_nxdomain")


@pytest.mark.parametrize("served", [dot, doh])
@pytest.mark.parametrize("rcode", ["FORMERR", "NOTIMP", "SERVFAIL", "BADVERS"])
def test_a_server_without_edns_is_asked_once_more_over_tls(
    authority: trustme.CA, tmp_path: Path, served: Any, rcode: str
) -> None:
    """As over UDP: the plain query's answer counts, and `edns` says what did not work."""
    queries: list[int] = []

    def answer(query: dns.message.Message) -> list[bytes] | None:
        queries.append(query.edns)
        return records(A)(query) if query.edns < 0 else records(rcode=rcode)(query)

    with served(authority, answer) as server:
        place = f"tls://127.0.0.1:{server.port}" if served is dot else f"https://127.0.0.1:{server.port}/dns-query"
        measured = check(authority, tmp_path, place, seconds=10)
    entry = measured.data["resolvers"][0]
    assert (measured.outcome, entry["answers"], entry["edns"]) == ("ok", ["192.0.2.1"], False)
    assert (queries, entry["attempts"]) == ([0, -1], 2)


@pytest.mark.parametrize("plain", [records(rcode="SERVFAIL"), lambda _query: []], ids=["the same", "no answer"])
def test_an_error_over_tls_that_has_nothing_to_do_with_edns_stays(
    authority: trustme.CA, tmp_path: Path, plain: Answer
) -> None:
    """The first answer is reported, whatever becomes of the second query."""
    with dot(authority, lambda q: plain(q) if q.edns < 0 else records(rcode="SERVFAIL")(q)) as server:
        measured = check(authority, tmp_path, f"tls://127.0.0.1:{server.port}", seconds=10)
    entry = measured.data["resolvers"][0]
    assert (entry["failure"]["code"], entry["rcode"], entry["edns"]) == ("dns_servfail", "SERVFAIL", True)
    assert entry["query_ms"] > 0 and entry["attempts"] == 2


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
