"""Promise 14: what was acknowledged survives the death of the collector and of its database."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
import requests

from sigprobe.collector.store import open_store
from sigprobe.collector.worker import recount
from sigprobe.protocol import batches
from tests.support.postgres import Postgres, running
from tests.trials.faults.fault_site import Site, records
from tests.trials.faults.trial import Trial, hold

SENDERS: Final = 3

EARLY: Final = """
import threading
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.protocol.batches import ACCEPTED
store = ingest_queries.store_batches
held, lock = [], threading.Lock()
def early(engine, group):
    with lock:
        held.extend(group)
        due = [held.pop(0) for _ in range(len(held) - 8)]
    if due:
        store(engine, due)
    return [{row.id: ACCEPTED for row in batch.rows} for batch in group]
ingest_queries.store_batches = early
"""
"""A collector that acknowledges a batch when it arrives and commits it eight batches later.

Each of the senders has one batch on the way at most, so at any moment there are batches that are acknowledged and not
committed.
"""
assert SENDERS < 8


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """Provide a PostgreSQL for this module, which crashes it."""
    with running() as server:
        yield server


def processes(postgres: Postgres) -> list[int]:
    """Return the postmaster and all its children."""
    master = int((postgres.dir / "data" / "postmaster.pid").read_text().split()[0])
    found = [master]
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == master:
                found.append(int(status.parent.name))
    return found


def kill_database(postgres: Postgres) -> None:
    """Send SIGKILL to every process of the server at once, as a crash of the machine does."""
    victims = processes(postgres)
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 20
    while any(_lives(pid) for pid in victims):
        assert time.monotonic() < until, "the database did not die"
        time.sleep(0.01)
    # where nobody reaps it the dead postmaster keeps its number, and the next one would take it for alive
    (postgres.dir / "data" / "postmaster.pid").unlink()
    (postgres.dir / ".s.PGSQL.5432.lock").unlink()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def send(site: Site, acked: set[str], stop: threading.Event, seed: str) -> None:
    """Send small batches until stopped, and collect each id that a verified receipt acknowledges."""
    rng = random.Random(seed)
    with requests.Session() as session:
        session.trust_env = False
        while not stop.is_set():
            batch = batches.build_batch(records(rng.randint(1, 8), rng))
            try:
                answer = session.post(
                    site.url + batches.BATCH_PATH,
                    data=batch.body,
                    headers=batches.batch_headers(batch, site.token),
                    timeout=10,
                )
                receipt = batches.read_receipt(
                    answer.status_code, answer.headers.get("Content-Type"), answer.content, batch
                )
            except (requests.RequestException, batches.NotAReceiptError):
                stop.wait(0.01)
                continue
            acked.update(a.id for a in receipt.results if a.status in (batches.ACCEPTED, batches.DUPLICATE))


@contextmanager
def load(site: Site, run: Trial, acked: set[str]) -> Iterator[None]:
    """Run three senders, and wait for some more acknowledgements."""
    stop = threading.Event()
    goal = len(acked) + run.random.randint(5, 40)
    senders = [
        threading.Thread(target=send, args=(site, acked, stop, f"{run.random.random()}")) for _ in range(SENDERS)
    ]
    for sender in senders:
        sender.start()
    try:
        until = time.monotonic() + 60
        while len(acked) < goal:
            assert time.monotonic() < until, f"no load: {site.log.read_text()[-500:]}"
            time.sleep(0.002)
        time.sleep(run.random.uniform(0, 0.05))
        yield
    finally:
        stop.set()
        for sender in senders:
            sender.join(30)


def kill_collector(site: Site, run: Trial, kills: int) -> int:
    """Kill the collector under load so often; returns the number of acknowledged ids, all of them stored once."""
    acked: set[str] = set()
    for _ in range(kills):
        if site.process is None:
            site.start()
        with load(site, run, acked):
            site.kill()
    site.start()
    stored = site.stored()
    twice = sum(times > 1 for times in stored.values())
    lost = len(acked - stored.keys())
    print(f"{kills} kills: {len(acked)} acknowledged, {lost} lost, {twice} twice")
    hold(lost == 0, "acked-lost", f"{lost} of {len(acked)}")
    hold(twice == 0, "duplicate", f"{twice} of {len(stored)}")
    hold_sums(site)
    return len(acked)


def hold_sums(site: Site) -> None:
    """The worker died with its collector at whatever line it was: its sums still equal a fresh count."""
    engine = open_store(site.database)
    try:
        found = recount.check_whole(engine)
    finally:
        engine.dispose()
    hold(found.different == 0, "sums-differ", "; ".join(found.examples[:3]))


@pytest.mark.timeout(0)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_collector_is_killed(
    trial: Callable[..., Trial], tmp_path: Path, request: pytest.FixtureRequest, engine: str
) -> None:
    """SIGKILL of the collector under load, on either database: every acknowledged id is there afterwards, once."""
    run = trial(14, f"collector killed, {engine}", short=4, full=200)
    url = None if engine == "sqlite" else str(request.getfixturevalue("postgres").new_database())
    with Site(tmp_path / "site", url) as site:
        acked = kill_collector(site, run, run.n)
    if engine == "sqlite":  # the control is about the order of ack and COMMIT, not about the engine
        with run.expect_failure("acked-lost"), Site(tmp_path / "early", patch=EARLY) as early:
            kill_collector(early, run, 1)
    run.report(0, acknowledged=acked)


def crash_database(site: Site, postgres: Postgres, run: Trial, kills: int) -> int:
    """Crash the database under load so often, sometimes the collector too; returns the number of acknowledged ids."""
    acked: set[str] = set()
    for n in range(kills):
        if site.process is None:
            site.start()
        with load(site, run, acked):
            if n % 2:
                postgres.stop("immediate")
            else:
                kill_database(postgres)
            if n % 4 == 3:
                site.kill()
        postgres.start()
    if site.process is None:
        site.start()
    stored = site.stored()
    lost = len(acked - stored.keys())
    print(f"{kills} crashes: {len(acked)} acknowledged, {lost} lost")
    hold(lost == 0, "acked-lost", f"{lost} of {len(acked)}")
    hold(all(times == 1 for times in stored.values()), "duplicate")
    return len(acked)


@pytest.mark.timeout(0)
def test_the_database_is_killed(trial: Callable[..., Trial], tmp_path: Path, postgres: Postgres) -> None:
    """PostgreSQL dies under load, by SIGKILL of all it is or by an immediate stop: nothing acknowledged is gone."""
    run = trial(14, "PostgreSQL killed", short=4, full=200)
    with Site(tmp_path / "site", str(postgres.new_database())) as site:
        acked = crash_database(site, postgres, run, run.n)
    early = Site(tmp_path / "early", str(postgres.new_database()), patch=EARLY)
    with run.expect_failure("acked-lost"), early:
        crash_database(early, postgres, run, 1)
    run.report(0, acknowledged=acked)
