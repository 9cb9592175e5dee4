"""Closed and full standard streams: nothing measured is lost, and no traceback is seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sigprobe.device import doctor
from tests.commands.conftest import PING, Settings
from tests.support.running_site import Run

pytestmark = pytest.mark.process

FULL = Path("/dev/full")
"""Linux' device that has no room."""


def through_a_shell(line: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `sigprobe` with the redirections of `line`, where `$@` stands for it."""
    command = ["sh", "-c", line, "sh", sys.executable, "-m", "sigprobe", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("closed", ['"$@" >&-', '"$@" 2>&-', '"$@" <&-', '"$@" <&- >&- 2>&-'])
def test_a_closed_stream_ends_nothing(closed: str, settings: Settings, sigprobe: Run) -> None:
    """The test is stored, and no file of the program takes the place of the stream."""
    config = str(settings(PING))
    done = through_a_shell(closed, "test", "--no-upload", "--only", "device", "--config", config)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Error" not in done.stderr, done.stderr
    assert json.loads(sigprobe("status", "--json", "--config", config).stdout)["pending"] == 2


@pytest.mark.skipif(not FULL.is_char_device(), reason="this system has no /dev/full")
@pytest.mark.parametrize("language", ["id", "en"])
def test_a_full_disk_behind_stdout(language: str, settings: Settings, sigprobe: Run) -> None:
    """The result is stored; that it was not written is told with its cause, and the exit code is 1."""
    config = str(settings(PING))
    told = {"id": "Keluaran tidak dapat ditulis: disk penuh.", "en": "The output cannot be written: the disk is full."}
    where = ("--lang", language, "--config", config)
    for words in (("test", "--no-upload", "--only", "device", *where), ("results", "--json", *where), ("--help",)):
        done = through_a_shell('"$@" >/dev/full', *words, *(("--lang", language) if words == ("--help",) else ()))
        assert done.returncode == 1 and told[language] in done.stderr, done.stderr
        assert "Errno" not in done.stderr and "SP-INT" not in done.stderr
    assert json.loads(sigprobe("status", "--json", "--config", config).stdout)["pending"] == 2


@pytest.mark.skipif(not FULL.is_char_device(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stderr(settings: Settings) -> None:
    """Messages are lost; the test and its result on stdout are not."""
    config = str(settings(PING))
    done = through_a_shell(
        '"$@" 2>/dev/full', "test", "--no-upload", "--only", "device", "--lang", "en", "--config", config
    )
    assert done.returncode == 0 and "Result: " in done.stdout


def test_doctor_does_not_say_that_a_result_was_lost(tmp_path: Path) -> None:
    """It saves nothing, so nothing was not saved; the queue is what cannot be opened."""
    place = tmp_path / "file"
    place.write_text("a file where a directory should be")
    finding = next(iter(doctor.check_queue(place / "buffer.db", 256)))
    text = finding.text()
    assert finding.state == "fail" and "cannot be opened" in text and "NOT" not in text
