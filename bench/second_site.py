"""Lose the first site as a whole, let the second one take over, and merge what was left behind.

    python bench/second_site.py              # about two minutes
    python bench/second_site.py --cut 30     # the line breaks 30 s before the site is lost

Needs Debian's patroni, etcd-server and postgresql, and runs on loopback addresses only. The first site are three nodes
from `deploy/postgresql/`, the second one follows it by the files in `deploy/second-site/`. Batches arrive all the time.
Then the line between the sites breaks, the first site goes on alone for a while and is lost. One command promotes the
second site, and the senders go on there. At last the first site returns, and `collector merge` fetches what it had
acknowledged.

Printed: the standby's lag while the line is whole (that is the RPO without a cut), acknowledged records that the second
site lacks after the promotion, the time from the command to the first receipt (RTO), and what is lost after the merge
(goal 0).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402

from bench.failover import Writers, stored  # noqa: E402
from tests.support.cuttable_line import Line  # noqa: E402
from tests.support.patroni_cluster import NODES, PatroniCluster, address  # noqa: E402
from tests.support.second_site import SecondSite  # noqa: E402
from tests.trials.faults.fault_site import Site  # noqa: E402

SIGPROBE = [sys.executable, "-m", "sigprobe"]


def wait_following(cluster: PatroniCluster, limit_s: float = 60) -> None:
    """Wait until the second site receives the first one's WAL."""
    end = time.monotonic() + limit_s
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        query = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'site2' AND state = 'streaming'"
        while (connection.execute(query).fetchone() or (0,))[0] == 0:
            if time.monotonic() > end:
                raise TimeoutError("the second site does not follow")
            time.sleep(0.2)


def lags(cluster: PatroniCluster, seconds: float) -> list[float]:
    """Return how far behind the second site was on disk, in seconds, twice a second."""
    found = []
    end = time.monotonic() + seconds
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        while time.monotonic() < end:
            row = connection.execute(
                "SELECT coalesce(extract(epoch FROM flush_lag), 0) FROM pg_stat_replication "
                "WHERE application_name = 'site2'"
            ).fetchone()
            if row is not None:
                found.append(float(row[0]))
            time.sleep(0.5)
    return found


def merge(first: str, second: str) -> subprocess.CompletedProcess[str]:
    """Fetch back what the first site has. A cluster that has just come back may change its primary once more.

    A merge that is cut is repeated: nothing is stored twice. Raises AssertionError with what it said at last.
    """
    command = [*SIGPROBE, "collector", "merge", first, "--json", "--database", second]
    until = time.monotonic() + 120
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode == 0:
            return done
        print(f"the merge was cut: {done.stderr.strip()}", flush=True)
        assert time.monotonic() < until, done.stderr
        time.sleep(1)


def main() -> int:
    """Run, print, judge."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--writers", type=int, default=4)
    options.add_argument("--load", type=float, default=10.0, help="seconds of load with a whole line")
    options.add_argument("--cut", type=float, default=5.0, help="seconds between the cut and the loss of the site")
    options.add_argument("--json", type=Path, help="write the figures to this file")
    given = options.parse_args()
    cluster, second = PatroniCluster(), SecondSite()
    sites: list[Site] = []
    writers: list[Writers] = []
    folder = Path(tempfile.mkdtemp(prefix="sigprobe-second-"))

    def primary() -> tuple[str, int] | None:
        node = cluster.primary()
        return None if node is None else (address(node), 5432)

    try:
        with Line(primary) as line:
            cluster.start()
            with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
                connection.execute("CREATE DATABASE sigprobe")
            sites.append(Site(folder / "first", cluster.url()))
            sites[0].start()
            second.clone(line.port)
            wait_following(cluster)
            print("both sites up", flush=True)
            writers.append(Writers(sites[0].url, sites[0].token, given.writers))
            behind = lags(cluster, given.load)
            line.cut()
            print(f"line cut; the first site goes on for {given.cut:.0f} s", flush=True)
            time.sleep(given.cut)
            for node in NODES:
                cluster.kill_machine(node)
            writers[0].stop()
            sites[0].kill()
            acknowledged = set(writers[0].acknowledged)
            began = time.monotonic()
            told = subprocess.run(
                [*SIGPROBE, "collector", "site", "promote", "--json", "--database", second.url],
                capture_output=True,
                text=True,
                check=True,
                cwd=ROOT,
            )
            promoted_s = time.monotonic() - began
            sites.append(Site(folder / "second", second.url))
            sites[1].start()
            # the senders' tokens are known here, as far as they were created before the cut
            writers.append(Writers(sites[1].url, sites[0].token, given.writers))
            while not writers[1].receipts and time.monotonic() - began < 120:
                time.sleep(0.05)
            back_s = writers[1].receipts[0] - began
            missing = acknowledged - set(stored(second.url))
            print(f"promoted: {told.stdout.strip()}", flush=True)
            time.sleep(3)
            for node in NODES:
                cluster.start_machine(node)
            cluster.wait_whole(240)
            merged = merge(cluster.url(), second.url)
            writers[1].stop()
            kept = stored(second.url)
    finally:
        for sender in writers:
            sender.stop()
        for site in sites:
            site.kill()
        second.close()
        cluster.close()
    everything = acknowledged | set(writers[1].acknowledged)
    lost = [name for name in everything if name not in kept]
    counts = json.loads(merged.stdout)
    figures = {
        "acknowledged_first": len(acknowledged),
        "acknowledged_second": len(set(writers[1].acknowledged)),
        "lag_median_s": round(statistics.median(behind), 3),
        "lag_max_s": round(max(behind), 3),
        "cut_s": given.cut,
        "missing_after_promotion": len(missing),
        "promoted_s": round(promoted_s, 1),
        "back_s": round(back_s, 1),
        "merged": counts["accepted"],
        "lost": len(lost),
        "doubled": sum(1 for times in kept.values() if times > 1),
    }
    print(json.dumps(figures))
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"RPO: the standby was {figures['lag_median_s']} s behind (most {figures['lag_max_s']} s) with a whole line")
    print(f"cut for {given.cut:.0f} s: {len(missing)} of {len(acknowledged)} acknowledged records were not here")
    print(f"RTO: {back_s:.1f} s from the command to the first receipt (promotion alone {promoted_s:.1f} s)")
    print(f"after the merge: {len(lost)} lost (goal 0), {figures['doubled']} doubled (goal 0)")
    return 0 if not lost and not figures["doubled"] else 1


if __name__ == "__main__":
    sys.exit(main())
