"""Promise 10: a wrong clock loses and reorders nothing, and in the end every record has its true time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from sigprobe.buffer import Buffer, State
from sigprobe.collector import store
from sigprobe.collector.store.schema import results
from tests.support.clock_shift import shifted_clock
from tests.support.requirements import ROOT
from tests.trials.faults.fault_site import Site
from tests.trials.faults.trial import Trial, hold

STARTS = ("2009-01-01 00:00:00", "2049-06-01 12:00:00", "1970-01-01 00:00:30", "2038-01-19 03:14:00")

WRITER = """
import json, sys, time
sys.path[:0] = [{tests!r}]
from pathlib import Path
from tests.support.records import record
from tests.support.clock_shift import shifted_clock
from sigprobe.buffer import Buffer, Verdicts
step = [0.0]
with Buffer(Path(sys.argv[1]), now=lambda: time.time() + step[0]) as buffer:
    for number in range(8):
        if number == 4:
            step[0] = float(sys.argv[2])  # the clock is set in the middle of a run
        print(buffer.put(record()).result.id, int(time.time()), flush=True)
        buffer.prune()
    taken = buffer.peek(3, 1 << 20)
    print(*(row.id for row in taken), flush=True)
    buffer.settle(Verdicts(acked=[row.id for row in taken]), "https://collector.example/")
    print("peeked", len(buffer.peek(1000, 1 << 24)), buffer.pending(), flush=True)
"""


@pytest.mark.system("faketime", "faketime")
def test_wrong_clocks_lose_and_reorder_nothing(tmp_path: Path, trial: Callable[..., Trial]) -> None:
    """Runs of one queue in 2009, 2049, 1970 and 2038, each stepped in the middle: the order is the order of put."""
    t = trial(10, "wrong clocks", short=4, full=200)
    script = tmp_path / "writer.py"
    script.write_text(WRITER.format(tests=str(ROOT)))
    path = tmp_path / "q" / "b.db"
    names: list[str] = []
    acked: set[str] = set()
    for number in range(t.n):
        start = STARTS[number % len(STARTS)]
        step = t.random.choice([-20, -1, 1, 20]) * 365 * 86400
        with t.attempt():
            done = subprocess.run(
                [sys.executable, str(script), str(path), str(step)],
                env={**os.environ, **shifted_clock(f"@{start}")},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            hold(done.returncode == 0, "writer-failed", done.stderr[-800:])
            *lines, settled, last = done.stdout.splitlines()
            hold(abs(int(lines[0].split()[1]) - _seconds(start)) < 3600, "nothing-tried", "the clock was not wrong")
            names += [line.split()[0] for line in lines]
            acked |= set(settled.split())
            hold(last.split()[1] == last.split()[2], "hidden", f"{last}: a clock must not hide what waits")
    with Buffer(path) as buffer:
        rows = list(buffer.rows())
        gone = set(names) - {row.id for row in rows}
        hold(gone <= acked, "lost", "pruned without a receipt")  # an acked one may look old to a wrong clock
        names = [name for name in names if name not in gone]
        hold([row.id for row in rows] == names, "order", "not the order of put")
        places = [json.loads(row.line) for row in rows]
        seqs = [p["seq"] for p in places]
        hold(seqs == sorted(set(seqs)) and seqs[-1] == 8 * t.n, "order", "a place is doubled or out of order")
        hold(len({(p["probe_id"], p["stream_id"]) for p in places}) == 1, "order", "more than one stream")
        hold({row.id for row in buffer.rows(State.ACKED)} == acked - gone, "ack-lost")
        with t.expect_failure("order"):  # by the wall clock, as anybody would without a counter
            hold([r.id for r in sorted(rows, key=lambda r: r.put_at)] == names, "order")
    t.report(records=len(names))


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("now", [-1e12, -1.0, 0.0, 2.0**31, 253_402_300_799.0, 1e15])
def test_any_clock_reading_is_stored(tmp_path: Path, now: float) -> None:
    """A clock before 1970 or beyond the calendar stops neither put nor peek, settle and prune."""
    from sigprobe.buffer import Verdicts
    from tests.support.records import record

    with Buffer(tmp_path / "b.db", now=lambda: now) as buffer:
        stored = buffer.put(record())
        assert [row.id for row in buffer.peek(10, 1 << 20)] == [stored.result.id]
        buffer.settle(Verdicts(acked=[stored.result.id]), "https://collector.example/")
        buffer.prune()
        assert buffer.stats().acked == 1


@pytest.mark.system("faketime", "faketime")
def test_a_backlog_of_2009_gets_its_true_time(tmp_path: Path) -> None:
    """Two tests with a dead clock offline, a drain, a third test, a drain: all that is stored has its true time."""
    with Site(tmp_path / "site") as site:
        token = tmp_path / "token"
        token.touch(mode=0o600)
        token.write_text(site.token)
        config = tmp_path / "config.yaml"
        config.write_text(
            "probe: {site: test}\nlocation: {source: none}\nverdict: {references: []}\n"
            f"buffer: {{path: {tmp_path / 'queue' / 'buffer.db'}}}\n"
            "targets: [{kind: ping, name: device, address: 127.0.0.1, count: 1}]\n"
            f'upload: {{collectors: [{{url: "{site.url}", token_file: "{token}"}}]}}\n'
        )
        began = datetime.now(UTC)
        run = (sys.executable, "-m", "sigprobe")
        test = ("test", "-q", "--only", "ping", "--no-upload")
        for args in (test, test, ("upload",), test, ("upload",)):
            # the time since boot is the machine's own: a dead battery does not touch it
            done = subprocess.run(
                [*run, *args, "--config", str(config)],
                env={**os.environ, **shifted_clock("@2009-01-01 00:00:00")},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        engine = store.open_store(site.database)
        try:
            # the worker corrects times a moment after the receipt
            deadline = time.monotonic() + 60
            while True:
                with engine.connect() as connection:
                    rows = connection.execute(select(results).order_by(results.c.seq)).all()
                if all(row.corrected_at is not None for row in rows) or time.monotonic() > deadline:
                    break
                time.sleep(0.2)
        finally:
            engine.dispose()
    offsets = [json.loads(row.line)["tags"]["clock"]["offset_est_ms"] for row in rows]
    assert len(rows) == 6
    assert offsets[:4] == [None] * 4, "nothing tried: the first tests knew their offset"
    assert None not in offsets[4:]
    for row in rows:
        assert row.started_at.year == 2009
        assert row.corrected_at is not None
        assert began - timedelta(seconds=2) <= row.corrected_at <= row.received_at + timedelta(seconds=2)
    corrected = [row.corrected_at for row in rows]
    assert max(corrected[:2]) < min(corrected[2:4]) < min(corrected[4:])
