"""A user without a home directory: HOME unset and no account entry, as in some containers and services."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from sigprobe import cli
from sigprobe.config import ConfigError, load
from sigprobe.files import locations


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Take HOME, the XDG variables and the account entry away; /etc and /var/lib are empty directories."""

    def unknown(_uid: int) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "SIGPROBE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(locations, "SYSTEM_QUEUE", tmp_path / "lib" / "sigprobe" / "buffer.db")
    monkeypatch.setattr(locations, "SYSTEM_ROOT", tmp_path / "etc")
    return tmp_path


def _settings(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("probe: {site: x}\ntargets: [{kind: ping, name: lo, address: 127.0.0.1}]\n", encoding="utf-8")
    return path


def test_the_systems_settings_are_found(no_home: Path) -> None:
    settings = _settings(locations.system_file(no_home / "etc"))
    assert locations.find(None, {}, no_home / "etc") == settings
    assert load(None, {}, no_home / "etc").path == settings


def test_without_any_settings_one_sentence_says_what_to_set(no_home: Path) -> None:
    with pytest.raises(ConfigError, match="HOME") as caught:
        load(None, {}, no_home / "etc")
    assert caught.value.missing


def test_the_shared_queue_is_used_where_it_exists(no_home: Path) -> None:
    with pytest.raises(locations.NoHomeError):
        locations.default_queue(no_home / "c.yaml")
    locations.SYSTEM_QUEUE.parent.mkdir(parents=True)
    assert locations.default_queue(no_home / "c.yaml") == locations.SYSTEM_QUEUE


@pytest.mark.parametrize("command", ["status", "doctor", "test", "upload", "results", "share", "schedule show"])
def test_every_command_says_what_to_set(command: str, no_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = _settings(no_home / "c.yaml")
    code = cli.run(["--lang", "en", *command.split(), "--config", str(settings)])
    said = capsys.readouterr().err
    assert code == 2
    assert "Set HOME" in said and "Traceback" not in said and "SP-INT" not in said


def test_the_log_has_a_place(no_home: Path) -> None:
    assert locations.log_file() == locations.SYSTEM_QUEUE.with_name("sigprobe.log")
