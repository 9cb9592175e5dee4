"""The walk outwards, in namespaces of its own: device, gateway, operator, and a point beyond."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sigprobe.measure import KINDS
from sigprobe.measure.kind import Measured
from sigprobe.measure.path import kind as path
from sigprobe.measure.path import probes, server_look
from sigprobe.measure.path.options import Aim, Options, Seen
from sigprobe.net import sockets
from sigprobe.net.limits import Context, DataBudget, Deadline
from sigprobe.record.result import Outcome
from tests.support.netns import MARKS, NOBODY, Namespace, join, namespace

FAR = "10.87.3.2"
GATEWAY = "10.87.1.2"


@pytest.fixture
def chain(request: pytest.FixtureRequest) -> Iterator[list[Namespace]]:
    """Device, gateway, operator, rest; the rest is `FAR`."""
    with namespace("d") as device, namespace("g") as gate, namespace("o") as isp, namespace("r") as rest:
        join(device, gate, 1, names=("eth0", "lan0"))
        join(gate, isp, 2, names=("wan0", "wan1"))
        join(isp, rest, 3, names=("core0", "eth0"))
        device.ip("route", "add", "default", "via", GATEWAY)
        gate.ip("route", "add", "default", "via", "10.87.2.2")
        isp.ip("route", "add", "10.87.1.0/24", "via", "10.87.2.1")
        rest.ip("route", "add", "default", "via", "10.87.3.1")
        for space in (gate, isp):
            space.sysctl("net.ipv4.ip_forward", "1")
            space.sysctl("net.ipv4.icmp_ratelimit", "0")
        yield [device, gate, isp, rest]


def walk(space: Namespace, *references: str, uid: int | None = None, **more: Any) -> Measured:
    import icmplib  # noqa: F401 - loaded before the child gives up the right to read it

    import sigprobe.measure.dns.query  # noqa: F401

    "a".encode("idna")

    def run() -> Measured:
        options = Options(references=references, **more)
        return path.measure(options, Context(Deadline.after(options.timeout_s())))

    return space.call(run, uid=uid)


def code(got: Measured) -> str | None:
    return None if got.failure is None else got.failure.code


class TestOutwards:
    """Needs root and namespaces."""

    pytestmark = MARKS

    def test_a_reference_that_answers_is_ok(self, chain: list[Namespace]) -> None:
        """All steps of a healthy way are told, in under five seconds and 50 kB."""
        started = time.monotonic()
        got = walk(chain[0], FAR)
        assert time.monotonic() - started < 5
        assert (got.outcome, code(got), got.address_used) == (Outcome.OK, None, GATEWAY)
        data = got.data
        assert 0 < data["bytes_used"] < 50_000
        assert (data["interface"], data["ipv4"], data["routed"]) == ("eth0", "10.87.1.1", True)
        assert data["gateway"]["answers"] and data["gateway"]["neighbour"]
        assert [hop["address"] for hop in data["hops"]] == [GATEWAY, "10.87.2.2", FAR]
        assert data["hop_beyond"] == "10.87.2.2"
        point = data["references"][0]
        assert (point["sent"], point["received"], point["answers"], point["place"]) == (10, 10, True, "beyond")
        assert set(point["tcp"].values()) == {"refused"}
        assert data["whole"]["far_received"] == data["whole"]["sent"]
        assert set(data) == set(KINDS["path"].data.__annotations__)

    def test_a_user_without_rights_sees_the_hops(self, chain: list[Namespace]) -> None:
        """Hops and TCP need no privilege; what echo would tell is null, not zero."""
        got = walk(chain[0], FAR, uid=NOBODY)
        assert got.outcome is Outcome.OK
        assert got.data["hop_beyond"] == "10.87.2.2"
        assert got.data["references"][0]["rtt_median_ms"] is None
        assert got.data["gateway"]["answers"], "by its refusal over TCP"

    def test_a_hop_beyond_and_nothing_after_it_is_degraded(self, chain: list[Namespace]) -> None:
        """The operator's router answers and nothing behind it does."""
        chain[2].drop("oifname core0", hook="forward")
        got = walk(chain[0], FAR)
        assert (got.outcome, code(got)) == (Outcome.DEGRADED, "dead_after_hop")
        assert got.data["hop_beyond"] == "10.87.2.2"

    def test_the_gateways_own_word_is_no_hop_beyond(self, chain: list[Namespace]) -> None:
        """A gateway that says `unreachable` has said nothing of what lies behind it."""
        chain[1].ip("route", "del", "default")
        got = walk(chain[0], FAR)
        assert (got.outcome, code(got), got.data["hop_beyond"]) == (Outcome.FAILED, "no_way_beyond", None)

    def test_a_dead_gateway(self, chain: list[Namespace]) -> None:
        """Nobody answers for the gateway's address, not even to ARP."""
        chain[1].ip("address", "flush", "dev", "lan0")
        chain[0].sysctl("net.ipv4.neigh.eth0.retrans_time_ms", "100")
        got = walk(chain[0], FAR)
        assert (got.outcome, code(got)) == (Outcome.FAILED, "gateway_dead")
        assert got.data["gateway"]["neighbour"] is False

    @pytest.mark.parametrize(
        ("break_it", "expected"),
        [
            pytest.param(lambda d: d.ip("link", "set", "eth0", "down"), "no_network", id="no interface"),
            pytest.param(lambda d: d.ip("address", "flush", "dev", "eth0"), "no_address", id="no address"),
            pytest.param(lambda d: d.ip("route", "del", "default"), "no_gateway", id="no default route"),
        ],
    )
    def test_what_this_device_itself_lacks(
        self, chain: list[Namespace], break_it: Callable[[Namespace], None], expected: str
    ) -> None:
        """The first step that is missing is the one that is named."""
        break_it(chain[0])
        got = walk(chain[0], FAR)
        assert (got.outcome, code(got)) == (Outcome.FAILED, expected)

    def test_a_target_that_answered_proves_a_way(self, chain: list[Namespace]) -> None:
        """Where references are closed, what another check of the run reached counts; a neighbour does not."""
        chain[2].drop("ip daddr 10.87.3.0/24", hook="forward")
        seen = Seen(name="page", address="203.0.113.9:443")
        assert walk(chain[0], FAR, seen=(seen,)).outcome is Outcome.OK
        near = Seen(name="printer", address="10.87.1.77:80")
        assert walk(chain[0], FAR, seen=(near,)).outcome is Outcome.DEGRADED
        failed = Seen(name="page", address="203.0.113.9:443", code="timeout")
        assert walk(chain[0], FAR, seen=(failed,)).outcome is Outcome.DEGRADED

    def test_a_reference_on_this_side_of_the_gateway_proves_no_way(self, chain: list[Namespace]) -> None:
        """The gateway itself, or this device, may stand among the references by mistake: they are no way beyond."""
        chain[1].drop("ip daddr 10.87.0.0/16", hook="forward")
        got = walk(chain[0], GATEWAY, "127.0.0.1")
        assert [p["answers"] for p in got.data["references"]] == [True, True]
        assert {p["place"] for p in got.data["references"]} == {"link", "self"}
        assert (got.outcome, code(got)) == (Outcome.FAILED, "no_way_beyond")

    def test_large_packets_that_vanish_are_seen(self, chain: list[Namespace]) -> None:
        """The gateway passes full packets, the way beyond swallows them without a word."""
        chain[2].drop("meta length > 1400", hook="forward")
        whole = walk(chain[0], FAR).data["whole"]
        assert (whole["gateway_received"], whole["far_received"], whole["far_failure"]) == (2, 0, "no_reply")

    def test_traffic_of_other_programs_is_told_from_ours(self, chain: list[Namespace]) -> None:
        """A quiet device shows none, although the walk itself moves tens of kilobytes."""
        data = walk(chain[0], FAR).data
        assert data["other_rx_bps"] < 20_000 and data["other_tx_bps"] < 20_000


def test_a_stop_ends_it() -> None:
    """Told to stop, it is skipped, not failed."""
    context = Context(Deadline.after(4))
    context.stop.set()
    got = path.measure(Options(), context)
    assert (got.outcome, code(got)) == (Outcome.SKIPPED, "interrupted")


def test_without_data_left_nothing_is_sent() -> None:
    """An empty data budget leaves the walk out."""
    context = Context(Deadline.after(4), DataBudget(0))
    got = path.measure(Options(references=("192.0.2.1",)), context)
    assert (got.outcome, code(got), got.data["bytes_used"]) == (Outcome.SKIPPED, "data_budget", 0)


def test_where_only_this_device_is_configured_nothing_is_sent() -> None:
    """Targets on loopback alone: there is no way to walk, and no packet leaves."""
    aims = (Aim(name="a", kind="http", host="127.0.0.1", port=80), Aim(name="b", kind="ping", host="::1"))
    got = path.measure(Options(targets=aims), Context(Deadline.after(4)))
    assert got.outcome is Outcome.FAILED
    assert got.data["bytes_used"] == 0
    assert got.data["gateway"] is None


def test_it_may_not_be_written_as_a_target(tmp_path: Path, sigprobe: Callable[..., Any]) -> None:
    """The settings refuse `kind: path` and say why."""
    file = tmp_path / "c.yaml"
    file.write_text('probe: {site: "x"}\ntargets: [{kind: path, name: way}]\n')
    done = sigprobe("config", "check", "--config", str(file), "--lang", "en")
    assert done.returncode == 2
    assert "path is part of every test and cannot be configured" in done.stdout + done.stderr


def test_options_come_from_what_is_configured() -> None:
    """Targets, named resolvers, references and collectors become plain values; `system` is no resolver to ask."""
    made = path.options_for(
        [
            KINDS["ping"].options(kind="ping", name="gw", address="default-gateway"),
            KINDS["dns"].options(kind="dns", name="kpu", hostname="kpu.example", resolvers=["system", "9.9.9.9"]),
            KINDS["http"].options(kind="http", name="page", url="https://a.example:8443/x?y=1"),
        ],
        ["1.1.1.1", "1.1.1.1"],
        ["https://c.example/"],
    )
    assert made.references == ("1.1.1.1",)
    assert made.resolvers == ("9.9.9.9",)
    assert [(a.host, a.port, a.tls) for a in made.targets] == [
        ("default-gateway", 0, False),
        ("kpu.example", 0, False),
        ("a.example", 8443, True),
    ]


def test_the_rate_of_a_train_is_that_of_its_middle_gap() -> None:
    """One stall does not make a fast link slow; a train of one tells nothing."""
    assert probes.spread_rate_bps([0.0, 0.001, 0.002, 0.1], 1500) == 12_000_000
    assert probes.spread_rate_bps([0.0, 0.1, 0.2, 0.3], 1500) == 120_000
    assert probes.spread_rate_bps([0.0], 1500) is None


def test_certificates_are_read_without_trust() -> None:
    """Issuer and dates of a certificate that no check accepted, as a real parser reads them; garbage is refused."""
    made = trustme.CA(organization_name="Somebody in Between").issue_cert("a.example")
    known = x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes())
    issuer, start, end = server_look.certificate_parts(known.public_bytes(Encoding.DER))
    assert "Somebody in Between" in issuer
    assert start is not None and start.startswith(known.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%S"))
    assert end is not None and end.startswith(known.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%S"))
    for garbage in (b"", b"\x30", b"\x30\x82\xff\xff", b"\x02\x01\x05", bytes(40)):
        with pytest.raises((ValueError, IndexError)):
            server_look.certificate_parts(garbage)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Thu, 01 Jan 1970 00:16:40 GMT", 0.5),
        ("Thu, 01 Jan 1970 01:16:40 GMT", 3600.5),
        ("yesterday", None),
        (None, None),
    ],
)
def test_a_servers_date_tells_the_clocks_error(date: str | None, expected: float | None) -> None:
    """The header has whole seconds, so half of one is the best guess; no date tells nothing."""
    assert server_look.clock_offset_s(date, 1000.0) == expected


NOW_S = 1795845600.0  # 2026-11-28 06:00 UTC
THEN = "Sat, 28 Nov 2026 04:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"date": THEN}, -7199.5),
        ({"date": THEN, "age": "0"}, -7199.5),
        ({"date": THEN, "x-cache": "MISS from proxy"}, -7199.5),
        ({"date": "Sat, 28 Nov 2026 06:00:00 GMT", "via": "1.1 google"}, 0.5),
        ({"date": THEN, "age": "7200"}, None),
        ({"date": THEN, "age": "no number"}, None),
        ({"date": THEN, "via": "1.1 varnish"}, None),
        ({"date": THEN, "x-cache": "HIT from squid"}, None),
        ({"date": THEN, "cf-cache-status": "STALE"}, None),
        ({"date": THEN, "cache-status": "edge; hit; ttl=5"}, None),
        ({"date": THEN, "warning": '110 - "Response is stale"'}, None),
        ({"date": "Thu, 01 Jan 1970 00:00:00 GMT"}, None),
        ({"date": "Sat, 28 Nov 2099 06:00:00 GMT"}, None),
    ],
)
def test_the_date_of_a_stored_copy_tells_nothing(headers: dict[str, str], expected: float | None) -> None:
    assert server_look.offset_told(headers, NOW_S) == expected


def test_an_address_of_a_family_that_is_not_there_is_none() -> None:
    """A scope that is no interface makes no exception."""
    assert probes.numeric("fe80::1%nowhere9", 53) is None
    assert isinstance(probes.numeric("127.0.0.1", 53), sockets.Address)
