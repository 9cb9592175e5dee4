"""The parser of HTTP answers: shapes that browsers accept, and limits of our own."""

from __future__ import annotations

import pytest

from sigprobe.net import http1

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def parsed(wire: bytes, method: str = "GET", step: int | None = None) -> tuple[http1.Head, bytes]:
    """Feed the bytes at once, or `step` at a time: the head, and what follows it."""
    parser = http1.HeadParser(method)
    size = step or len(wire)
    for at in range(0, len(wire), size):
        rest = parser.feed(wire[at : at + size])
        if rest is not None:
            assert parser.head is not None
            return parser.head, rest + wire[at + size :]
    raise AssertionError("no head")


@pytest.mark.parametrize("step", [None, 1, 7])
@pytest.mark.parametrize(
    ("wire", "status", "interim"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200, ()),
        (b"HTTP/1.1 200\r\n\r\n", 200, ()),
        (b"HTTP/1.1 200 \r\n\r\n", 200, ()),
        (b"HTTP/1.0 404 Not Found\n\n", 404, ()),
        (b"http/1.1 200 ok\r\n\r\n", 200, ()),
        (b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200, ()),
        (b"\xef\xbb\xbfHTTP/1.1 200 OK\r\n\r\n", 200, ()),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200, (100,)),
        (
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            200,
            (102, 103),
        ),
        (b"HTTP/1.1 101 Switching\r\n\r\n", 101, ()),
        (b"HTTP/1.1 999 Denied\r\n\r\n", 999, ()),
    ],
)
def test_status_lines_of_every_shape(wire: bytes, status: int, interim: tuple[int, ...], step: int | None) -> None:
    """The final answer's status, whatever stands before it and however it is cut."""
    head, rest = parsed(wire + b"body", step=step)
    assert (head.status, head.interim, rest, head.size) == (status, interim, b"body", len(wire))


@pytest.mark.parametrize(
    ("lines", "name", "value"),
    [
        (b"X: a\r\n b\r\n\t c\r\n", "x", "a b c"),
        (b" lost\r\nX: a\r\n", "x", "a"),
        (b"no colon here\r\nX: a\r\n", "x", "a"),
        (b"X : a\r\n", "x", "a"),
        (b"X:\r\n", "x", ""),
        (b"X: a\r\nX: b\r\n", "x", "a, b"),
        (b"Location: /one\r\nLocation: /two\r\n", "location", "/one"),
        (b"X: \xff\xfe\r\n", "x", "ÿþ"),
    ],
)
def test_header_lines_of_every_shape(lines: bytes, name: str, value: str) -> None:
    """Folded, odd and repeated lines give the value that browsers see."""
    head, _ = parsed(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")
    assert head.headers[name] == value


@pytest.mark.parametrize(
    ("head_lines", "method", "chunked", "length", "keep"),
    [
        ("HTTP/1.1 200 OK|Content-Length: 5", "GET", False, 5, True),
        ("HTTP/1.1 200 OK|Content-Length: 5, 5", "GET", False, 5, True),
        ("HTTP/1.1 200 OK|Content-Length: 5|Content-Length: 5", "GET", False, 5, True),
        ("HTTP/1.1 200 OK|Content-Length: none", "GET", False, None, False),
        ("HTTP/1.1 200 OK|Content-Length: -1", "GET", False, None, False),
        ("HTTP/1.1 200 OK|Content-Length: 5|Connection: Close", "GET", False, 5, False),
        ("HTTP/1.1 200 OK|Content-Length: 5|Connection: keep-alive, x-close", "GET", False, 5, True),
        ("HTTP/1.0 200 OK|Content-Length: 5", "GET", False, 5, False),
        ("HTTP/1.0 200 OK|Content-Length: 5|Connection: keep-alive", "GET", False, 5, True),
        ("HTTP/1.1 200 OK", "GET", False, None, False),
        ("HTTP/1.1 200 OK|Transfer-Encoding: Chunked", "GET", True, None, True),
        ("HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked", "GET", True, None, True),
        ("HTTP/1.1 200 OK|Transfer-Encoding: identity|Content-Length: 5", "GET", False, 5, True),
        ("HTTP/1.1 200 OK|Transfer-Encoding: chunked|Content-Length: 5", "GET", True, None, False),
        ("HTTP/1.1 204 No Content|Content-Length: 5", "GET", False, 0, True),
        ("HTTP/1.1 304 Not Modified|Transfer-Encoding: chunked", "GET", False, 0, True),
        ("HTTP/1.1 200 OK|Content-Length: 5", "HEAD", False, 0, True),
    ],
)
def test_framing(head_lines: str, method: str, chunked: bool, length: int | None, keep: bool) -> None:
    """How the body ends, and whether the connection can serve another request (RFC 9112, 6.3)."""
    head, _ = parsed(head_lines.replace("|", "\r\n").encode() + b"\r\n\r\n", method)
    assert (head.chunked, head.length, head.keep_alive) == (chunked, length, keep)


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"<html>", "not HTTP"),
        (b"HTTP/1.1 abc OK\r\n", "not HTTP"),
        (b"HTTP/1.1 2000 OK\r\n", "not HTTP"),
        (b"\r\n" * 40, "blank lines"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n", "contradicting"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (http1.MAX_HEADERS + 1), "header lines"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * (http1.MAX_LINE_BYTES + 1), "header line of more"),
        (b"HTTP/1.1 200 OK\r\n" + (b"X: " + b"y" * 100_000 + b"\r\n") * 6, "no end of the headers"),
        (b"HTTP/1.1 102 P\r\n\r\n" * (http1.MAX_INTERIM + 1), "interim answers"),
    ],
)
def test_what_is_no_answer_or_too_much_of_one(wire: bytes, why: str) -> None:
    """Each limit is named; nothing is read without end."""
    with pytest.raises(http1.ProtocolError, match=why):
        parsed(wire)


def test_the_limits_leave_room_for_real_sites() -> None:
    """5,000 lines, and one of 100 kB, are within them; the same with one more than allowed is not."""
    many = b"".join(b"Set-Cookie: k%d=v; Path=/\r\n" % n for n in range(5000))
    head, _ = parsed(b"HTTP/1.1 200 OK\r\n" + many + b"X: " + b"a" * 100_000 + b"\r\n\r\n")
    assert len(head.values("set-cookie")) == 5000
    assert len(head.headers["x"]) == 100_000


# --- chunked bodies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"2\r\nok\r\n0\r\n\r\n", b"ok"),
        (b"a\r\n0123456789\r\nA\r\nabcdefghij\r\n0\r\n\r\n", b"0123456789abcdefghij"),
        (b"2;name=value\r\nok\r\n0;last\r\n\r\n", b"ok"),
        (b"2;" + b"x" * 2000 + b"\r\nok\r\n0\r\n\r\n", b"ok"),
        (b"2\nok\n0\n\n", b"ok"),
        (b"  2  \r\nok\r\n0\r\nDigest: x\r\nExpires: 0\r\n\r\n", b"ok"),
        (b"00002\r\nok\r\n000\r\n\r\n", b"ok"),
    ],
)
def test_chunked_bodies(wire: bytes, body: bytes, step: int) -> None:
    """Sizes in either case, extensions, trailers and bare LF; what follows the body is left alone."""
    chunks, kept, count, unused = http1.ChunkParser(), bytearray(), 0, 0
    whole = wire + b"HTTP/1.1"
    for at in range(0, len(whole), step):
        piece = whole[at : at + step]
        if chunks.done:
            unused += len(piece)
            continue
        count += chunks.feed(memoryview(piece), kept)
        unused += chunks.unused
    assert (bytes(kept), count, chunks.done, unused) == (body, len(body), True, len(b"HTTP/1.1"))


@pytest.mark.parametrize(
    "wire",
    [b"zz\r\n", b"-1\r\n", b"0x5\r\n", b"1_0\r\n", b"\r\n", b"2\r\nokXX\r\n", b"1" * 17_000, b"f" * 16 + b"\r\n"],
)
def test_broken_chunks(wire: bytes) -> None:
    """What is no chunked framing ends the reading; Python's own `int` would take four of these."""
    with pytest.raises(http1.ProtocolError):
        http1.ChunkParser().feed(memoryview(wire))


def test_trailers_are_bounded() -> None:
    """A server that never ends its trailers is left."""
    chunks = http1.ChunkParser()
    chunks.feed(memoryview(b"0\r\n"))
    assert chunks.payload_done and not chunks.done
    with pytest.raises(http1.ProtocolError, match="trailers"):
        for _ in range(100):
            chunks.feed(memoryview(b"X: " + b"y" * 1000 + b"\r\n"))
