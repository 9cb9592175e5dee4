"""What the system's resolver says, held against others: tampered only where nothing else fits, with both answers."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.rrset
import pytest
import trustme
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from sigprobe.measure.dns import kind
from sigprobe.measure.kind import Measured
from sigprobe.net.limits import Context, DataBudget, Deadline
from sigprobe.verdict import dns_consistency
from sigprobe.verdict.dns_consistency import Told
from sigprobe.words.codes import CODES
from tests.support.servers.dnsserver import Answer, DnsServer, dns_server, records
from tests.support.servers.tcp import tcp_server

# another address than the others' is looked at: only in a namespace is that nobody's
pytestmark = [pytest.mark.root, pytest.mark.system("ip", "iproute2")]

SCHEMA = Draft202012Validator(TypeAdapter(kind.DnsData).json_schema())
TRUE = "kpu.test. 300 IN A 203.0.113.7"


def no_lookup(*_: Any, **__: Any) -> list[Any]:
    raise socket.gaierror(socket.EAI_NONAME, "unknown")


def check(
    system: DnsServer,
    *others: DnsServer,
    context: Context | None = None,
    hosts: Path = Path("/dev/null"),
    port: int = 9,
) -> Measured:
    """One check with `system` as the system's resolver and the others named in the settings."""
    options = kind.Options(name="x", hostname="kpu.test", resolvers=["system", *(o.address for o in others)])
    measured = kind.measure(
        options,
        context or Context(Deadline.after(3)),
        getaddrinfo=no_lookup,
        read_system=lambda _: [(system.host, system.port)],
        hosts_file=hosts,
        https_port=port,
    )
    SCHEMA.validate(dict(measured.data))
    assert measured.failure is None or measured.failure.code in CODES
    return measured


def only_for(name: str, answer: Answer) -> Answer:
    """Answer so for one name; deny every other."""

    def choose(query: dns.message.Message) -> list[bytes] | None:
        asked = query.question[0].name.to_text()
        return answer(query) if asked == name else records(rcode="NXDOMAIN")(query)

    return choose


def denied_under(zone: str) -> Answer:
    """NXDOMAIN with the SOA of a zone, as an honest resolver passes it on."""

    def answer(query: dns.message.Message) -> list[bytes]:
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.NXDOMAIN)
        reply.authority.append(dns.rrset.from_text(zone, 60, "IN", "SOA", f"ns.{zone} root.{zone} 1 2 3 4 60"))
        return [reply.to_wire()]

    return answer


@contextmanager
def three(system: Answer, other: Answer, another: Answer | None = None) -> Iterator[tuple[DnsServer, ...]]:
    with dns_server(system) as one, dns_server(other) as two, dns_server(another or other) as more:
        yield one, two, more


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        pytest.param(records("kpu.test. 60 IN A 10.33.1.1"), "private", id="a private address"),
        pytest.param(records("kpu.test. 60 IN A 100.72.0.1"), "private", id="the operators' shared range"),
        pytest.param(records("kpu.test. 60 IN A 0.0.0.0"), "void", id="no address at all"),
        pytest.param(records("kpu.test. 60 IN A 127.0.0.1"), "void", id="this device"),
        pytest.param(records(rcode="NXDOMAIN"), "nxdomain", id="no such name"),
        pytest.param(records("kpu.test. 60 IN A 36.86.63.185"), "block_page", id="a known block page"),
        pytest.param(
            records("kpu.test. 9 IN CNAME lamanlabuh.aduankonten.id.", "lamanlabuh.aduankonten.id. 9 IN A 203.0.113.9"),
            "block_page",
            id="the ministry's block page, by name",
        ),
        pytest.param(
            lambda query: records(f"{query.question[0].name.to_text()} 60 IN A 203.0.113.99")(query),
            "one_for_all",
            id="one address for every name",
        ),
    ],
)  # fmt: skip
def test_a_false_answer_is_tampered_with_both_answers(lie: Answer, reason: str) -> None:
    """Only the system's resolver gives it, two others agree on another: said so, with both and the reason."""
    with three(lie, records(TRUE)) as servers:
        measured = check(*servers)
    compared = measured.data["comparison"]
    assert (measured.outcome, measured.failure.code if measured.failure else None) == ("degraded", "tampered")
    assert (compared["word"], compared["reason"]) == ("tampered", reason)
    assert compared["others"] == ["203.0.113.7"]
    told = measured.data["resolvers"][0]["answers"] or []
    assert compared["system"] == sorted(told)
    assert measured.failure is not None and "203.0.113.7" in (measured.failure.detail or "")
    assert all(address in (measured.failure.detail or "") for address in told)


@pytest.mark.parametrize(
    ("system", "other", "another"),
    [
        pytest.param(records("kpu.test. 60 IN A 198.51.100.9"), records(TRUE), None, id="another copy of the service"),
        pytest.param(
            records("kpu.test. 60 IN A 10.33.1.1"), records("kpu.test. 60 IN A 10.33.1.2"), None, id="all private"
        ),
        pytest.param(
            records("kpu.test. 60 IN A 10.33.1.1"),
            records(TRUE),
            records("kpu.test. 60 IN A 198.51.100.3"),
            id="the others do not agree",
        ),
        pytest.param(
            records("kpu.test. 60 IN A 10.33.1.1"), records(rcode="NXDOMAIN"), None, id="an inner name"
        ),
        pytest.param(denied_under("test."), records(TRUE), None, id="a denial under the name's own zone, perhaps old"),
    ],
)  # fmt: skip
def test_a_difference_alone_is_no_tampering(system: Answer, other: Answer, another: Answer | None) -> None:
    """Content networks, inner views and old denials differ rightly: said to differ, and nothing more."""

    def shown(answer: Answer) -> Answer:
        return only_for("kpu.test.", answer)

    with three(shown(system), shown(other), None if another is None else shown(another)) as servers:
        measured = check(*servers)
    assert measured.data["comparison"]["word"] == "differs"
    assert measured.failure is None or measured.failure.code == "dns_some_failed"


def test_resolvers_that_share_an_address_are_the_same() -> None:
    """One address in common is agreement, in whatever order and company."""
    with three(records(TRUE, "kpu.test. 60 IN A 203.0.113.8"), records("kpu.test. 60 IN A 203.0.113.8")) as servers:
        measured = check(*servers)
    assert (measured.outcome, measured.data["comparison"]["word"]) == ("ok", "same")


def test_a_name_in_the_hosts_file_is_not_tampered_with(tmp_path: Path) -> None:
    """Forwarders on the device answer from the hosts file, which is the device's own affair."""
    hosts = tmp_path / "hosts"
    hosts.write_text("10.33.1.1 kpu.test # for the exercise\n")
    with three(records("kpu.test. 60 IN A 10.33.1.1"), records(TRUE)) as servers:
        measured = check(*servers, hosts=hosts)
    assert (measured.outcome, measured.data["comparison"]["word"]) == ("ok", "differs")


def test_a_denial_against_one_open_resolver_is_one_word_against_another() -> None:
    """One other alone may be the one that is wrong."""
    with dns_server(records(rcode="NXDOMAIN")) as system, dns_server(records(TRUE)) as other:
        measured = check(system, other)
    assert measured.data["comparison"]["word"] == "differs"
    assert measured.failure is not None and measured.failure.code == "dns_some_failed"


def test_a_silent_or_failing_system_is_compared_with_nothing() -> None:
    """SERVFAIL says nothing about the name, so there is nothing to compare."""
    with three(records(rcode="SERVFAIL"), records(TRUE)) as servers:
        measured = check(*servers)
    assert measured.data["comparison"] is None
    assert measured.failure is not None and measured.failure.code == "dns_some_failed"


def test_the_further_question_costs_two_packets() -> None:
    """Equal answers cost no further question; different ones ask the system's resolver once more, for no real name."""
    with three(records(TRUE), records(TRUE)) as servers:
        check(*servers)
        assert [len(s.udp) for s in servers] == [1, 1, 1]
    with three(only_for("kpu.test.", records("kpu.test. 60 IN A 198.51.100.9")), records(TRUE)) as servers:
        check(*servers)
        assert [len(s.udp) for s in servers] == [2, 1, 1]
        assert servers[0].udp[1].question[0].name.to_text().endswith(".invalid.")


# --- by the certificate -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def addresses() -> Iterator[None]:
    """The addresses of the answers, on the loopback of the namespace that the tests run in."""
    if os.environ.get("SIGPROBE_TESTS_NET") == "host":
        pytest.skip("not in a namespace of its own")
    own = ("203.0.113.7", "203.0.113.99", "10.33.1.1")
    for address in own:
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    yield
    for address in own:
        subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=True)


@contextmanager
def pages(**certificates: trustme.LeafCert) -> Iterator[tuple[int, list[str]]]:
    """Servers on one port that shake hands and say no more; the list holds who was asked, `own` or `others`."""
    at = {"others": "203.0.113.7", "own": "203.0.113.99", "inner": "10.33.1.1"}
    asked: list[str] = []
    port = 0
    with ExitStack() as stack:
        for name, certificate in certificates.items():
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(tls)
            server = stack.enter_context(
                tcp_server(lambda _, name=name: asked.append(name), tls=tls, host=at[name], port=port)
            )
            port = server.port
        yield port, asked


def trusting(authority: trustme.CA, folder: Path, budget: DataBudget | None = None) -> Context:
    file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return Context(Deadline.after(4), budget or DataBudget(), ca_files={"https://kpu.test": str(file)})


ELSEWHERE = only_for("kpu.test.", records("kpu.test. 60 IN A 203.0.113.99"))
INNER = only_for("kpu.test.", records("kpu.test. 60 IN A 10.33.1.1"))


@pytest.mark.usefixtures("addresses")
def test_a_stranger_at_the_systems_answer_is_tampering(authority: trustme.CA, tmp_path: Path) -> None:
    """Another public address is tampering where its server has no certificate for the name and the others' has."""
    strangers = (trustme.CA().issue_cert("kpu.test"), authority.issue_cert("block.test"))
    for stranger in strangers:
        with (
            pages(others=authority.issue_cert("kpu.test"), own=stranger) as (port, _),
            three(ELSEWHERE, records(TRUE)) as servers,
        ):
            measured = check(*servers, context=trusting(authority, tmp_path), port=port)
        assert measured.failure is not None and measured.failure.code == "tampered"
        compared = measured.data["comparison"]
        assert (compared["reason"], compared["system"], compared["others"]) == (
            "certificate",
            ["203.0.113.99"],
            ["203.0.113.7"],
        )


@pytest.mark.usefixtures("addresses")
def test_another_copy_of_the_service_is_no_tampering(authority: trustme.CA, tmp_path: Path) -> None:
    """A server with the certificate is the service, wherever it stands; the others' then need no look."""
    good = authority.issue_cert("kpu.test")
    with pages(others=good, own=good) as (port, asked), three(ELSEWHERE, records(TRUE)) as servers:
        measured = check(*servers, context=trusting(authority, tmp_path), port=port)
    assert (measured.outcome, measured.data["comparison"]["word"]) == ("ok", "differs")
    assert asked == ["own"]


@pytest.mark.usefixtures("addresses")
def test_an_inner_view_with_the_certificate_is_no_tampering(authority: trustme.CA, tmp_path: Path) -> None:
    """A private address is right where the service's own server stands behind it."""
    with pages(inner=authority.issue_cert("kpu.test")) as (port, _), three(INNER, records(TRUE)) as servers:
        measured = check(*servers, context=trusting(authority, tmp_path), port=port)
    assert (measured.outcome, measured.data["comparison"]["word"]) == ("ok", "differs")


@pytest.mark.usefixtures("addresses")
def test_without_a_proof_for_the_others_nothing_is_proven(authority: trustme.CA, tmp_path: Path) -> None:
    """Two strangers, or nobody at either address, leave it at a difference."""
    stranger = trustme.CA().issue_cert("kpu.test")
    with pages(others=stranger, own=stranger) as (port, _), three(ELSEWHERE, records(TRUE)) as servers:
        assert check(*servers, context=trusting(authority, tmp_path), port=port).data["comparison"]["word"] == "differs"
    with three(ELSEWHERE, records(TRUE)) as servers:
        assert check(*servers, context=trusting(authority, tmp_path)).data["comparison"]["word"] == "differs"


@pytest.mark.usefixtures("addresses")
def test_a_certificate_tells_who_is_wrong_about_a_denied_name(authority: trustme.CA, tmp_path: Path) -> None:
    """Denied here and known to one other: the other's server proves that the name is there."""
    with (
        pages(others=authority.issue_cert("kpu.test")) as (port, _),
        dns_server(records(rcode="NXDOMAIN")) as system,
        dns_server(records(TRUE)) as other,
    ):
        measured = check(system, other, context=trusting(authority, tmp_path), port=port)
    assert measured.data["comparison"]["reason"] == "nxdomain"
    assert (measured.data["comparison"]["system"], measured.data["comparison"]["system_rcode"]) == ([], "NXDOMAIN")


@pytest.mark.usefixtures("addresses")
def test_the_questions_stay_within_the_estimate(authority: trustme.CA, tmp_path: Path) -> None:
    """What a doubtful answer may cost is in the estimate, and counted against the budget."""
    budget = DataBudget()
    with (
        pages(others=authority.issue_cert("kpu.test"), own=authority.issue_cert("block.test")) as (port, _),
        three(ELSEWHERE, records(TRUE)) as servers,
    ):
        check(*servers, context=trusting(authority, tmp_path, budget), port=port)
    plain = kind.Options(name="x", hostname="kpu.test", resolvers=["1.1.1.1", "9.9.9.9", "8.8.8.8"]).estimate()
    compared = kind.Options(name="x", hostname="kpu.test", resolvers=["system", "9.9.9.9", "8.8.8.8"]).estimate()
    assert plain.bytes < budget.used_bytes <= compared.bytes


# --- the rules alone ----------------------------------------------------------------------------------------


def said(*addresses: str, system: bool = False, secured: bool = False, rcode: str = "NOERROR") -> Told:
    return Told(system, rcode, frozenset(addresses), secured)


@pytest.mark.parametrize(
    ("rows", "word", "reason"),
    [
        pytest.param(
            [said("10.1.1.1", system=True), said("10.1.1.1"), said("203.0.113.7", secured=True)],
            "tampered",
            "private",
            id="port 53 is answered on the way, TLS tells the truth",
        ),
        pytest.param(
            [said(system=True, rcode="NXDOMAIN"), said("203.0.113.7", secured=True)],
            "tampered",
            "nxdomain",
            id="one secured resolver is enough against a denial",
        ),
        pytest.param(
            [said("36.86.63.185", system=True)], "tampered", "block_page", id="a block page needs nobody beside it"
        ),
        pytest.param(
            [said("36.86.63.185", system=True), said("36.86.63.185", secured=True)],
            "same",
            None,
            id="unless a secured resolver says the same",
        ),
        pytest.param([said("2001:db8::9", system=True), said("2001:db8::7")], "differs", None, id="IPv6 like IPv4"),
        pytest.param(
            [said(system=True), said("2001:db8::7"), said("2001:db8::7")], "differs", None, id="IPv6 left out"
        ),
        pytest.param([said(system=True, rcode="NXDOMAIN"), said(rcode="NXDOMAIN")], "same", None, id="no such name"),
        pytest.param([said("fd00::1", system=True), said("2001:db8::7")], "tampered", "private", id="a private IPv6"),
    ],
)
def test_rules(rows: list[Told], word: str, reason: str | None) -> None:
    """Each rule of the table, from what was told alone."""
    found = dns_consistency.compare("kpu.test", rows)
    assert found is not None
    assert (found.word, found.reason) == (word, reason)


def test_the_system_alone_is_compared_with_nothing() -> None:
    """Nor are others without it."""
    assert dns_consistency.compare("kpu.test", [said("203.0.113.7", system=True)]) is None
    assert dns_consistency.compare("kpu.test", [said("203.0.113.7")]) is None


def test_the_block_pages_own_name_is_no_block_page() -> None:
    """Whoever asks for the block page itself gets it rightly."""
    row = Told(True, "NOERROR", frozenset({"36.86.63.185"}), canonical="internetpositif.uzone.id")
    assert dns_consistency.compare("internetpositif.uzone.id", [row]) is None
