"""Check that a program which outlives its test is found, named with the test, and ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.requirements import ROOT
from tests.support.stand_in_collector import until
from tests.support.survivors import end, running

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

LEAK = """
import subprocess

def test_that_leaks():
    # the shell ends at once; what it started runs on, with process 1 as its parent
    subprocess.run(["sh", "-c", "sleep 600 >/dev/null 2>&1 &"], check=True)

def test_after_it():
    pass
"""
CLEAN = """
import subprocess

def test_that_waits():
    subprocess.run(["sh", "-c", "sleep 0.1 & wait"], check=True)
"""


def gone(pid: int) -> bool:
    """Tell whether a process has ended; a zombie has."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    return True


def session(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a session of its own over one file of tests, with the plugin alone."""
    (folder / "test_it.py").write_text(text)
    (folder / "conftest.py").write_text(
        "from tests.support import survivors\n"
        "def pytest_configure(config):\n"
        "    survivors.GRACE_S = 0.1\n"
        "    config.pluginmanager.register(survivors)\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_it.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "worker"])
def test_a_program_that_outlives_its_session(options: tuple[str, ...], tmp_path: Path) -> None:
    """The session fails, names the test that started the program, and ends it; no other test is named."""
    done = session(tmp_path, LEAK, *options)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if "left process" in line]
    assert len(said) == 1 and said[0].startswith("test_it.py::test_that_leaks left process "), done.stdout
    assert said[0].endswith("sleep 600")
    assert "2 passed" in done.stdout
    pid = int(said[0].partition(" left process ")[2].split()[0])
    until(lambda: gone(pid), 30)
    assert gone(pid)


def test_a_session_that_leaves_nothing(tmp_path: Path) -> None:
    """The control: programs that have ended are no fault."""
    done = session(tmp_path, CLEAN)
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr
    assert "left process" not in done.stdout


def test_the_children_of_a_spawned_program_end_with_it(spawn: Callable[..., subprocess.Popen[str]]) -> None:
    """A wrapper that stays as the parent, as `faketime` does, leaves nothing behind when it is ended."""
    process = spawn(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert child in {program.pid for program in running() if program.group == process.pid}
    process.kill()
    process.wait(30)
    assert not gone(child), "the control: the end of the wrapper alone does not end its child"
    end(process)
    until(lambda: gone(child), 30)
    assert gone(child)
