"""Promise 15: what was acknowledged survives the loss of the database's primary, and writes come back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requirements import ROOT
from tests.trials.faults.trial import SOAK


@pytest.mark.root
@pytest.mark.system("patroni", "patroni")
@pytest.mark.system("etcd", "etcd-server")
@pytest.mark.timeout(0 if SOAK else 600)
def test_failover_loses_nothing(tmp_path: Path) -> None:
    """The server killed, then the whole machine: every acknowledged record is there once, and writes go on.

    How long that takes is judged by `bench/failover.py` itself, not here.
    """
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "bench" / "failover.py"), "--json", str(figures)),
            # two writers notice every kill; more would only take the processor from the tests beside this one
            *(("--kills", "50") if SOAK else ("--kills", "3", "--writers", "2")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert figures.exists(), done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert found["lost"] == 0 and found["doubled"] == 0, done.stdout
    assert found["acknowledged"] > 100, "the control: batches did arrive"
    assert sum(found["refused"].values()) > 0, "the control: the writers did notice the kills"
