"""Files to try, and the two commands mounted as the command line mounts them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sigprobe import i18n

GOOD = """\
probe: {tps_id: "3273011001005"}
targets:
  - {kind: ping, name: gateway, address: default-gateway}
"""

RUNNER = """
import sys, typer
from sigprobe.commands import config, init
app = typer.Typer()
app.add_typer(config.app, name="config")
app.command()(init.init)
@app.command()
def test(config: str = typer.Option("")) -> None:
    typer.echo(f"tested with {config}")
app(sys.argv[1:], prog_name="sigprobe")
"""


@pytest.fixture(autouse=True)
def english() -> None:
    """The exact sentences here are the English ones."""
    i18n.set_language("en")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A small file that is right."""
    path = tmp_path / "config.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `config` or `init` in a process of its own, without a terminal."""

    def run(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [sys.executable, "-c", RUNNER, *args],
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
            **options,
        )

    return run
