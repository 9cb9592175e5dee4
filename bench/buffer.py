"""The queue against the bare database under it: `python bench/buffer.py [--full]`.

1. put() with FULL against a bare transaction with FULL that makes the same line of the same record and writes the same
   rows into the same tables: ratio of the rates. Beside it, not judged, the same rows with lines made before, and a
   made line alone, in a table without the index of the ids.
2. Memory of a process that puts and peeks, with 1,000 records queued and with many: ratio of the peaks.

Each figure stands beside its goal; the exit code is 1 when one is missed. Rates are compared round by round, by turns
on the same disk, each round long enough to hold checkpoints of both; the median round counts. What put() adds of its
own is CPU, some 30 µs on a memory disk and up to three times that where every commit sleeps, so the ratio says as
much about the disk as about the queue: the slower its flush, the nearer to 1. One bare flush is printed beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import apsw

from sigprobe.buffer import Buffer, schema
from sigprobe.record.result import Location, Outcome, Result, Software, Tags, Target, new_id, utc_now

GOAL_RATE = 0.7
GOAL_MEMORY = 1.2
ROUNDS = 30
PER_ROUND = 400


PLACE = {"probe_id": new_id(), "stream_id": new_id(), "seq": 1234, "boot_id": new_id()}


def sample() -> Result:
    """A ping of ten round trips, some 1.3 kB; with a place in the order, so that every line made of it is as long."""
    return Result(
        id=new_id(),
        run_id=new_id(),
        kind="ping",
        kind_version=1,
        target=Target("gateway", "192.0.2.1", "192.0.2.1"),
        started_at=utc_now(),
        duration_ms=2012.345,
        outcome=Outcome.OK,
        failure=None,
        data={
            "sent": 10,
            "received": 10,
            "loss_ratio": 0.0,
            "rtts_ms": [round(20.123 + n * 1.7, 3) for n in range(10)],
        },
        tags=Tags(tps_id="3273011001005", location=Location(-6.91474, 107.60981, alt_m=702.5, source="gpsd")),
        software=Software("sigprobe", "0.1.0"),
        **PLACE,
    )


def per_put(directory: Path) -> tuple[list[float], ...]:
    """Microseconds, by round, of put() and of bare transactions: same rows, lines made before, a line alone."""
    made = [record.to_line() for record in (sample() for _ in range(50))]
    number = 0

    def opened(name: str) -> apsw.Connection:
        db = apsw.Connection(str(directory / name))
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "FULL")
        return db

    same, ready = opened("same.db"), opened("ready.db")
    for db in (same, ready):
        db.execute(schema.MIGRATIONS[0])
        db.execute("INSERT INTO stream VALUES (1, 'one', 1)")
    single = opened("line.db")
    single.execute("CREATE TABLE record (pos INTEGER PRIMARY KEY, line BLOB NOT NULL)")

    def write(db: apsw.Connection, record: Result, digest: bytes, text: bytes) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE stream SET next_seq = next_seq + 1")
        values = (record.id, digest, record.started_at, 0, 1, text)
        db.execute("INSERT INTO record (id, sha256, put_at, urgent, own, line) VALUES (?, ?, ?, ?, ?, ?)", values)
        db.execute("COMMIT")

    def whole(record: Result) -> None:
        text = record.to_line()
        write(same, record, hashlib.sha256(text).digest(), text)

    def rows(record: Result) -> None:
        nonlocal number
        number += 1
        write(ready, record, bytes(32), made[number % 50])

    def line(_: Result) -> None:
        single.execute("BEGIN IMMEDIATE")
        single.execute("INSERT INTO record (line) VALUES (?)", (made[0],))
        single.execute("COMMIT")

    works: tuple[Callable[[Result], object], ...]
    took: tuple[list[float], ...] = ([], [], [], [])
    with Buffer(directory / "buffer.db") as buffer:
        works = (buffer.put, whole, rows, line)
        for turn in range(ROUNDS):
            # forwards and back by turns, so that a machine that grows slower or quicker favours none
            for place in range(len(works))[:: -1 if turn % 2 else 1]:
                took[place].append(timed(works[place]))
    for db in (same, ready, single):
        db.close()
    return took


def flush_us(directory: Path) -> float:
    """Microseconds this disk takes to write 4 kB over and flush it: the median of 500."""
    took = []
    with (directory / "flush").open("wb", buffering=0) as file:
        for _ in range(500):
            file.seek(0)
            begun = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - begun) * 1e6)
    return median(took)


def timed(work: Callable[[Result], object]) -> float:
    """Microseconds of one call, over a round; the records are made before."""
    records = [sample() for _ in range(PER_ROUND)]
    begun = time.perf_counter()
    for record in records:
        work(record)
    return (time.perf_counter() - begun) / PER_ROUND * 1e6


def fill(path: Path, count: int) -> None:
    """Queue `count` records, taken in by the page."""
    with Buffer(path, max_mb=100_000) as buffer:
        one = sample()
        stored = buffer.put(one)
        old = one.id.encode()

        def lines() -> object:
            for _ in range(count - 1):
                name = new_id()
                yield name, stored.line.replace(old, name.encode(), 1)

        buffer.take_in(lines())  # type: ignore[arg-type]


def use(path: Path) -> None:
    """What a run does with the queue; prints the peak of its memory in kB."""
    with Buffer(path, max_mb=100_000) as buffer:
        for _ in range(200):
            buffer.put(replace(sample()))
        for _ in range(5):
            buffer.peek(500, 4 << 20)
        pending = buffer.pending()
        buffer.stats()
        for _, _row in zip(range(5000), buffer.rows(), strict=False):
            pass
    print(json.dumps({"pending": pending, "peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


def peak(directory: Path, count: int) -> float:
    """Peak memory in MB of a process that works on a queue of `count` records."""
    path = directory / f"q{count}" / "buffer.db"
    fill(path, count)
    done = subprocess.run([sys.executable, __file__, "--use", str(path)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["pending"] == count + 200, found
    return float(found["peak_kb"]) / 1024


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="1,000,000 queued records (some 2 GB of disk)")
    parser.add_argument("--directory", type=Path, help="the disk to measure on (default: the temporary directory)")
    parser.add_argument("--use", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.use:
        use(options.use)
        return 0
    with tempfile.TemporaryDirectory(dir=options.directory) as home:
        directory = Path(home)
        flush = flush_us(directory)
        took = per_put(directory)
        few, many = 1_000, 1_000_000 if options.full else 30_000
        small, large = peak(directory, few), peak(directory, many)
    ours, theirs, premade, least = (median(found) for found in took)
    # neighbours on the machine slow a whole round: each is judged against its own
    rate, of_premade, of_least = (
        median(other / own for other, own in zip(found, took[0], strict=True)) for found in took[1:]
    )
    memory = large / small
    print(
        f"put() {ours:,.0f} µs, the same line and rows in a bare transaction {theirs:,.0f} µs: {rate:.2f} of its rate"
        f" (goal ≥ {GOAL_RATE}); with the line made before {premade:,.0f} µs: {of_premade:.2f}; the line alone,"
        f" without index and counter, {least:,.0f} µs: {of_least:.2f}; one flush here takes {flush:,.0f} µs"
    )
    print(f"memory {small:.1f} MB with {few:,}, {large:.1f} MB with {many:,}: {memory:.2f} × (goal ≤ {GOAL_MEMORY})")
    return int(rate < GOAL_RATE or memory > GOAL_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
