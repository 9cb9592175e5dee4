"""Small TTLs: who refused, dropped or reset, in namespaces with a router between."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - a plain user may not be able to read it later
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from sigprobe.measure.path import probes, small_ttl
from sigprobe.measure.path.data import StepsData
from sigprobe.net.limits import Deadline
from tests.support.netns import MARKS, NOBODY, Namespace, join, namespace

pytestmark = MARKS


@pytest.fixture(scope="module")
def spaces() -> Iterator[tuple[Namespace, Namespace, Namespace, str]]:
    """Provide a device, a router and a host behind it, with its address."""
    with namespace("a") as near, namespace("b") as router, namespace("c") as far:
        (gateway,) = (join(near, router, 1)[1],)
        address = join(router, far, 2, names=("eth1", "eth0"))[1]
        router.sysctl("net.ipv4.ip_forward", "1")
        router.sysctl("net.ipv4.icmp_ratelimit", "0")
        near.ip("route", "add", "default", "via", gateway)
        far.ip("route", "add", "default", "via", address.rpartition(".")[0] + ".1")
        yield near, router, far, address


def steps(near: Namespace, address: str, port: int, *, hello: bool = False) -> StepsData:
    """Ask from the device, as a plain user."""

    at = probes.numeric(address, port)
    assert at is not None

    def ask() -> StepsData | None:
        kind = small_ttl.hellos if hello else small_ttl.first_packets
        return kind("host.example", at, Deadline.after(8), threading.Event())[0]

    found = near.call(ask, uid=NOBODY)
    assert found is not None
    return found


def said(found: StepsData) -> dict[int, str]:
    return {answer["ttl"]: answer["said"] for answer in found["answers"]}


def test_a_refusal_of_the_host(spaces: tuple[Namespace, Namespace, Namespace, str]) -> None:
    """It comes from TTL 2 on; the router reports the packet that died there, with its address."""
    near, _router, _far, address = spaces
    found = steps(near, address, 9)
    assert said(found)[1] == "ttl_exceeded" and said(found)[2] == said(found)[8] == "refused"
    assert found["answers"][0]["address"] == "10.87.1.2"
    assert (found["what"], found["tried"], found["control"]) == ("syn", 8, False)


@pytest.mark.parametrize(
    ("where", "rule", "first", "second"),
    [
        ("router", "forward tcp dport 7 reject with icmp type admin-prohibited", "ttl_exceeded", "filtered"),
        ("router", "forward tcp dport 7 drop", "ttl_exceeded", None),
        ("near", "output tcp dport 7 drop", None, None),
    ],
)
def test_what_is_dropped_or_prohibited_on_the_way(
    spaces: tuple[Namespace, Namespace, Namespace, str], where: str, rule: str, first: str | None, second: str | None
) -> None:
    """Silence begins where the packet was dropped, and a prohibition has its sender."""
    near, router, _far, address = spaces
    space = {"near": near, "router": router}[where]
    hook, *match = rule.split()
    space.run("nft", "add", "table", "inet", "t")
    try:
        space.run("nft", "add", "chain", "inet", "t", hook, f"{{ type filter hook {hook} priority 0 ; }}")
        space.run("nft", "add", "rule", "inet", "t", hook, *match)
        found = said(steps(near, address, 7))
    finally:
        space.run("nft", "delete", "table", "inet", "t")
    assert (found.get(1), found.get(2)) == (first, second)


SERVER = """
import socket, sys, threading
def answer(connection):
    with connection:
        if connection.recv(1) == bytes([22]):  # a TLS handshake
            connection.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))  # an alert
            connection.recv(4096)
listener = socket.create_server((sys.argv[1], 443), backlog=32)
print("ready", flush=True)
while True:
    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
"""


def test_a_hello_reaches_the_host_at_its_distance(spaces: tuple[Namespace, Namespace, Namespace, str]) -> None:
    """The host's port opens and its TLS answers from TTL 2 on; a smaller TTL does not reach it."""
    near, _router, far, address = spaces
    command = far.command(sys.executable, "-c", SERVER, address)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None and server.stdout.readline() == "ready\n"
            opened, found = said(steps(near, address, 443)), said(steps(near, address, 443, hello=True))
        finally:
            server.kill()
    assert (opened[1], opened[2], opened[8]) == ("ttl_exceeded", "open", "open")
    assert found[1] == "ttl_exceeded"
    assert {found[ttl] for ttl in (2, 3, 4, 5)} == {"answered"}
