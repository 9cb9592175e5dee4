"""The first site is lost as a whole: the second takes over by one command, and a merge brings back the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requirements import ROOT


@pytest.mark.root
@pytest.mark.system("patroni", "patroni")
@pytest.mark.system("etcd", "etcd-server")
@pytest.mark.timeout(600)
def test_second_site(tmp_path: Path) -> None:
    """Everything acknowledged at either site is there once at the end; how long it takes is not judged here."""
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "bench" / "second_site.py"), "--json", str(figures)),
            *("--load", "4", "--cut", "3", "--writers", "2"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert figures.exists(), done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert found["missing_after_promotion"] > 0, "the control: the cut did leave something behind"
    assert found["merged"] >= found["missing_after_promotion"]
    assert found["acknowledged_second"] > 0, "senders went on at the second site"
    assert (found["lost"], found["doubled"]) == (0, 0), done.stdout
