"""Bodies: what can be unpacked, what cannot, and the charset of text."""

from __future__ import annotations

import gzip
import zlib

import pytest

from sigprobe.net.http_body import decoded, text_of

TEXT = b"Selamat datang di TPS"


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (TEXT, "UTF-8"),
        (TEXT, "none"),
        (gzip.compress(TEXT, mtime=0), "gzip"),
        (gzip.compress(TEXT, mtime=0), "X-GZIP"),
        (gzip.compress(TEXT[:5], mtime=0) + gzip.compress(TEXT[5:], mtime=0), "gzip"),
        (gzip.compress(TEXT, mtime=0) + b"\0" * 10, "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (raw_deflate(TEXT), "deflate"),
        (gzip.compress(zlib.compress(TEXT), mtime=0), "deflate, gzip"),
        (gzip.compress(TEXT, mtime=0), "identity, gzip"),
    ],
)
def test_what_is_packed_is_unpacked(body: bytes, encoding: str) -> None:
    """Also in several members, layers, and without a header."""
    assert decoded(body, encoding) == TEXT


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "x-compress", "dcb", "gzip, br", "exi", "aes128gcm"])
def test_what_cannot_be_unpacked_is_none(encoding: str) -> None:
    """Never the packed bytes, which would pass for a page without the text."""
    assert decoded(b"\x1b\x09\x06\x30", encoding) is None


def test_bytes_that_are_not_what_the_header_says() -> None:
    """They are not unpacked; a stream that was cut short gives what there is of it."""
    assert decoded(TEXT, "gzip") is None
    noise = bytes(range(256)) * 40
    cut = gzip.compress(noise, mtime=0)[:-20]
    found = decoded(cut, "gzip")
    assert found is not None and noise.startswith(found[:100])
    assert decoded(b"", "gzip") == b""


def test_a_bomb_is_bounded() -> None:
    """A body never unpacks to more than the limit."""
    found = decoded(gzip.compress(bytes(64 * 1024 * 1024)), "gzip")
    assert found is not None and len(found) == 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("content", "media"),
    [
        (b"\xef\xbb\xbfkaf\xc3\xa9", "text/html; charset=iso-8859-1"),
        ("kafé".encode("utf-16"), "text/html"),
        (b"\xfe\xff" + "kafé".encode("utf-16-be"), "text/html"),
        (b"kaf\xe9", "text/html; charset=iso-8859-1"),
        (b'<meta http-equiv=Content-Type content="text/html; charset=windows-1252">kaf\xe9', "text/html"),
        (b"<meta charset='iso-8859-1'>kaf\xe9", ""),
        ("kafé".encode(), "text/html; charset=unknown-8"),
    ],
)
def test_charsets(content: bytes, media: str) -> None:
    """Byte order mark, header, page, in this order."""
    assert text_of(content, media).endswith("kafé")
