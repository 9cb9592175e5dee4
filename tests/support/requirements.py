"""Skip a test whose program or privilege is missing and name the command that helps; in CI fail instead."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REQUIRED = os.environ.get("SIGPROBE_TESTS_REQUIRE") == "1"
"""Set in CI: there a missing system package is a failure, since a skip would hide a missing install step."""


def missing(reason: str, command: str) -> None:
    """Skip this test with the command that would enable it; fail instead in CI."""
    text = f"{reason}; to run this test: {command}"
    if REQUIRED:
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def needs(program: str, package: str) -> str:
    """Return the path of a system program, or skip with the install command."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/lib/postgresql/15/bin")
    if path is None:
        missing(f"{program} is not installed", f"apt-get install {package}")
    assert path is not None
    return path


def needs_root() -> None:
    """Skip unless root, which namespaces, raw sockets and mounts need."""
    if os.geteuid() != 0:
        missing("needs root", "sudo make test")
