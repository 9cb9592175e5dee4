"""Promises 1 and 3 while system calls fail: reported records are stored, others are refused with an error."""

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
import ctypes, os, sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from tests.support.records import record
from sigprobe.buffer import Buffer, StorageError
path, out, mode, name, probability = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4].encode(), sys.argv[5]
out = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
fiu = ctypes.CDLL("libfiu.so.0")  # switched on here and not by fiu-run: the imports are not what is tried
refused = 0
def tell(name):
    data = (name + "\\n").encode()
    while data:
        try:
            data = data[os.write(out, data):]
        except OSError:
            pass
def put(buffer, listens=True, fails=False):
    global refused
    result = record()
    if fails:
        assert fiu.fiu_enable(name, 1, None, 0) == 0
    try:
        buffer.put(result)
    except StorageError:
        refused += 1
        if listens:
            return
    finally:
        if fails:
            fiu.fiu_disable(name)
    tell(result.id)
def at_random():
    global refused
    assert fiu.fiu_enable_random(name, 1, None, 0, ctypes.c_float(float(probability))) == 0
    for _ in range(6):
        try:
            with Buffer(path) as buffer:
                for _ in range(10):
                    put(buffer)
        except StorageError:
            refused += 1
def at_one_record(listens):
    with Buffer(path) as buffer:
        put(buffer)
        put(buffer, listens, fails=True)
        put(buffer)
if mode == "random":
    at_random()
else:
    at_one_record(mode == "careful")
tell("refused-" + str(refused))
"""
"""Three modes: faults at random; each write of the second record fails, in a caller that listens to the refusal
(`careful`) or does not (`careless`)."""

FAULTS = (
    ("posix/io/rw/*", 0.01),
    ("posix/io/rw/*", 0.05),
    ("posix/io/sync/*", 0.1),
    ("posix/io/oc/*", 0.02),
    ("posix/mm/mmap", 0.1),
    ("posix/io/*", 0.02),
)


def _run(directory: Path, fault: tuple[str, float], mode: str) -> tuple[int, int]:
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
    fault = ("posix/io/rw/*", 1.0)
    assert _run(tmp_path / "careful", fault, "careful") == (2, 1)
    with t.expect_failure("lost"):  # a caller that does not listen to the refusal
        _run(tmp_path / "careless", fault, "careless")
    records = refused = 0
    for number in range(t.n):
        with t.attempt():
            more, no = _run(tmp_path / str(number), FAULTS[number % len(FAULTS)], "random")
            records, refused = records + more, refused + no
    hold(records > t.n, "nothing-tried", f"{records} told")
    hold(refused > 0, "nothing-tried", "no call failed")
    t.report(records=records, refused=refused)
