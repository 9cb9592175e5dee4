"""See whether people who read hold up batches and health: ratios within one run.

    python bench/readers.py                  # SQLite
    python bench/readers.py --postgresql     # a PostgreSQL of its own

On 100,000 stored results, batches of eight are sent by four clients: alone, and while one person reloads
`/?tps_id=none` without a pause; in turns, medians. Then eight people reload the page of a TPS, while a load balancer
asks for health and a probe sends a batch now and then.

Goals: batches with a reader >= half of those without; health within 1 s, and
every batch taken within 2 s, beside eight readers. Exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import requests  # noqa: E402

from bench.open_load import Load  # noqa: E402
from bench.overload import Goals, running  # noqa: E402
from sigprobe.collector import store  # noqa: E402
from sigprobe.protocol import batches  # noqa: E402
from tests.collector.store.test_query_plans import ROWS, fill  # noqa: E402
from tests.support.collector_client import batch_of, make_result  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

RATIO = 0.5
HEALTH_S = 1.0
BATCH_S = 2.0
CLIENTS = 4
NO_WAL = "import sigprobe.collector.store.engine as engine; engine._WAL_IS_SAFE = (99,)"


@contextmanager
def reloading(url: str, admin: str, path: str, people: int) -> Iterator[Counter[int]]:
    """Let so many people reload a page without a pause; the statuses that they saw."""
    stop, seen = threading.Event(), Counter[int]()

    def one() -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {admin}"
            while not stop.is_set():
                with suppress(requests.RequestException):
                    seen[session.get(url + path, timeout=60).status_code] += 1

    threads = [threading.Thread(target=one) for _ in range(people)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def fill_database(database: str, url: str, token: str) -> None:
    """Store one result as a probe does, and many like it directly."""
    batch = batch_of(make_result())
    answer = requests.post(
        url + batches.BATCH_PATH, data=batch.body, headers=batches.batch_headers(batch, token), timeout=60
    )
    answer.raise_for_status()
    engine = store.open_store(database)
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            print("journal:", connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())
    with engine.execution_options(write=True).begin() as connection:
        fill(connection)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()


def beside_one(goals: Goals, load: Load, url: str, admin: str, seconds: float) -> None:
    """Compare batches with and without one reader."""
    alone: list[float] = []
    beside: list[float] = []
    pages = 0
    for _ in range(3):
        load.prepare(2000)
        alone.append(load.closed_loop(CLIENTS, seconds))
        load.prepare(2000)
        with reloading(url, admin, "?tps_id=none", 1) as seen:
            beside.append(load.closed_loop(CLIENTS, seconds))
        pages += sum(seen.values())
    without, with_one = statistics.median(alone), statistics.median(beside)
    print(
        f"batches a second: {without:.0f} alone, {with_one:.0f} beside a reader with {pages / seconds / 3:.0f} pages/s"
    )
    ratio = with_one / without
    goals.hold("batches beside a reader, of those without", ratio, ratio >= RATIO, f">= {RATIO}")


def beside_eight(goals: Goals, url: str, token: str, admin: str, seconds: float) -> None:
    """Time health and batches beside eight readers."""
    health: list[float] = []
    sent: list[float] = []
    refused = Counter[int]()
    with reloading(url, admin, "?tps_id=0000000000007", 8) as seen:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            requests.get(url + "healthz", timeout=60).raise_for_status()
            health.append(time.monotonic() - began)
            batch = batch_of(*(make_result() for _ in range(8)))
            began = time.monotonic()
            answer = requests.post(
                url + batches.BATCH_PATH, data=batch.body, headers=batches.batch_headers(batch, token), timeout=60
            )
            sent.append(time.monotonic() - began)
            if answer.status_code != 200:
                refused[answer.status_code] += 1
    print(f"eight readers: {sum(seen.values()) / seconds:.0f} pages/s {dict(seen)}, {len(sent)} batches")
    goals.hold("health, longest, s", max(health), max(health) <= HEALTH_S, f"<= {HEALTH_S}")
    goals.hold("a batch, longest, s", max(sent), max(sent) <= BATCH_S, f"<= {BATCH_S}")
    goals.hold("batches refused", sum(refused.values()), not refused, "0")


def main() -> int:
    """Run the bench; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each part")
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL of its own, not on SQLite")
    parser.add_argument("--no-wal", action="store_true", help="SQLite as where WAL is not safe: a rollback journal")
    args = parser.parse_args()
    if args.no_wal:
        exec(NO_WAL)
    goals = Goals()
    patch = NO_WAL if args.no_wal else ""
    with running(20, postgresql=args.postgresql, patch=patch) as (database, _, url, tokens, admin):
        fill_database(database, url, tokens[0])
        print(f"{ROWS} results stored, {'PostgreSQL' if args.postgresql else 'SQLite'}", flush=True)
        with Load(url, tokens) as load:
            beside_one(goals, load, url, admin, args.seconds)
        beside_eight(goals, url, tokens[1], admin, args.seconds * 2)
    return 1 if goals.missed else 0


if __name__ == "__main__":
    sys.exit(main())
