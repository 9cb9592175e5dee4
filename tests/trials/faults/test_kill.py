"""Promise 1: a check that was shown as saved survives kill -9."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sigprobe.buffer import Buffer
from tests.support.stand_in_collector import until
from tests.trials.faults.trial import Trial, hold
from tests.trials.faults.writer_processes import Nursery, told

_KILLS_PER_FILE = 50
_LANES = 4  # a writer that waits to be killed leaves most of the machine idle


def _kill_once(nursery: Nursery, rng: random.Random, path: Path, out: Path, *, late: bool) -> int:
    """Kill one writer at a random moment; returns how many records it had reported, all of which must be stored.

    The moment lies within half a second of its start, or with `late` of its first record: a busy machine may take
    longer than that for the first.
    """
    pid = nursery.start("put", path=str(path), out=str(out), seed=rng.randrange(2**32), long=True)
    if late:
        until(lambda: told(str(out)), 60)
    time.sleep(rng.uniform(0, 0.5))
    nursery.kill(pid)
    return _hold_stored(path, out)


def _kill_before_commit(nursery: Nursery, home: Path, *, early: bool) -> int:
    """Kill one writer between BEGIN and COMMIT of its sixth record; the number of records it had reported."""
    home.mkdir()
    path, out = home / "b.db", home / "told"
    code = nursery.wait(nursery.start("put", path=str(path), out=str(out), early=early, dies_in=5, seed=1))
    assert code == -signal.SIGKILL, code
    return _hold_stored(path, out)


def _hold_stored(path: Path, out: Path) -> int:
    """Hold that every record that a writer reported is stored; returns how many."""
    names = told(str(out))
    hold(not Path(f"{out}.error").exists(), "writer-failed", str(out))
    with Buffer(path) as buffer:
        hold(not buffer.set_aside_now, "corrupt", str(path))
        lost = [name for name in names if buffer.find(name) is None]
    hold(not lost, "lost", f"{len(lost)} of {len(names)}")
    return len(names)


def test_kill_loses_nothing(tmp_path: Path, trial: Callable[..., Trial]) -> None:
    """A writer reports each id after COMMIT and is killed at a random 0–500 ms; all that it reported is stored."""
    t = trial(1, "kill -9 while putting", short=15, full=10_000)
    with Nursery() as nursery:
        assert _kill_before_commit(nursery, tmp_path / "late", early=False) == 5
        with t.expect_failure("lost"):  # the same kill, with the id reported before COMMIT
            _kill_before_commit(nursery, tmp_path / "early", early=True)

    def lane(which: int) -> int:
        """Run one queue after the other, each killed many times; lanes share only the machine."""
        found = 0
        rng = random.Random(f"{t.seed} lane {which}")
        with Nursery() as nursery:
            for number in range(which, t.n, _LANES):
                home = tmp_path / f"lane{which}-{number // (_KILLS_PER_FILE * _LANES)}"
                out = tmp_path / f"told-{which}"
                out.unlink(missing_ok=True)
                with t.attempt():
                    found += _kill_once(nursery, rng, home / "b.db", out, late=number % 2 == 0)
                for old in home.parent.glob(f"lane{which}-*"):
                    if old != home:
                        shutil.rmtree(old)  # everything reported was found in it
        return found

    with ThreadPoolExecutor(_LANES) as pool:
        records = sum(pool.map(lane, range(_LANES)))
    hold(records >= t.n // 2, "nothing-tried", f"{records} records")
    t.report(records=records)
