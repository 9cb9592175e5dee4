"""Writers and worker are killed at random lines of their code: nothing is lost, doubled, or counted twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.collector_fixtures import postgres
from tests.trials.faults.trial import ROOT, Trial, hold

__all__ = ["postgres"]


def kill(url: str, kills: int, seed: int, control: str = "") -> dict[str, Any]:
    """Kill so often at lines of this seed, and return what was counted afterwards."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.trials.faults.line_kills", url),
            *("--kills", str(kills), "--seed", str(seed), "--control", control),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(found)
    return found


def hold_all(found: dict[str, Any]) -> None:
    """Hold that nothing is lost or doubled, in rows, in the order of readers, and in the sums."""
    hold(found["lost"] == 0, "acked-lost", str(found))
    hold(found["missing"] == 0 and found["changed"] == 0, "lost", str(found))
    hold(found["doubled"] == 0, "duplicate", str(found))
    hold(found["unread"] == 0 and found["disorder"] == 0, "readers-miss", str(found))
    hold(
        found["unsummed"] == 0 and found["sums_differ"] == 0 and found["tallies_differ"] == 0, "sums-differ", str(found)
    )


@pytest.mark.process
@pytest.mark.timeout(0)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_writers_and_worker_are_killed_at_random_lines(
    trial: Callable[..., Trial], tmp_path: Path, request: pytest.FixtureRequest, engine: str
) -> None:
    """Whatever line is the last one, the next process does the rest, and everything is there once."""
    run = trial(24, f"writers and worker killed at random lines, {engine}", short=5, full=1000)

    def database() -> str:
        if engine == "sqlite":
            return f"sqlite:///{tmp_path / f'collector-{run.random.random()}.db'}"
        return str(request.getfixturevalue("postgres").new_database())

    found = kill(database(), run.n, run.random.randrange(2**31))
    hold(found["kills"] == run.n, "not-killed", str(found))
    hold_all(found)
    with run.expect_failure("acked-lost"):
        hold_all(kill(database(), 1, 1, "early-answer"))
    if engine == "postgresql":  # SQLite has one writer at a time: there is no second transaction to add in
        with run.expect_failure("sums-differ"):
            hold_all(kill(database(), 1, 1, "own-transaction"))
    run.report(0, places=found["places"], records=found["records"], sums=found["sums_compared"])
