"""Ctrl-C and SIGTERM in the middle of a command: what is done is kept, and the exit code is the documented one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import PING, Settings
from tests.support.laptops import Laptop, receipts_file
from tests.support.servers.tcp import Peer, tcp_server

Run = Callable[..., Any]
Spawn = Callable[..., "subprocess.Popen[str]"]
Laptops = Callable[..., Laptop]

ENDS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def _start(spawn: Spawn, *words: str) -> subprocess.Popen[str]:
    return spawn(
        [sys.executable, "-m", "sigprobe", *words, "--lang", "en"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=dict(os.environ),
    )


def _with_collector(laptop: Laptop, tmp_path: Path, url: str) -> str:
    token = tmp_path / "token"
    token.write_text("sigprobe-probe-0123456789abcdef\n")
    token.chmod(0o600)
    config = laptop.config()
    config.write_text(config.read_text() + f'upload: {{collectors: [{{url: "{url}", token_file: "{token}"}}]}}\n')
    return str(config)


@pytest.mark.parametrize(("number", "code"), ENDS)
def test_an_upload_ends_with_its_result(
    number: signal.Signals, code: int, laptop: Laptops, tmp_path: Path, sigprobe: Run, spawn: Spawn
) -> None:
    """The collector is silent; the signal ends the wait, the document is written, and every result is still there."""

    def silent(peer: Peer) -> None:
        peer.head()
        peer.wait()

    with tcp_server(silent) as server:
        config = _with_collector(laptop("one", 3), tmp_path, server.url("/"))
        process = _start(spawn, "upload", "--json", "--config", config)
        until = time.monotonic() + 60
        while not server.connections and time.monotonic() < until:
            time.sleep(0.02)
        assert server.connections
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    said = json.loads(stdout)
    assert (said["stopped"], said["pending"]) == ("interrupted", 3)
    assert json.loads(sigprobe("status", "--json", "--config", config).stdout)["pending"] == 3


@pytest.mark.parametrize(("number", "code"), ENDS)
def test_a_waiting_upload_ends(
    number: signal.Signals, code: int, laptop: Laptops, tmp_path: Path, spawn: Spawn
) -> None:
    """`upload --wait` without a collector in reach ends at once, in words."""
    config = _with_collector(laptop("one", 3), tmp_path, "http://127.0.0.1:9/")
    process = _start(spawn, "upload", "--wait", "--config", config)
    assert process.stderr is not None
    for line in process.stderr:
        if "next attempt" in line:
            break
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (code, "")
    assert stdout == "0 sent, 3 still waiting; they are safe on this device.\n"


@pytest.mark.parametrize(("number", "code"), ENDS)
def test_a_drive_ends_with_its_files(
    number: signal.Signals, code: int, settings: Settings, tmp_path: Path, sigprobe: Run, spawn: Spawn
) -> None:
    """The points so far are in the files and in the queue, and the summary is printed."""
    config = str(settings(PING))
    process = _start(
        spawn, "drive", "--ndjson", "--every", "1", "--no-upload", "--out", str(tmp_path / "d"), "--config", config
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["point"] == 1
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    summary = json.loads(stdout.splitlines()[-1])["summary"]
    assert summary["ended"] == "stopped" and summary["points"] >= 1
    assert all(Path(path).stat().st_size for path in summary["files"])
    assert json.loads(sigprobe("status", "--json", "--config", config).stdout)["pending"] >= 2


@pytest.mark.parametrize(("number", "code"), ENDS)
def test_an_export_leaves_no_half_file(
    number: signal.Signals,
    code: int,
    laptop: Laptops,
    tmp_path: Path,
    sigprobe: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The signal comes while the file is being written: no file and no part of one stays, nothing leaves the queue."""
    from sigprobe.upload import offline

    one = laptop("one", 3)
    folder = tmp_path / "stick"
    folder.mkdir()
    monkeypatch.setattr(offline, "_SHOW_EVERY", 1)
    monkeypatch.setattr("sigprobe.commands.support.transfer_ui.Bar.show", lambda _bar, _n: os.kill(os.getpid(), number))
    done = sigprobe("export", str(folder / "r.gz"), "--config", str(one.config()), "--lang", "en")
    assert done.returncode == code, done.stderr
    assert list(folder.iterdir()) == [] and "was not written" in done.stderr
    monkeypatch.undo()
    assert sigprobe("export", str(folder / "r.gz"), "--config", str(one.config())).returncode == 0, "the control"


@pytest.mark.parametrize(("number", "code"), ENDS)
def test_an_import_can_be_repeated(
    number: signal.Signals,
    code: int,
    laptop: Laptops,
    tmp_path: Path,
    sigprobe: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was imported before the signal stays, and the same file completes it."""
    one, other = laptop("one", 3), laptop("other", 0)
    stick = str(tmp_path / "r.gz")
    assert sigprobe("export", stick, "--config", str(one.config())).returncode == 0
    monkeypatch.setattr("sigprobe.commands.support.transfer_ui.Bar.show", lambda _bar, _n: os.kill(os.getpid(), number))
    done = sigprobe("import", stick, "--config", str(other.config()), "--lang", "en")
    assert done.returncode == code, done.stderr
    assert "nothing is stored twice" in done.stderr
    monkeypatch.undo()
    again = sigprobe("import", stick, "--config", str(other.config()), "--lang", "en")
    assert again.stdout == "Nothing new: the 3 results of this file are already here.\n"


def test_receipts_are_imported_twice(laptop: Laptops, tmp_path: Path, sigprobe: Run) -> None:
    """The second time nothing is new, and that is said instead of a zero."""
    one = laptop("one", 2)
    rows = [(row.id, row.sha256.hex(), "accepted") for row in one.buffer.rows()]
    path = receipts_file(tmp_path / "receipts.gz", *rows)
    config = str(one.config())
    first = sigprobe("import", str(path), "--config", config, "--lang", "en")
    assert "the collector already has 2 results" in first.stdout
    second = sigprobe("import", str(path), "--config", config, "--lang", "en")
    assert second.stdout == "Nothing new: the receipts of this file for 2 results were already imported.\n"
    stranger = sigprobe("import", str(path), "--config", str(laptop("two", 1).config()), "--lang", "en")
    assert stranger.stdout == "This file confirms no result of this device.\n"


def test_an_empty_file_is_said_to_be_empty(laptop: Laptops, tmp_path: Path, sigprobe: Run) -> None:
    """No zeros are counted where there is nothing to import, here and at the collector."""
    stick = str(tmp_path / "empty.gz")
    assert sigprobe("export", stick, "--config", str(laptop("one", 0).config())).returncode == 0
    done = sigprobe("import", stick, "--config", str(laptop("two", 1).config()), "--lang", "en")
    assert (done.returncode, done.stdout) == (0, "This file contains no results.\n")
    done = sigprobe("collector", "import", stick, "--database", f"sqlite:///{tmp_path}/c.db", "--lang", "en")
    assert (done.returncode, done.stdout) == (0, "This file contains no results.\n")


def test_any_command_ends_with_the_code_of_the_signal(
    settings: Settings, sigprobe: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command without a rule of its own says that it was stopped, and claims nothing about checks."""
    config = str(settings())
    for number, code in ENDS:
        monkeypatch.setattr("sigprobe.commands.support.opening.settings", lambda _p, n=number: os.kill(os.getpid(), n))
        done = sigprobe("doctor", "--config", config, "--lang", "en")
        assert (done.returncode, done.stderr) == (code, "Stopped.\n")
