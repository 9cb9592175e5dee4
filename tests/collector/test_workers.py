"""`collector serve --workers`: several processes on one socket, watched over by one."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from sigprobe.protocol import batches
from tests.collector.test_serving import stored_ids, under_load
from tests.support.collector_client import batch_of, make_result
from tests.support.collector_process import Server, Spawn, new_token, run, serve
from tests.support.postgres import Postgres


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes that one has started."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as found:
        return [int(pid) for pid in found.read().split()]


def until(holds: Callable[[], Any], what: str) -> None:
    """Wait for a condition."""
    end = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def value(url: str, name: str) -> float:
    """A metric, as the process that happens to be asked tells it."""
    text = requests.get(url + "metrics", timeout=60).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


@pytest.fixture
def database(postgres: Postgres) -> str:
    """A fresh database."""
    return postgres.new_database()


def test_a_killed_process_loses_nothing_and_is_replaced(spawn: Spawn, database: str) -> None:
    """Kill one of three under load, then another: each acknowledged record is stored, and three serve again."""
    token = new_token("probe", "laptop-1", database)
    server = serve(spawn, database, "--workers", "3")
    first = children(server.process)
    assert len(first) == 3
    acked: set[str] = set()
    for _ in range(2):
        kill_one(server, token, acked)
        until(lambda: len(children(server.process)) == 3, "no replacement")
    under_load(server, token, lambda: None, acked)
    assert len(acked) >= 120
    assert acked <= stored_ids(database)


def kill_one(server: Server, token: str, acked: set[str]) -> None:
    """Kill one of its processes under load, and wait until it is gone."""
    killed = children(server.process)[0]
    under_load(server, token, lambda: os.kill(killed, signal.SIGKILL), acked)
    until(lambda: killed not in children(server.process), "it lives")


def test_a_record_acknowledged_before_its_commit_would_be_missed(spawn: Spawn, database: str) -> None:
    """The control: where receipts do not wait for the commit, the same comparison finds what is lost."""
    token = new_token("probe", "laptop-1", database)
    patch = """
import sigprobe.collector.ingest.queries
sigprobe.collector.ingest.queries.store_batches = lambda engine, group: [
    {row.id: "accepted" for row in batch.rows} for batch in group
]
"""
    server = serve(spawn, database, "--workers", "2", patch=patch)
    acked: set[str] = set()
    kill_one(server, token, acked)
    assert acked and not acked & stored_ids(database)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_end_in_order(spawn: Spawn, database: str, number: int) -> None:
    """A signal to the first process ends them all: running requests are answered, exit code 0, nothing is left."""
    token = new_token("probe", "laptop-1", database)
    server = serve(spawn, database, "--workers", "2")
    pids = children(server.process)
    batch = batch_of(make_result())
    host, port = server.url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), 60) as slow:
        headers = batches.batch_headers(batch, token) | {"Content-Length": str(len(batch.body)), "Host": "x"}
        head = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        slow.sendall(f"POST /v1/batches HTTP/1.1\r\n{head}\r\n".encode() + batch.body[:-1])
        until(lambda: value(server.url, "sigprobe_batches_in_flight") == 1, "the batch did not begin")
        server.process.send_signal(number)
        slow.sendall(batch.body[-1:])
        assert slow.recv(12) == b"HTTP/1.1 200"
    _, err = server.process.communicate(timeout=60)
    assert (server.process.returncode, err) == (0, "")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_none_outlives_its_supervisor(spawn: Spawn, database: str) -> None:
    """When the first process is killed, the others notice and end, and the port is free."""
    server = serve(spawn, database, "--workers", "2")
    pids = children(server.process)
    server.process.kill()
    server.process.wait(60)
    until(lambda: not any(running(pid) for pid in pids), "a process outlives its supervisor")


def running(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for init to notice."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2][0]
    except OSError:
        return False
    return state != "Z"


def test_metrics_are_those_of_all(spawn: Spawn, postgres: Postgres) -> None:
    """Whichever process is asked counts for all, for one that was killed too, and while the database is away."""
    own = Postgres()
    try:
        own.start()
        database = own.new_database()
        token = new_token("probe", "laptop-1", database)
        server = serve(spawn, database, "--workers", "3")
        for n in range(30):  # a connection each
            assert server.post(batch_of(make_result(n + 1)), token).status_code == 200
        name = 'sigprobe_batches_total{status="200"}'
        assert {value(server.url, name) for _ in range(10)} == {30}
        until(lambda: value(server.url, "sigprobe_processes") == 3, "not all are counted")
        os.kill(children(server.process)[0], signal.SIGKILL)
        assert {value(server.url, name) for _ in range(10)} == {30}
        until(lambda: value(server.url, "sigprobe_processes") == 3, "the new one is not counted")
        assert server.post(batch_of(make_result(31)), token).status_code == 200
        own.stop("immediate")
        assert {value(server.url, name) for _ in range(10)} == {31}
        until(lambda: value(server.url, "sigprobe_database_up") == 0, "it is away")
        assert 'status="503"' not in requests.get(server.url + "metrics", timeout=60).text
        server.post(batch_of(make_result(32)), token)
        assert value(server.url, 'sigprobe_batches_total{status="503"}') == 1
    finally:
        own.close()


def test_a_hangup_renews_the_certificate_without_a_refused_request(spawn: Spawn, database: str, tmp_path: Path) -> None:
    """SIGHUP replaces each process by one with the new certificate, while requests go on; a bad one changes nothing."""
    authority = trustme.CA()
    cert, key, root = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "root.pem"
    authority.cert_pem.write_to_path(root)

    def issue() -> int:
        leaf = authority.issue_cert("127.0.0.1")
        leaf.cert_chain_pems[0].write_to_path(cert)
        leaf.private_key_pem.write_to_path(key)
        text = ssl._ssl._test_decode_cert(str(cert))["serialNumber"]  # type: ignore[attr-defined]
        return int(text, 16)

    def served() -> int:
        context = ssl.create_default_context(cafile=str(root))
        with (
            socket.create_connection(("127.0.0.1", port), 60) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as sock,
        ):
            return int(sock.getpeercert()["serialNumber"], 16)  # type: ignore[arg-type, index]

    old = issue()
    server = serve(spawn, database, "--workers", "2", "--tls-cert", str(cert), "--tls-key", str(key))
    port = int(server.url.rstrip("/").rpartition(":")[2])
    before = children(server.process)
    stop, faults, count = threading.Event(), [], [0]

    def ask() -> None:
        while not stop.is_set():
            try:
                assert requests.get(server.url + "healthz", verify=str(root), timeout=60).status_code == 200
            except Exception as error:
                faults.append(error)
            count[0] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert served() == old
        new = issue()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: not set(before) & set(children(server.process)), "the old processes stay")
        until(lambda: len(children(server.process)) == 2, "one is missing")
        assert {served() for _ in range(6)} == {new}
        key.write_text("no key", encoding="ascii")
        now = children(server.process)
        server.process.send_signal(signal.SIGHUP)
        asked = count[0]
        until(lambda: count[0] > asked + 20, "it answers no more")
        assert children(server.process) == now and served() == new
    finally:
        stop.set()
        asking.join()
    assert not faults, faults[:3]


def test_sqlite_has_one_process(tmp_path: Path) -> None:
    """Several processes on SQLite are refused before anything is made; one is what there is anyway."""
    done = run("serve", "--workers", "2", database=f"sqlite:///{tmp_path}/collector.db")
    assert done.returncode == 2
    assert "--workers needs PostgreSQL" in done.stderr
    assert not (tmp_path / "collector.db").exists()


def test_a_process_that_cannot_start_ends_all(spawn: Spawn, database: str) -> None:
    """What keeps one process from its first start ends the command with a sentence and exit 1."""
    patch = "import sigprobe.collector.app\nsigprobe.collector.app._books = None"
    with pytest.raises(AssertionError, match="A process of the collector could not start"):
        serve(spawn, database, "--workers", "2", patch=patch)


def test_a_dead_leader_is_followed_by_another_process(spawn: Spawn, database: str) -> None:
    """Each process has a worker; when the one that leads is killed, another leads."""
    token = new_token("probe", "laptop-1", database)
    admin = new_token("admin", "boss", database)
    server = serve(spawn, database, "--workers", "2", "--log-level", "error")

    def stored() -> int:
        answer = requests.get(
            server.url + "v1/results", headers={"Authorization": f"Bearer {admin}"}, timeout=60
        ).json()
        return len(answer["results"])

    assert server.post(batch_of(make_result()), token).status_code == 200
    until(lambda: stored() == 1, "nothing is published")
    leader = int(leading(database).rpartition(":")[2])
    assert leader in children(server.process)
    os.kill(leader, signal.SIGKILL)
    assert server.post(batch_of(make_result(2)), token).status_code == 200
    until(lambda: stored() == 2, "nothing is published after the leader's death")
    assert int(leading(database).rpartition(":")[2]) != leader


def leading(database: str) -> str:
    """The name of the leading worker: its machine and process."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(database, autocommit=True) as connection:
        return str(connection.execute("SELECT name FROM worker_leader").fetchone()[0])
