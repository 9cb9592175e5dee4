"""A test whose system program is not installed skips with the command, and fails where everything must run."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.support import requirements
from tests.support.netns import PACKAGES, Namespace, namespace


@pytest.mark.parametrize(
    ("use", "package"),
    [
        (lambda: Namespace("gone").drop("ip protocol tcp"), "nftables"),
        (lambda: Namespace("gone").run("ping", "-c", "1", "127.0.0.1"), "iputils-ping"),
        (lambda: Namespace("gone").sysctl("net.ipv4.ip_forward", "1"), "procps"),
        (lambda: Namespace("gone").ip("link"), "iproute2"),
    ],
    ids=["nft", "ping", "sysctl", "ip"],
)
@pytest.mark.parametrize("required", [False, True])
def test_a_missing_program_skips_or_fails(
    use: Callable[[], object], package: str, required: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper asks for the program itself, so a forgotten marker is no failure on a machine without it."""
    monkeypatch.setattr(requirements.shutil, "which", lambda *_args, **_options: None)
    monkeypatch.setattr(requirements, "REQUIRED", required)
    outcome = pytest.fail.Exception if required else pytest.skip.Exception
    with pytest.raises(outcome, match=f"apt-get install {package}"):
        use()


def test_a_namespace_without_root_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace made by a plain user skips the test and names the command."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(requirements, "REQUIRED", False)
    with pytest.raises(pytest.skip.Exception, match="needs root; to run this test: sudo make test"), namespace():
        raise AssertionError("no namespace can have been made")
    assert PACKAGES["nft"] == "nftables"
