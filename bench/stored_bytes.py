"""Count the bytes that a result takes in PostgreSQL, with all indexes, beside the bytes of its own line.

    python bench/stored_bytes.py                     # exit 1 when the goal is missed
    python bench/stored_bytes.py --sql "ALTER TABLE {} SET (fillfactor = 90)"

The records are those of real tests of a loopback target (ping, HTTP, throughput and the run's verdict), stored under
new ids with other numbers, in batches as `sigprobe test` sends them. `--sql` weighs another way to store them: it is
run before the first batch, for each partition in place of `{}`. Goal: at most 1.3 × the line.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402

from sigprobe.collector import store  # noqa: E402
from sigprobe.collector.ingest.queries import store_batches  # noqa: E402
from sigprobe.collector.ingest.records import sort_lines  # noqa: E402
from sigprobe.collector.ingest.rows import NewBatch  # noqa: E402
from sigprobe.collector.worker.loop import Worker  # noqa: E402
from sigprobe.record.result import new_id  # noqa: E402
from tests.support.postgres import running  # noqa: E402
from tests.support.real_lines import real_lines  # noqa: E402

GOAL = 1.3
CONFIG = """probe: {{tps_id: "3273011001005"}}
location: {{source: fixed, fixed: {{lat: -6.91474, lon: 107.60981}}}}
buffer: {{path: "{folder}/buffer.db"}}
targets:
  - {{kind: ping, name: device, address: 127.0.0.1, count: 10, interval_ms: 100}}
  - {{kind: ping, name: gateway, address: 127.0.0.2, count: 10, interval_ms: 100}}
  - {{kind: http, name: page, url: "{url}healthz"}}
  - {{kind: http, name: ready, url: "{url}readyz"}}
  - {{kind: throughput, name: speed, url: "{url}", max_mb: 20, max_s: 3}}
"""
UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
FRACTION = re.compile(rb"(?<=[:,\[])([0-9]+)\.([0-9]{2,})")


def varied(line: bytes, rng: random.Random, fixed: set[bytes]) -> bytes:
    """Return a record of the same shape with new ids and other fractions."""
    names: dict[bytes, bytes] = {}

    def name(found: re.Match[bytes]) -> bytes:
        return found[0] if found[0] in fixed else names.setdefault(found[0], new_id().encode())

    def number(found: re.Match[bytes]) -> bytes:
        digits = len(found[2])
        return b"%s.%0*d" % (found[1], digits, rng.randrange(10**digits))

    return FRACTION.sub(number, UUID.sub(name, line))


def batches(lines: list[bytes], count: int, size: int) -> Iterator[NewBatch]:
    """Yield batches of varied records."""
    rng = random.Random(13)
    probes = [new_id() for _ in range(500)]
    records = [json.loads(line) for line in lines]
    for first in range(0, count, size):
        probe, stream, run = rng.choice(probes), new_id(), new_id()
        made = []
        for place in range(size):
            record = records[(first + place) % len(records)]
            one = dict(record, id=new_id(), probe_id=probe, stream_id=stream, run_id=run, seq=first + place + 1)
            line = json.dumps(one, separators=(",", ":"), ensure_ascii=False).encode()
            made.append(varied(line, rng, {x.encode() for x in (one["id"], probe, stream, run)}))
        rows = sort_lines(made).rows
        assert len(rows) == size, sort_lines(made).rejected
        yield NewBatch(rows, "laptop-1", new_id(), datetime.now(UTC))


@contextmanager
def database(url: str | None) -> Iterator[str]:
    """Provide a database: the given one, or one of a server of our own."""
    if url is not None:
        yield url
        return
    with running() as server:
        yield server.new_database()


def sizes(connection: psycopg.Connection[tuple[object, ...]], prefix: str) -> dict[str, int]:
    """Return the bytes of tables and indexes whose table's name begins so; partitions of one table together.

    Weeks that are still empty are left out.
    """
    found: dict[str, int] = {}
    rows = connection.execute(
        "SELECT c.relname, pg_relation_size(c.oid) + coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0) "
        "FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid "
        "JOIN pg_class t ON t.oid = coalesce(i.indrelid, c.oid) "
        "WHERE t.relname LIKE %s AND c.relkind IN ('r', 'i') AND t.relkind = 'r' "
        "AND pg_relation_size(t.oid) > 0",
        (prefix + "%",),
    ).fetchall()
    for name, size in rows:
        plain = re.sub(r"^results_(?:first|default|[0-9]{8})", "results", str(name))
        found[plain] = found.get(plain, 0) + int(str(size))
    return found


def main() -> int:
    """Store, count, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sql", action="append", default=[], help="run before the first batch; {} is each partition")
    parser.add_argument("--url", help="another PostgreSQL than one of our own")
    given = parser.parse_args()
    lines = real_lines(CONFIG, 3, "--operator", "telkomsel")
    print(f"{len(lines)} real records, {statistics.mean(map(len, lines)):,.0f} bytes each")
    with database(given.url) as url:
        engine = store.open_store(url)
        worker = Worker(engine)
        worker.settle()
        with psycopg.connect(url, autocommit=True) as connection:
            partitions = connection.execute(
                "SELECT relid::regclass::text FROM pg_partition_tree('results') WHERE isleaf"
            ).fetchall()
            for statement in given.sql:
                for name in [str(row[0]) for row in partitions] if "{}" in statement else [""]:
                    connection.execute(statement.replace("{}", name))
            wal = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
            group: list[NewBatch] = []
            total = 0
            for batch in batches(lines, given.records, given.batch):
                total += sum(len(row.line) for row in batch.rows)
                group.append(batch)
                if len(group) == 16:
                    store_batches(engine, group)
                    group = []
            if group:
                store_batches(engine, group)
            ingest = connection.execute("SELECT pg_current_wal_lsn() - %s::pg_lsn", wal).fetchone()
            results = sizes(connection, "results")
            worker.settle()
            both = connection.execute("SELECT pg_current_wal_lsn() - %s::pg_lsn", wal).fetchone()
            others = sizes(connection, "batches") | sizes(connection, "rollup_")
        worker.stop()
        engine.dispose()
    assert ingest is not None and both is not None
    stored = sum(results.values())
    print(f"{given.records:,} records in batches of {given.batch}; lines of {total / given.records:,.0f} bytes")
    for name, size in sorted(results.items(), key=lambda item: -item[1]):
        print(f"  {name:28} {size / given.records:8,.0f} bytes a record")
    for prefix in ("batches", "rollup_"):
        size = sum(size for name, size in others.items() if name.startswith(prefix))
        print(f"  beside it, {prefix:17} {size / given.records:8,.0f}")
    wal_bytes = [float(str(row[0])) / given.records for row in (ingest, both)]
    print(f"  WAL {wal_bytes[0]:,.0f} bytes a record, {wal_bytes[1]:,.0f} with the sums")
    ratio = stored / total
    print(
        f"{'ok    ' if ratio <= GOAL else 'MISSED'} a result with all indexes: {stored / given.records:,.0f} bytes, "
        f"{ratio:.2f} × its line (goal {GOAL})"
    )
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
