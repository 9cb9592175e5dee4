"""Promise 1: a check that was shown as saved survives kill -9."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from harness import Trial, hold
from writers import Nursery, told

from sigprobe.buffer import Buffer

_KILLS_PER_FILE = 50


def _kill_once(nursery: Nursery, trial: Trial, path: Path, out: Path, *, early: bool) -> int:
    """Kill one writer at a random moment; returns how many records it had told of, all of which must be there."""
    pid = nursery.start("put", path=str(path), out=str(out), early=early, seed=trial.random.randrange(2**32), long=True)
    time.sleep(trial.random.uniform(0, 0.5))
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
    with Nursery() as nursery:
        with t.expect_failure("lost"):  # told before COMMIT: a kill soon falls in between
            for number in range(40):
                _kill_once(nursery, t, tmp_path / "control" / "b.db", tmp_path / f"early-{number}", early=True)
        records = 0
        for number in range(t.n):
            home = tmp_path / f"q{number // _KILLS_PER_FILE}"
            out = tmp_path / "told"
            out.unlink(missing_ok=True)
            with t.attempt():
                records += _kill_once(nursery, t, home / "b.db", out, early=False)
    hold(records > t.n, "nothing-tried", f"{records} records")
    t.report(records=records)
