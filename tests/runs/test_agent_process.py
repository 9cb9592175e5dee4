"""The agent as a process: started, told things by signals and links, and ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from sigprobe.buffer import Buffer
from sigprobe.runs.agent import next_run_at
from tests.support import netns
from tests.support.agent_process import AgentProcess, Manager, Spawn, manager, settings
from tests.support.requirements import ROOT
from tests.support.stand_in_collector import portal, put, receipt, standin, until

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Manager]:
    """A service manager's socket."""
    with manager(tmp_path) as made:
        yield made


def test_it_tests_and_sends_and_ends_on_sigterm(tmp_path: Path, spawn: Spawn, listener: Manager) -> None:
    """READY once it works, the backlog and a first test sent within half a minute, exit 0 on SIGTERM."""
    with standin() as server:
        config = settings(tmp_path, server.url)
        with Buffer(tmp_path / "queue" / "buffer.db") as buffer:
            old = put(buffer, 3)
        agent = AgentProcess(spawn, config, listener)
        until(lambda: "READY=1" in listener.heard, 30)
        until(lambda: len(server.seen) >= 1, 10)
        assert set(old) <= set(server.seen[0].ids), "the backlog goes first"
        agent.wait_for("Tested:", 60)
        until(lambda: sum(server.sizes) >= 5, 20)
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(20) == 0, agent.said
    assert {"WATCHDOG=1", "STOPPING=1"} <= set(listener.heard)
    assert any(line.startswith("STATUS=Next test at") for line in listener.heard)
    with Buffer(tmp_path / "queue" / "buffer.db") as buffer:
        assert buffer.pending() == 0


def test_ctrl_c_ends_it_with_130(tmp_path: Path, spawn: Spawn, listener: Manager) -> None:
    """By hand it is the exit code of an interruption."""
    agent = AgentProcess(spawn, settings(tmp_path, None), listener)
    until(lambda: "READY=1" in listener.heard, 30)
    agent.process.send_signal(signal.SIGINT)
    assert agent.process.wait(20) == 130


def test_a_second_agent_on_one_queue_is_refused(tmp_path: Path, spawn: Spawn, listener: Manager, sigprobe: Run) -> None:
    """Exit 5 and a sentence; the first is not disturbed, its next test is known, and its end frees the place."""
    config = settings(tmp_path, None)
    queue = tmp_path / "queue" / "buffer.db"
    first = AgentProcess(spawn, config, listener)
    until(lambda: "READY=1" in listener.heard, 30)
    second = sigprobe("agent", "--config", str(config))
    assert second.returncode == 5
    assert "Another agent" in second.stderr
    assert first.process.poll() is None
    until(lambda: next_run_at(queue) is not None, 10)
    status = ("status", "--config", str(config))
    assert json.loads(sigprobe(*status, "--json").stdout)["next_run_at"] is not None
    assert "Next test" in sigprobe(*status).stdout
    first.process.kill()
    first.process.wait(10)
    assert next_run_at(queue) is None
    assert json.loads(sigprobe(*status, "--json").stdout)["next_run_at"] is None
    third = AgentProcess(spawn, config, listener)
    third.wait_for("Agent is running")
    assert third.process.poll() is None


def test_settings_are_read_anew_and_mistakes_refused(tmp_path: Path, spawn: Spawn, listener: Manager) -> None:
    """SIGHUP with a mistake in the file: said, the old settings kept. With a good file: taken over."""
    with standin() as old, standin() as new:
        config = settings(tmp_path, old.url)
        agent = AgentProcess(spawn, config, listener)
        until(lambda: "READY=1" in listener.heard, 30)
        good = config.read_text()
        config.write_text(good + "nonsense: 1\n")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("keeps its previous settings")
        assert "nonsense" in agent.said
        config.write_text(good.replace(old.url, new.url))
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("Settings reloaded")
        agent.wait_for("Tested:", 60)
        until(lambda: len(new.seen) > 0, 20)
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(20) == 0


def test_sigterm_in_a_test_keeps_what_was_finished(tmp_path: Path, spawn: Spawn, listener: Manager) -> None:
    """A test under way is ended, its run record says so, and nothing half is left."""
    config = settings(tmp_path, None)
    config.write_text(config.read_text().replace("count: 2, interval_ms: 20", "count: 1000, interval_ms: 100"))
    agent = AgentProcess(spawn, config, listener)
    until(lambda: "STATUS=Testing" in listener.heard, 60)
    time.sleep(0.5)
    agent.process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    assert agent.process.wait(30) == 0
    assert time.monotonic() - begun < 10
    with Buffer(tmp_path / "queue" / "buffer.db") as buffer:
        records = [json.loads(row.line) for row in buffer.rows()]
    assert records[-1]["kind"] == "run"
    assert records[-1]["failure"]["code"] == "interrupted"


def test_a_collector_that_comes_back_gets_the_records(tmp_path: Path, spawn: Spawn, listener: Manager) -> None:
    """A portal first, said once; when it goes, the backlog goes up without anybody typing."""
    with standin(portal) as server:
        config = settings(tmp_path, server.url)
        with Buffer(tmp_path / "queue" / "buffer.db") as buffer:
            put(buffer, 3)
        agent = AgentProcess(spawn, config, listener)
        agent.wait_for("SP-SYN-02", 30)
        server.answer = receipt
        agent.wait_for("sent", 60)
        until(lambda: sum(server.sizes[1:]) >= 3, 60)
        assert agent.said.count("SP-SYN-02") == 1


@pytest.mark.root
@pytest.mark.system("ip", "iproute2")
def test_a_link_that_comes_up_is_used_within_five_seconds(tmp_path: Path, spawn: Spawn, listener: Manager) -> None:
    """Promise of the field: from the link coming up to the first batch at the collector at most five seconds."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ca.issue_cert("10.87.9.2").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    with netns.namespace("probe") as here, netns.namespace("centre") as there:
        netns.join(here, there, 9)
        here.ip("link", "set", "lo", "up")
        server = spawn(
            there.command(
                sys.executable, "-m", "tests.support.stand_in_collector", "10.87.9.2", str(tmp_path / "server.pem")
            ),
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        names = here.run("ip", "-o", "link").stdout
        link = next(line.split(":")[1].partition("@")[0].strip() for line in names.splitlines() if "lo:" not in line)
        here.ip("link", "set", link, "down")
        config = settings(tmp_path, f"https://10.87.9.2:{port}/", ca_file=tmp_path / "ca.pem")
        with Buffer(tmp_path / "queue" / "buffer.db") as buffer:
            put(buffer, 5)
        agent = AgentProcess(spawn, config, listener, here.command())
        agent.wait_for("SP-SYN-01", 60)
        agent.wait_for("Tested:", 60)
        time.sleep(2)  # a moment in which the backoff has grown beyond the first tries
        up_at = time.monotonic()
        here.ip("link", "set", link, "up")
        first_at, _count = server.stdout.readline().split()
        took = float(first_at) - up_at
        print(f"link up to first batch: {took:.2f} s")
        assert 0 < took <= 5.0
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(20) == 0, agent.said


def test_a_token_from_the_environment_is_said_once(
    tmp_path: Path, spawn: Spawn, listener: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, not with each round nor with settings read anew; a token file is no cause for it."""
    with standin() as server:
        config = settings(tmp_path, server.url)
        by_file = config.read_text()
        monkeypatch.setenv("SIGPROBE_TOKEN", "secret")
        config.write_text(by_file.replace(f", token_file: {tmp_path / 'token'}", ""))
        agent = AgentProcess(spawn, config, listener)
        until(lambda: "READY=1" in listener.heard, 30)
        assert agent.said.count("SIGPROBE_TOKEN") == 1
        agent.wait_for("Tested:", 60)
        until(lambda: sum(server.sizes) >= 2, 20)
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("Settings reloaded")
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(20) == 0
        assert agent.said.count("SIGPROBE_TOKEN") == 1
        assert "secret" not in agent.said
        monkeypatch.delenv("SIGPROBE_TOKEN")
        config.write_text(by_file)
        other = AgentProcess(spawn, config)
        other.wait_for("Agent is running")
        other.process.send_signal(signal.SIGTERM)
        assert other.process.wait(20) == 0
        assert "SIGPROBE_TOKEN" not in other.said
