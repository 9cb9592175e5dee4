"""TLS as browsers and curl do it: old suites are offered by checks, never by uploads, and refusals are named."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from sigprobe.measure.http import kind
from sigprobe.measure.http.options import Options
from sigprobe.measure.kind import Measured
from sigprobe.measure.path import server_look
from sigprobe.measure.throughput.discovery import tls_context
from sigprobe.net.limits import Context, Deadline
from sigprobe.net.sockets import Address
from sigprobe.upload.transport import Collector, TransportError, open_channel, post
from tests.support.servers.tcp import Peer, Server, http_server, page, tcp_server


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.RSA)


@pytest.fixture(scope="module")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(ca: trustme.CA, ciphers: str) -> ssl.SSLContext:
    """A server of TLS 1.2 with these suites only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA).configure_cert(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers + ":@SECLEVEL=0")
    return context


def check(server: Server, ca_file: str) -> Measured:
    url = server.url(scheme="https")
    return kind.measure(Options(name="x", url=url), Context(Deadline.after(5), ca_files={url.rstrip("/"): ca_file}))


def upload(server: Server, ca_file: str | None) -> int:
    collector = Collector(server.url(scheme="https"), ca_file=ca_file)
    with closing(open_channel(collector)) as channel:
        return post(channel, collector.endpoint("v1/batches"), b"x", {}, 5).status


OLD = [
    "AES128-SHA",
    "AES256-SHA",
    "AES128-SHA256",
    "AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA384",
]


@pytest.mark.parametrize("suite", OLD)
def test_old_suites_are_offered_and_named(suite: str, ca: trustme.CA, ca_file: str) -> None:
    """Static RSA and CBC, all that some load balancers have; the certificate is verified all the same."""
    with http_server(page(), tls=server_context(ca, suite)) as server:
        measured = check(server, ca_file)
        unknown = kind.measure(Options(name="x", url=server.url(scheme="https")), Context(Deadline.after(5)))
    assert (measured.outcome, measured.data["tls_cipher"]) == ("ok", suite)
    assert unknown.failure is not None and unknown.failure.code == "tls_untrusted"


@pytest.mark.parametrize("suite", OLD[:4])
@pytest.mark.parametrize("own_ca", [True, False], ids=["own CA", "public CA"])
def test_uploads_stay_strict(
    suite: str, own_ca: bool, ca: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suite without forward secrecy carries no receipt; with a modern one the same server is taken.

    That must not depend on the suites that this Python was built with: Debian's has all of OpenSSL's.
    """
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", ca_file)
    given = ca_file if own_ca else None
    with http_server(page(), tls=server_context(ca, suite)) as server, pytest.raises(TransportError) as caught:
        upload(server, given)
    assert (caught.value.reason, caught.value.why) == ("tls", "tls_refused")
    with http_server(page(), tls=server_context(ca, "ECDHE-RSA-AES128-GCM-SHA256")) as server:
        assert upload(server, given) == 200


def test_the_speed_test_and_the_look_of_the_path_offer_the_same(ca: trustme.CA, ca_file: str) -> None:
    """What a check reaches is not called unreachable by another."""
    context = Context(Deadline.after(5), ca_files={"https://127.0.0.1": ca_file})
    offered = tls_context("https://127.0.0.1/", context)
    assert offered is not None and {"AES128-SHA", "ECDHE-RSA-AES128-SHA"} <= {c["name"] for c in offered.get_ciphers()}
    with http_server(page(b""), tls=server_context(ca, "AES128-SHA")) as server:
        address = Address(socket.AF_INET, ("127.0.0.1", server.port))
        seen, _ = server_look.peek("127.0.0.1", address, context.deadline, context.stop, tls=True, ca_file=ca_file)
    assert (seen["failure"], seen["tls_verified"], seen["status_code"]) == (None, True, 200)


# --- handshakes that fail -----------------------------------------------------------------------------------


def alert(number: int) -> Callable[[Peer], None]:
    """End a handshake with an alert."""

    def answer(peer: Peer) -> None:
        peer.sock.recv(4096)
        peer.send(struct.pack("!BHHBB", 21, 0x0303, 2, 2, number))
        peer.wait(0.2)

    return answer


@pytest.mark.parametrize(
    ("number", "code"),
    [(40, "tls_refused"), (112, "tls_refused"), (49, "tls_refused"), (80, "tls_refused"), (70, "tls_too_old")],
    ids=["handshake_failure", "unrecognized_name", "access_denied", "internal_error", "protocol_version"],
)
def test_an_alert_is_a_refusal(number: int, code: str, ca_file: str) -> None:
    """The server ended it; this device's date has nothing to do with it."""
    with tcp_server(alert(number)) as server:
        measured = check(server, ca_file)
        with pytest.raises(TransportError) as caught:
            upload(server, ca_file)
    assert measured.failure is not None and measured.failure.code == code
    assert (caught.value.reason, caught.value.why) == ("tls", code)


def test_a_suite_that_nobody_offers_is_refused(ca: trustme.CA, ca_file: str) -> None:
    """The server and this device have nothing in common."""
    with http_server(page(), tls=server_context(ca, "ECDHE-RSA-CAMELLIA128-SHA256")) as server:
        measured = check(server, ca_file)
    assert measured.failure is not None and measured.failure.code == "tls_refused"


def test_the_advice_for_a_refusal_does_not_blame_the_date() -> None:
    """Nor does the advice for any other failed handshake."""
    from sigprobe.words.codes import CODES

    for code in ("tls_refused", "tls_too_old", "tls_not_spoken", "tls_failed"):
        assert "date" not in CODES[code].advice


@pytest.mark.system("openssl", "openssl")
def test_small_dh_keys_are_taken(ca: trustme.CA, ca_file: str, tmp_path: Path, free_port: Callable[[], int]) -> None:
    """Old servers have 1,024 bits; browsers get in by other suites, curl by this one."""
    parameters = tmp_path / "dh.pem"
    made = subprocess.run(
        ["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:modp_1536"],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("this openssl names no such group")
    parameters.write_bytes(made.stdout)
    context = server_context(ca, "DHE-RSA-AES128-SHA")
    context.load_dh_params(str(parameters))
    with http_server(page(), tls=context) as server:
        measured = check(server, ca_file)
    assert (measured.outcome, measured.data["tls_cipher"]) == ("ok", "DHE-RSA-AES128-SHA")
