"""A token pasted where it does not belong on the command line is never printed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.conftest import PING, Settings
from tests.support.running_site import Run

TOKEN = "sigprobe-probe-Zk3vT9qLw2Rb7YxNc5Ha8Ds1"
OTHERS = ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwcm9iZSJ9.abcDEF123456", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c")


@pytest.mark.parametrize("token", [TOKEN, *OTHERS])
@pytest.mark.parametrize(
    "words",
    [
        ("upload", "{}"),
        ("{}",),
        ("status", "--{}"),
        ("test", "--token={}"),
        ("test", "--tps", "{}"),
        ("test", "--only", "{}"),
        ("test", "--max-data", "{}"),
        ("test", "--max-data={}"),
        ("explain", "{}"),
        ("import", "{}"),
        ("upload", "--config", "{}"),
        ("results", "--state", "{}"),
        ("report", "--run", "{}"),
        ("upload", "Bearer {}"),
        ("--lang", "{}"),
        ("nearest", "--lat", "{}"),
    ],
)
def test_a_stray_token_is_not_echoed(settings: Settings, sigprobe: Run, words: tuple[str, ...], token: str) -> None:
    """As an argument, an option, a value, a command or a file, in every message about it."""
    settings(PING)
    done = sigprobe(*(word.format(token) for word in words))
    said = "".join((done.stdout + done.stderr).split())
    assert done.returncode == 2, said
    assert token not in said and token[-12:] not in said


def test_a_word_that_is_no_token_is_named(sigprobe: Run) -> None:
    """Only secrets are left out: a mistyped word has to be seen to be mended."""
    done = sigprobe("upload", "tomorrow-at-9", "--lang", "en")
    assert done.returncode == 2 and "tomorrow-at-9" in done.stderr


def test_a_stray_token_is_not_in_results_and_logs(
    settings: Settings, sigprobe: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a program reads and what the log keeps of an unexpected fault show *** in its place, too."""
    config = str(settings(PING))
    out = str(tmp_path / TOKEN)
    done = sigprobe("drive", "--points", "1", "--no-upload", "--out", out, "--json", "--config", config)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr and "***" in done.stdout

    def fail(_loaded: object) -> None:
        raise RuntimeError(f"no room for {TOKEN}")

    monkeypatch.setattr("sigprobe.commands.support.opening.buffer_path", fail)
    done = sigprobe("export", out, "--config", config, env={"XDG_STATE_HOME": str(tmp_path / "state")})
    logs = [path.read_text() for path in (tmp_path / "state").rglob("*.log")]
    assert done.returncode == 1 and logs and "RuntimeError: no room for ***" in logs[0]
    assert not any(TOKEN in text for text in (done.stdout, done.stderr, *logs))
