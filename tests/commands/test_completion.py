"""Completion in the four shells, as each shell asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ASKED = {
    "bash": {"COMP_WORDS": "sigprobe st", "COMP_CWORD": "1"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "sigprobe st"},
    "fish": {"_TYPER_COMPLETE_ARGS": "sigprobe st", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    "powershell": {"_TYPER_COMPLETE_ARGS": "sigprobe st", "_TYPER_COMPLETE_WORD_TO_COMPLETE": "st"},
}


def complete(shell: str, environ: dict[str, str]) -> str:
    """Return what sigprobe answers to a shell that completes a line."""
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
    """Complete `sigprobe st` to `sigprobe status`, and offer nothing else."""
    told = complete(shell, ASKED[shell])
    assert "status" in told and "upload" not in told.replace("last upload", "").replace("the last up", "")


def test_options_and_inner_commands_are_completed() -> None:
    """Completion goes below a command: its options, and the commands of a group."""
    assert complete("bash", {"COMP_WORDS": "sigprobe test --no", "COMP_CWORD": "2"}) == "--no-upload\n"
    assert complete("bash", {"COMP_WORDS": "sigprobe schedule in", "COMP_CWORD": "2"}) == "install\n"


def printed_in(shell: str) -> subprocess.CompletedProcess[str]:
    """Run `sigprobe --show-completion` as the child of a process named `shell`.

    The option takes no name: it looks for a shell among its parents. `sh` runs under the other name here, so the test
    needs no other shell, and the shells around the test run do not matter.
    """
    return subprocess.run(
        [shell, "-c", '"$0" -m sigprobe --show-completion; exit $?', sys.executable],
        executable="/bin/sh",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("shell", "registers"),
    [
        ("bash", "complete -o default -F _sigprobe_completion sigprobe"),
        ("zsh", "#compdef sigprobe"),
        ("fish", "complete --command sigprobe"),
        ("powershell", "Register-ArgumentCompleter -Native -CommandName sigprobe"),
    ],
)
def test_the_script_of_each_shell_is_printed(shell: str, registers: str) -> None:
    """`--show-completion` prints the script that the shell around it reads."""
    done = printed_in(shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_SIGPROBE_COMPLETE" in done.stdout and registers in done.stdout


def installed_in(shell: str, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `sigprobe --install-completion` as the child of a process named `shell`."""
    return subprocess.run(
        [shell, "-c", '"$0" -m sigprobe "$@"; exit $?', sys.executable, *words, "--install-completion"],
        executable="/bin/sh",
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("shell", "file"), [("bash", ".bash_completions/sigprobe.sh"), ("fish", ".config/fish/completions/sigprobe.fish")]
)
def test_completion_is_installed_in_both_languages(shell: str, file: str, tmp_path: Path) -> None:
    """The file and what to do are named in the language in use."""
    english = installed_in(shell, tmp_path, "--lang", "en")
    assert (english.returncode, english.stdout) == (0, "")
    assert str(tmp_path / file) in english.stderr.replace("\n  ", "") and "Open a new terminal" in english.stderr
    assert "_SIGPROBE_COMPLETE" in (tmp_path / file).read_text()
    indonesian = installed_in(shell, tmp_path, "--lang", "id").stderr
    assert "terpasang" in indonesian and "Open a new terminal" not in indonesian


@pytest.mark.parametrize("command", ["--install-completion", "--show-completion"])
def test_a_shell_without_completion_is_named(command: str) -> None:
    """Another shell: exit code 2, the shells that have completion, and what to do."""
    done = subprocess.run(
        ["tcsh", "-c", f'"$0" -m sigprobe --lang en {command}; exit $?', sys.executable],
        executable="/bin/sh",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "tcsh" in done.stderr and "bash, zsh, fish" in done.stderr and "Start one of them" in done.stderr


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The reason in words, exit code 1, no traceback."""
    (tmp_path / ".bash_completions").write_text("a file where a directory is needed")
    done = installed_in("bash", tmp_path, "--lang", "en")
    assert done.returncode == 1
    assert "Completion could not be installed" in done.stderr and "Traceback" not in done.stderr
