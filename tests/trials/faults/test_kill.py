"""Promise 1: a check that was shown as saved survives kill -9."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sigprobe.buffer import Buffer
from tests.trials.faults.trial import Trial, hold
from tests.trials.faults.writer_processes import Nursery, told

_KILLS_PER_FILE = 50
_LANES = 4  # a writer that waits to be killed leaves most of the machine idle


def _kill_once(nursery: Nursery, rng: random.Random, path: Path, out: Path, *, early: bool) -> int:
    """Kill one writer at a random moment; returns how many records it had told of, all of which must be there."""
    pid = nursery.start("put", path=str(path), out=str(out), early=early, seed=rng.randrange(2**32), long=True)
    time.sleep(rng.uniform(0, 0.5))
    nursery.kill(pid)
    names = told(str(out))
    hold(not Path(f"{out}.error").exists(), "writer-failed", str(out))
    with Buffer(path) as buffer:
        hold(not buffer.set_aside_now, "corrupt", str(path))
        lost = [name for name in names if buffer.find(name) is None]
    hold(not lost, "lost", f"{len(lost)} of {len(names)}")
    return len(names)


def test_kill_loses_nothing(tmp_path: Path, trial: Callable[..., Trial]) -> None:
    """A writer tells each id after COMMIT and is killed at a random 0–500 ms; all that it told is stored."""
    t = trial(1, "kill -9 while putting", short=15, full=10_000)
    with Nursery() as nursery, t.expect_failure("lost"):  # told before COMMIT: a kill soon falls in between
        for number in range(40):
            early = tmp_path / f"early-{number}"
            _kill_once(nursery, t.random, tmp_path / "control" / "b.db", early, early=True)

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
                    found += _kill_once(nursery, rng, home / "b.db", out, early=False)
                for old in home.parent.glob(f"lane{which}-*"):
                    if old != home:
                        shutil.rmtree(old)  # all that it was told to hold was found in it
        return found

    with ThreadPoolExecutor(_LANES) as pool:
        records = sum(pool.map(lane, range(_LANES)))
    hold(records > t.n, "nothing-tried", f"{records} records")
    t.report(records=records)
