"""A file to try, and one language."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigprobe.words import i18n

GOOD = """\
probe: {tps_id: "3273011001005"}
targets:
  - {kind: ping, name: gateway, address: default-gateway}
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
