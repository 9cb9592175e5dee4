"""Receipts count in every framing a server may use, and in none that is cut short."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from sigprobe.buffer import Buffer
from sigprobe.upload.transport import Collector, open_channel, post
from tests.support.servers.tcp import Peer, page, tcp_server
from tests.support.stand_in_collector import Sent, put, receipt, standin
from tests.upload.conftest import Draining

COOKIES = b"".join(b"Set-Cookie: k%d=v\r\n" % n for n in range(300))


def reframed(change: Callable[[bytes, bytes], bytes]) -> Callable[[Sent], bytes]:
    """The true receipt with its head and body put into another framing."""

    def answer(sent: Sent) -> bytes:
        head, _, body = receipt(sent).partition(b"\r\n\r\n")
        return change(head, body)

    return answer


def without_length(head: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join(lines)


def chunked(head: bytes, body: bytes, trailer: bytes = b"") -> bytes:
    half = len(body) // 2
    parts = b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return without_length(head) + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n" + trailer + b"\r\n"


GOOD = {
    "as it is": lambda head, body: head + b"\r\n\r\n" + body,
    "100": lambda head, body: b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"\r\n\r\n" + body,
    "102, 103": lambda head, body: (
        b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\nLink: </a>\r\n\r\n" + head + b"\r\n\r\n" + body
    ),
    "300 cookies": lambda head, body: head + b"\r\n" + COOKIES + b"\r\n" + body,
    "a line of 100 kB": lambda head, body: head + b"\r\nX-Policy: " + b"a" * 100_000 + b"\r\n\r\n" + body,
    "chunked": chunked,
    "chunked, trailers": lambda head, body: chunked(head, body, b"Digest: x\r\n"),
    "gzip": lambda head, body: (
        without_length(head)
        + b"\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(body, mtime=0))
        + gzip.compress(body, mtime=0)
    ),
    "bare LF": lambda head, body: head.replace(b"\r\n", b"\n") + b"\n\n" + body,
}
BAD = {
    "a length beyond": lambda head, body: (
        without_length(head) + b"\r\nContent-Length: %d\r\n\r\n" % (len(body) + 1) + body
    ),
    "contradicting lengths": lambda head, body: head + b"\r\nContent-Length: 7\r\n\r\n" + body,
    "no last chunk": lambda head, body: chunked(head, body).removesuffix(b"0\r\n\r\n"),
    "interim only": lambda head, body: b"HTTP/1.1 102 Processing\r\n\r\n",
    "103 with the body of a receipt": lambda head, body: head.replace(b" 200 ", b" 103 ") + b"\r\n\r\n" + body,
}


@pytest.mark.parametrize("framing", GOOD)
def test_a_receipt_counts_in_every_framing(framing: str, buffer: Buffer, draining: Draining) -> None:
    """All records are acknowledged, whatever the server put around the receipt."""
    put(buffer, 3)
    with standin(reframed(GOOD[framing])) as server:
        report = draining(server).run()
    assert (report.stopped, report.accepted, buffer.stats().pending) == (None, 3, 0)


@pytest.mark.parametrize("framing", BAD)
def test_an_answer_that_is_not_whole_acknowledges_nothing(framing: str, buffer: Buffer, draining: Draining) -> None:
    """The records stay pending."""
    put(buffer, 3)
    with standin(reframed(BAD[framing])) as server:
        report = draining(server, limit_s=1.5).run()
    assert report.stopped is not None
    assert buffer.stats().pending == 3


# --- a proxy ------------------------------------------------------------------------------------------------


@contextmanager
def proxy(head: bytes) -> Iterator[str]:
    """A proxy that answers CONNECT with this head, and passes bytes on."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                target.sendall(piece)
        except OSError:
            pass

    def answer(peer: Peer) -> None:
        host, _, port = peer.head().split()[1].decode().partition(":")
        with socket.create_connection((host, int(port))) as far:
            peer.send(head)
            back = threading.Thread(target=pump, args=(far, peer.sock), daemon=True)
            back.start()
            pump(peer.sock, far)
            far.shutdown(socket.SHUT_WR)
            back.join(2)

    with tcp_server(answer) as server:
        yield server.url().rstrip("/")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200\r\n" + COOKIES + b"\r\n",
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
    ids=["plain", "300 headers", "interim and a long line"],
)
def test_a_proxy_may_answer_at_length(head: bytes) -> None:
    """The answer to CONNECT is read by the same parser."""
    import ssl

    import trustme

    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with ca.cert_pem.tempfile() as ca_file, proxy(head) as way:

        def answer(peer: Peer) -> None:
            if not peer.head().endswith(b"x"):  # the body, which would turn closing into a reset if left unread
                peer.sock.recv(1)
            peer.send(page(b"fine"))

        with tcp_server(answer, tls=context) as server:
            collector = Collector(server.url(scheme="https"), ca_file=ca_file, proxy=way)
            with closing(open_channel(collector)) as channel:
                assert post(channel, collector.endpoint("v1/batches"), b"x", {}, 5).body == b"fine"
