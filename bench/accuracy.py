"""How true the numbers are: sigprobe beside iperf3, speedtest-cli, curl, fping and blackbox_exporter on emulated links.

    python bench/accuracy.py --quick             a few small points in under three minutes; for completion only
    python bench/accuracy.py                     the whole matrix (hours); goes on where it was stopped
    python bench/accuracy.py --only 5/20/bbr     points by their beginning: rate/rtt/congestion[/loss], or `latency`, or
                                                 `loopback`
    python bench/accuracy.py --report            no runs: the table and the plot in docs/ from the rows there are
    python bench/accuracy.py --traces FILE…      links that follow traces (the format of bench/forecast.py): the error
                                                 against what the link could carry in the same window; with --quick six
                                                 of them, with --held-out those that no constant was chosen on

Rows go one by one to bench/results/accuracy-<date>.jsonl. The reference is iperf3's rate over `--reference` seconds
with as many streams. The full run exits 1 when a goal is missed. Needs root (network namespaces), iperf3 and iproute2.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import accuracy_tools as tools
import accuracy_traces
from accuracy_report import LOOPBACK, judge, write_report
from accuracy_tools import LOSSY, MATRIX, Point, Row

RESULTS = Path(__file__).parent / "results"
QUICK = [Point(5, 20, "bbr"), Point(20, 60, "cubic", 0.01)]


class Book:
    """The rows of a run: those there already are not measured again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path.exists():
            self.rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]

    def has(self, where: str, tool: str, seed: int) -> bool:
        """Whether this run has been made."""
        return any((row["where"], row["tool"], row["seed"]) == (where, tool, seed) for row in self.rows)

    def put(self, where: str, seed: int, row: Row | None) -> None:
        """Write a row at once, so that a stopped run loses nothing."""
        if row is None:
            return
        whole = {"where": where, "seed": seed, "at": datetime.now(UTC).isoformat(timespec="seconds"), **row}
        self.rows.append(whole)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(whole) + "\n")
        shown = {k: v for k, v in whole.items() if k in SHOWN and v is not None}
        print(" ".join(f"{key}={value}" for key, value in shown.items()), flush=True)


SHOWN = ("where", "tool", "seed", "download_bps", "upload_bps", "rtt_median_ms", "seconds", "wire_bytes", "load")


def measure_point(book: Book, point: Point, seeds: int, reference_s: int) -> None:
    """All tools on one link, one after the other, those already in the book left out."""
    where = point.text()
    wanted: list[tuple[str, int, Callable[[Any], Row]]] = [("sigprobe", n, tools.ours) for n in range(1, seeds + 1)]
    wanted += [
        ("iperf3", 1, lambda wire: tools.iperf3(wire, reference_s, streams_of(book, where))),
        ("speedtest-cli", 1, tools.speedtest_cli),
        ("curl", 1, lambda wire: tools.curl(wire, 5)),
    ]
    wanted = [one for one in wanted if not book.has(where, one[0], one[1])]
    if not wanted:
        return
    with tools.at(point) as wire:
        for tool, seed, run in wanted:
            try:
                book.put(where, seed, tools.timed(wire, run))
            except (RuntimeError, OSError, TimeoutError, ValueError) as error:
                # one tool that fails must not cost the rows of the others
                print(f"where={where} tool={tool} failed: {error}", file=sys.stderr, flush=True)


def is_meant(where: str, name: str) -> bool:
    """Whether `--only` names this point: a whole name only itself, a shorter one all that begin so."""
    return where == name or (name.count("/") < 2 and where.startswith(name))


def streams_of(book: Book, where: str) -> int:
    """As many streams as our own runs have used here; four when there is none to go by."""
    used = sorted(row["streams"] for row in book.rows if (row["where"], row["tool"]) == (where, "sigprobe"))
    return int(used[len(used) // 2] or 4) if used else 4


LATENCY_TOOLS: tuple[Callable[[Any, str, int, int], Row | None], ...] = (
    tools.ping_ours,
    tools.ping_iputils,
    tools.ping_fping,
    tools.ping_blackbox,
)


def measure_latency(book: Book, count: int) -> None:
    """Round trips on loopback and over 50 ms: the same packets a second for each tool, all at the same time.

    Side by side, because a busy machine's round trips wander by more within a minute than the tools differ.
    """
    way = tools.Way(delay_ms=25)
    if not book.has("latency/loopback", "sigprobe", 1):
        for row in together(None, "127.0.0.1", count):
            book.put("latency/loopback", 1, row)
    if not book.has("latency/50ms", "sigprobe", 1):
        with tools.link(up=way, down=way) as wire:
            for row in together(wire, wire.far_address, count):
                book.put("latency/50ms", 1, row)


def measure_loopback(book: Book, seeds: int, seconds: int) -> None:
    """As fast as two processes of one machine get: ours with a large budget beside iperf3 with as many streams."""
    wanted = [n for n in range(1, seeds + 1) if not book.has(LOOPBACK, "sigprobe", n)]
    if not wanted:
        return
    with tools.at(QUICK[0]) as wire:
        inside = SimpleNamespace(near=wire.far, far_address=wire.far_address)  # nothing crosses the link
        for seed in wanted:
            book.put(LOOPBACK, seed, tools.ours(inside, max_mb=10_000))
        book.put(LOOPBACK, 1, tools.iperf3(inside, seconds, streams_of(book, LOOPBACK)))


def together(wire: Any, address: str, count: int) -> list[Row | None]:
    """Every latency tool's row."""
    with ThreadPoolExecutor(len(LATENCY_TOOLS)) as pool:
        running = [pool.submit(run, wire, address, count, 50) for run in LATENCY_TOOLS]
        return [task.result() for task in running]


def main() -> int:
    """Measure what is missing, judge, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", default=[], help="points whose name begins so; may be repeated")
    parser.add_argument("--seeds", type=int, default=None, help="our own runs on each link (5)")
    parser.add_argument("--reference", type=int, default=None, help="seconds of iperf3 each way (30)")
    parser.add_argument("--out", type=Path, help="the file of rows; one that exists is gone on with")
    parser.add_argument("--minutes", type=float, help="begin no further point after so long")
    parser.add_argument("--report", action="store_true", help="only write docs/accuracy.md")
    parser.add_argument("--traces", type=Path, nargs="+", help="files of traces for the links to follow")
    parser.add_argument("--held-out", action="store_true", help="with --traces: only those no constant was chosen on")
    parser.add_argument("--count", type=int, help="with --traces: so many of them")
    parser.add_argument("--jobs", type=int, default=2, help="with --traces: so many links at a time (2)")
    options = parser.parse_args()
    if options.report:
        paths = [options.out] if options.out else sorted(RESULTS.glob("accuracy-*.jsonl"))
        book = Book(paths[-1])
        write_report(book.rows, book.path.name)
        return 0
    absent = [name for name in ("ip", "ss", "iperf3", "fping", "ping", "curl") if shutil.which(name) is None]
    if os.geteuid() != 0 or absent:
        print("needs root and: " + (", ".join(absent) or "nothing more"), file=sys.stderr)
        return 1
    if options.traces:
        count = options.count or (accuracy_traces.SHORT if options.quick else None)
        return accuracy_traces.run(options.traces, held_out=options.held_out, count=count, jobs=options.jobs)
    today = RESULTS / f"accuracy-{datetime.now(UTC):%Y-%m-%d}.jsonl"
    if options.quick:
        # rows of a few small points are nothing to keep beside those of the matrix
        today = Path(tempfile.mkdtemp(prefix="sigprobe-accuracy-")) / "rows.jsonl"
    book = Book(options.out or today)
    seeds = options.seeds or (1 if options.quick else 5)
    reference_s = options.reference or (5 if options.quick else 30)
    begun = time.monotonic()
    if not options.only or any("latency".startswith(name) for name in options.only):
        measure_latency(book, 20 if options.quick else 200)
    if not options.quick and (not options.only or LOOPBACK in options.only):
        measure_loopback(book, seeds, 5)
    for point in QUICK if options.quick else MATRIX + LOSSY:
        if options.only and not any(is_meant(point.text(), name) for name in options.only):
            continue
        if options.minutes is not None and time.monotonic() - begun > options.minutes * 60:
            print(f"out of time before {point.text()}", flush=True)
            break
        measure_point(book, point, seeds, reference_s)
    missed = 0
    for goal in judge(book.rows):
        print(goal.line())
        missed += goal.met is False
    if options.quick:
        wanted = [(point.text(), "sigprobe", 1) for point in QUICK] + [("latency/50ms", "sigprobe", 1)]
        return 0 if all(book.has(*one) for one in wanted) else 1
    write_report(book.rows, book.path.name)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
