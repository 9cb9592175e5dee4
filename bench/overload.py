"""Offer a collector more than it can take, in an open loop, and see what becomes of the batches that it takes.

    python bench/overload.py                     # SQLite, a minute or two
    python bench/overload.py --postgresql        # a PostgreSQL of its own
    python bench/overload.py --seconds 20 --probes 10000

First a closed loop finds what this machine takes in batches of eight, as one `sigprobe test` sends. The rate that it is
rated for is `RATED` of that: the rest is for pages, readers and refusals. Then 10,000 virtual probes send at 1 to 10
times the rated load, each batch over a connection of its own, whatever was answered before. Refused batches are sent
again later, as probes do. In a last round one token sends a hundred times as much as each of the others.

Goals: taken batches >= 90 % of the rated load, 99 of 100 of them answered within 2 s, every refusal with
`Retry-After`, memory <= 512 MB, pages within 1 s, and the flooding token refused alone. Exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import requests  # noqa: E402

from bench.open_load import PER_BATCH, Load, Round, quantile  # noqa: E402
from sigprobe.collector import store  # noqa: E402
from sigprobe.collector.access import queries as access_queries  # noqa: E402
from sigprobe.collector.store import schema  # noqa: E402
from tests.support.postgres import Postgres  # noqa: E402

RATED = 0.5
GOODPUT = 0.9
P99_S = 2.0
RSS_MB = 512
PAGE_S = 1.0
FLOOD = 100


class Reader:
    """A person who reloads the first page, and a load balancer that asks for health."""

    def __init__(self, url: str, admin: str) -> None:
        self.took_s: dict[str, list[float]] = {"": [], "healthz": []}
        self.statuses: Counter[int] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(url, {"Authorization": f"Bearer {admin}"}))
        self._thread.start()

    def _read(self, url: str, headers: dict[str, str]) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self._stop.wait(0.5):
                for path, times in self.took_s.items():
                    began = time.monotonic()
                    with suppress(requests.RequestException):
                        self.statuses[session.get(url + path, headers=headers, timeout=30).status_code] += 1
                    times.append(time.monotonic() - began)

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()


def make_tokens(url: str, count: int) -> tuple[list[str], str]:
    """Return the tokens of so many probes, and an administrator's."""
    engine = store.open_store(url)
    secrets = [f"sigprobe-probe-bench-{number}" for number in range(count)]
    rows = [
        {
            "id": str(uuid.uuid4()),
            "name": f"laptop-{number}",
            "role": access_queries.PROBE,
            "hash": hashlib.sha256(secret.encode()).hexdigest(),
            "created_at": datetime.now(UTC),
        }
        for number, secret in enumerate(secrets)
    ]
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(schema.tokens.insert(), rows)
    admin = access_queries.create_token(engine, "boss", access_queries.ADMIN)
    engine.dispose()
    return secrets, admin


def start(database: str, patch: str = "") -> tuple[subprocess.Popen[str], str]:
    """Start `serve` and return its process and address. `patch` is Python that runs before it."""
    program = f"{patch}\nfrom sigprobe.__main__ import main; main()" if patch else ""
    process = subprocess.Popen(
        [
            *(sys.executable, *(("-c", program) if patch else ("-m", "sigprobe"))),
            *("collector", "serve", "--port", "0", "--log-level", "error"),
        ],
        env={**os.environ, "SIGPROBE_DATABASE": database},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"https?://\S+/$", line.rstrip())
        if found is not None:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, found[0]
    raise SystemExit("the collector did not start")


def rss_mb(pid: int) -> float:
    """Return the highest memory of a process so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) / 1024


class Goals:
    """The goals, printed as they are held or missed."""

    def __init__(self) -> None:
        self.missed = 0

    def hold(self, what: str, value: float, held: bool, goal: str) -> None:
        """Print one."""
        self.missed += not held
        print(f"  {'ok    ' if held else 'MISSED'} {what}: {value:.3g} (goal {goal})", flush=True)


def run(url: str, process: subprocess.Popen[str], tokens: list[str], admin: str, seconds: float) -> int:
    """Run all rounds and return how many goals were missed."""
    goals = Goals()
    with Load(url, tokens) as load:
        rounds(load, goals, url, tokens, admin, seconds)
    memory = rss_mb(process.pid)
    goals.hold("memory, MB", memory, memory <= RSS_MB, f"<= {RSS_MB}")
    return goals.missed


def rounds(load: Load, goals: Goals, url: str, tokens: list[str], admin: str, seconds: float) -> None:
    """Find the rate, then offer one to ten times of it, then let one token flood."""
    load.prepare(400)
    load.closed_loop(16, 2.0)  # its caches, its pool
    load.prepare(1500)
    most = statistics.median([load.closed_loop(16, 4.0) for _ in range(3)])
    rated = most * RATED
    print(f"closed loop: {most:.0f} batches of {PER_BATCH} a second; rated for {rated:.0f}", flush=True)
    for factor in (1, 2, 5, 10):
        load.prepare(round(rated * (seconds + 2 * factor)) + 200)
        reader = Reader(url, admin)
        found, _ = load.open_loop(rated * factor, seconds)
        reader.stop()
        print(
            f"{factor}x: offered {found.offered / seconds:.0f}/s, taken {found.taken / seconds:.0f}/s, "
            f"not taken {dict(found.others)}, pages {dict(reader.statuses)}; the load took {found.cpu_share:.0%} of a "
            f"processor and was at most {quantile(found.late_s, 0.99) * 1000:.0f} ms late 99 times of 100"
        )
        report(goals, found, rated, seconds, reader)
    load.prepare(round(rated * seconds * 2) + 200)
    # the flood alone offers more than the machine takes; the others stay within the rated load
    usual = rated * 0.5
    found, flood = load.open_loop(usual, seconds, flood=max(most * 1.5, usual / len(tokens) * FLOOD))
    print(
        f"one token floods with {flood.offered / seconds:.0f}/s: {flood.taken / seconds:.0f}/s of it are taken, "
        f"refused {dict(flood.others)}; of the others {dict(found.others)}"
    )
    share = found.taken / max(1, found.offered)
    goals.hold("taken batches of the other tokens", share, share >= GOODPUT, f">= {GOODPUT}")
    goals.hold("their 99th percentile, s", found.p99_s(), found.p99_s() <= P99_S, f"<= {P99_S}")


def report(goals: Goals, found: Round, rated: float, seconds: float, reader: Reader) -> None:
    """Hold one round against the goals."""
    wanted = min(rated, found.offered / seconds)
    share = found.taken / seconds / wanted
    goals.hold("taken batches, of the rated load", share, share >= GOODPUT, f">= {GOODPUT}")
    goals.hold("99th percentile of taken batches, s", found.p99_s(), found.p99_s() <= P99_S, f"<= {P99_S}")
    goals.hold("refusals without Retry-After", found.without_retry_after, not found.without_retry_after, "0")
    for path, times in reader.took_s.items():
        usual = sorted(times)[int(len(times) * 0.95)]
        goals.hold(f"/{path}, 95th percentile, s", usual, usual <= PAGE_S, f"<= {PAGE_S}")


@contextmanager
def running(
    count: int, *, postgresql: bool, patch: str = ""
) -> Iterator[tuple[str, subprocess.Popen[str], str, list[str], str]]:
    """Run a collector with `count` tokens on a new database: database, process, its URL, tokens and an admin's."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sigprobe-bench-"))
        database = f"sqlite:///{folder}/collector.db"
        if postgresql:
            server = Postgres()
            stack.callback(server.close)
            server.start()
            database = server.new_database()
        tokens, admin = make_tokens(database, count)
        process, url = start(database, patch)
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        yield database, process, url, tokens, admin


def main() -> int:
    """Run the bench; 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each round")
    parser.add_argument("--probes", type=int, default=10_000, help="tokens")
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL of its own, not on SQLite")
    args = parser.parse_args()
    with running(args.probes, postgresql=args.postgresql) as (_, process, url, tokens, admin):
        return 1 if run(url, process, tokens, admin, args.seconds) else 0


if __name__ == "__main__":
    sys.exit(main())
