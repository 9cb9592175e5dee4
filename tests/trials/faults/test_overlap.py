"""Promise 8: cron runs may overlap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from sigprobe.buffer import Buffer, State
from tests.support.records import record
from tests.support.stand_in_collector import until
from tests.trials.faults.trial import SOAK, Trial, hold
from tests.trials.faults.writer_processes import Nursery, told

WRITERS = 16


def test_sixteen_writers_at_once(tmp_path: Path, trial: Callable[..., Trial]) -> None:
    """Sixteen processes put while two others peek, settle and fold: none is lost, none is refused, p99 below 1 s."""
    t = trial(8, "16 writers at once", short=WRITERS * 25, full=WRITERS * 500)
    path = tmp_path / "q" / "b.db"
    _at_once(tmp_path, t.n)
    names = [name for i in range(WRITERS) for name in told(str(tmp_path / f"w{i}"))]
    hold(len(names) == t.n, "nothing-tried", f"{len(names)} told")
    with Buffer(path) as buffer:
        hold(not buffer.set_aside_now, "corrupt")
        stored = {row.id: row.state for row in buffer.rows()}
        seqs = sorted(int(row.line.split(b'"seq":', 1)[1].split(b",", 1)[0]) for row in buffer.rows())
    lost = set(names) - set(stored)
    hold(seqs == list(range(1, t.n + 1)), "order", "a place was given twice or left out")
    acked = {name for i in (0, 1) for name in told(str(tmp_path / f"d{i}"))}
    hold(all(stored[name] is State.ACKED for name in acked), "ack-lost")
    took = sorted(
        float(line.split()[1]) for i in range(WRITERS) for line in (tmp_path / f"w{i}").read_text().splitlines()
    )
    p99 = took[int(len(took) * 0.99)]
    if SOAK:  # among the other tests of a busy machine the figure means little
        hold(p99 < 1.0, "slow", f"p99 {p99:.3f} s")
    _while_another_writes(tmp_path / "patient", patient=True)
    with t.expect_failure("locked"):
        _while_another_writes(tmp_path / "impatient", patient=False)
    t.report(len(lost), acked=len(acked), p99_s=round(p99, 4), longest_s=round(took[-1], 4))


def _at_once(directory: Path, count: int) -> None:
    """Put `count` records from sixteen processes while two others drain."""
    path, done = directory / "q" / "b.db", directory / "done"
    with Nursery() as nursery:
        pids = [
            nursery.start("put", path=str(path), out=str(directory / f"w{i}"), count=count // WRITERS)
            for i in range(WRITERS)
        ]
        drains = [nursery.start("drain", path=str(path), out=str(directory / f"d{i}"), until=str(done)) for i in (0, 1)]
        codes = [nursery.wait(pid) for pid in pids]
        done.touch()
        codes += [nursery.wait(pid) for pid in drains]
    _hold_no_error(directory)
    hold(not any(codes), "writer-failed", str(codes))


def _hold_no_error(directory: Path) -> None:
    errors = [p.read_text() for p in directory.glob("*.error")]
    hold(not errors, "locked" if "locked" in str(errors).lower() else "writer-failed", str(errors)[:500])


def _while_another_writes(directory: Path, *, patient: bool) -> None:
    """Put one record while this process holds the queue's write lock; the control's writer does not wait for it."""
    directory.mkdir()
    path, ready, go = directory / "b.db", directory / "ready", directory / "go"
    out = directory / "told"
    with Nursery() as nursery, Buffer(path) as buffer:
        options = {"path": str(path), "out": str(out), "count": 1, "patient": patient}
        pid = nursery.start("put", ready=str(ready), go=str(go), **options)
        until(ready.exists, 60)
        db = buffer._file._db
        assert db is not None
        db.execute("BEGIN IMMEDIATE")
        go.touch()
        if not patient:
            nursery.wait(pid)  # it fails while the lock is held
        db.execute("ROLLBACK")
        if patient:
            nursery.wait(pid)
        _hold_no_error(directory)
        hold(len(told(str(out))) == 1, "writer-failed", "nothing was stored")


def test_first_runs_agree(tmp_path: Path) -> None:
    """Eight first runs at once make one queue with one probe id and one stream, and lose nothing."""
    path = tmp_path / "q" / "b.db"
    with Nursery() as nursery:
        pids = [nursery.start("put", path=str(path), out=str(tmp_path / f"w{i}"), count=3) for i in range(8)]
        assert [nursery.wait(pid) for pid in pids] == [0] * 8
    with Buffer(path) as buffer:
        lines = [row.line for row in buffer.rows()]
        assert len(lines) == 24
        assert len({line.split(b'"probe_id":', 1)[1].split(b',"seq"', 1)[0] for line in lines}) == 1


_AT_ONCE = 10


def _taken_away(directory: Path, times: int) -> int:
    """Set the file aside `times` times while three processes put; returns how many records they reported."""
    path = directory / "q" / "b.db"
    with Nursery() as nursery, Buffer(path) as buffer:
        pids = [nursery.start("put", path=str(path), out=str(directory / f"w{i}")) for i in range(3)]
        for _ in range(times):
            time.sleep(0.15)
            _set_aside(buffer)
        for pid in pids:
            nursery.kill(pid)
        names = [name for i in range(3) for name in told(str(directory / f"w{i}"))]
        errors = [p.read_text() for p in directory.glob("*.error")]
        hold(not errors, "writer-failed", str(errors)[:500])
        lost = [name for name in names if buffer.find(name) is None]
    hold(not lost, "lost", f"{len(lost)} of {len(names)}")
    return len(names)


def _set_aside(buffer: Buffer, *, locked: bool = True) -> None:
    with buffer._file._lock.exclusive() if locked else nullcontext():
        buffer._file._open_alone("taken away by the test")
    buffer._file._salvage()


def _in_the_middle(path: Path, *, locked: bool) -> None:
    """Set the file aside while another process is between BEGIN and COMMIT."""
    began, go = threading.Event(), threading.Event()
    names: list[str] = []

    def put_slowly() -> None:
        with Buffer(path) as other:
            insert = other._insert

            def slow_insert(*args: Any, **options: Any) -> int:
                pos = insert(*args, **options)
                began.set()
                go.wait(10)
                return pos

            other._insert = slow_insert  # type: ignore[method-assign]
            names.append(other.put(record()).result.id)

    writer = threading.Thread(target=put_slowly)
    with Buffer(path) as buffer:
        writer.start()
        assert began.wait(10)
        taker = threading.Thread(target=_set_aside, args=(buffer,), kwargs={"locked": locked})
        taker.start()
        taker.join(0.3)  # with the lock it is still waiting then
        go.set()
        taker.join(30)
        writer.join(30)
        hold(buffer.find(names[0]) is not None, "lost", "it lies in the quarantined file")


def test_nothing_lands_in_a_file_that_was_set_aside(tmp_path: Path, trial: Callable[..., Trial]) -> None:
    """One process sets the file aside again and again while others put: no record ends unseen in quarantine."""
    t = trial(9, "set aside while others put", short=8, full=400)
    with t.expect_failure("lost"):
        _in_the_middle(tmp_path / "control" / "b.db", locked=False)
    _in_the_middle(tmp_path / "locked" / "b.db", locked=True)
    records = 0
    for done in range(0, t.n, _AT_ONCE):  # each salvage copies all: a queue must not grow long
        (home := tmp_path / f"part-{done}").mkdir()
        records += _taken_away(home, min(_AT_ONCE, t.n - done))
    t.report(0, records=records)
