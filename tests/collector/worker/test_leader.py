"""One worker leads; when it dies or hangs another takes over, and the old one can commit nothing more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text

from sigprobe.collector import store
from sigprobe.collector.worker import schema
from sigprobe.collector.worker.leader import STALE_S, Leadership, LostError

LEADER = """
import sys, time
from sigprobe.collector import store
from sigprobe.collector.worker.leader import Leadership
lead = Leadership(store.open_store(sys.argv[1]), "first")
assert lead.try_to_lead()
print("leads", flush=True)
while True:
    time.sleep(0.2)
    lead.beat()
"""


@pytest.fixture
def worked(engine: Engine) -> Iterator[Engine]:
    """A database with the worker's tables."""
    schema.metadata.create_all(engine)
    yield engine


def until_led(lead: Leadership, limit_s: float) -> float:
    """Try once a quarter second; the seconds it took."""
    begun = time.monotonic()
    while not lead.try_to_lead():
        assert time.monotonic() - begun < limit_s, "nobody took over"
        time.sleep(0.25)
    return time.monotonic() - begun


def test_one_leads(worked: Engine, database: str) -> None:
    """The second worker waits, and leads when the first gives up."""
    other = store.open_store(database)
    one, two = Leadership(worked, "one"), Leadership(other, "two")
    assert one.try_to_lead() and one.try_to_lead()
    assert not two.try_to_lead()
    with pytest.raises(LostError):
        two.connection()
    one.give_up()
    until_led(two, 10)  # the server ends a session a moment after its connection was closed
    assert not one.leads
    two.give_up()
    other.dispose()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
def test_a_leader_that_is_gone_is_replaced(
    worked: Engine, database: str, spawn: Callable[..., subprocess.Popen[str]], how: int
) -> None:
    """Killed: its connection ends, and the lock with it. Stopped: its beat grows old, and its connection is ended."""
    if how == signal.SIGSTOP and worked.dialect.name == "sqlite":
        pytest.skip("on SQLite a stopped worker is a stopped collector: both are one process")
    first = spawn([sys.executable, "-c", LEADER, database], stdout=subprocess.PIPE)
    assert first.stdout is not None and first.stdout.readline() == "leads\n"
    second = Leadership(worked, "second")
    assert not second.try_to_lead(), "the control: the first leads"
    os.kill(first.pid, how)
    taken = until_led(second, STALE_S + 10)
    if how == signal.SIGSTOP:
        os.kill(first.pid, signal.SIGCONT)
        assert first.wait(30) != 0, "the old leader finds its connection gone and ends"
    second.connection().execute(text("SELECT 1"))
    second.give_up()
    assert taken < STALE_S + 2


def test_a_leader_that_lost_its_lock_commits_nothing(worked: Engine) -> None:
    """The lock's own connection carries every write, so a write after the loss fails."""
    if worked.dialect.name == "sqlite":
        pytest.skip("a file lock ends with its process")
    lead = Leadership(worked, "one")
    assert lead.try_to_lead()
    connection = lead.connection()
    with worked.connect() as other:
        pid = other.scalar(text("SELECT backend FROM worker_leader"))
        other.execute(text("SELECT pg_terminate_backend(CAST(:pid AS integer))"), {"pid": pid})
        other.commit()
    with pytest.raises(LostError):
        lead.beat()
    assert not lead.leads and connection.closed
