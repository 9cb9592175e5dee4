"""The system's name servers and those a forwarder on this device asks: read from files, asked each by itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sigprobe.measure.dns import kind as dns
from sigprobe.measure.path import kind as path
from sigprobe.measure.path import resolvers
from sigprobe.measure.path.options import Aim, Options
from sigprobe.net.limits import Context, Deadline
from sigprobe.record.result import Outcome, Result, Software, Tags, Target, new_id
from tests.support.servers.dnsserver import dns_server, records, silence

UPSTREAM = "# what the link said\nnameserver 103.10.9.53\nnameserver 103.10.9.54\nsearch lan\n"


def file(folder: Path, *parts: str, text: str = UPSTREAM) -> Path:
    place = folder.joinpath(*parts)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def test_what_stands_behind_a_forwarder(tmp_path: Path) -> None:
    """systemd-resolved's own file for its address, the others' for any other address of this device."""
    resolved = file(tmp_path, "systemd", "resolve", "resolv.conf")
    manager = file(tmp_path, "NetworkManager", "no-stub-resolv.conf", text="nameserver 10.9.0.1\n")
    files = (resolved, manager)
    both = [("103.10.9.53", 53), ("103.10.9.54", 53)]
    assert resolvers.behind([("127.0.0.53", 53)], files) == both
    assert resolvers.behind([("127.0.0.1", 53)], files) == [("10.9.0.1", 53)]
    assert resolvers.behind([("::1", 53)], files) == [("10.9.0.1", 53)]


@pytest.mark.parametrize(
    ("servers", "text"),
    [
        pytest.param([("103.10.9.1", 53)], UPSTREAM, id="no forwarder"),
        pytest.param([("127.0.0.53", 53), ("103.10.9.1", 53)], UPSTREAM, id="a forwarder beside another server"),
        pytest.param([], UPSTREAM, id="no server at all"),
        pytest.param([("127.0.0.53", 53)], "nameserver 127.0.0.1\n", id="a forwarder behind a forwarder"),
        pytest.param([("127.0.0.53", 53)], "nameserver here\n\x00\xff", id="no address in the file"),
        pytest.param([("127.0.0.53", 53)], "", id="an empty file"),
    ],
)
def test_nothing_is_known_behind(servers: list[tuple[str, int]], text: str, tmp_path: Path) -> None:
    """Where nothing tells of them, no server is made up; a missing file is no error either."""
    files = (file(tmp_path, "systemd", "resolve", "resolv.conf", text=text), tmp_path / "none")
    assert resolvers.behind(servers, files) == []


def test_each_is_asked_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forwarder answers for lack of its server with SERVFAIL; the dead server behind it is found silent."""
    with dns_server(records(rcode="SERVFAIL")) as stub, dns_server(silence) as dead:
        at = {"stub": [(stub.host, stub.port)], "behind": [(dead.host, dead.port)]}
        monkeypatch.setattr(resolvers, "system_servers", lambda path: at[path.name])
        monkeypatch.setattr(resolvers, "is_loopback", lambda host: True)
        monkeypatch.setattr(resolvers, "behind", lambda servers, files: at["behind"])
        options = Options(targets=(Aim(name="a", kind="http", host="kpu.test"),))
        with ThreadPoolExecutor(4) as pool:
            context = Context(Deadline.after(2))
            rows, asked, used = resolvers.ask(options, (), context, 0.5, pool, resolv_conf=tmp_path / "stub")
    assert [(r["address"], r["forwarder"], r["answers"], r["failure"]) for r in rows] == [
        (stub.address, True, True, None),
        (dead.address, False, False, "dns_timeout"),
    ]
    assert [(a["resolver"], a["rcode"]) for a in asked] == [(stub.address, "SERVFAIL"), (dead.address, None)]
    assert used > 100


@pytest.mark.root
def test_resolvers_over_tls_and_https_do_not_stop_the_walk(tmp_path: Path) -> None:
    """A target may name any kind of resolver; the walk asks those of port 53 and leaves the others to their check."""
    named = ["system", "tls://127.0.0.1#a.test", "https://127.0.0.1/q", "127.0.0.9"]
    target = dns.Options(name="x", hostname="kpu.test", resolvers=named)
    options = path.options_for([target], (), ())
    walked = path.measure(options, Context(Deadline.after(2)), resolv_conf=tmp_path / "none")
    assert {row["resolver"] for row in walked.data["names"]} == {"127.0.0.9:53"}
    secure = Result(
        id=new_id(),
        run_id=new_id(),
        probe_id=None,
        kind="dns",
        kind_version=1,
        target=Target("x", "kpu.test", "127.0.0.1:853"),
        started_at="2026-11-27T07:05:00.000Z",
        duration_ms=1.0,
        outcome=Outcome.OK,
        failure=None,
        data={},
        tags=Tags(),
        software=Software("sigprobe", "0"),
    )
    informed = path.informed(options, [secure])
    assert isinstance(informed, Options)
    assert informed.seen[0].address == "127.0.0.1:853"
