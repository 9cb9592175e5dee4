"""While the database cannot store anything, batches and `/readyz` say so in time, and `/healthz` answers."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sigprobe.collector import store
from tests.support.collector_client import Collector, batch_of, make_result
from tests.support.postgres import Postgres

BATCH_S = 20.0
READY_S = 2.0
SLACK_S = 8.0
"""A busy machine may take so much longer; without a deadline nothing would answer at all."""


def processes(server: Postgres) -> list[int]:
    """The server and all its children."""
    first = int((server.dir / "data" / "postmaster.pid").read_text().splitlines()[0])
    return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """Stop every process of the server, as a hanging disk or a paused machine does."""
    stopped = processes(server)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def timed(ask: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    answer = ask()
    return answer, time.monotonic() - began


def hold_refused(collector: Collector, reason: str) -> None:
    """A batch gets 503 with Retry-After, readiness 503 with its reason, health 200; each in its time."""
    batch, took_s = timed(lambda: collector.post(batch_of(make_result(99))))
    assert (batch.status_code, took_s < BATCH_S + SLACK_S) == (503, True), (batch.text, took_s)
    assert int(batch.headers["retry-after"]) > 0
    ready, took_s = timed(lambda: collector.client.get("/readyz"))
    assert (ready.status_code, took_s < READY_S + SLACK_S) == (503, True), (ready.text, took_s)
    assert reason in ready.json()["detail"]
    assert collector.client.get("/healthz").status_code == 200


def hold_well(collector: Collector, seq: int) -> None:
    """Batches are stored and readiness says so, at the latest once it has forgotten the fault."""
    end = time.monotonic() + 30
    while collector.client.get("/readyz").status_code != 200 or (
        collector.post(batch_of(make_result(seq))).status_code != 200
    ):
        assert time.monotonic() < end, collector.client.get("/readyz").text
        time.sleep(0.2)


def test_a_frozen_postgresql(postgres: Postgres, make_collector: Callable[..., Collector]) -> None:
    """Nothing hangs for as long as the server does, and all is well again after it."""
    collector = make_collector(store.open_store(postgres.new_database()))
    hold_well(collector, 1)
    with frozen(postgres):
        ready, took_s = timed(lambda: collector.client.get("/readyz"))
        if ready.status_code == 200:  # remembered from a moment ago
            time.sleep(1.1)
            ready, took_s = timed(lambda: collector.client.get("/readyz"))
        assert (ready.status_code, took_s < READY_S + SLACK_S) == (503, True)
        hold_refused(collector, "")
    hold_well(collector, 2)


def test_a_read_only_postgresql(postgres: Postgres, make_collector: Callable[..., Collector]) -> None:
    """A standby that was never promoted, or a server set read-only: the SQLSTATE says which kind of fault it is."""
    url = postgres.new_database()
    collector = make_collector(store.open_store(url))
    hold_well(collector, 1)
    name = url.split("/")[3].partition("?")[0]
    for value in ("on", "off"):
        postgres.run(
            "psql", "-h", str(postgres.dir), "-U", "sigprobe", "-d", "postgres", "-qc",
            f"ALTER DATABASE {name} SET default_transaction_read_only = {value}",
        )  # fmt: skip
        collector.engine.dispose()
        if value == "on":
            time.sleep(1.1)  # readiness remembers for a second
            hold_refused(collector, "25006")
        else:
            hold_well(collector, 2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(where)], check=True)
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


@pytest.mark.root
def test_a_full_disk_under_sqlite(small_disk: Path, make_collector: Callable[..., Collector]) -> None:
    """Batches are refused, not lost, and stored again once there is room."""
    collector = make_collector(store.open_store(f"sqlite:///{small_disk}/c.db"))
    hold_well(collector, 1)
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 4096)
    time.sleep(1.1)
    # what the log file already has room for may still be stored
    for seq in range(200):
        if collector.post(batch_of(*(make_result(1000 + seq * 50 + n) for n in range(50)))).status_code != 200:
            break
    hold_refused(collector, "SQLITE_FULL")
    ballast.unlink()
    hold_well(collector, 2)
