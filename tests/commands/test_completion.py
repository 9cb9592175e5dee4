"""Completion in the four shells, as each shell asks for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASKED = {
    "bash": {"COMP_WORDS": "sigprobe st", "COMP_CWORD": "1"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "sigprobe st"},
    "fish": {"_TYPER_COMPLETE_ARGS": "sigprobe st", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    "powershell": {"_TYPER_COMPLETE_ARGS": "sigprobe st", "_TYPER_COMPLETE_WORD_TO_COMPLETE": "st"},
}


def complete(shell: str, environ: dict[str, str]) -> str:
    """What sigprobe tells a shell that completes a line."""
    done = subprocess.run(
        [sys.executable, "-c", "from sigprobe.cli import main; main()"],
        env={**os.environ, "_SIGPROBE_COMPLETE": f"complete_{shell}", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("shell", ASKED)
def test_a_command_is_completed(shell: str) -> None:
    """`sigprobe st` becomes `sigprobe status`, and nothing else is offered."""
    told = complete(shell, ASKED[shell])
    assert "status" in told and "upload" not in told.replace("last upload", "").replace("the last up", "")


def test_options_and_inner_commands_are_completed() -> None:
    """Completion goes below a command: its options, and the commands of a group."""
    assert complete("bash", {"COMP_WORDS": "sigprobe test --no", "COMP_CWORD": "2"}) == "--no-upload\n"
    assert complete("bash", {"COMP_WORDS": "sigprobe schedule in", "COMP_CWORD": "2"}) == "install\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_script_of_each_shell_is_printed(shell: str) -> None:
    """`--show-completion SHELL` prints what the shell has to read."""
    done = subprocess.run(
        [sys.executable, "-m", "sigprobe", "--show-completion", shell],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and "_SIGPROBE_COMPLETE" in done.stdout.upper().replace("-", "_")
