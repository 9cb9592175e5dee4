"""`dns` and `http` on a device without any way out, in a network namespace of their own."""

from __future__ import annotations

import pytest

from sigprobe.measure.dns import kind as dns
from sigprobe.measure.http import kind as http
from sigprobe.measure.kind import Measured
from sigprobe.net.limits import Context, Deadline
from tests.support.netns import MARKS, namespace

pytestmark = MARKS


@pytest.mark.parametrize("resolver", ["10.9.9.9", "fd00::9"])
def test_dns_without_a_route_says_so_at_once(resolver: str) -> None:
    """No route is a cause of its own, told apart from a silent resolver."""
    options = dns.Options(name="x", hostname="kpu.test", type="TXT", resolvers=[resolver])

    def work() -> Measured:
        return dns.measure(options, Context(Deadline.after(5)))

    with namespace() as empty:
        measured = empty.call(work)
    assert measured.outcome == "failed"
    assert measured.failure is not None
    assert measured.failure.code == "network_unreachable"
    assert measured.data["query_ms"] is None


@pytest.mark.parametrize("host", ["10.9.9.9", "[fd00::9]"])
def test_http_without_a_route_says_so_at_once(host: str) -> None:
    """The same for a page; nothing was sent, so nothing is counted."""

    def work() -> Measured:
        return http.measure(http.Options(name="x", url=f"http://{host}/"), Context(Deadline.after(5)))

    with namespace() as empty:
        measured = empty.call(work)
    assert measured.failure is not None
    assert measured.failure.code == "network_unreachable"
    assert measured.data["bytes_sent"] is None
    assert measured.data["addresses_tried"][0]["failure"] == "network_unreachable"
