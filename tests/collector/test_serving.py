"""The command as its users meet it: start, tokens, TLS, signals, bombs, kill -9 and a database that restarts."""

from __future__ import annotations

import gzip
import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import trustme

from sigprobe.collector import store
from sigprobe.protocol import batches
from tests.support.collector_client import batch_of, make_result, page_lines
from tests.support.collector_process import COMMAND, Server, Spawn, new_token, run, serve
from tests.support.postgres import Postgres
from tests.support.survivors import end


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a database that does not exist yet."""
    return f"sqlite:///{tmp_path}/collector.db"


def test_a_result_travels(spawn: Spawn, sqlite_url: str) -> None:
    """A token, a server, a batch, a receipt, the record back, and an orderly end with exit code 0."""
    probe, admin = new_token("probe", "laptop-1", sqlite_url), new_token("admin", "boss", sqlite_url)
    server = serve(spawn, sqlite_url)
    batch = batch_of(make_result())
    answer = server.post(batch, probe)
    assert answer.json()["results"][0]["status"] == "accepted"
    stored = requests.get(server.url + "v1/results", headers={"Authorization": f"Bearer {admin}"}, timeout=10).json()
    assert len(stored["results"]) == 1
    server.process.send_signal(signal.SIGTERM)
    out, err = server.process.communicate(timeout=20)
    assert (server.process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert probe not in err + "".join(server.said)


def test_interrupt_ends_in_order(spawn: Spawn, sqlite_url: str) -> None:
    """Ctrl-C stops the server without a traceback."""
    server = serve(spawn, sqlite_url)
    server.process.send_signal(signal.SIGINT)
    _, err = server.process.communicate(timeout=20)
    assert server.process.returncode == 0
    assert err == ""


_SIGNAL_BEFORE_THE_LOOP = """
import os, signal, sys
import uvicorn
from sigprobe.cli import main

plain = uvicorn.Server.run

def run(server, sockets=None):
    os.kill(os.getpid(), signal.SIGTERM)
    plain(server, sockets)

uvicorn.Server.run = run
sys.argv = ["sigprobe", "collector", "serve", "--port", "0", "--database", sys.argv[1]]
main()
"""

_SIGNAL_IN_A_WAIT = """
import os, signal, sys
from sigprobe.cli import main
from sigprobe.collector.worker.loop import Worker

plain = Worker.run

def run(worker):
    with worker._stopped._cond:  # what `wait` of an Event holds for moments
        os.kill(os.getpid(), signal.SIGTERM)
    plain(worker)

Worker.run = run
sys.argv = ["sigprobe", "collector", "work", "--database", sys.argv[1]]
main()
"""


@pytest.mark.process
@pytest.mark.parametrize("script", [_SIGNAL_BEFORE_THE_LOOP, _SIGNAL_IN_A_WAIT], ids=["serve", "work"])
def test_no_signal_is_lost_at_the_start(spawn: Spawn, sqlite_url: str, script: str) -> None:
    """A SIGTERM that comes before the server's loop, or inside a wait of the worker, ends the process all the same."""
    process = spawn([sys.executable, "-c", script, sqlite_url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err


def test_port_in_use(sqlite_url: str) -> None:
    """A port that is taken is one sentence and exit 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port), database=sqlite_url)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(port) in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("serve", "--tls-cert", "x.pem"), 2, "--tls-key"),
        (("serve", "--tls-cert", "none.pem", "--tls-key", "none.pem"), 1, "none.pem"),
        (("serve", "--host", "no such host"), 1, "is not an address of this machine"),
        (("token", "create"), 2, "--probe"),
        (("token", "create", "--probe", "a", "--admin", "b"), 2, "--admin"),
        (("token", "create", "--probe", "two words"), 2, "letters"),
        (("token", "revoke", "nobody"), 2, "token list"),
    ],
)
def test_wrong_use(sqlite_url: str, args: tuple[str, ...], code: int, words: str) -> None:
    """A wrong command says what to do in one sentence, with the contract's exit code and no traceback."""
    new_token("admin", "centre", sqlite_url)
    done = run(*args, database=sqlite_url)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_token_commands(sqlite_url: str) -> None:
    """Tokens are made once per name, listed without secrets, and revoked by name."""
    secret = new_token("probe", "laptop-1", sqlite_url)
    again = run("token", "create", "--admin", "laptop-1", database=sqlite_url)
    assert again.returncode == 2
    assert "sigprobe collector token revoke laptop-1" in again.stderr
    assert run("token", "revoke", "laptop-1", database=sqlite_url).returncode == 0
    assert new_token("probe", "laptop-1", sqlite_url) != secret
    listed = run("token", "list", database=sqlite_url).stdout
    assert listed.count("laptop-1") == 2
    assert "revoked" in listed
    assert secret not in listed


def test_unusable_database_is_one_sentence(tmp_path: Path) -> None:
    """A database that cannot be opened ends the command with one sentence."""
    done = run("token", "list", database=f"sqlite:///{tmp_path}")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_tls(spawn: Spawn, sqlite_url: str, tmp_path: Path) -> None:
    """With a certificate the server speaks TLS 1.2 and later, and nothing older."""
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    cert, key, root = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "root.pem"
    leaf.cert_chain_pems[0].write_to_path(cert)
    leaf.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(root)
    probe = new_token("probe", "laptop-1", sqlite_url)
    server = serve(spawn, sqlite_url, "--tls-cert", str(cert), "--tls-key", str(key))
    assert server.url.startswith("https://")
    assert server.post(batch_of(make_result()), probe, verify=str(root)).status_code == 200
    context = ssl.create_default_context(cafile=str(root))
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    port = int(server.url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw, server_hostname="127.0.0.1")


def test_open_address_without_tls(spawn: Spawn, sqlite_url: str) -> None:
    """Beyond loopback without TLS it warns, refuses results and pages, and asks the speed test for a token."""
    probe = new_token("probe", "laptop-1", sqlite_url)
    server = serve(spawn, sqlite_url, "--host", "0.0.0.0")
    assert server.said[0].startswith("Warning:")
    assert server.post(batch_of(make_result()), probe).status_code == 403
    assert requests.get(server.url, timeout=10).status_code == 403
    assert requests.get(server.url + "backend/garbage", timeout=10).status_code == 401
    assert requests.get(server.url + "healthz", timeout=10).status_code == 200


@pytest.mark.process
def test_one_time_link_on_a_terminal(sqlite_url: str) -> None:
    """Only where stderr is a terminal does `serve` print a link that signs in, once."""
    terminal, child = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0"],
        env={**os.environ, "SIGPROBE_DATABASE": sqlite_url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=child,
    )
    os.close(child)
    try:
        said = b""
        while b"login?once=" not in said or not said.endswith(b"\n"):
            said += os.read(terminal, 4096)
        link = re.search(r"http://\S+login\?once=\S+", said.decode())
        assert link is not None
        with requests.Session() as browser:
            assert browser.get(link[0], timeout=10).status_code == 200
            assert browser.get(link[0].partition("login")[0], timeout=10, allow_redirects=False).status_code == 200
        assert requests.get(link[0], timeout=10).status_code == 403
    finally:
        end(process)
        os.close(terminal)


def zero_bomb(size: int) -> bytes:
    """`size` zero bytes, gzipped as tightly as gzip can."""
    packer = zlib.compressobj(9, wbits=31)
    block = b"\0" * (1 << 20)
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


def line_bomb(size: int) -> bytes:
    """`size` bytes of lines that are records in themselves, to get past a look at the first bytes."""
    packer = zlib.compressobj(9, wbits=31)
    lines = (make_result().to_line() + b"\n") * 100
    return b"".join(packer.compress(lines) for _ in range(size // len(lines))) + packer.flush()


@pytest.fixture
def bombed(spawn: Spawn, sqlite_url: str) -> Iterator[tuple[Server, str]]:
    """A server that has already taken a full-size honest batch, so that growth is measured against real work."""
    probe = new_token("probe", "laptop-1", sqlite_url)
    server = serve(spawn, sqlite_url)
    assert server.post(batch_of(*(make_result(n + 1) for n in range(500))), probe).status_code == 200
    before = server.rss_kb()
    yield server, probe
    growth_mb = (server.rss_kb() - before) / 1024
    print(f"memory grew by {growth_mb:.1f} MB")
    assert growth_mb < 64
    assert server.post(batch_of(make_result()), probe).status_code == 200


def test_bombs(bombed: tuple[Server, str]) -> None:
    """1 GiB in 1 MiB of gzip, and millions of lines in less, are 413 with less than 64 MB of growth."""
    server, probe = bombed
    for body in (zero_bomb(1 << 30), line_bomb(150 << 20)):
        assert len(body) <= 1.01 * batches.MAX_COMPRESSED_BYTES
        batch = batches.Batch("b-1", body[: batches.MAX_COMPRESSED_BYTES], "", (), 0)
        batch = batches.Batch("b-1", batch.body, batches.content_digest(batch.body), (), 0)
        for _ in range(3):
            answer = server.post(batch, probe)
            assert answer.status_code == 413
            assert batches.read_problem(413, answer.headers["Content-Type"], answer.content) is not None


def test_endless_body_without_length(bombed: tuple[Server, str]) -> None:
    """A chunked body without Content-Length ends with 413 at 1 MiB, not in memory."""
    server, probe = bombed
    block = b"\0" * 65536

    def endless() -> Iterator[bytes]:
        for _ in range(40_000_000 // len(block)):
            yield block

    answer = requests.post(
        server.url + batches.BATCH_PATH,
        data=endless(),
        headers=batches.batch_headers(batch_of(b"{}"), probe),
        timeout=30,
    )
    assert answer.status_code == 413


def hammer(server: Server, token: str, acked: set[str], stop: threading.Event, seed: int) -> None:
    """Send batches until stopped or cut off, noting each id that a receipt calls safe."""
    sequence = seed * 1_000_000
    while not stop.is_set():
        results = [make_result(sequence + n + 1) for n in range(5)]
        sequence += len(results)
        batch = batches.build_batch([(r.id, r.to_line()) for r in results])
        try:
            answer = server.post(batch, token, timeout=10)
            receipt = batches.read_receipt(answer.status_code, answer.headers["Content-Type"], answer.content, batch)
        except (requests.RequestException, batches.NotAReceiptError):
            continue
        acked.update(a.id for a in receipt.results if a.status in ("accepted", "duplicate"))


def stored_ids(url: str) -> set[str]:
    """All ids in a database."""
    import json

    engine = store.open_store(url)
    try:
        return {json.loads(line)["id"] for _, line in page_lines(engine, limit=1_000_000)}
    finally:
        engine.dispose()


def under_load(server: Server, token: str, disturb: Callable[[], None], acked: set[str], enough: int = 40) -> None:
    """Let three senders hammer the server, and disturb it once `enough` more ids are acknowledged."""
    stop = threading.Event()
    goal = len(acked) + enough
    senders = [threading.Thread(target=hammer, args=(server, token, acked, stop, n + 1)) for n in range(3)]
    for sender in senders:
        sender.start()
    try:
        while len(acked) < goal:
            stop.wait(0.005)
        disturb()
    finally:
        stop.set()
        for sender in senders:
            sender.join()


def test_kill_under_load(spawn: Spawn, database: str) -> None:
    """SIGKILL under load, five times on each engine: every acknowledged id is in the database."""
    token = new_token("probe", "laptop-1", database)
    acked: set[str] = set()
    for _ in range(5):
        server = serve(spawn, database)
        under_load(server, token, server.process.kill, acked)
        server.process.wait(10)
    lost = acked - stored_ids(database)
    print(f"acknowledged {len(acked)}, lost {len(lost)}, 5 kills")
    assert not lost


def test_database_crash_under_load(spawn: Spawn) -> None:
    """PostgreSQL crashes under load and comes back: no acknowledged id is lost, and the collector goes on by itself."""
    postgres = Postgres()
    try:
        postgres.start()
        url = postgres.new_database()
        token = new_token("probe", "laptop-1", url)
        server = serve(spawn, url)
        acked: set[str] = set()
        for _ in range(2):
            under_load(server, token, lambda: postgres.stop("immediate"), acked)
            away = server.post(batch_of(make_result()), token)
            assert away.status_code == 503 and int(away.headers["Retry-After"]) >= 5
            postgres.start()
        assert server.post(batch_of(make_result()), token).status_code == 200
        assert acked
        assert not acked - stored_ids(url)
    finally:
        postgres.close()


def test_gzip_bodies_are_read_as_any_tool_makes_them(spawn: Spawn, sqlite_url: str) -> None:
    """A batch packed by another gzip, at another level and with a name in its header, is taken."""
    probe = new_token("probe", "laptop-1", sqlite_url)
    server = serve(spawn, sqlite_url)
    body = gzip.compress(make_result().to_line() + b"\n", compresslevel=1)
    named = body[:3] + b"\x08" + body[4:10] + b"batch.ndjson\0" + body[10:]
    answer = server.post(batches.Batch("b-1", named, batches.content_digest(named), (), 0), probe)
    assert answer.json()["results"][0]["status"] == "accepted"


@pytest.mark.parametrize("language", ["id", "en"])
def test_a_mistyped_path_makes_no_collector(tmp_path: Path, language: str) -> None:
    """A missing directory is named with the command that makes it, and is not made; a new database is announced."""
    missing = tmp_path / "nix"
    create = ("token", "create", "--lang", language, "--probe")
    done = run(*create, "a", database=f"sqlite:///{missing}/x.db")
    assert done.returncode == 1 and f"mkdir -p {missing}" in done.stderr and not missing.exists()
    done = run(*create, "a", database=f"sqlite:///{tmp_path}/x.db")
    assert done.returncode == 0 and f"{tmp_path}/x.db" in done.stderr
    assert f"{tmp_path}/x.db" not in run(*create, "b", database=f"sqlite:///{tmp_path}/x.db").stderr, "the control"


def test_a_port_in_use_makes_no_database(tmp_path: Path) -> None:
    """What stops the server is found before anything is created."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", "--port", port, "--lang", "id", database=f"sqlite:///{tmp_path}/x.db")
    assert done.returncode == 1 and f"Port {port} di 127.0.0.1 sudah dipakai" in done.stderr
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/x", "server menolak sambungan"),
        ("postgresql://me:hunter2@name.invalid/x", "nama server tidak dikenal"),
        ("sqlite:////proc/version", "tidak dapat"),
    ],
)
def test_causes_are_in_words(url: str, words: str) -> None:
    """The cause is in the language in use; what the driver says is shown with -v, and a password never."""
    plain = run("token", "list", "--lang", "id", database=url)
    assert plain.returncode == 1 and words in plain.stderr
    assert not re.search(r"connection|refused|failed|Errno|unable", plain.stderr), plain.stderr
    loud = run("token", "list", "-v", "--lang", "id", database=url)
    assert re.search(r"\(.*(refused|resolve|Name|denied|database|Permission|readonly|Read-only|I/O).*\)", loud.stderr)
    assert "hunter2" not in plain.stderr + loud.stderr
