"""One answer, four readers: checks, web pages, the speed test and uploads understand the same shapes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPResponse
from typing import Final

import pytest

from sigprobe.measure.http import kind as http
from sigprobe.measure.http.options import Options as HttpOptions
from sigprobe.measure.throughput.discovery import Client as SpeedClient
from sigprobe.measure.throughput.server import Server as SpeedServer
from sigprobe.net.http_client import ByteBudget, Client, Connection
from sigprobe.net.http_response import Response
from sigprobe.net.limits import Context, Deadline
from sigprobe.net.sockets import Address
from sigprobe.upload.transport import Collector, TransportError, open_channel, post
from tests.support.servers.tcp import Server, http_server

Read = Callable[[Server], tuple[int | None, bytes]]


def by_check(server: Server) -> tuple[int | None, bytes]:
    """Kind `http`: the status, and the expected text where it was found."""
    found = http.measure(HttpOptions(name="x", url=server.url(), expect_text="ok"), Context(Deadline.after(5)))
    return found.data["status_code"], b"ok" if found.outcome == "ok" else str(found.failure).encode()


def by_page(server: Server) -> tuple[int | None, bytes]:
    """The client of kinds `web` and `video`."""
    context = Context(Deadline.after(5))
    client = Client(context, ByteBudget(10**6, context.budget), accept_encoding="identity")
    with Connection(client) as connection:
        got = connection.get(server.url(), max_bytes=10**5)
    return got.status, got.body if got.code is None else f"{got.code}: {got.detail}".encode()


def by_speed_test(server: Server) -> tuple[int | None, bytes]:
    """The control connection of engine `http`."""
    address = Address(socket.AF_INET, (server.host, server.port))
    target = SpeedServer(address, server.host, server.authority, "/", "")
    client = SpeedClient(target, Context(Deadline.after(5)))
    try:
        head, body = client.get(target, "empty", most_s=5)
    finally:
        client.close()
    return head.status, body


def by_upload(server: Server) -> tuple[int | None, bytes]:
    """The transport of uploads."""
    collector = Collector(server.url())
    with closing(open_channel(collector)) as channel:
        reply = post(channel, collector.endpoint("v1/batches"), b"x", {}, 5)
    return reply.status, reply.body


READERS: Final[dict[str, Read]] = {
    "check": by_check,
    "page": by_page,
    "speed test": by_speed_test,
    "upload": by_upload,
}
OK: Final = b"HTTP/1.1 200 OK\r\n"
LENGTH: Final = b"Content-Length: 2\r\n\r\nok"
SHAPES: Final = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH,
    "102 and 103": b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\nLink: </a>\r\n\r\n" + OK + LENGTH,
    "100 and 103": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: </a>\r\n\r\n" + OK + LENGTH,
    "120 cookies": OK + b"".join(b"Set-Cookie: k%d=v\r\n" % n for n in range(120)) + LENGTH,
    "5000 headers": OK + b"".join(b"X-%d: v\r\n" % n for n in range(5000)) + LENGTH,
    "line of 100 kB": OK + b"Content-Security-Policy: " + b"a" * 100_000 + b"\r\n" + LENGTH,
    "folded line": OK + b"X: a\r\n b\r\n\tc\r\n" + LENGTH,
    "no reason": b"HTTP/1.1 200\r\n" + LENGTH,
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nok",
    "HTTP/1.0 kept alive": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + LENGTH,
    "byte order mark": b"\xef\xbb\xbf" + OK + LENGTH,
    "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked, lower case": OK + b"transfer-encoding: CHUNKED\r\n\r\n0a\r\nok        \r\n0\r\n\r\n",
    "chunk extension": OK + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0;c\r\n\r\n",
    "trailers": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nDigest: x\r\n\r\n",
    "no last line": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
    "chunked and a length": OK + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks with bare LF": OK + b"Transfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
    "equal lengths": OK + b"Content-Length: 2, 2\r\n" + LENGTH,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_is_read_as_browsers_read_it(shape: str, reader: str) -> None:
    """Status 200 and the body `ok`, from each of the readers."""
    with http_server(SHAPES[shape]) as server:
        status, body = READERS[reader](server)
    assert (status, body.strip()) == (200, b"ok")


@pytest.mark.parametrize("reader", ["page", "speed test", "upload"])
@pytest.mark.parametrize(
    "wire",
    [
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_an_empty_body_is_empty(wire: bytes, reader: str) -> None:
    """Framing is not content, and 204 and 304 have none whatever they announce."""
    with http_server(wire) as server:
        assert READERS[reader](server)[1] == b""


@pytest.mark.parametrize(
    "wire",
    [
        OK + b"Content-Length: 9\r\n\r\nok",
        OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nok",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        OK + b"X: y",
    ],
)
@pytest.mark.parametrize("reader", READERS)
def test_a_broken_answer_is_never_whole(wire: bytes, reader: str) -> None:
    """What is cut short or contradicts itself fails in each of the readers."""
    with http_server(wire) as server:
        try:
            _, body = READERS[reader](server)
        except Exception as error:
            assert type(error).__name__ in ("TransportError", "FaultError")
        else:
            assert body.strip() != b"ok"


@pytest.mark.parametrize("reader", ["check", "page", "upload"])
@pytest.mark.parametrize("shape", ["102 and 103", "120 cookies", "line of 100 kB"])
def test_the_library_alone_would_fail(shape: str, reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with the head read by http.client, none of these is read as 200 with its body."""
    monkeypatch.setattr(Response, "begin", HTTPResponse.begin)
    monkeypatch.setattr(Response, "_read_status", HTTPResponse._read_status)  # type: ignore[attr-defined]
    with http_server(SHAPES[shape]) as server:
        try:
            found = READERS[reader](server)
        except TransportError as error:
            assert "got more than 100 headers" in str(error) or "header line" in str(error)
        else:
            assert found != (200, b"ok")
