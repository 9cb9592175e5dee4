"""Certificates whose dates are left unchecked, as the settings ask for: who says so, and where it stays on record."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from sigprobe.buffer import Buffer
from sigprobe.record.result import parse_time
from sigprobe.upload import Collector
from sigprobe.upload.unchecked_tls_dates import last_unchecked, note_unchecked, unchecked_file
from tests.support.agent_process import AgentProcess, Spawn, settings
from tests.support.stand_in_collector import StandIn, put, standin
from tests.upload.conftest import Draining

Run = Callable[..., subprocess.CompletedProcess[str]]

SAID = "The dates of the certificate of {url} were not checked"


@contextmanager
def expired(ca: trustme.CA) -> Iterator[StandIn]:
    """A collector whose certificate is out of date, as it looks to a laptop with a dead clock."""
    now = datetime.now(UTC)
    issued = ca.issue_cert("127.0.0.1", not_before=now - timedelta(days=60), not_after=now - timedelta(days=1))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    with standin(tls=context) as server:
        yield server


def lax(folder: Path, url: str, ca_file: str) -> Path:
    """Settings with the opt-in."""
    path = settings(folder, url, ca_file=ca_file)
    # behind the collector's last key, which stands last in the file
    path.write_text(path.read_text().replace("}]}", ", allow_unchecked_time: true}]}"))
    return path


def records(folder: Path) -> list[dict[str, Any]]:
    with Buffer(folder / "queue" / "buffer.db") as buffer:
        return [json.loads(row.line) for row in buffer.rows()]


def test_the_report_names_whom_it_trusted(
    buffer: Buffer, draining: Draining, ca: trustme.CA, ca_file: str, tmp_path: Path
) -> None:
    """Each collector that got data so, once; not one that was not reached, nor one whose authority is another."""
    put(buffer, 600)
    with expired(ca) as server, expired(trustme.CA()) as stranger:
        nobody = Collector("https://127.0.0.1:1/", "t", ca_file, allow_unchecked_time=True)
        other = Collector(stranger.url, "t", ca_file, allow_unchecked_time=True)
        no_file = Collector(server.url, "t", str(tmp_path / "none.pem"), allow_unchecked_time=True)
        for refused in (nobody, other, no_file):
            assert draining(refused).run().time_unchecked == []
        assert draining(Collector(server.url, "t", ca_file, allow_unchecked_time=True)).run().time_unchecked == [
            server.url
        ]
    assert len(server.seen) > 1
    assert buffer.pending() == 0


def test_upload_and_test_say_it_and_it_stays_on_record(
    tmp_path: Path, sigprobe: Run, ca: trustme.CA, ca_file: str
) -> None:
    """One sentence after each; `status` tells the last time, and every later run record carries it."""
    with expired(ca) as server:
        config = ("--config", str(lax(tmp_path, server.url, ca_file)))
        before = json.loads(sigprobe("status", "--json", *config).stdout)
        assert (before["time_unchecked_at"], before["time_unchecked"]) == (None, [])
        done = sigprobe("test", *config)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(SAID.format(url=server.url)) == 1
        with Buffer(tmp_path / "queue" / "buffer.db") as buffer:
            put(buffer, 1)
        done = sigprobe("upload", *config)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(SAID.format(url=server.url)) == 1
        after = json.loads(sigprobe("status", "--json", *config).stdout)
        assert after["time_unchecked"] == [server.url]
        when = parse_time(after["time_unchecked_at"])
        assert when is not None and abs((datetime.now(UTC) - when).total_seconds()) < 120
        assert "Certificate dates" in sigprobe("status", *config).stdout
        assert sigprobe("test", "-q", "--no-upload", *config).returncode == 0
    runs = [record["data"] for record in records(tmp_path) if record["kind"] == "run"]
    assert [run.get("time_unchecked_at") for run in runs] == [None, after["time_unchecked_at"]]


def test_the_agent_says_it_in_its_log(tmp_path: Path, spawn: Spawn, ca: trustme.CA, ca_file: str) -> None:
    """With what it sent, not for rounds that sent nothing."""
    with expired(ca) as server:
        config = lax(tmp_path, server.url, ca_file)
        with Buffer(tmp_path / "queue" / "buffer.db") as buffer:
            put(buffer, 1)
        agent = AgentProcess(spawn, config)
        agent.wait_for(SAID.format(url=server.url))
        agent.process.terminate()
        assert agent.process.wait(20) == 0
    kept = last_unchecked(tmp_path / "queue" / "buffer.db")
    assert kept is not None and kept[1] == [server.url]


def test_doctor_warns_as_long_as_the_settings_ask_for_it(
    tmp_path: Path, sigprobe: Run, ca: trustme.CA, ca_file: str
) -> None:
    """A warning with a command that shows where the settings say so; none without the opt-in."""
    with expired(ca) as server:
        path = lax(tmp_path, server.url, ca_file)
        found = json.loads(sigprobe("doctor", "--json", "--config", str(path)).stdout)
        warned = [f for f in found if f["name"] == "Certificate dates"]
        assert [(f["state"], "allow_unchecked_time" in f["fix"]) for f in warned] == [("warn", True)]
        assert server.url in warned[0]["detail"]
        path.write_text(path.read_text().replace("allow_unchecked_time: true", "allow_unchecked_time: false"))
        found = json.loads(sigprobe("doctor", "--json", "--config", str(path)).stdout)
        assert [f for f in found if f["name"] == "Certificate dates"] == []


@pytest.mark.parametrize("text", ["", "[]", '{"at": 5, "collectors": []}', '{"at": "soon", "collectors": []}', "{"])
def test_a_damaged_note_is_none(tmp_path: Path, text: str) -> None:
    """What cannot be read was never noted, and the next note replaces it; a clock before 1970 stops nothing."""
    queue = tmp_path / "b.db"
    unchecked_file(queue).write_text(text)
    assert last_unchecked(queue) is None
    note_unchecked(queue, [])
    assert last_unchecked(queue) is None
    note_unchecked(queue, ["https://a/"], now_s=-5.0)
    assert last_unchecked(queue) == ("1970-01-01T00:00:00.000Z", ["https://a/"])
