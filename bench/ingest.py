"""Compare ingest over HTTP with the bare database: batches of 500 and of 8, with 1 and 4 processes.

    python bench/ingest.py                 # two minutes; exit 1 when a goal is missed
    python bench/ingest.py --seconds 10
    python bench/ingest.py --citus postgresql://postgres@127.0.0.1:5501/postgres

All figures are ratios within one run on the same machine. The bare figure is what PostgreSQL does with the same rows
and no collector: binary COPY into a session's table, INSERT … SELECT, COMMIT, from packed rows; the better of one and
two connections. For SQLite it is `executemany` with the same rows. The load comes from client processes that send
prepared bodies over connections that stay open. While it runs, `pg_stat_activity` is sampled: what sessions wait for.
"""

from __future__ import annotations

import argparse
import gzip
import multiprocessing
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


from sigprobe.collector import store  # noqa: E402
from sigprobe.collector.access import queries as access_queries  # noqa: E402
from sigprobe.collector.ingest import postgresql_writer, sqlite_writer  # noqa: E402
from sigprobe.collector.ingest.records import sort_lines  # noqa: E402
from sigprobe.collector.ingest.rows import RESULT_COLUMNS, NewBatch  # noqa: E402
from sigprobe.protocol import batches  # noqa: E402
from sigprobe.record.result import new_id  # noqa: E402
from tests.support.collector_client import make_result  # noqa: E402
from tests.support.postgres import Postgres  # noqa: E402

GOAL = 0.4
SQLITE_GOAL = 0.5
CPU_GOAL_MS = 2.0
LINE_BYTES = 1900
PIECE = 1 << 20
SERVE = (
    *(sys.executable, "-m", "sigprobe", "collector", "serve", "--port", "0", "--log-level", "error"),
    *("--throughput", "off"),
)
ACTIVE = (
    "SELECT coalesce(wait_event_type || ':' || wait_event, 'running') FROM pg_stat_activity "
    "WHERE state = 'active' AND pid <> pg_backend_pid() AND datname = current_database()"
)


def lines(count: int, first: int) -> list[tuple[str, bytes]]:
    """Return records of 1.9 kB, each with its id."""
    pad = "".join(f"{n * 7919 % 1000:03d}," for n in range((LINE_BYTES - 1100) // 4))
    made = [
        make_result(first + n, data={"rtt_median_ms": 60.0 + n % 40, "loss_ratio": 0.0, "detail": pad})
        for n in range(count)
    ]
    return [(result.id, result.to_line()) for result in made]


def new_ids(template: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return the same records under new ids."""
    fresh = []
    for name, line in template:
        new = new_id()
        fresh.append((new, line.replace(name.encode(), new.encode(), 1)))
    return fresh


def request_of(rows: list[tuple[str, bytes]], token: str) -> bytes:
    """Return a whole HTTP request."""
    raw = b"".join(line + b"\n" for _, line in rows)
    body = gzip.compress(raw, compresslevel=1, mtime=0)
    batch = batches.Batch(new_id(), body, batches.content_digest(body), (), len(raw))
    headers = batches.batch_headers(batch, token) | {
        "Host": "127.0.0.1",
        "Content-Length": str(len(body)),
        "Accept-Encoding": "gzip",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /v1/batches HTTP/1.1\r\n{head}\r\n".encode() + body


def answer_of(connection: socket.socket, buffer: bytearray) -> int:
    """Read one answer and return its status."""
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError
        buffer += piece
    head = bytes(buffer[:end]).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    while len(buffer) < end + 4 + length:
        buffer += connection.recv(65536)
    del buffer[: end + 4 + length]
    return int(head[9:12])


def client(port: int, bodies: list[bytes], until: float, counted: Any) -> None:
    """Send prepared requests over one connection until the time is up or there are no more."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = bytearray()
    done = refused = 0
    for body in bodies:
        if time.time() > until:
            break
        connection.sendall(body)
        if answer_of(connection, buffer) == 200:
            done += 1
        else:
            refused += 1
            time.sleep(0.02)
    counted.put((done, refused, time.time()))


def sender(
    port: int, tokens: list[str], size: int, count: int, connections: int, start: Any, seconds: float, counted: Any
) -> None:
    """Prepare requests, wait for the start, and send over several connections at once."""
    template = lines(size, 1)
    bodies = [
        [request_of(new_ids(template), tokens[k % len(tokens)]) for _ in range(count // connections)]
        for k in range(connections)
    ]
    start.wait()
    until = time.time() + seconds
    threads = [threading.Thread(target=client, args=(port, part, until, counted)) for part in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def serving(url: str, workers: int) -> Iterator[tuple[list[int], list[int]]]:
    """Start collector processes; their ports and process ids."""
    found: list[subprocess.Popen[str]] = []
    ports = []
    try:
        for number in range(workers):
            process = subprocess.Popen(
                [*SERVE, *(["--no-work"] if number else [])],
                env={**os.environ, "SIGPROBE_DATABASE": url},
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            found.append(process)
        for process in found:
            assert process.stderr is not None
            ports.append(int(process.stderr.readline().rstrip("/\n").rpartition(":")[2]))
        yield ports, [process.pid for process in found]
    finally:
        for process in found:
            process.send_signal(signal.SIGTERM)
        for process in found:
            process.wait(30)


def cpu_s(pids: list[int]) -> float:
    """Return the processor time of processes so far."""
    tick = os.sysconf("SC_CLK_TCK")
    return (
        sum(sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])) for pid in pids)
        / tick
    )


class Waits(threading.Thread):
    """Samples what the sessions of the database are doing."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.found: Counter[str] = Counter()
        self.over = threading.Event()
        self._url = url

    def run(self) -> None:
        """Sample every 20 ms."""
        import psycopg

        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self.over.wait(0.02):
                self.found.update(row[0] for row in connection.execute(ACTIVE))


def over_http(url: str, size: int, workers: int, seconds: float, most: int) -> tuple[float, float, int, Counter[str]]:
    """Return records a second, CPU ms of the collector a batch, refusals, and what the database waited for."""
    engine = store.open_store(url)
    tokens = [access_queries.create_token(engine, f"bench-{new_id()[-12:]}", access_queries.PROBE) for _ in range(8)]
    engine.dispose()
    context = multiprocessing.get_context("fork")
    start, counted = context.Event(), context.Queue()
    connections = 16 if size < 100 else 4
    with serving(url, workers) as (ports, pids):
        senders = [
            context.Process(
                target=sender,
                args=(
                    port,
                    tokens,
                    size,
                    max(connections, most // size // workers),
                    connections,
                    start,
                    seconds,
                    counted,
                ),
            )
            for port in ports
        ]
        for process in senders:
            process.start()
        time.sleep(1 + most / 12_000)  # until the bodies are prepared
        waits = Waits(url) if url.startswith("postgres") else None
        if waits is not None:
            waits.start()
        before, began = cpu_s(pids), time.time()
        start.set()
        answers = [counted.get(timeout=seconds + 120) for _ in range(connections * workers)]
        took = max(end for _, _, end in answers) - began
        used = cpu_s(pids) - before
        if waits is not None:
            waits.over.set()
        for process in senders:
            process.join()
    done = sum(count for count, _, _ in answers)
    refused = sum(count for _, count, _ in answers)
    return done * size / took, used * 1000 / max(done, 1), refused, waits.found if waits is not None else Counter()


def group_of(template: list[tuple[str, bytes]]) -> NewBatch:
    """Return a parsed batch with new ids."""
    rows = sort_lines(line for _, line in new_ids(template)).rows
    return NewBatch(list(rows), "bench", None, datetime.now(UTC))


COLUMNS = ", ".join(RESULT_COLUMNS)
MAKE = (
    # an uncompressed copy within the page: compressing it for the length of a transaction costs more than the merge
    "CREATE TEMPORARY TABLE staging (LIKE results) WITH (toast_tuple_target = 8160) ON COMMIT DELETE ROWS",
    "ALTER TABLE staging ALTER COLUMN line SET STORAGE EXTERNAL",
)
COPY = f"COPY staging ({COLUMNS}) FROM STDIN (FORMAT BINARY)"
MERGE = f"INSERT INTO results ({COLUMNS}) SELECT {COLUMNS} FROM staging ORDER BY id ON CONFLICT (id) DO NOTHING"


def copy_body(rows: Iterable[Sequence[bytes]]) -> bytes:
    """Return the body of a binary COPY: each row a sequence of packed fields."""
    count = struct.pack("!h", len(RESULT_COLUMNS))
    head = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    return head + b"".join(count + b"".join(fields) for fields in rows) + struct.pack("!h", -1)


def bare_postgresql(url: str, size: int, seconds: float, most: int, start: Any, counted: Any) -> None:
    """Copy packed rows into a session's table, merge them, commit; again and again."""
    import psycopg

    template = lines(size, 1)
    work = [
        copy_body(postgresql_writer._results([group_of(template)], [new_id()])) for _ in range(max(2, most // size))
    ]
    with psycopg.connect(url) as connection:
        cursor = connection.cursor()
        for statement in MAKE:
            cursor.execute(statement)
        connection.commit()
        counted.put(None)
        start.wait()
        began, done = time.perf_counter(), 0
        for body in work:
            with cursor.copy(COPY) as copy:
                for first in range(0, len(body), PIECE):
                    copy.write(body[first : first + PIECE])
            cursor.execute(MERGE)
            connection.commit()
            done += size
            if time.perf_counter() - began > seconds:
                break
        counted.put((done, time.perf_counter() - began))


def bare_sqlite(url: str, size: int, seconds: float, most: int, start: Any, counted: Any) -> None:
    """Insert finished rows with `executemany`, commit; again and again."""
    template = lines(size, 1)
    work, number = [], 1
    for _ in range(max(2, most // size)):
        batch = group_of(template)
        name = new_id().replace("-", "")
        received = sqlite_writer._time(batch.received_at)
        rows = [sqlite_writer._result(row, number + n, received, "bench", name, n) for n, row in enumerate(batch.rows)]
        work.append(rows)
        number += size
    engine = store.open_store(url)
    counted.put(None)
    start.wait()
    began, done = time.perf_counter(), 0
    for rows in work:
        with engine.execution_options(write=True).begin() as connection:
            connection.exec_driver_sql(sqlite_writer._INSERT, rows)
        done += size
        if time.perf_counter() - began > seconds:
            break
    counted.put((done, time.perf_counter() - began))
    engine.dispose()


def bare(url: str, size: int, seconds: float, most: int) -> float:
    """Return the records a second of the database alone, the better of one and two connections."""
    sqlite = url.startswith("sqlite")
    store.open_store(url).dispose()
    best = 0.0
    for connections in (1,) if sqlite else (1, 2):
        context = multiprocessing.get_context("fork")
        start, counted = context.Event(), context.Queue()
        arguments = (url, size, seconds, most // connections, start, counted)
        processes = [
            context.Process(target=bare_sqlite if sqlite else bare_postgresql, args=arguments)
            for _ in range(connections)
        ]
        for process in processes:
            process.start()
        for _ in processes:
            counted.get(timeout=300)
        start.set()
        results = [counted.get(timeout=300) for _ in processes]
        for process in processes:
            process.join()
        best = max(best, sum(done for done, _ in results) / max(took for _, took in results))
    return best


def spread() -> str:
    """Return a fresh database whose large tables lie on several machines."""
    from tests.support import citus

    return citus.new_distributed_database()


def main() -> int:
    """Measure, print, compare with the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--most", type=int, default=40_000, help="records prepared for each measurement")
    parser.add_argument("--url", help="another PostgreSQL than one of our own")
    parser.add_argument(
        "--citus", metavar="URL", help="a database on the coordinator of a Citus cluster: each measurement gets its own"
    )
    parser.add_argument("--only", choices=["postgresql", "sqlite"])
    given = parser.parse_args()
    if given.citus:
        os.environ["SIGPROBE_TEST_CITUS"] = given.citus
        given.only = "postgresql"
    missed: list[str] = []

    def goal(name: str, value: float, least: float) -> None:
        print(f"{'ok    ' if value >= least else 'MISSED'} {name}: {value:.2f} (goal {least})")
        if value < least:
            missed.append(name)

    server = None
    with tempfile.TemporaryDirectory(prefix="sigprobe-bench-") as folder:
        if given.only != "sqlite":
            if given.url is None and not given.citus:
                server = Postgres()
                server.start()
            try:
                for size in (500, 8):
                    url = given.url or (spread() if given.citus else server.new_database())  # type: ignore[union-attr]
                    alone = bare(url, size, given.seconds, given.most if size > 8 else given.most // 4)
                    print(f"PostgreSQL, batches of {size}: bare {alone:,.0f} records/s")
                    rates = {}
                    for workers in (1, 4):
                        rate, cpu_ms, refused, waits = over_http(
                            url, size, workers, given.seconds, given.most if size > 8 else given.most // 2
                        )
                        rates[workers] = rate
                        top = ", ".join(f"{name} {count}" for name, count in waits.most_common(5))
                        print(f"  {workers} process(es): {rate:,.0f} records/s, {cpu_ms:.2f} ms of CPU a batch")
                        print(f"    {refused} refused; sessions of the database: {top}")
                        if size == 8 and workers == 1:
                            goal("2 ms over the CPU of a small batch", CPU_GOAL_MS / cpu_ms, 1.0)
                    goal(f"batches of {size}, HTTP over bare", max(rates.values()) / alone, GOAL)
                    goal(f"batches of {size}, 4 processes over 1", rates[4] / rates[1], 0.95)
            finally:
                if server is not None:
                    server.close()
        if given.only != "postgresql":
            url = f"sqlite:///{folder}/bench.db"
            alone = bare(url, 500, given.seconds, given.most)
            rate, cpu_ms, refused, _ = over_http(url, 500, 1, given.seconds, given.most)
            print(f"SQLite, batches of 500: bare {alone:,.0f} records/s; HTTP {rate:,.0f}, {refused} refused")
            goal("SQLite, HTTP over bare", rate / alone, SQLITE_GOAL)
    print(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MiB at most in one process")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
