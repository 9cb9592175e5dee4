"""The client's address has one reading."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from sigprobe.collector.web.client_address import client_of


def read(
    *lines: tuple[str, str], peer: str = "10.0.0.1", proxy: bool = True, header: str = "x-forwarded-for"
) -> tuple[str, str]:
    """Address and group of a request with these header lines."""
    headers = [(name.encode(), value.encode()) for name, value in lines]
    request = Request({"type": "http", "headers": headers, "client": ("10.0.0.1", 1)})
    client = client_of(request, behind_proxy=proxy, header=header)  # type: ignore[arg-type]
    return client.address, client.group


@pytest.mark.parametrize(
    ("value", "address", "group"),
    [
        ("192.0.2.9", "192.0.2.9", "192.0.2.9"),
        ("192.0.2.9:4711", "192.0.2.9", "192.0.2.9"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.9", "192.0.2.9", "192.0.2.9"),
        ("198.51.100.1, 192.0.2.9", "192.0.2.9", "192.0.2.9"),
        ("unknown", "10.0.0.1", "10.0.0.1"),
    ],
)
def test_the_last_hop_counts(value: str, address: str, group: str) -> None:
    """Only the last entry was written by our proxy, with or without port and brackets."""
    assert read(("x-forwarded-for", value)) == (address, group)


def test_a_second_line_is_a_longer_list() -> None:
    """A forged first line changes nothing, and without a proxy no header counts."""
    lines = (("x-forwarded-for", "203.0.113.66"), ("x-forwarded-for", "192.0.2.9"))
    assert read(*lines)[0] == "192.0.2.9"
    assert read(*lines, proxy=False)[0] == "10.0.0.1"


def test_forwarded_is_read_where_the_proxy_writes_it() -> None:
    """RFC 7239: quoted, with port; the other header, which a client can forge, is not read."""
    lines = (
        ("x-forwarded-for", "203.0.113.66"),
        ("forwarded", 'for=203.0.113.66, for="[2001:db8:1:2::9]:4711";proto=https;by=10.0.0.1'),
    )
    assert read(*lines, header="forwarded") == ("2001:db8:1:2::9", "2001:db8:1:2::/64")
    assert read(*lines)[0] == "203.0.113.66", "the control: the other setting reads the other header"


def test_two_lines_of_forwarded_are_one_list() -> None:
    """The line of our proxy comes last; what a client sent before it changes nothing."""
    lines = (("forwarded", "for=203.0.113.66;proto=http"), ("forwarded", 'for="[2001:db8:1:2::9]:4711"'))
    assert read(*lines, header="forwarded") == ("2001:db8:1:2::9", "2001:db8:1:2::/64")
    assert read(*reversed(lines), header="forwarded")[0] == "203.0.113.66", "the control: the order decides"
    assert read(*lines, header="forwarded", proxy=False)[0] == "10.0.0.1"
