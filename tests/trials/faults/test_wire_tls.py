"""Promise 11: TLS is always verified. No batch and no token ever reaches a server that could not prove itself."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import trustme

from sigprobe.buffer import Buffer
from sigprobe.upload import Collector
from tests.trials.faults.fake_collectors import FalseServer, honest
from tests.trials.faults.fault_site import fill, queue, upload
from tests.trials.faults.trial import Trial, hold

_NOW: Final = datetime.now(UTC)
_PAST: Final = (_NOW - timedelta(days=800), _NOW - timedelta(days=400))
_FUTURE: Final = (_NOW + timedelta(days=400), _NOW + timedelta(days=800))


@dataclass(frozen=True)
class Keys:
    """Two authorities: the one the probe is told to trust, and another."""

    ours: trustme.CA
    other: trustme.CA
    ca_file: str

    def server(self, leaf: trustme.LeafCert) -> ssl.SSLContext:
        """Return what a server with this certificate speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        return context


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Fresh authorities."""
    keys = Keys(trustme.CA(), trustme.CA(), str(tmp_path / "ca.pem"))
    keys.ours.cert_pem.write_to_path(keys.ca_file)
    return keys


def leaf_of(keys: Keys, case: str) -> trustme.LeafCert:
    """Return the certificate of a case: wrong in one way only."""
    if case == "wrong host":
        return keys.ours.issue_cert("collector.example", "10.0.0.1")
    if case == "unknown CA":
        return keys.other.issue_cert("127.0.0.1")
    if case in ("expired", "not yet valid"):
        begin, end = _PAST if case == "expired" else _FUTURE
        return keys.ours.issue_cert("127.0.0.1", not_before=begin, not_after=end)
    return keys.ours.issue_cert("127.0.0.1")


_SILENCE_S: Final = 5.0
"""A client that is silent for so long waits for the certificate; on a busy machine a refusal may take a second."""

CASES: Final = ("wrong host", "unknown CA", "expired", "not yet valid")


def hold_refused(buffer: Buffer, server: FalseServer, ca_file: str | None, *, unchecked_time: bool = False) -> None:
    """The drain ends with the TLS code, and the server, which would acknowledge everything, has seen nothing."""
    waiting = buffer.pending()
    report = upload(buffer, Collector(server.url, "secret", ca_file, unchecked_time))
    hold(not server.seen, "sent-to-a-stranger", str(report))
    hold(buffer.pending() == waiting, "acked-by-a-stranger", str(report))
    hold(report.stopped == "collector_tls", "wrong-code", str(report))


def test_strangers_are_refused(
    trial: Callable[..., Trial], keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate for another host, of another authority, expired or not yet valid: refused before a byte is sent."""
    run = trial(11, "certificates", short=2, full=100)
    # what a user's environment says about authorities must not count
    other = tmp_path / "other.pem"
    keys.other.cert_pem.write_to_path(other)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(other))
    refused = 0
    with queue(tmp_path / "queue") as buffer:
        fill(buffer, 2, run.random)
        for _ in range(run.n):
            for case in CASES:
                with FalseServer(honest, keys.server(leaf_of(keys, case))) as server:
                    hold_refused(buffer, server, keys.ca_file)
                    if case != "unknown CA":
                        hold_refused(buffer, server, None)  # our authority is not one of the public ones
                    refused += 1
        stranger = FalseServer(honest, keys.server(leaf_of(keys, "unknown CA")))
        with run.expect_failure("sent-to-a-stranger"), unverified(monkeypatch), stranger as server:
            hold_refused(buffer, server, keys.ca_file)
        fill(buffer, 2, run.random)
        with FalseServer(honest, keys.server(leaf_of(keys, "good"))) as server:
            assert upload(buffer, Collector(server.url, "secret", keys.ca_file)).stopped is None
    run.report(0, n=refused)


@contextmanager
def unverified(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take verification away from every client, as `verify=False` does."""

    def blind(*_args: object, **_options: object) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    real = requests.adapters.HTTPAdapter.cert_verify

    def trusting(self: Any, connection: Any, url: Any, _verify: Any, cert: Any) -> None:
        real(self, connection, url, False, cert)  # type: ignore[no-untyped-call]
        context = connection.conn_kw.get("ssl_context")
        if context is not None:  # of a collector with a CA file of its own
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE

    with monkeypatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patched.setattr(ssl, "create_default_context", blind)
        patched.setattr(requests.adapters.HTTPAdapter, "cert_verify", trusting)
        yield


def test_only_the_time_may_go_unchecked(trial: Callable[..., Trial], keys: Keys, tmp_path: Path) -> None:
    """The opt-in forgives dates alone, and only with an authority of our own: never the host, never the authority."""
    run = trial(11, "unchecked time", short=1, full=50)
    tried = 0
    with queue(tmp_path / "queue") as buffer:
        for _ in range(run.n):
            for case in CASES:
                fill(buffer, 1, run.random)
                with FalseServer(honest, keys.server(leaf_of(keys, case))) as server:
                    hold_refused(buffer, server, None, unchecked_time=True)
                    if case in ("wrong host", "unknown CA"):
                        hold_refused(buffer, server, keys.ca_file, unchecked_time=True)
                    else:
                        report = upload(buffer, Collector(server.url, "secret", keys.ca_file, True))
                        hold(report.stopped is None, "opt-in-without-effect", f"{case}: {report}")
                tried += 1
        with run.expect_failure("sent-to-a-stranger"):
            # the same claim about a server that only the opt-in lets through: the dates are what was wrong
            fill(buffer, 1, run.random)
            with FalseServer(honest, keys.server(leaf_of(keys, "expired"))) as server:
                hold_refused(buffer, server, keys.ca_file, unchecked_time=True)
    run.report(0, n=tried)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_protocols_are_refused(trial: Callable[..., Trial], keys: Keys, tmp_path: Path, version: str) -> None:
    """A server that speaks nothing newer than TLS 1.0 or 1.1 gets an alert instead of a batch."""
    run = trial(11, f"TLS {version}", short=2, full=50)
    number = {"1.0": 0x0301, "1.1": 0x0302}[version]
    with queue(tmp_path / "queue") as buffer:
        fill(buffer, 1, run.random)
        for _ in range(run.n):
            for ca_file in (keys.ca_file, None):
                with OldServer(number) as server:
                    report = upload(buffer, Collector(server.url, "secret", ca_file))
                    hold(report.stopped == "collector_tls", "wrong-code", str(report))
                    hold(server.went_on == 0, "old-protocol-taken", f"{server.went_on} of {server.hellos}")
                    assert server.hellos > 0
                    hold(buffer.pending() == 1, "acked-by-a-stranger")
    with run.expect_failure("old-protocol-taken"), OldServer(number) as server:
        # a client of old: it takes the server's hello and waits for its certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with socket.create_connection(("127.0.0.1", server.port), 10) as raw, pytest.raises(OSError):
            raw.settimeout(_SILENCE_S * 2)
            context.wrap_socket(raw, server_hostname="127.0.0.1")
        server.finish()
        hold(server.went_on == 0, "old-protocol-taken")
    run.report(0, n=run.n * 2)


class OldServer:
    """Answers a ClientHello with the ServerHello of an old version, made by hand, and waits for what comes.

    An alert, or the end, is a client that refused; silence is one that waits for the certificate: it went on.
    """

    def __init__(self, version: int) -> None:
        self.hellos = 0
        self.went_on = 0
        self._version = version
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> OldServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Stop taking connections, and wait until the last one is judged."""
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._thread.join(_SILENCE_S * 3)

    def _serve(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(_SILENCE_S)
                try:
                    self._judge(client)
                except ConnectionError:
                    continue

    def _judge(self, client: socket.socket) -> None:
        if client.recv(1) != b"\x16":
            return
        client.recv(65536)
        self.hellos += 1
        client.sendall(server_hello(self._version))
        try:
            answer = client.recv(1)
        except TimeoutError:
            self.went_on += 1
            return
        if answer and answer[0] != 0x15:
            self.went_on += 1


def server_hello(version: int) -> bytes:
    """Return a ServerHello record of TLS 1.0 or 1.1 that picks a cipher every old client offers."""
    cipher = 0xC013  # ECDHE-RSA-AES128-SHA, offered by old and new clients alike
    secure_renegotiation = b"\x00\x05\xff\x01\x00\x01\x00"  # without it the version would not be the only fault
    hello = struct.pack(">H", version) + bytes(range(32)) + b"\x00" + struct.pack(">HB", cipher, 0)
    hello += secure_renegotiation
    handshake = b"\x02" + len(hello).to_bytes(3, "big") + hello
    return b"\x16" + struct.pack(">HH", version, len(handshake)) + handshake
