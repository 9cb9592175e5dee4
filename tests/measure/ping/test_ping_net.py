"""ping in namespaces of its own: loss, no route, errors on the way, the gateway, a user without rights."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sigprobe.measure.kind import Measured
from sigprobe.measure.ping.kind import Options, measure
from sigprobe.net import routes
from sigprobe.net.limits import Context, Deadline
from sigprobe.record.result import Outcome
from tests.support.netns import MARKS, NOBODY, Namespace, join, namespace, pair

pytestmark = MARKS

FAR = "10.87.1.2"


def ping(
    space: Namespace, address: str = FAR, *, uid: int | None = None, methods: Any = None, **changes: Any
) -> Measured:
    """Run a real ping inside a namespace, 10 ms apart unless told otherwise."""
    import icmplib  # noqa: F401 - loaded, like the codec, before the child gives up the right to read them

    "a".encode("idna")
    given = {"kind": "ping", "name": "t", "address": address, "count": 5, "interval_ms": 10} | changes
    extra = {} if methods is None else {"methods": methods}

    def run() -> Measured:
        options = Options(**given)
        return measure(options, Context(Deadline.after(options.timeout_s())), **extra)

    return space.call(run, uid=uid)


def code(got: Measured) -> str | None:
    return None if got.failure is None else got.failure.code


def test_a_plain_user_needs_no_privileges_where_the_kernel_allows_it() -> None:
    """With ping_group_range set, a user without any capability gets true ICMP numbers, for both families."""
    with pair() as (near, _):
        near.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        for address in (FAR, "fd87:1::2"):
            got = ping(near, address, uid=NOBODY)
            assert (got.outcome, got.data["method"]) == (Outcome.OK, "icmp-dgram")
            assert got.data["received"] == 5 and got.data["ttl"] == 64
            assert 0 < got.data["rtt_median_ms"] < 50


def test_a_user_without_icmp_gets_tcp_and_is_told() -> None:
    """No permission for any ICMP: the answer comes from TCP, and the record says which way and why."""
    with pair() as (near, _):
        got = ping(near, uid=NOBODY)
        assert (got.outcome, got.data["method"], got.data["tcp_port"]) == (Outcome.OK, "tcp", 443)
        assert "icmp-dgram" in got.data["method_note"] and "icmp-raw" in got.data["method_note"]
        assert got.data["loss_ratio"] == 0.0


def test_without_any_permitted_way_it_is_a_failed_result() -> None:
    """When not even TCP may be tried, the cause is the permission."""
    with pair() as (near, _):
        got = ping(near, uid=NOBODY, methods=["icmp-dgram", "icmp-raw"])
        assert (got.outcome, code(got)) == (Outcome.FAILED, "permission")


def test_raw_icmp_over_ipv6() -> None:
    """The raw way works over IPv6 too, where the kernel fills in the checksum."""
    with pair() as (near, _):
        got = ping(near, "fd87:1::2", methods=["icmp-raw"])
        assert (got.outcome, got.data["method"], got.data["family"]) == (Outcome.OK, "icmp-raw", "ipv6")
        assert got.data["ttl"] is None or got.data["ttl"] == 64


def test_some_loss_is_degraded_and_counted() -> None:
    """Every tenth request dropped on the far side: exactly that share is lost, and the list shows which."""
    with pair() as (near, far):
        far.drop("icmp type echo-request numgen inc mod 10 == 3")
        got = ping(near, count=50)
        assert (got.outcome, code(got)) == (Outcome.DEGRADED, "packet_loss")
        assert (got.data["sent"], got.data["received"], got.data["loss_ratio"]) == (50, 45, 0.1)
        assert got.data["rtts_ms"].count(None) == 5
        assert [i % 10 for i, rtt in enumerate(got.data["rtts_ms"]) if rtt is None] == [3] * 5
        assert got.data["loss_cause"] == "no_reply"


def test_all_lost_is_failed_and_states_no_time() -> None:
    """A silent host: loss 1.0, no reply, no round-trip time of any kind, and an end in time."""
    with pair() as (near, far):
        far.drop("icmp type echo-request")
        started = time.monotonic()
        got = ping(near)
        assert time.monotonic() - started < 4
        assert (got.outcome, code(got)) == (Outcome.FAILED, "no_reply")
        assert got.data["loss_ratio"] == 1.0
        assert {got.data[k] for k in got.data if k.startswith("rtt_")} == {None}


def test_tcp_loss_is_not_hidden_by_the_kernels_second_try() -> None:
    """TCP repeats a lost SYN after a second: the answer to the repetition does not make the loss undone."""
    with pair() as (near, far):
        # the choice of the port takes two SYNs, then every second SYN is lost
        far.drop("tcp dport 443 tcp flags syn numgen inc mod 2 == 1")
        got = ping(near, methods=["tcp"], count=4)
        assert got.outcome is Outcome.DEGRADED
        assert got.data["received"] < 4
        assert got.data["rtt_max_ms"] < 900


def test_no_route_is_loss_with_its_cause() -> None:
    """A blank spot must not look perfect: without any route everything is lost, at once, for both families."""
    with namespace() as alone:
        for address in ("10.99.0.1", "fd99::1"):
            for method in ("icmp-raw", "tcp"):
                got = ping(alone, address, methods=[method])
                assert (got.outcome, code(got)) == (Outcome.FAILED, "network_unreachable"), method
                assert (got.data["sent"], got.data["loss_ratio"]) == (5, 1.0)
        alone.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        got = ping(alone, "10.99.0.1")
        assert (got.data["method"], code(got)) == ("icmp-dgram", "network_unreachable")
        assert got.data["loss_ratio"] == 1.0


def test_a_host_that_is_not_there_is_unreachable() -> None:
    """Nobody answers for the address on the local link: the kernel's own error is the cause, by every way."""
    with pair() as (near, _):
        near.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        near.sysctl("net.ipv4.neigh.eth0.retrans_time_ms", "100")
        for method in ("icmp-dgram", "icmp-raw", "tcp"):
            got = ping(near, "10.87.1.77", methods=[method])
            assert (got.outcome, code(got)) == (Outcome.FAILED, "host_unreachable"), method
            assert got.data["loss_ratio"] == 1.0


@pytest.mark.parametrize("method", ["icmp-dgram", "icmp-raw"])
def test_errors_from_routers_are_the_cause(method: str) -> None:
    """What a router on the way says, unreachable, prohibited or TTL exceeded, becomes the cause of the loss."""
    with pair() as (near, router):
        near.ip("route", "add", "default", "via", FAR)
        near.ip("-6", "route", "add", "default", "via", "fd87:1::2")
        near.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        router.sysctl("net.ipv4.ip_forward", "1")
        router.sysctl("net.ipv6.conf.all.forwarding", "1")
        router.sysctl("net.ipv4.icmp_ratelimit", "0")
        router.ip("route", "add", "prohibit", "10.90.0.0/24")
        router.ip("route", "add", "unreachable", "10.91.0.0/24")
        router.ip("-6", "route", "add", "prohibit", "fd90::/64")
        expected = {
            "10.90.0.1": "filtered",
            "10.91.0.1": "host_unreachable",
            "10.93.0.1": "network_unreachable",
            "fd90::1": "filtered",
            "fd93::1": "network_unreachable",
        }
        # one packet each: a router sends only a few such errors a second
        found = {address: code(ping(near, address, methods=[method], count=1)) for address in expected}
        assert found == expected
        router.ip("route", "add", "10.92.0.0/24", "via", "10.87.1.9")
        near.sysctl("net.ipv4.ip_default_ttl", "1")
        assert code(ping(near, "10.92.0.1", methods=[method], count=1)) == "ttl_exceeded"


def test_an_error_for_one_packet_does_not_swallow_the_next() -> None:
    """A pending error is raised by the kernel in place of the next send; that packet must still go out."""
    with pair() as (near, far):
        near.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        far.sysctl("net.ipv4.icmp_ratelimit", "0")
        far.run("nft", "add", "table", "inet", "test")
        far.run("nft", "add", "chain", "inet", "test", "input", "{ type filter hook input priority 0 ; }")
        rule = "icmp type echo-request numgen inc mod 2 == 0 reject with icmp type host-unreachable"
        far.run("nft", "add", "rule", "inet", "test", "input", *rule.split())
        got = ping(near, count=10, methods=["icmp-dgram"])
        assert (got.outcome, got.data["loss_ratio"], got.data["loss_cause"]) == (
            Outcome.DEGRADED,
            0.5,
            "host_unreachable",
        )
        assert [rtt is None for rtt in got.data["rtts_ms"]] == [True, False] * 5


def test_a_firewall_on_this_device_is_named() -> None:
    """Packets that our own firewall drops never left: lost, because of a permission here."""
    with pair() as (near, _):
        near.drop("icmp type echo-request", hook="output")
        got = ping(near)
        assert (got.outcome, code(got), got.data["loss_ratio"]) == (Outcome.FAILED, "permission", 1.0)


def test_the_default_gateway_is_found_and_pinged() -> None:
    """`default-gateway` means the gateway of the moment, IPv4's first, and IPv6's where there is no other."""
    with pair() as (near, _):
        assert code(ping(near, "default-gateway")) == "no_gateway"
        near.ip("-6", "route", "add", "default", "via", "fd87:1::2")
        assert ping(near, "default-gateway").address_used == "fd87:1::2"
        near.ip("route", "add", "default", "via", FAR)
        got = ping(near, "default-gateway")
        assert (got.outcome, got.address_used) == (Outcome.OK, FAR)
        assert ping(near, "default-gateway", family="ipv6").address_used == "fd87:1::2"
        assert near.call(routes.families) == "both"
        assert near.call(lambda: routes.interface_for("10.200.0.1")) == "eth0"


def test_a_link_local_gateway_is_pinged_with_its_interface() -> None:
    """Most IPv6 gateways are link-local: such an address is of use only with its interface."""
    with pair() as (near, far):
        far.ip("address", "add", "fe80::99/64", "dev", "eth0", "nodad")
        near.ip("address", "add", "fe80::98/64", "dev", "eth0", "nodad")
        near.ip("-6", "route", "add", "default", "via", "fe80::99", "dev", "eth0")
        got = ping(near, "default-gateway", methods=["icmp-raw"])
        assert got.outcome is Outcome.OK
        assert got.data["family"] == "ipv6"


def test_the_interface_is_that_of_the_longest_prefix() -> None:
    """With two links the interface named is the one the packets take."""
    with namespace("n") as near, namespace("x") as one, namespace("y") as two:
        join(near, one, 1)
        join(near, two, 2, names=("eth1", "eth0"))
        near.ip("route", "add", "default", "via", "10.87.1.2")
        assert near.call(lambda: routes.interface_for("10.87.2.2")) == "eth1"
        assert near.call(lambda: routes.interface_for("10.87.3.2")) == "eth0"
        assert near.call(lambda: routes.interface_for("fd87:2::2")) == "eth1"
        assert near.call(lambda: routes.interface_for("fd99::1")) is None
        assert near.call(_sent_bytes) > 0


def _sent_bytes() -> int:
    # /sys shows the namespace it was mounted in, so inside a child the counters are read from /proc
    lines = [line.split() for line in Path("/proc/net/dev").read_text().splitlines()]
    return next(int(words[9]) for words in lines if words[0] == "eth0:")


def test_an_outage_in_the_middle_is_seen_where_it_was() -> None:
    """The way is cut and comes back: lost are the packets of that time, and the rest has its times."""
    with pair() as (near, far):

        def outage() -> None:
            time.sleep(0.4)
            far.drop("icmp type echo-request")
            time.sleep(0.4)
            far.run("nft", "flush", "table", "inet", "test")

        worker = threading.Thread(target=outage)
        worker.start()
        got = ping(near, count=100, interval_ms=25)
        worker.join()
        assert got.outcome is Outcome.DEGRADED
        rtts = got.data["rtts_ms"]
        assert rtts[0] is not None and rtts[-1] is not None
        gap = [i for i, rtt in enumerate(rtts) if rtt is None]
        assert len(gap) >= 10 and gap == list(range(gap[0], gap[-1] + 1))


def test_namespaces_leave_nothing_behind() -> None:
    """The helper removes what it made, even when the test inside fails."""
    before = set(os.listdir("/run/netns"))
    names: list[str] = []
    try:
        with pair() as (near, far):
            names = [near.name, far.name]
            raise KeyError
    except KeyError:
        pass
    assert len(names) == 2
    assert not set(names) & set(os.listdir("/run/netns"))
    assert before <= set(os.listdir("/run/netns")) | before
