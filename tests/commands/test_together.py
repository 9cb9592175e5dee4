"""Two tests on one queue at once, and a user without the right to send ICMP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.commands.conftest import PING, Settings
from tests.support import netns
from tests.support.running_site import Run, Site, status
from tests.support.servers.tcp import Peer, tcp_server

Spawn = Callable[..., "subprocess.Popen[str]"]


def start(spawn: Spawn, *arguments: str) -> subprocess.Popen[str]:
    return spawn(
        [sys.executable, "-m", "sigprobe", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=dict(os.environ),
    )


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_two_tests_at_once(site: Site, settings: Settings, sigprobe: Run, spawn: Spawn) -> None:
    """Both measure, wait for each other's speed test, and keep everything; nobody meets a locked database."""
    speed = {"kind": "throughput", "name": "speed", "engine": "http", "url": site.url, "max_mb": 1, "max_s": 1}
    config = settings(PING, speed)
    arguments = ("test", "--json", "--no-upload", "--config", str(config))
    both = [start(spawn, *arguments) for _ in range(2)]
    documents = []
    for process in both:
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        assert "locked" not in stdout + stderr
        documents.append(json.loads(stdout))
    assert [document["saved"] for document in documents] == [4, 4]
    assert status(sigprobe, config)["pending"] == 8
    kept = [json.loads(line) for line in sigprobe("results", "--ndjson", "--config", str(config)).stdout.splitlines()]
    assert sorted(record["seq"] for record in kept) == list(range(1, 9))
    assert len({record["stream_id"] for record in kept}) == 1
    speeds = [record for record in kept if record["kind"] == "throughput"]
    assert [record["outcome"] for record in speeds] == ["ok", "ok"]
    first, second = sorted(speeds, key=lambda record: str(record["started_at"]))
    assert second["started_at"] >= first["started_at"], "they had the link one after the other"


def test_who_waits_too_long_for_the_turn_leaves_out_the_speed_test(
    settings: Settings, sigprobe: Run, spawn: Spawn
) -> None:
    """A second test whose deadline passes while another fills the link says `busy`; the first is not disturbed."""

    heads: list[bytes] = []

    def silent(peer: Peer) -> None:
        heads.append(peer.head())
        peer.wait()

    def measures() -> bool:
        """Return whether the rate is being measured; before that the check of the path may ask for `/`."""
        return any(head and b" / HTTP" not in head for head in heads)

    with tcp_server(silent) as server:
        speed = {"kind": "throughput", "engine": "http", "url": server.url("/"), "max_s": 1}
        slow = settings({**speed, "name": "slow", "timeout_ms": 60_000}, name="slow.yaml")
        quick = settings({**speed, "name": "quick", "timeout_ms": 500}, name="quick.yaml")
        first = start(spawn, "test", "--json", "--max-time", "40", "--config", str(slow))
        wait_for(lambda: measures() or first.poll() is not None)
        assert first.poll() is None, "the first test must hold the turn"
        first.send_signal(signal.SIGSTOP)  # it keeps the turn, however long the other takes to get there
        done = sigprobe("test", "--json", "--config", str(quick))
        first.send_signal(signal.SIGCONT)
        first.terminate()
        first.communicate(timeout=30)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["results"][0]
    assert (result["outcome"], result["failure"]["code"]) == ("skipped", "busy")
    assert json.loads(done.stdout)["saved"] == 3


@pytest.mark.root
@pytest.mark.system("ip", "iproute2")
@pytest.mark.system("sysctl", "procps")
@pytest.mark.system("setpriv", "util-linux")
def test_without_permission_for_icmp_ping_goes_by_tcp(settings: Settings) -> None:
    """Who may send no ICMP: the next method measures, the record names it, exit 0, and `doctor` has the fix."""
    config = str(settings(PING))
    # a process without this one capability is to the kernel what a plain user is
    plain = ("setpriv", "--bounding-set", "-net_raw", sys.executable, "-m", "sigprobe")
    with netns.namespace("noicmp") as space:
        space.sysctl("net.ipv4.ping_group_range", "1 0")
        done = space.run(*plain, "test", "--json", "--config", config, check=False)
        asked = space.run(*plain, "doctor", "--json", "--config", config, check=False)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)["results"][0]["data"]
    assert data["method"] == "tcp"
    assert "icmp-dgram" in data["method_note"] and "icmp-raw" in data["method_note"]
    ping = next(finding for finding in json.loads(asked.stdout) if "ICMP" in finding["detail"])
    assert ping["state"] == "warn" and "ping_group_range" in ping["fix"]
