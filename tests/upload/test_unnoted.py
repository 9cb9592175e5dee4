"""Answers that this device cannot note: nothing is lost, it is said rightly, and not paid for again every minute."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sigprobe.buffer import Buffer, DiskFullError, SendingError, State, StorageError, UnnotedError, Verdicts
from sigprobe.commands import agent as verb
from sigprobe.config import load
from sigprobe.record.profile import load as load_profile
from sigprobe.runs import agent as loop
from sigprobe.upload import Backoff, Collector, drain
from tests.support.agent_process import settings
from tests.support.stand_in_collector import StandIn, put, standin

Run = Callable[..., subprocess.CompletedProcess[str]]

_FULL = """
import sys
from sigprobe import buffer
def settle(self, verdicts, collector):
    raise buffer.DiskFullError("no room for it")
buffer.Buffer.settle = settle
from sigprobe.cli import main
sys.exit(main())
"""


def full(_self: Buffer, _verdicts: Verdicts, _collector: str) -> None:
    """What a disk without room does to `settle`."""
    raise DiskFullError("no room for it")


def test_a_failed_note_is_a_failure_to_wait_for(
    buffer: Buffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time the wait doubles, the next batch is small; when there is room again, all is there, once."""
    put(buffer, 50)
    memory = tmp_path / "backoff.json"
    with standin() as server, monkeypatch.context() as patch:
        patch.setattr(Buffer, "settle", full)
        for turn in range(1, 5):
            with pytest.raises(UnnotedError, match="no room"):
                drain(buffer, [Collector(server.url)], Backoff(memory))
            assert (Backoff(memory).of(server.url).failures, len(server.seen)) == (turn, turn)
        assert server.sizes == [50, 10, 10, 10]
        assert buffer.pending() == 50
        patch.undo()
        report = drain(buffer, [Collector(server.url)], Backoff(memory))
    assert (report.sent, report.pending) == (50, 0)
    assert Backoff(memory).of(server.url).failures == 0


def test_a_queue_that_fails_while_it_is_sent(buffer: Buffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other fault of the queue is not said as that of a result that was not saved."""

    def broken(*_: object, **__: object) -> list[Any]:
        raise StorageError("cannot read")

    put(buffer, 1)
    monkeypatch.setattr(Buffer, "peek", broken)
    with pytest.raises(SendingError) as caught:
        drain(buffer, [Collector("http://127.0.0.1:1/")], Backoff(tmp_path / "b"))
    assert caught.value.code == "queue_failed"


@pytest.mark.process
@pytest.mark.parametrize("words", [("upload",), ("test",), ("test", "--json")])
def test_it_is_said_that_nothing_is_lost(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Neither an upload nor the end of a test says that a result was not saved, or that a token was refused."""
    with standin() as server:
        config = settings(tmp_path, server.url)
        with Buffer(tmp_path / "queue" / "buffer.db") as buffer:
            put(buffer, 3)
        command = [sys.executable, "-c", _FULL, *words, "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert len(server.seen) == 1
    said = done.stdout + done.stderr
    assert said.count("SP-DSK-04") == 1
    assert "NOT SAVED" not in said and "SP-SYN" not in said
    assert done.returncode == (6 if words == ("upload",) else 0)
    with Buffer(tmp_path / "queue" / "buffer.db") as buffer:
        assert len(list(buffer.rows(State.PENDING))) == (3 if words == ("upload",) else 6)


class Field:
    """An agent's deeds with a clock of the test's own."""

    def __init__(self, folder: Path, server: StandIn, buffer: Buffer) -> None:
        loaded = load(settings(folder, server.url))
        watch: Any = SimpleNamespace(ways=frozenset())
        self.work = verb._Work(loaded, load_profile(loaded.config.profile), buffer, watch, verb._Signals(), None)


def test_the_agent_waits_longer_and_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not even the memory beside the queue can be written: a dozen sends in two hours, not one a minute."""
    now = [1000.0]
    (tmp_path / "queue").mkdir()
    with standin() as server, Buffer(tmp_path / "queue" / "buffer.db") as buffer, monkeypatch.context() as patch:
        put(buffer, 5)
        work = Field(tmp_path, server, buffer).work
        patch.setattr(loop, "device_clock", lambda: now[0])
        patch.setattr(Backoff, "_save", lambda _self: None)
        patch.setattr(Buffer, "settle", full)
        waits = []
        while now[0] < 1000.0 + 7200.0:
            waits.append(work.send(600.0))
            assert work.send(600.0) == pytest.approx(waits[-1]), "a link that comes up does not shorten it"
            now[0] += waits[-1]
        assert waits[:10] == [60, 60, 60, 60, 80, 160, 320, 640, 900, 900]
        assert len(server.seen) == len(waits) <= 15
        patch.undo()
        patch.setattr(loop, "device_clock", lambda: now[0])
        assert work.send(600.0) == loop.LOOK_S
        assert buffer.pending() == 0
