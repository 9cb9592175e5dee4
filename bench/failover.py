"""Kill the primary of a three-node PostgreSQL again and again while batches arrive, and count what was lost.

    python bench/failover.py --kills 3      # minutes; CI
    python bench/failover.py --kills 50     # the full count, half an hour

Needs Debian's patroni, etcd-server and postgresql, and runs on loopback addresses only. The nodes are started from the
files in `deploy/postgresql/`. Kills alternate between the server's processes alone and everything on its machine. A
writer is a real HTTP client that sends batches of eight, as one `sigprobe test` does, and repeats each until it has a
receipt. Stated figures: 0 acknowledged records lost; writes back within 30 s at the 95th percentile.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from uuid import UUID

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402
import requests  # noqa: E402

from sigprobe.protocol import batches  # noqa: E402
from tests.support.collector_client import make_result  # noqa: E402
from tests.support.patroni_cluster import PatroniCluster  # noqa: E402
from tests.trials.faults.fault_site import Site  # noqa: E402

BACK_GOAL_S = 30.0
PER_BATCH = 8


class Writers:
    """Clients that send without end; each receipt is noted with its time."""

    def __init__(self, url: str, token: str, count: int) -> None:
        self.acknowledged: list[str] = []
        self.receipts: list[float] = []
        self.refused: Counter[str] = Counter()
        self._url, self._token = url, token
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,), daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _write(self, number: int) -> None:
        session = requests.Session()
        session.trust_env = False
        seq = number * 10_000_000
        while not self._stop.is_set():
            seq += PER_BATCH
            results = [make_result(seq + place) for place in range(PER_BATCH)]
            batch = batches.build_batch([(r.id, r.to_line()) for r in results])
            while not self._stop.is_set():
                try:
                    answer = session.post(
                        self._url + batches.BATCH_PATH,
                        data=batch.body,
                        headers=batches.batch_headers(batch, self._token),
                        timeout=25,
                    )
                except requests.RequestException as error:
                    self.refused[type(error).__name__] += 1
                    self._stop.wait(0.3)
                    continue
                if answer.status_code == 200:
                    told = [r["id"] for r in answer.json()["results"] if r["status"] in ("accepted", "duplicate")]
                    self.acknowledged += told
                    self.receipts.append(time.monotonic())
                    break
                self.refused[str(answer.status_code)] += 1
                self._stop.wait(0.3)
            self._stop.wait(0.02)

    def back_after(self, killed: float, limit_s: float) -> float:
        """Seconds from the kill to the first receipt of a request that was sent after it."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            gaps = [b for a, b in zip(self.receipts, self.receipts[1:], strict=False) if b > killed and b - a > 1.0]
            if gaps:
                return gaps[0] - killed
            time.sleep(0.1)
        raise TimeoutError(f"no receipt within {limit_s} s; refused: {dict(self.refused)}")

    def stop(self) -> None:
        """Let each client finish its request."""
        self._stop.set()
        for thread in self._threads:
            thread.join(40)


def stored(url: str) -> Counter[str]:
    """How often each id is in the table, read from the primary."""
    with psycopg.connect(url, connect_timeout=5) as connection:
        return Counter(str(UUID(str(row[0]))) for row in connection.execute("SELECT id FROM results"))


def main() -> int:
    """Run, print, judge."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=3)
    options.add_argument("--writers", type=int, default=6)
    options.add_argument("--json", type=Path, help="write the figures to this file")
    given = options.parse_args()
    cluster = PatroniCluster()
    folder = Path(tempfile.mkdtemp(prefix="sigprobe-failover-"))
    site: Site | None = None
    writers: Writers | None = None
    times: dict[str, list[float]] = {"server": [], "machine": []}
    try:
        cluster.start()
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE sigprobe")
            standby = connection.execute("SHOW synchronous_standby_names").fetchone()
        print(f"cluster up: primary {cluster.primary()}, synchronous {standby}", flush=True)
        site = Site(folder, cluster.url())
        site.start()
        writers = Writers(site.url, site.token, given.writers)
        time.sleep(3)
        for number in range(given.kills):
            primary = cluster.wait_whole(180)
            time.sleep(1)
            how = "server" if number % 2 == 0 else "machine"
            killed = time.monotonic()
            (cluster.kill_server if how == "server" else cluster.kill_machine)(primary)
            taken = writers.back_after(killed, 120)
            times[how].append(taken)
            print(f"kill {number + 1}/{given.kills}: {how} of {primary}, writes back after {taken:.1f} s", flush=True)
            if how == "machine":
                cluster.start_machine(primary)
        cluster.wait_whole(180)
        writers.stop()
        kept = stored(cluster.url())
        lost = [name for name in set(writers.acknowledged) if name not in kept]
        doubled = [name for name, n in kept.items() if n > 1]
    finally:
        if writers is not None:
            writers.stop()
        if site is not None:
            site.kill()
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)
    taken_all = sorted(times["server"] + times["machine"])
    p95 = taken_all[min(len(taken_all) - 1, round(0.95 * (len(taken_all) - 1)))]
    figures = {
        "kills": given.kills,
        "acknowledged": len(set(writers.acknowledged)),
        "lost": len(lost),
        "doubled": len(doubled),
        "median_s": {how: round(statistics.median(found), 1) for how, found in times.items() if found},
        "p95_s": round(p95, 1),
        "max_s": round(taken_all[-1], 1),
        "refused": dict(writers.refused),
    }
    print(json.dumps(figures))
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"acknowledged records lost: {len(lost)} of {figures['acknowledged']} (goal 0)")
    print(f"records stored twice: {len(doubled)} (goal 0)")
    print(f"writes back: median {figures['median_s']}, p95 {p95:.1f} s (goal {BACK_GOAL_S:.0f} s)")
    return 0 if not lost and not doubled and p95 <= BACK_GOAL_S else 1


if __name__ == "__main__":
    sys.exit(main())
