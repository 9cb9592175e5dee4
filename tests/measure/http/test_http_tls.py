"""The `http` kind over TLS: certificates that are right, and each way in which they are not."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from sigprobe.measure.http import kind
from sigprobe.measure.kind import Measured
from sigprobe.net.limits import Context, Deadline
from sigprobe.record.result import parse_time
from sigprobe.words.codes import CODES
from tests.support.servers.tcp import Peer, http_server, page, tcp_server

NOW = datetime.now(UTC)


def server_context(ca: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*(names or ("127.0.0.1",)), **options).configure_cert(context)
    return context


def check(url: str, ca_file: str | None, seconds: float = 3) -> Measured:
    origin = url.rstrip("/")
    context = Context(Deadline.after(seconds), ca_files={} if ca_file is None else {origin: ca_file})
    measured = kind.measure(kind.Options(name="x", url=url), context)
    assert measured.failure is None or measured.failure.code in CODES
    return measured


def test_a_good_certificate_is_ok_with_its_facts(ca: trustme.CA, ca_file: str) -> None:
    """TLS version, cipher, expiry and issuer are in the result, and the handshake has its own time."""
    end = NOW.replace(microsecond=0) + timedelta(days=40)
    with http_server(page(), tls=server_context(ca, not_after=end)) as server:
        measured = check(server.url(scheme="https"), ca_file)
    data = measured.data
    assert measured.outcome == "ok"
    assert data["tls_version"] == "TLSv1.3"
    assert data["tls_cipher"].startswith("TLS_")
    assert parse_time(data["cert_not_after"]) == end
    assert "trustme" in data["cert_issuer"]
    assert data["tls_ms"] > 0
    assert data["bytes_received"] == 5


def test_the_handshake_is_timed_by_itself(ca: trustme.CA, ca_file: str) -> None:
    """A server slow to shake hands is slow in tls_ms, not in tcp_ms or ttfb_ms; the best of three."""

    def answer(peer: Peer) -> None:
        peer.head()
        peer.wait(0.05)
        peer.send(page())

    with tcp_server(answer, tls=server_context(ca), before_tls_s=0.1) as server:
        runs = [check(server.url(scheme="https"), ca_file).data for _ in range(3)]
    assert min(data["tcp_ms"] for data in runs) < 45, "without either"
    # a client that is late to notice the end of one phase finds the next one shorter: the best of three again
    assert max(data["tls_ms"] for data in runs) >= 100
    assert min(data["tls_ms"] for data in runs) < 145, "without the 50 ms of the answer"
    assert max(data["ttfb_ms"] for data in runs) >= 48
    assert min(data["ttfb_ms"] for data in runs) < 95, "without the 100 ms of the handshake"


@pytest.mark.parametrize(
    ("names", "options", "expected"),
    [
        (("127.0.0.1",), {"not_before": NOW - timedelta(days=9), "not_after": NOW - timedelta(days=1)}, "tls_expired"),
        (("127.0.0.1",), {"not_before": NOW + timedelta(days=1)}, "tls_not_yet_valid"),
        (("kpu.test",), {}, "tls_hostname"),
        (("127.0.0.2",), {}, "tls_hostname"),
    ],
)
def test_each_certificate_problem_is_named(
    ca: trustme.CA, ca_file: str, names: tuple[str, ...], options: dict[str, Any], expected: str
) -> None:
    """Expired, not yet valid and another host's are told apart, and nothing is asked for over them."""
    with http_server(page(), tls=server_context(ca, *names, **options)) as server:
        measured = check(server.url(scheme="https"), ca_file)
    assert measured.outcome == "failed"
    assert measured.failure is not None
    assert measured.failure.code == expected
    assert server.heads == []
    assert measured.data["tcp_ms"] is not None
    assert measured.data["tls_ms"] is None
    assert measured.data["status_code"] is None


def test_a_name_is_checked_against_the_certificate(ca: trustme.CA, ca_file: str) -> None:
    """The certificate must be for the name in the URL, not for what it resolves to."""
    with http_server(page(), tls=server_context(ca, "localhost")) as server:
        good = check(server.url(scheme="https", host="localhost"), ca_file)
        bad = check(server.url(scheme="https"), ca_file)
    assert good.outcome == "ok"
    assert bad.failure is not None
    assert bad.failure.code == "tls_hostname"


def test_an_unknown_issuer_is_untrusted(ca: trustme.CA) -> None:
    """Without its CA file a private issuer is not believed."""
    with http_server(page(), tls=server_context(ca)) as server:
        measured = check(server.url(scheme="https"), None)
    assert measured.failure is not None
    assert measured.failure.code == "tls_untrusted"


def test_a_ca_file_is_for_its_origin_only(ca: trustme.CA, ca_file: str) -> None:
    """The CA of one collector vouches for no other server."""
    with http_server(page(), tls=server_context(ca)) as server:
        context = Context(Deadline.after(3), ca_files={"https://127.0.0.1:1": ca_file})
        measured = kind.measure(kind.Options(name="x", url=server.url(scheme="https")), context)
    assert measured.failure is not None
    assert measured.failure.code == "tls_untrusted"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_unusable_ca_file_is_a_named_failure(ca: trustme.CA, tmp_path: Path, content: str | None) -> None:
    """A CA file that is missing or empty never means less checking."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with http_server(page(), tls=server_context(ca)) as server:
        measured = check(server.url(scheme="https"), str(path))
    assert server.heads == []
    assert measured.failure is not None
    assert measured.failure.code == "tls_failed"


def test_old_tls_is_refused(ca: trustme.CA, ca_file: str) -> None:
    """TLS 1.1 and below are no secure connection."""
    context = server_context(ca)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with http_server(page(), tls=context) as server:
        measured = check(server.url(scheme="https"), ca_file)
    assert measured.failure is not None
    assert measured.failure.code in ("tls_too_old", "reset")
    assert server.heads == []


def test_plain_http_on_a_tls_port_is_a_failed_handshake(ca_file: str) -> None:
    """A server that speaks no TLS is named so."""

    def plain(peer: Peer) -> None:
        peer.sock.recv(4096)
        peer.send(page(b"", "400 Bad Request"))

    with tcp_server(plain) as server:
        measured = check(server.url(scheme="https"), ca_file)
    assert measured.failure is not None
    assert measured.failure.code == "tls_not_spoken"


def test_a_handshake_that_hangs_or_is_cut_names_its_phase(ca_file: str) -> None:
    """Silence is a timeout in phase tls, a closed connection a reset there."""

    def cut(peer: Peer) -> None:
        peer.sock.recv(4096)

    with tcp_server(lambda peer: peer.wait()) as silent, tcp_server(cut) as closing:
        waited = check(silent.url(scheme="https"), ca_file, seconds=0.3)
        closed = check(closing.url(scheme="https"), ca_file)
    assert waited.failure is not None
    assert (waited.failure.code, waited.failure.detail) == ("timeout", "in phase tls")
    assert closed.failure is not None
    assert closed.failure.code == "reset"


def test_a_tls_body_that_drips_is_cut_at_the_deadline(ca: trustme.CA, ca_file: str) -> None:
    """The deadline holds inside TLS, too."""

    def drip(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not peer.closing.is_set():
            peer.send(b"x")
            peer.wait(0.03)

    with tcp_server(drip, tls=server_context(ca)) as server:
        measured = check(server.url(scheme="https"), ca_file, seconds=0.5)
    assert measured.failure is not None
    assert measured.failure.code == "timeout"
    assert measured.data["bytes_received"] >= 3
