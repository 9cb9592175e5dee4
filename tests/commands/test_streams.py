"""What goes to stdout and what to stderr, how quiet it can be, and that no console can make it fail."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.commands.conftest import CLOSED, PING, Settings
from tests.support.running_site import Run

ANSI = re.compile(r"\x1b[\[\]]")


def test_the_result_is_on_stdout_and_progress_on_stderr(settings: Settings, sigprobe: Run) -> None:
    """Off a terminal: the answer on stdout, the course of the test on stderr, no colour, no cursor movement."""
    done = sigprobe("test", "--lang", "en", "--config", str(settings(PING, CLOSED)))
    assert done.returncode == 0
    assert "Result: " in done.stdout and "Next: sigprobe" in done.stdout
    assert "Result: " not in done.stderr
    assert done.stderr.startswith("TPS 3273011001005"), "the first line says what will be measured"
    assert not ANSI.search(done.stdout + done.stderr)
    assert "\r" not in done.stdout + done.stderr
    for line in (done.stdout + done.stderr).splitlines():
        assert len(line) <= 80, line


def test_quiet_on_success_prints_nothing(settings: Settings, sigprobe: Run) -> None:
    """`-q`: a test that did its work says nothing, as cron wants it; a format that was asked for is given."""
    config = str(settings(PING, CLOSED))
    for flags in (["-q"], ["-qq"], ["--quiet"], ["-q", "-q"]):
        done = sigprobe("test", *flags, "--config", config)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), flags
    done = sigprobe("test", "-q", "--json", "--config", config)
    assert done.stdout.startswith("{") and done.stderr == ""


def test_quiet_on_failure(settings: Settings, sigprobe: Run, tmp_path: Path) -> None:
    """`-q`: a failure is one line, which cron mails; `-qq`: nothing but the exit code."""
    config = settings(buffer={"path": str(tmp_path / "file" / "buffer.db")})
    (tmp_path / "file").write_text("a file where a directory should be")
    done = sigprobe("test", "-q", "--config", str(config))
    assert (done.returncode, done.stdout) == (6, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "SP-DSK" in done.stderr
    done = sigprobe("test", "-qq", "--config", str(config))
    assert (done.returncode, done.stdout, done.stderr) == (6, "", "")


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "cp1252"},
        {"TERM": "dumb"},
        {"NO_COLOR": "1"},
        {"COLUMNS": "20"},
    ],
    ids=str,
)
def test_no_console_makes_it_fail(env: dict[str, str], settings: Settings, sigprobe_process: Run) -> None:
    """Whatever the console can show, every command ends as it would elsewhere; symbols have words and ASCII forms."""
    config = str(settings(PING, CLOSED, {**CLOSED, "name": "tak-ada"}))
    for command in (["test"], ["status"], ["results"], ["explain", "SP-NET-01"], ["test", "--plain"], ["--help"]):
        flags = [] if command[0].startswith("--") else ["--config", config]
        done = sigprobe_process(*command, *flags, "--lang", "id", env=env, errors="strict", encoding="latin-1")
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        if "ascii" in env.values() or env.get("LC_ALL") == "C":
            assert (done.stdout + done.stderr).isascii(), done.stdout + done.stderr
            assert "?" not in done.stdout, done.stdout


def test_plain_has_no_drawing(settings: Settings, sigprobe: Run) -> None:
    """`--plain`: words instead of symbols and curves, one record a line, for screen readers."""
    done = sigprobe("test", "--plain", "--lang", "en", "--config", str(settings(PING, CLOSED)))
    assert done.returncode == 0
    assert not re.search("[▁▂▃▄▅▆▇█✓✗│─]", done.stdout)
    assert "percent" in done.stdout and "milliseconds" in done.stdout
    assert re.search(r"^closed \(HTTP\): failed", done.stdout, re.MULTILINE)


def test_language_by_flag_environment_and_settings(settings: Settings, sigprobe: Run) -> None:
    """`--lang` anywhere on the line, else SIGPROBE_LANG, else the settings, else the locale."""
    plain, indonesian = settings(name="plain.yaml"), settings(name="id.yaml", language="id")

    def language(*args: str, env: dict[str, str] | None = None) -> str:
        out = sigprobe(*args, env=env).stdout
        return "id" if "Berikutnya" in out or "Antrean" in out else "en"

    locale = {"LC_ALL": "id_ID.UTF-8"}
    assert language("status", "--config", str(plain)) == "en"
    assert language("status", "--config", str(plain), env=locale) == "id"
    assert language("status", "--config", str(indonesian)) == "id"
    assert language("status", "--config", str(indonesian), env={"SIGPROBE_LANG": "en"}) == "en"
    assert language("--lang", "id", "status", "--config", str(plain), env={"SIGPROBE_LANG": "en"}) == "id"
    assert language("status", "--lang=id", "--config", str(plain), env={"SIGPROBE_LANG": "en"}) == "id"
    assert language("status", "--config", str(indonesian), "--lang", "en", env=locale) == "en"
    done = sigprobe("status", "--lang", "jv", "--config", str(plain))
    assert (done.returncode, done.stdout) == (2, "")
    assert "id" in done.stderr and "en" in done.stderr


def on_a_terminal(
    command: list[str], env: dict[str, str], keys: Callable[[str], str] = lambda _: ""
) -> tuple[int, str]:
    """Run a command with a terminal on all three streams; returns its exit code and all that it drew."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sigprobe", *command],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, **env},
        close_fds=True,
    )
    os.close(follower)
    seen = ""
    until = time.monotonic() + 60
    try:
        while time.monotonic() < until:
            if select.select([leader], [], [], 0.1)[0]:
                try:
                    part = os.read(leader, 65536)
                except OSError:  # EIO: the other end is closed
                    break
                if not part:
                    break
                seen += part.decode(errors="replace")
                answer = keys(seen)
                if answer:
                    os.write(leader, answer.encode())
        return process.wait(20), seen
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        os.close(leader)


@pytest.mark.process
@pytest.mark.slow
def test_on_a_terminal_it_is_drawn_and_on_a_dumb_one_not(settings: Settings) -> None:
    """Colour and live lines only where they can be; NO_COLOR takes the colour, TERM=dumb both; the words stay."""
    config = str(settings(PING, CLOSED))
    runs = {}
    for name, env in (
        ("full", {"TERM": "xterm-256color"}),
        ("no colour", {"TERM": "xterm-256color", "NO_COLOR": "1"}),
        ("dumb", {"TERM": "dumb"}),
    ):
        code, runs[name] = on_a_terminal(["test", "--lang", "en", "--config", config], env)
        assert code == 0
        assert "Result: " in runs[name]
    colour = re.compile(r"\x1b\[(?:1;)?(?:3[0-7]|9[0-7])m")
    assert colour.search(runs["full"])
    assert not colour.search(runs["no colour"])
    assert not ANSI.search(runs["dumb"])
    assert runs["dumb"].replace("\r\n", "").isascii()
