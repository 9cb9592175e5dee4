"""Promises 1 and 3 on a machine whose system calls fail: what was told is there, what was not is said."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sigprobe.buffer import Buffer
from tests.support.records import record
from tests.support.requirements import ROOT
from tests.trials.faults.trial import Trial, hold
from tests.trials.faults.writer_processes import told

WRITER = """
import os, sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from tests.support.records import record
from sigprobe.buffer import Buffer, StorageError
out = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
def tell(name):
    data = (name + "\\n").encode()
    while data:
        try:
            data = data[os.write(out, data):]
        except OSError:
            pass
import ctypes
fiu = ctypes.CDLL("libfiu.so.0")  # switched on here and not by fiu-run: the imports are not what is tried
assert fiu.fiu_enable_random(sys.argv[4].encode(), 1, None, 0, ctypes.c_float(float(sys.argv[5]))) == 0
refused = 0
for _ in range(6):
    try:
        with Buffer(Path(sys.argv[1])) as buffer:
            for _ in range(10):
                result = record()
                try:
                    buffer.put(result)
                except StorageError:
                    refused += 1
                    if sys.argv[3] == "careful":
                        continue
                tell(result.id)
    except StorageError:
        refused += 1
tell("refused-" + str(refused))
"""

FAULTS = (
    ("posix/io/rw/*", 0.01),
    ("posix/io/rw/*", 0.05),
    ("posix/io/sync/*", 0.1),
    ("posix/io/oc/*", 0.02),
    ("posix/mm/mmap", 0.1),
    ("posix/io/*", 0.02),
)


def _run(directory: Path, t: Trial, fault: tuple[str, float], mode: str) -> tuple[int, int]:
    """Run one writer under failing calls; return how many records and how many refusals it reported."""
    directory.mkdir()
    script = directory / "writer.py"
    script.write_text(WRITER.format(tests=str(ROOT)))
    out, path = directory / "told", directory / "q" / "b.db"
    with Buffer(path):
        pass  # the faults are for the work, not for the first run's making of the file
    name, probability = fault
    done = subprocess.run(
        ["fiu-run", "-x", sys.executable, "-B", str(script), str(path), str(out), mode, name, str(probability)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    names = told(str(out))
    last = names.pop() if names and names[-1].startswith("refused-") else ""
    hold(done.returncode == 0 or "Buffer" not in done.stderr, "writer-failed", done.stderr[-800:])
    with Buffer(path) as buffer:
        lost = [n for n in names if buffer.find(n) is None]
        hold(not buffer.set_aside_now, "corrupt")
        buffer.put(record())
    hold(not lost, "lost", f"{len(lost)} of {len(names)} under {name}: {lost[:3]}")
    return len(names), int(last.partition("-")[2] or 0)


@pytest.mark.system("fiu-run", "fiu-utils")
def test_failing_system_calls_lose_nothing(tmp_path: Path, trial: Callable[..., Trial]) -> None:
    """Writes, reads, flushes and opens fail at random: told records are there, the others were refused aloud."""
    t = trial(1, "failing system calls", short=len(FAULTS), full=1000)
    with t.expect_failure("lost"):  # a caller that does not listen to the refusal
        for number in range(20):
            _run(tmp_path / f"control{number}", t, ("posix/io/rw/pwrite", 0.3), "careless")
    records = refused = 0
    for number in range(t.n):
        with t.attempt():
            more, no = _run(tmp_path / str(number), t, FAULTS[number % len(FAULTS)], "careful")
            records, refused = records + more, refused + no
    hold(records > t.n, "nothing-tried", f"{records} told")
    hold(refused > 0, "nothing-tried", "no call failed")
    t.report(records=records, refused=refused)
