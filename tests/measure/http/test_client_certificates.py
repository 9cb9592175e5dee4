"""A server that asks for a client certificate refuses by an alert: in TLS 1.3 only after the handshake."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import closing

import pytest
import trustme

from sigprobe.measure.dns.query import Question
from sigprobe.measure.dns.secure import ask_tls
from sigprobe.measure.http import kind as http
from sigprobe.measure.http.options import Options as HttpOptions
from sigprobe.measure.path import server_look
from sigprobe.measure.throughput.connection import Connection, FaultError, Life, Loop
from sigprobe.measure.video import kind as video
from sigprobe.measure.video.options import Options as VideoOptions
from sigprobe.measure.web import kind as web
from sigprobe.measure.web.options import Options as WebOptions
from sigprobe.net.limits import Context, Deadline
from sigprobe.net.sockets import Address
from sigprobe.net.tls import PipeLikeSocket, client_context
from sigprobe.upload.transport import Collector, TransportError, open_channel, post
from tests.support.servers.tcp import Server, http_server, page

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


def asking(ca: trustme.CA, version: ssl.TLSVersion, mode: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
    """A server of one TLS version that asks for a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    context.verify_mode = mode
    return context


def code_of(kind: str, server: Server, ca_file: str) -> str | None:
    """Return the failure code of a check of one kind."""
    url = server.url(scheme="https")
    places = (url.rstrip("/"), f"tls://127.0.0.1:{server.port}")
    context = Context(Deadline.after(10), ca_files=dict.fromkeys(places, ca_file))
    if kind == "look":
        address = Address(socket.AF_INET, ("127.0.0.1", server.port))
        seen, _ = server_look.peek("127.0.0.1", address, context.deadline, context.stop, tls=True, ca_file=ca_file)
        return seen["failure"]
    if kind == "dns":
        failure = ask_tls("127.0.0.1", server.port, None, Question("a.example", "A"), context, time.monotonic).failure
    elif kind == "http":
        failure = http.measure(HttpOptions(name="x", url=url), context).failure
    elif kind == "web":
        failure = web.measure(WebOptions(name="x", url=url), context).failure
    else:
        failure = video.measure(VideoOptions(name="x", url=url), context).failure
    return None if failure is None else failure.code


@VERSIONS
@pytest.mark.parametrize("kind", ["http", "web", "video", "dns", "look"])
def test_a_missing_client_certificate_is_a_refusal(
    kind: str, version: ssl.TLSVersion, ca: trustme.CA, ca_file: str
) -> None:
    """The same code in both versions, although only that of 1.2 ends the handshake."""
    with http_server(page(), tls=asking(ca, version)) as server:
        assert code_of(kind, server, ca_file) == "tls_refused"


@VERSIONS
def test_uploads_name_it_too(version: ssl.TLSVersion, ca: trustme.CA, ca_file: str) -> None:
    """Whether the alert or the end of the connection is seen first."""
    with http_server(page(), tls=asking(ca, version)) as server, pytest.raises(TransportError) as caught:
        collector = Collector(server.url(scheme="https"), ca_file=ca_file)
        with closing(open_channel(collector)) as channel:
            post(channel, collector.endpoint("v1/batches"), b"x" * 200_000, {}, 10)
    assert (caught.value.reason, caught.value.why) == ("tls", "tls_refused")


@VERSIONS
def test_a_certificate_that_may_be_left_out_refuses_nothing(
    version: ssl.TLSVersion, ca: trustme.CA, ca_file: str
) -> None:
    """The control: the same server, where the certificate is optional."""
    with http_server(page(), tls=asking(ca, version, ssl.CERT_OPTIONAL)) as server:
        assert code_of("http", server, ca_file) is None


@VERSIONS
def test_a_stream_of_the_speed_test_names_it_too(version: ssl.TLSVersion, ca: trustme.CA, ca_file: str) -> None:
    """Written until the write fails: the alert is behind it."""
    with http_server(page(), tls=asking(ca, version)) as server:
        address = Address(socket.AF_INET, ("127.0.0.1", server.port))
        connection, loop = Connection(address, "127.0.0.1", client_context(ca_file)), Loop()
        faults: list[FaultError | None] = []
        until = time.monotonic() + 10

        def life() -> Life:
            yield from connection.open()
            while time.monotonic() < until:
                yield from connection.send_all(b"x")

        loop.start(connection, life(), faults.append)
        while not faults and time.monotonic() < until:
            loop.turn(0.1)
        connection.close()
        loop.close()
    assert [None if fault is None else fault.code for fault in faults] == ["tls_refused"]


def test_the_alert_is_read_behind_a_failed_write(ca: trustme.CA, ca_file: str) -> None:
    """The server has closed before anything is written; its alert is still there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            sock, _ = listener.accept()
            with sock, pytest.raises(ssl.SSLError):
                asking(ca, ssl.TLSVersion.TLSv1_3).wrap_socket(sock, server_side=True)

        thread = threading.Thread(target=refuse)
        thread.start()
        context = client_context(ca_file)
        context.sslsocket_class = PipeLikeSocket
        plain = socket.create_connection(listener.getsockname(), 10)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
            thread.join(10)
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                until = time.monotonic() + 10
                while time.monotonic() < until:
                    sock.sendall(b"x")
            with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                sock.recv(1)
