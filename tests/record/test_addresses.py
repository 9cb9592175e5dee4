"""One answer to whether a host is this device."""

from __future__ import annotations

import pytest

from sigprobe.record.addresses import is_loopback, parse_ip


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost", "localhost.", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::1%lo", "::ffff:127.0.0.1"],
)
def test_this_device(host: str) -> None:
    """Every notation of a loopback address, and the one name that means it."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost.example",
        "127.0.0.1.example",
        "10.0.0.1",
        "0.0.0.0",
        "::",
        "fe80::1%lo",
        "::ffff:10.0.0.1",
        "127.1",
    ],
)
def test_another_device(host: str) -> None:
    """Other addresses, and names that only look like loopback."""
    assert not is_loopback(host)


def test_a_name_is_no_address() -> None:
    """Brackets and zones belong to the notation; a name has no address without a lookup."""
    assert str(parse_ip("[fe80::1%eth0]")) == "fe80::1" and str(parse_ip("::ffff:10.1.1.1")) == "10.1.1.1"
    assert parse_ip("example.org") is None
