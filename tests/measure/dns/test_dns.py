"""The `dns` kind against servers that answer, lie, or say nothing."""

from __future__ import annotations

import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from sigprobe.measure.dns import kind
from sigprobe.measure.dns.servers import parse_server, system_servers
from sigprobe.measure.kind import Measured
from sigprobe.net.limits import Context, DataBudget, Deadline
from sigprobe.words.codes import CODES
from tests.support.servers.dnsserver import Answer, dns_server, records, silence

A = "kpu.test. 300 IN A 192.0.2.1"
SCHEMA = Draft202012Validator(TypeAdapter(kind.DnsData).json_schema())


def no_lookup(*_: Any, **__: Any) -> list[Any]:
    raise socket.gaierror(socket.EAI_NONAME, "unknown")


def check(*resolvers: str, seconds: float = 2, context: Context | None = None, **options: Any) -> Measured:
    """Run one check with the given resolvers, and hold its data to the published shape."""
    measure_options = {key: options.pop(key) for key in ("getaddrinfo", "resolv_conf", "read_system") if key in options}
    measure_options.setdefault("getaddrinfo", no_lookup)
    chosen = kind.Options(name="x", hostname=options.pop("hostname", "kpu.test"), resolvers=list(resolvers), **options)
    measured = kind.measure(chosen, context or Context(Deadline.after(seconds)), **measure_options)
    SCHEMA.validate(dict(measured.data))
    assert set(measured.data) == set(kind.DnsData.__annotations__)
    assert measured.failure is None or measured.failure.code in CODES
    return measured


def one(udp: Answer, tcp: Answer | None = None, **options: Any) -> tuple[Measured, dict[str, Any]]:
    """Run one check against one server; also hand back that resolver's own entry."""
    with dns_server(udp, tcp) as server:
        measured = check(server.address, **options)
    entry = measured.data["resolvers"][0]
    assert entry["address"] == server.address
    return measured, entry


def test_an_answer_is_ok_with_its_numbers() -> None:
    """A good answer gives time, code, records, the smallest TTL, and the bytes both ways."""
    budget = DataBudget()
    with dns_server(records(A, "kpu.test. 120 IN A 192.0.2.2", flags=dns.flags.AD)) as server:
        measured = check(server.address, context=Context(Deadline.after(2), budget=budget))
    data, entry = measured.data, measured.data["resolvers"][0]
    assert measured.outcome == "ok"
    assert measured.address_used == server.address
    assert sorted(data["answers"]) == ["192.0.2.1", "192.0.2.2"]
    assert data["ttl_s"] == 120
    assert (data["rcode"], data["resolver"]) == ("NOERROR", server.address)
    assert 0 < data["query_ms"] < 1000
    assert (entry["protocol"], entry["truncated"], entry["ad"], entry["attempts"]) == ("udp", False, True, 1)
    assert entry["bytes_sent"] > 12 < entry["bytes_received"]
    assert budget.used_bytes == entry["bytes_sent"] + entry["bytes_received"]
    assert data["getaddrinfo_ms"] is None
    assert data["getaddrinfo_error"] == "EAI_NONAME"


def test_the_time_is_the_servers_time() -> None:
    """query_ms is what the server really took, to two milliseconds; the best of five, since machines are busy."""
    took_ms: list[float] = []

    def slow(query: dns.message.Message) -> list[bytes] | None:
        start = time.monotonic()
        threading.Event().wait(0.02)
        packets = records(A)(query)
        took_ms.append((time.monotonic() - start) * 1000)
        return packets

    with dns_server(slow) as server:
        errors = [check(server.address).data["query_ms"] - took_ms[-1] for _ in range(5)]
    assert all(error >= 0 for error in errors)
    assert min(errors) < 2


@pytest.mark.parametrize(
    ("answer", "code", "rcode"),
    [
        (records(rcode="NXDOMAIN"), "dns_nxdomain", "NXDOMAIN"),
        (records(rcode="SERVFAIL"), "dns_servfail", "SERVFAIL"),
        (records(rcode="REFUSED"), "dns_refused", "REFUSED"),
        (records(rcode="YXDOMAIN"), "dns_rcode", "YXDOMAIN"),
        (records(), "dns_no_answer", "NOERROR"),
        (records("kpu.test. 300 IN CNAME web.test."), "dns_no_answer", "NOERROR"),
        (records("other.test. 300 IN A 192.0.2.1"), "dns_no_answer", "NOERROR"),
    ],
)
def test_each_bad_answer_has_its_own_code(answer: Answer, code: str, rcode: str) -> None:
    """An error code and an empty answer are failures told apart, and timed all the same."""
    measured, _ = one(answer)
    assert measured.outcome == "failed"
    assert measured.failure is not None
    assert measured.failure.code == code
    assert measured.data["rcode"] == rcode
    assert measured.data["query_ms"] > 0
    assert measured.data["ttl_s"] is None


def test_a_chain_of_cnames_counts_at_its_end() -> None:
    """The records of the asked type at the end of a chain are the answer; the TTL is the chain's smallest."""
    measured, _ = one(
        records("kpu.test. 60 IN CNAME web.test.", "web.test. 30 IN CNAME edge.test.", "edge.test. 300 IN A 192.0.2.9")
    )
    assert measured.outcome == "ok"
    assert measured.data["answers"] == ["192.0.2.9"]
    assert measured.data["ttl_s"] == 30


def test_a_circle_of_cnames_is_a_bad_response() -> None:
    """A chain without an end does not hang the check."""
    measured, _ = one(records("kpu.test. 60 IN CNAME web.test.", "web.test. 60 IN CNAME kpu.test."))
    assert measured.failure is not None
    assert measured.failure.code == "bad_response"


def test_other_record_types_are_asked_as_configured() -> None:
    """TXT, MX and the like come back as text; `getaddrinfo` is not asked for what it does not know."""
    with dns_server(records('kpu.test. 60 IN TXT "a b" "c"')) as server:
        measured = check(server.address, type="TXT")
    assert measured.data["answers"] == ['"a b" "c"']
    assert measured.data["getaddrinfo_error"] == "not asked for type TXT"


def test_an_address_is_asked_backwards() -> None:
    """Type PTR takes an address and asks for its reverse name."""
    with dns_server(records("1.2.0.192.in-addr.arpa. 60 IN PTR kpu.test.")) as server:
        measured = check(server.address, hostname="192.0.2.1", type="PTR")
    assert measured.data["answers"] == ["kpu.test."]


def test_names_in_other_scripts_go_out_as_punycode() -> None:
    """A name in Balinese script, which .id registers, is asked for in its ASCII form."""
    with dns_server(records()) as server:
        check(server.address, hostname="ᬩᬮᬶ.id")
    assert server.udp[0].question[0].name.to_text().startswith("xn--")


def test_many_long_answers_are_cut_to_what_a_record_can_hold() -> None:
    """At most 32 answers are kept, and few enough characters that eight resolvers fit into a record."""
    rows = [f'kpu.test. 60 IN TXT "{index:02d}{"x" * 200}"' for index in range(60)]
    with dns_server(records(rows[0], flags=dns.flags.TC), records(*rows)) as server:
        measured = check(server.address, type="TXT")
    assert 1 <= len(measured.data["answers"]) <= 32
    assert sum(map(len, measured.data["answers"])) <= 3072


# --- transport ----------------------------------------------------------------------------------------------


def test_a_truncated_answer_is_fetched_over_tcp() -> None:
    """TC over UDP leads to TCP, and the entry says so."""
    measured, entry = one(records(flags=dns.flags.TC), records(A))
    assert measured.outcome == "ok"
    assert (entry["protocol"], entry["truncated"], entry["answers"]) == ("tcp", True, ["192.0.2.1"])


def test_a_truncated_answer_without_tcp_is_a_failure() -> None:
    """TC from a server that refuses TCP is no answer."""
    measured, entry = one(records(flags=dns.flags.TC))
    assert entry["failure"]["code"] == "refused"
    assert (entry["truncated"], entry["query_ms"], entry["answers"]) == (True, None, None)
    assert measured.outcome == "failed"


def test_tcp_that_ends_in_the_middle_is_a_reset() -> None:
    """A TCP connection closed before the answer is whole says so."""
    _, entry = one(records(flags=dns.flags.TC), silence)
    assert entry["failure"]["code"] == "reset"


def test_answers_with_a_wrong_id_are_ignored_and_counted() -> None:
    """A spoofed id is not believed; the real answer after it is."""

    def forger(query: dns.message.Message) -> list[bytes]:
        forged = records("kpu.test. 300 IN A 203.0.113.66")(query)
        real = records(A)(query)
        assert forged and real
        return [struct.pack("!H", query.id ^ 1) + forged[0][2:], *real]

    measured, entry = one(forger)
    assert measured.data["answers"] == ["192.0.2.1"]
    assert entry["ignored"] == 1


def test_only_wrong_ids_are_a_bad_response_at_the_deadline() -> None:
    """A resolver that answers nothing but other ids has not answered."""

    def forger(query: dns.message.Message) -> list[bytes]:
        forged = records(A)(query)
        assert forged
        return [struct.pack("!H", query.id ^ 1) + forged[0][2:]]

    measured, entry = one(forger, seconds=0.3)
    assert entry["failure"]["code"] == "bad_response"
    assert measured.data["rcode"] is None
    assert measured.data["answers"] is None


def test_answers_to_another_question_are_ignored() -> None:
    """The right id with another name is not believed."""

    def forger(query: dns.message.Message) -> list[bytes]:
        other = dns.message.make_query("bank.test.", "A", id=query.id)
        forged, real = records("bank.test. 300 IN A 203.0.113.66")(other), records(A)(query)
        assert forged and real
        return [*forged, *real]

    measured, entry = one(forger)
    assert measured.data["answers"] == ["192.0.2.1"]
    assert entry["ignored"] == 1


def test_garbage_is_ignored() -> None:
    """Short packets, noise, and an answer broken off in the middle crash nothing and are no answer."""

    def noise(query: dns.message.Message) -> list[bytes]:
        real = records(A)(query)
        assert real
        return [b"", b"\x00", bytes(range(64)), query.to_wire()[:2] + b"\xff" * 40, real[0][:-3]]

    _, entry = one(noise, seconds=0.3)
    assert entry["failure"]["code"] == "bad_response"
    assert entry["ignored"] >= 4


def test_answers_from_elsewhere_are_not_seen() -> None:
    """A packet from another port is not believed, whatever it says."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        elsewhere.bind(("127.0.0.1", 0))
        server.bind(("127.0.0.1", 0))
        server.settimeout(2)

        def forge() -> None:
            wire, sender = server.recvfrom(4096)
            for packet in records(A)(dns.message.from_wire(wire)) or []:
                elsewhere.sendto(packet, sender)

        thread = threading.Thread(target=forge)
        thread.start()
        measured = check(f"127.0.0.1:{server.getsockname()[1]}", seconds=0.3)
        thread.join()
    assert measured.failure is not None
    assert measured.failure.code == "dns_timeout"


def test_silence_is_a_timeout_at_the_deadline() -> None:
    """A silent server is asked twice, once more without EDNS, and given up at the deadline, not later."""
    start = time.monotonic()
    measured, entry = one(silence, seconds=0.4)
    assert time.monotonic() - start < 0.8
    assert entry["failure"]["code"] == "dns_timeout"
    assert entry["attempts"] == 3
    assert measured.data["query_ms"] is None


def test_a_lost_query_is_sent_again_and_timed_from_its_own_send() -> None:
    """The second attempt's answer is timed from the second send."""
    calls: list[int] = []

    def second_only(query: dns.message.Message) -> list[bytes] | None:
        calls.append(query.id)
        return records(A)(query) if len(calls) == 2 else None

    measured, entry = one(second_only, seconds=0.8)
    assert measured.outcome == "ok"
    assert entry["attempts"] == 2
    assert measured.data["query_ms"] < 300


def test_nobody_listening_is_refused() -> None:
    """An ICMP port unreachable is told apart from silence, at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    start = time.monotonic()
    measured = check(f"127.0.0.1:{port}")
    assert measured.failure is not None
    assert measured.failure.code == "refused"
    assert time.monotonic() - start < 1


def test_servers_of_before_edns_are_asked_the_old_way() -> None:
    """FORMERR to a query with EDNS is no answer yet."""

    def old(query: dns.message.Message) -> list[bytes] | None:
        return records(rcode="FORMERR")(query) if query.edns >= 0 else records(A)(query)

    measured, entry = one(old)
    assert measured.outcome == "ok"
    assert entry["attempts"] == 2


def test_ipv6_resolvers_work() -> None:
    """A resolver written [::1]:port is asked over IPv6."""
    with dns_server(records("kpu.test. 9 IN AAAA 2001:db8::1"), host="::1") as server:
        measured = check(server.address, type="AAAA")
    assert measured.data["answers"] == ["2001:db8::1"]
    assert measured.address_used == f"[::1]:{server.port}"


# --- several resolvers --------------------------------------------------------------------------------------


def test_some_bad_resolvers_degrade_the_result() -> None:
    """One good and one bad resolver: degraded, and the good one's numbers stand on top."""
    with dns_server(records(rcode="SERVFAIL")) as bad, dns_server(records(A)) as good:
        measured = check(bad.address, good.address)
    assert measured.outcome == "degraded"
    assert measured.failure is not None
    assert measured.failure.code == "dns_some_failed"
    assert "dns_servfail" in (measured.failure.detail or "")
    assert measured.data["resolver"] == good.address
    assert measured.data["answers"] == ["192.0.2.1"]


def test_all_bad_resolvers_fail_with_the_first_ones_code() -> None:
    """When nobody answers well, the first resolver's code is the check's."""
    with dns_server(records(rcode="NXDOMAIN")) as first, dns_server(records(rcode="REFUSED")) as second:
        measured = check(first.address, second.address)
    assert measured.outcome == "failed"
    assert measured.failure is not None
    assert measured.failure.code == "dns_nxdomain"


def test_silent_resolvers_are_waited_for_side_by_side() -> None:
    """Four silent resolvers take one deadline, not four."""
    start = time.monotonic()
    with dns_server(silence) as a, dns_server(silence) as b, dns_server(silence) as c, dns_server(silence) as d:
        measured = check(a.address, b.address, c.address, d.address, seconds=0.4)
    assert time.monotonic() - start < 1.2
    assert measured.failure is not None
    assert measured.failure.code == "dns_timeout"


def test_the_next_system_server_is_asked_when_one_fails() -> None:
    """`system` goes down its list as the C library does, and says whom it asked."""
    with dns_server(silence) as dead, dns_server(records(A)) as alive:
        servers = [(dead.host, dead.port), (alive.host, alive.port)]
        measured = check("system", seconds=0.6, read_system=lambda _: servers)
    entry = measured.data["resolvers"][0]
    assert measured.outcome == "ok"
    assert entry["resolver"] == "system"
    assert entry["address"] == alive.address
    assert entry["asked"] == [dead.address, alive.address]


def test_a_system_without_resolvers_has_its_own_code(tmp_path: Path) -> None:
    """No nameserver at all is a failure with a name, not a crash."""
    for text in (None, "# nothing\nsearch example.test\nnameserver here\n"):
        path = tmp_path / "resolv.conf"
        if text is not None:
            path.write_text(text)
        measured = check("system", resolv_conf=path)
        assert measured.outcome == "failed"
        assert measured.failure is not None
        assert measured.failure.code == "dns_no_resolver"
        assert measured.data["resolvers"][0]["address"] is None


def test_resolv_conf_is_read_in_order(tmp_path: Path) -> None:
    """The system's servers are those of resolv.conf: in order, no doubles, at most three."""
    path = tmp_path / "resolv.conf"
    path.write_text(
        "options edns0\nnameserver 192.0.2.1\n;nameserver 192.0.2.9\nnameserver\t192.0.2.1\n"
        "nameserver fe80::1%eth0 # home\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"
    )
    assert system_servers(path) == [("192.0.2.1", 53), ("fe80::1%eth0", 53), ("192.0.2.3", 53)]


# --- beside and around --------------------------------------------------------------------------------------


def test_getaddrinfo_is_timed_beside() -> None:
    """The system's own lookup has its own time."""

    def slow(*_: Any, **__: Any) -> list[Any]:
        threading.Event().wait(0.1)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    with dns_server(records(A)) as server:
        measured = check(server.address, getaddrinfo=slow)
    assert 100 <= measured.data["getaddrinfo_ms"] < 400
    assert measured.data["getaddrinfo_error"] is None


def test_a_getaddrinfo_that_hangs_is_left_behind_at_the_deadline() -> None:
    """It has no timeout of its own, so the check's deadline ends the wait: null and the reason."""
    release = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        release.wait(10)
        return []

    start = time.monotonic()
    with dns_server(records(A)) as server:
        measured = check(server.address, seconds=0.4, getaddrinfo=hang)
    release.set()
    assert time.monotonic() - start < 1
    assert measured.outcome == "ok"
    assert measured.data["getaddrinfo_ms"] is None
    assert measured.data["getaddrinfo_error"] == "timeout"


def test_a_stop_ends_the_check_at_once() -> None:
    """Ctrl-C does not wait for the deadline."""
    stop = threading.Event()

    def stopper(query: dns.message.Message) -> None:
        stop.set()

    start = time.monotonic()
    with dns_server(stopper) as server:
        measured = check(server.address, context=Context(Deadline.after(30), stop=stop))
    assert time.monotonic() - start < 2
    assert measured.outcome == "skipped"
    assert measured.failure is not None
    assert measured.failure.code == "interrupted"


def test_without_data_left_nothing_is_sent() -> None:
    """A spent budget skips the check before the first packet."""
    budget = DataBudget(10)
    budget.spend(10)
    with dns_server(records(A)) as server:
        measured = check(server.address, context=Context(Deadline.after(2), budget=budget))
    assert measured.outcome == "skipped"
    assert server.udp == []


@pytest.mark.parametrize(
    "bad",
    [
        {"hostname": ""},
        {"hostname": "a..b"},
        {"hostname": "-.x"},
        {"hostname": "kpu go.id"},
        {"hostname": "x" * 64 + ".id"},
        {"hostname": "192.0.2.1"},
        {"resolvers": []},
        {"resolvers": ["1.1.1.1"] * 2},
        {"resolvers": ["1.1.1.1", "1.1.1.1:53"]},
        {"resolvers": [f"192.0.2.{n}" for n in range(9)]},
        {"resolvers": ["dns.example"]},
        {"resolvers": ["1.1.1.1:0"]},
        {"resolvers": ["1.1.1.1:x"]},
        {"resolvers": ["[::1"]},
        {"resolvers": ["[::1]53"]},
        {"type": "ANY"},
        {"timeout_ms": 1},
        {"unknown": 1},
    ],
)
def test_bad_options_are_refused(bad: dict[str, Any]) -> None:
    """What cannot be asked is an error of the settings, not of the measurement."""
    with pytest.raises(ValidationError):
        kind.Options(**{"name": "x", "hostname": "kpu.go.id", **bad})


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("1.1.1.1", ("1.1.1.1", 53)),
        ("1.1.1.1:5353", ("1.1.1.1", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]", ("::1", 53)),
        ("[2001:DB8::1]:54", ("2001:db8::1", 54)),
    ],
)
def test_resolvers_are_read(text: str, server: tuple[str, int]) -> None:
    """All written forms of a resolver's address are understood."""
    assert parse_server(text) == server


def test_defaults() -> None:
    """Without further keys: record A from the system's resolver within five seconds."""
    options = kind.Options(name="x", hostname="kpu.go.id")
    assert (options.type, options.resolvers, options.timeout_s()) == ("A", ["system"], 5.0)
    assert options.configured_address() == "kpu.go.id"
    assert options.estimate().bytes > 0
