"""Servers that take no EDNS: what the C library resolves is found, and it is noted what did not work."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import pytest

from sigprobe.measure.dns import kind
from sigprobe.measure.dns.query import Question, ask
from sigprobe.measure.kind import Measured
from sigprobe.net.limits import Context, Deadline
from tests.support.servers.dnsserver import Answer, dns_server, records, silence

A = "kpu.test. 300 IN A 192.0.2.1"


def only_plain(otherwise: Answer) -> Answer:
    """Answer queries without EDNS, and do something else with the others."""
    return lambda query: otherwise(query) if query.edns >= 0 else records(A)(query)


def header_only(rcode: int) -> Answer:
    """Twelve bytes, as servers of before EDNS answer what they cannot parse."""
    return lambda query: [query.id.to_bytes(2, "big") + bytes([0x80, 0x80 | rcode]) + bytes(8)]


def badvers(query: dns.message.Message) -> list[bytes]:
    """BADVERS, whose upper bits stand in the OPT record."""
    reply = dns.message.make_response(query)
    reply.set_rcode(dns.rcode.BADVERS)
    return [reply.to_wire()]


@pytest.mark.parametrize(
    "otherwise",
    [
        silence,
        *(records(rcode=name) for name in ("FORMERR", "NOTIMP", "SERVFAIL", "REFUSED")),
        *(header_only(number) for number in (1, 2, 4, 5)),
        badvers,
    ],
    ids=["dropped", "FORMERR", "NOTIMP", "SERVFAIL", "REFUSED", "short 1", "short 2", "short 4", "short 5", "BADVERS"],
)
def test_a_server_without_edns_is_asked_once_more(otherwise: Answer) -> None:
    """The answer to the plain query counts, and `edns` says that the other got none."""
    with dns_server(only_plain(otherwise)) as server:
        reply = ask(server.host, server.port, Question("kpu.test", "A"), Context(Deadline.after(1.2)))
        plain = [query for query in server.udp if query.edns < 0]
    assert (reply.failure, reply.answers, reply.edns) == (None, ["192.0.2.1"], False)
    assert len(plain) == 1


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
def test_an_error_that_has_nothing_to_do_with_edns_stays(rcode: str) -> None:
    """The same answer without EDNS: the first one is reported, and EDNS is not blamed."""
    with dns_server(records(rcode=rcode)) as server:
        reply = ask(server.host, server.port, Question("kpu.test", "A"), Context(Deadline.after(3)))
    assert (reply.rcode, reply.edns, len(server.udp)) == (rcode, True, 2)


def test_an_error_stays_when_the_plain_query_is_dropped() -> None:
    """SERVFAIL is what the server said, not silence; and it is not waited for until the deadline."""

    def answer(query: dns.message.Message) -> list[bytes] | None:
        return records(rcode="SERVFAIL")(query) if query.edns >= 0 else None

    with dns_server(answer) as server:
        reply = ask(server.host, server.port, Question("kpu.test", "A"), Context(Deadline.after(30)))
    assert (reply.rcode, reply.edns) == ("SERVFAIL", True)
    assert reply.failure is not None and reply.failure.code == "dns_servfail"


def test_a_server_with_edns_gets_one_query() -> None:
    """Nothing is asked twice where all is well."""
    with dns_server(records(A)) as server:
        reply = ask(server.host, server.port, Question("kpu.test", "A"), Context(Deadline.after(3)))
    assert (reply.edns, len(server.udp)) == (True, 1)


def test_a_name_that_does_not_exist_is_not_asked_again() -> None:
    """NXDOMAIN is an answer."""
    with dns_server(records(rcode="NXDOMAIN")) as server:
        reply = ask(server.host, server.port, Question("kpu.test", "A"), Context(Deadline.after(3)))
    assert (reply.rcode, len(server.udp)) == ("NXDOMAIN", 1)


def changed_case(query: dns.message.Message) -> list[bytes]:
    """The question in capitals, as some servers echo it."""
    wire = records(A)(query)
    assert wire is not None
    return [wire[0].replace(b"\x03kpu\x04test", b"\x03KpU\x04TEST")]


def test_the_case_of_the_question_does_not_matter() -> None:
    """Names are compared without regard to case (RFC 4343)."""
    with dns_server(changed_case) as server:
        reply = ask(server.host, server.port, Question("kpu.test", "A"), Context(Deadline.after(2)))
    assert reply.answers == ["192.0.2.1"]


# --- what the C library resolves ----------------------------------------------------------------------------


def system_check(
    tmp_path: Path,
    hosts: str = "",
    *,
    system: Answer = silence,
    other: Answer | None = None,
    family: socket.AddressFamily = socket.AF_INET,
    resolves: bool = True,
    **options: Any,
) -> Measured:
    """Ask a system server, dead unless said otherwise, and perhaps another, for a name that the C library resolves."""
    file = tmp_path / "hosts"
    file.write_text(hosts)

    def found(host: str, port: int, **_: Any) -> list[Any]:
        if not resolves:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        if family == socket.AF_INET6:
            return [(family, socket.SOCK_STREAM, 6, "", ("2001:db8::7", port, 0, 0))]
        return [(family, socket.SOCK_STREAM, 6, "", ("192.0.2.7", port))]

    with dns_server(system) as server, dns_server(other or silence) as beside:
        if other is not None:
            options["resolvers"] = ["system", beside.address]
        return kind.measure(
            kind.Options(name="x", hostname="kpu.test", **options),
            Context(Deadline.after(0.5)),
            read_system=lambda _: [(server.host, server.port)],
            getaddrinfo=found,
            hosts_file=file,
        )


def test_what_the_c_library_resolves_is_not_silence(tmp_path: Path) -> None:
    """Programs get their answer, so the result is degraded and says so."""
    measured = system_check(tmp_path)
    assert measured.outcome == "degraded"
    assert measured.failure is not None and measured.failure.code == "dns_library_only"


def test_a_name_of_the_hosts_file_proves_nothing(tmp_path: Path) -> None:
    """There the C library asks no server: the silent one stays silent."""
    measured = system_check(tmp_path, "192.0.2.7 kpu.test\n")
    assert measured.failure is not None and measured.failure.code == "dns_timeout"


@pytest.mark.parametrize("rcode", ["SERVFAIL", "NXDOMAIN", "REFUSED", "NOERROR"])
def test_another_resolver_does_not_make_the_system_silent(tmp_path: Path, rcode: str) -> None:
    """What another resolver answers says nothing about the one that programs use."""
    measured = system_check(tmp_path, other=records(rcode=rcode))
    assert (measured.outcome, measured.failure and measured.failure.code) == ("degraded", "dns_library_only")
    assert measured.failure is not None and (measured.failure.detail or "").startswith("dns_timeout: ")


@pytest.mark.parametrize(
    ("rcode", "code"), [("SERVFAIL", "dns_servfail"), ("NOERROR", "dns_no_answer"), ("REFUSED", "dns_refused")]
)
def test_an_error_of_the_system_counts_only_where_the_library_fails_too(tmp_path: Path, rcode: str, code: str) -> None:
    """Where programs get an address, the server's error is no failed name; where they get none, it is."""
    found = system_check(tmp_path, system=records(rcode=rcode))
    assert (found.outcome, found.failure and found.failure.code) == ("degraded", "dns_library_only")
    lost = system_check(tmp_path, system=records(rcode=rcode), resolves=False)
    assert (lost.outcome, lost.failure and lost.failure.code) == ("failed", code)


def test_an_address_of_the_other_family_does_not_excuse_an_empty_answer(tmp_path: Path) -> None:
    """A name without AAAA stays one, though the C library knows its IPv4 address."""
    empty = records()
    found = system_check(tmp_path, system=empty, type="AAAA")
    assert (found.outcome, found.failure and found.failure.code) == ("failed", "dns_no_answer")
    found = system_check(tmp_path, system=empty, type="AAAA", family=socket.AF_INET6)
    assert (found.outcome, found.failure and found.failure.code) == ("degraded", "dns_library_only")


def test_a_denied_name_stays_denied(tmp_path: Path) -> None:
    """NXDOMAIN is an answer; what the C library found may come from its search list."""
    found = system_check(tmp_path, system=records(rcode="NXDOMAIN"))
    assert (found.outcome, found.failure and found.failure.code) == ("failed", "dns_nxdomain")


def test_another_resolver_that_answers_is_told(tmp_path: Path) -> None:
    """Some answered and some did not: degraded as before."""
    found = system_check(tmp_path, other=records(A))
    assert (found.outcome, found.failure and found.failure.code) == ("degraded", "dns_some_failed")
