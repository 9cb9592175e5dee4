"""Mistyped variables of the environment are reported, never passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigprobe import cli
from sigprobe.config import ConfigError, load


def test_a_missing_file_names_the_variable_that_named_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SIGPROBE_CONFIG names this file") as caught:
        load(None, {"SIGPROBE_CONFIG": str(tmp_path / "not-there.yaml")}, tmp_path)
    assert caught.value.missing


def test_a_directory_names_the_variable_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SIGPROBE_CONFIG names this file"):
        load(None, {"SIGPROBE_CONFIG": str(tmp_path)}, tmp_path)


def test_a_mistyped_name_of_the_variable_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"SIGPROBE_CONFG is set.*SIGPROBE_CONFIG"):
        load(None, {"SIGPROBE_CONFG": "/etc/sigprobe/config.yaml"}, tmp_path)


@pytest.mark.parametrize(("wish", "said"), [("fr", True), ("id", False), ("", False)])
def test_an_unknown_language_is_said(
    wish: str, said: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIGPROBE_LANG", wish)
    assert cli.run(["explain", "SP-NET-01"]) == 0
    assert ("SIGPROBE_LANG=fr" in capsys.readouterr().err) is said
