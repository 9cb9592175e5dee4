"""A collector whose clock is wrong gives no time to probes, is not ready, and still stores what it gets."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from sqlalchemy import select

from sigprobe.collector import store
from sigprobe.collector.store.schema import results
from tests.support.clock_shift import shifted_clock
from tests.support.collector_client import batch_of, make_result
from tests.support.collector_process import COMMAND, Server, Spawn, new_token, started


def serve_at(spawn: Spawn, database: str, shift: str, *args: str) -> Server:
    """Start a collector whose clock is shifted."""
    process = spawn(
        [*COMMAND, "serve", "--port", "0", "--log-level", "error", *args],
        env={**os.environ, "SIGPROBE_DATABASE": database, **shifted_clock(shift)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return started(process)


def ready(server: Server, status: int) -> requests.Response:
    """Ask until it answers with this status; on a busy machine the first answers may be that it takes too long."""
    end = time.monotonic() + 60
    while True:
        answer = requests.get(server.url + "readyz", timeout=30)
        slow = answer.status_code == 503 and "does not answer" in answer.text
        if (answer.status_code == status and not slow) or time.monotonic() > end:
            return answer
        time.sleep(0.3)


def newest(database: str) -> datetime:
    engine = store.open_store(database)
    with engine.connect() as connection:
        found: datetime = connection.execute(
            select(results.c.received_at).order_by(results.c.receive_no.desc()).limit(1)
        ).scalar_one()
    engine.dispose()
    return found


@pytest.mark.system("faketime", "faketime")
@pytest.mark.parametrize("shift", ["+600s", "-600s", "-10y"])
def test_off_against_the_database(spawn: Spawn, postgres: object, shift: str) -> None:
    """Beside a right one on the same PostgreSQL: only the right one gives the time and is ready."""
    database = postgres.new_database()  # type: ignore[attr-defined]
    token = new_token("probe", "laptop-1", database)
    right, wrong = serve_at(spawn, database, "+0s"), serve_at(spawn, database, shift)
    good = right.post(batch_of(make_result(1)), token)
    assert good.status_code == 200 and "server_time" in good.json(), "the control: the same with a right clock"
    assert ready(right, 200).status_code == 200
    began = datetime.now(UTC)
    bad = wrong.post(batch_of(make_result(2)), token)
    assert bad.status_code == 200, bad.text
    assert bad.json()["results"][0]["status"] == "accepted"
    assert "server_time" not in bad.json()
    answer = ready(wrong, 503)
    assert answer.status_code == 503 and "the clock of this collector" in answer.json()["detail"]
    assert requests.get(wrong.url + "healthz", timeout=30).status_code == 200
    assert began - timedelta(seconds=5) < newest(database) < datetime.now(UTC) + timedelta(seconds=5)


@pytest.mark.system("faketime", "faketime")
def test_ten_years_back_on_sqlite(spawn: Spawn, tmp_path: Path) -> None:
    """Its own newest receipt shows it. A right clock after a wrong receipt needs `--trust-clock` once."""
    database = f"sqlite:///{tmp_path}/c.db"
    token = new_token("probe", "laptop-1", database)

    def send(shift: str, seq: int, status: int, *args: str) -> bool:
        server = serve_at(spawn, database, shift, *args)
        answer = server.post(batch_of(make_result(seq)), token)
        assert answer.status_code == 200
        assert ready(server, status).status_code == status
        server.process.terminate()
        server.process.wait(30)
        return "server_time" in answer.json()

    assert send("+0s", 1, 200)
    assert not send("-10y", 2, 503)
    assert newest(database) > datetime.now(UTC) - timedelta(minutes=10)
    assert send("+40y", 3, 200), "nothing here can show that a clock is ahead"
    assert not send("+0s", 4, 503)
    # what the last one stored has a late receipt, too: times of receipt never go back
    assert send("+0s", 5, 200, "--trust-clock")
    assert send("+0s", 6, 200)


def test_the_kind_of_answer(make_collector: Callable[..., object]) -> None:
    """Without a fault nothing changes for probes: the receipt has its time."""
    collector = make_collector()
    answer = collector.post(batch_of(make_result(1)))  # type: ignore[attr-defined]
    assert answer.json()["server_time"].endswith("Z")
