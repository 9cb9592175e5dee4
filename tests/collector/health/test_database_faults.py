"""While the database cannot store anything, batches and `/readyz` say so in time, and `/healthz` answers.

The collector runs as its own process, asked over real sockets. Its deadlines are its own: no driver's, no kernel's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from sigprobe.collector.health import readiness
from sigprobe.collector.ingest import fair_queue
from sigprobe.collector.web import threads
from tests.support.collector_client import batch_of, make_result
from tests.support.collector_process import Server, Spawn, new_token, serve
from tests.support.postgres import Postgres
from tests.support.requirements import needs

BATCH_S = 20.0
READY_S = 2.0
SLACK_S = 10.0
"""A busy machine may take so much longer; without a deadline nothing would answer at all."""

QUICKER = """
import sigprobe.collector.ingest.api as api
api.STORE_S = 2.0
"""
NO_DEADLINE = QUICKER.replace("2.0", "1e6")


def test_the_deadlines_fit_into_what_is_promised() -> None:
    """Looking up the token, waiting for a turn, and storing: together less than what a batch may take."""
    assert threads.TOKEN_S + fair_queue.MAX_WAIT_S + threads.STORE_S <= BATCH_S - 2
    assert readiness.DEADLINE_S <= READY_S - 0.5


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
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def vanished(server: Postgres) -> Iterator[None]:
    """Lose every packet to and from the server, as when its host loses power or its cable is cut."""
    nft = needs("nft", "nftables")
    drop = f"tcp dport {server.port} drop; tcp sport {server.port} drop;"
    rules = f"table inet sigprobe_vanished {{ chain c {{ type filter hook input priority 0; {drop} }}; }}"
    subprocess.run([nft, rules], check=True)
    try:
        yield
    finally:
        subprocess.run([nft, "delete table inet sigprobe_vanished"], check=True)


def timed(ask: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    answer = ask()
    return answer, time.monotonic() - began


class Scene:
    """A server with two tokens: one that it knows from a moment ago, and one that it must look up."""

    def __init__(self, spawn: Spawn, url: str, patch: str = "") -> None:
        self.known, self.new = (new_token("probe", name, url) for name in ("laptop-1", "laptop-2"))
        self.server: Server = serve(spawn, url, patch=patch)
        self.seq = 0

    def post(self, token: str | None = None, timeout: float = 90) -> requests.Response:
        """Send one new result."""
        self.seq += 1
        return self.server.post(batch_of(make_result(self.seq)), token or self.known, timeout=timeout)

    def ready(self) -> requests.Response:
        return requests.get(self.server.url + "readyz", timeout=60)

    def hold_refused(self, reason: str = "", *, batch_s: float = BATCH_S) -> None:
        """Batches get 503 with Retry-After, readiness 503 with its reason, health 200; each in its time."""
        end = time.monotonic() + 30
        while self.ready().status_code == 200:  # it remembers for a second
            assert time.monotonic() < end
            time.sleep(0.1)
        for token in (self.new, self.known):
            batch, took_s = timed(lambda token=token: self.post(token))
            assert (batch.status_code, took_s < batch_s + SLACK_S) == (503, True), (batch.text, took_s)
            assert int(batch.headers["retry-after"]) >= 5
            for path, status in (("readyz", 503), ("healthz", 200)):
                answer, took_s = timed(lambda path=path: requests.get(self.server.url + path, timeout=60))
                assert (answer.status_code, took_s < READY_S + SLACK_S) == (status, True), (answer.text, took_s)
                if status == 503:
                    assert reason in answer.json()["detail"], answer.text
                    assert int(answer.headers["retry-after"]) >= 5

    def hold_well(self) -> None:
        """Batches are stored and readiness says so, at the latest once it has forgotten the fault."""
        end = time.monotonic() + 60
        while self.ready().status_code != 200 or self.post().status_code != 200:
            assert time.monotonic() < end, self.ready().text
            time.sleep(0.2)


def test_a_frozen_postgresql(postgres: Postgres, spawn: Spawn) -> None:
    """Nothing hangs for as long as the server does, and all is well again after it."""
    scene = Scene(spawn, postgres.new_database())
    scene.hold_well()
    with frozen(postgres):
        scene.hold_refused()
        # pages, too: a browser must not wait for as long either
        page, took_s = timed(lambda: requests.get(scene.server.url, cookies={"sigprobe_session": "x"}, timeout=90))
        assert (page.status_code, took_s < BATCH_S + SLACK_S) == (503, True)
    scene.hold_well()


@pytest.mark.parametrize(("patch", "answers"), [(QUICKER, True), (NO_DEADLINE, False)], ids=["guarded", "control"])
def test_only_our_own_deadline_ends_it(postgres: Postgres, spawn: Spawn, patch: str, answers: bool) -> None:
    """A frozen server acknowledges every packet, so no time limit of kernel or driver ever ends a batch."""
    scene = Scene(spawn, postgres.new_database(), patch)
    scene.hold_well()
    with frozen(postgres):
        if answers:
            assert scene.post().status_code == 503
        else:
            with pytest.raises(requests.Timeout):
                scene.post(timeout=15)
    scene.hold_well()


@pytest.mark.root
@pytest.mark.system("nft", "nftables")
def test_a_host_that_vanishes(spawn: Spawn, free_port: Callable[[], int]) -> None:
    """Packets to the database are lost without a word: the same, and new connections once it is back."""
    server = Postgres(port=free_port())
    try:
        server.start()
        scene = Scene(spawn, server.new_database())
        scene.hold_well()
        with vanished(server):
            scene.hold_refused()
        scene.hold_well()
    finally:
        server.close()


def test_a_standby_behind_the_address(spawn: Spawn) -> None:
    """A hot standby that was never promoted takes no batch: the SQLSTATE says which kind of fault it is."""
    first = Postgres()
    try:
        first.start()
        url = first.new_database()
        scene_tokens = Scene(spawn, url)
        scene_tokens.hold_well()
        second = first.standby()
        try:
            second.start()
            away = serve(spawn, url.replace(str(first.dir), str(second.dir)))
            scene_tokens.server = away
            scene_tokens.hold_refused("25006")
            second.run("pg_ctl", "-D", "data", "-w", "promote")
            scene_tokens.hold_well()
        finally:
            second.close()
    finally:
        first.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return what makes a file system of so many MB."""
    made: list[Path] = []

    def make(size_mb: int) -> Path:
        where = Path(f"/tmp/sigprobe-disk-{os.getpid()}-{len(made)}")  # short, for a Unix socket's path
        where.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0777", "tmpfs", str(where)], check=True)
        made.append(where)
        return where

    yield make
    for where in made:
        subprocess.run(["umount", "-l", str(where)], check=True)
        where.rmdir()


def fill(disk: Path, leave: int = 0) -> Path:
    """Fill a disk, but for so many bytes; the file that fills it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 65_536)
        file.truncate(max(0, file.tell() - leave))
    return ballast


def fill_up(scene: Scene) -> None:
    """Send until nothing more is stored: what the log already has room for may still be."""
    for _ in range(400):
        scene.seq += 50
        batch = batch_of(*(make_result(scene.seq + n) for n in range(50)))
        if scene.server.post(batch, scene.known, timeout=90).status_code != 200:
            return


@pytest.mark.root
def test_a_full_disk_under_sqlite(small_disk: Callable[[int], Path], spawn: Spawn) -> None:
    """Batches are refused, not lost, and stored again once there is room."""
    disk = small_disk(4)
    scene = Scene(spawn, f"sqlite:///{disk}/c.db")
    scene.hold_well()
    ballast = fill(disk)
    fill_up(scene)
    scene.hold_refused("SQLITE_FULL")
    ballast.unlink()
    scene.hold_well()


@pytest.mark.root
def test_a_full_disk_under_postgresql(small_disk: Callable[[int], Path], spawn: Spawn) -> None:
    """The same where the server itself stops and recovers for lack of room for its log."""
    disk = small_disk(160)
    folder = disk / "pg"
    folder.mkdir()
    server = Postgres(folder)
    try:
        server.start()
        scene = Scene(spawn, server.new_database())
        scene.hold_well()
        ballast = fill(disk)
        fill_up(scene)
        scene.hold_refused()
        ballast.unlink()
        if not server_answers(server):
            with suppress(subprocess.CalledProcessError):
                server.stop("immediate")
            server.start()
        scene.hold_well()
    finally:
        server.close()


def server_answers(server: Postgres) -> bool:
    """Whether the server still runs; without room for its log it ends itself."""
    try:
        server.run("pg_isready", "-h", str(server.dir))
    except subprocess.CalledProcessError:
        return False
    return True
