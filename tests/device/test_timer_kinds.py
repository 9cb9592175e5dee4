"""Timer, cron line and agent: installing one takes the place of the others, so that nothing tests twice."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sigprobe import cli
from sigprobe.device import service_account, timers

CONFIG = (
    "probe: {{site: test}}\nlanguage: en\ntargets: [{{kind: ping, name: device, address: 127.0.0.1}}]\n"
    "buffer: {{path: {folder}/queue/buffer.db}}\n"
)
OTHERS = "*/5 * * * * /usr/bin/backup\n"
SYSTEMCTL = """#!/bin/sh
echo "$@" >> {log}
exit $(cat {code})
"""
CRONTAB = """#!/bin/sh
if [ "$1" = -l ]; then
  [ ! -e {table}.refused ] || {{ echo "you may not use this program" >&2; exit 1; }}
  cat {table}
else
  cat > {table}
fi
"""
WAYS = {"timer": (), "agent": ("--agent",), "cron": ("--cron",)}
Do = Callable[..., tuple[int, str, str]]


class Place:
    """A device with stand-ins for systemctl and crontab, and the unit directories of a user and of the device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table = folder / "table"
        self.table.write_text(OTHERS)
        self.log, self.code = folder / "systemctl.log", folder / "code"
        self.log.touch()
        self.code.write_text("0")
        self.user, self.device = folder / "home" / ".config" / "systemd" / "user", folder / "system"
        for name, text in (
            ("systemctl", SYSTEMCTL.format(log=self.log, code=self.code)),
            ("crontab", CRONTAB.format(table=self.table)),
        ):
            tool = folder / "bin" / name
            tool.parent.mkdir(exist_ok=True)
            tool.write_text(text)
            tool.chmod(0o755)

    def ways(self, directory: Path | None = None) -> set[str]:
        """What is installed there now, and in the crontab."""
        names = {path.name for path in (directory or self.user).glob("sigprobe-*")}
        timer, agent = {"sigprobe-test.service", "sigprobe-test.timer"}, {"sigprobe-agent.service"}
        found = {name for name, files in (("timer", timer), ("agent", agent)) if files <= names}
        assert names == {f for name in found for f in (timer if name == "timer" else agent)}
        return found | ({"cron"} if timers.block_of(self.table.read_text()) else set())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG.format(folder=tmp_path))
    monkeypatch.setattr(timers, "RUNNING_SYSTEMD", tmp_path)
    monkeypatch.setattr(timers, "SYSTEM_UNITS", made.device)
    monkeypatch.setattr(service_account, "USER", pwd.getpwuid(os.geteuid()).pw_name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return made


@pytest.fixture
def do(place: Place, capsys: pytest.CaptureFixture[str]) -> Do:
    """Run `sigprobe schedule` in this process: exit code, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.run(["schedule", *words, "--config", str(place.folder / "config.yaml"), "--lang", "en"])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.process
@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("second", WAYS)
def test_one_takes_the_place_of_another(place: Place, do: Do, first: str, second: str) -> None:
    """From each way to each: one is left, what went is named, others' lines stay; the same again changes nothing."""
    assert do("install", *WAYS[first])[0] == 0
    assert place.ways() == {first}
    code, out, err = do("install", *WAYS[second], "--dry-run")
    assert (code, place.ways()) == (0, {first}), err
    assert ("Would be removed" in out) == (first != second)
    code, out, err = do("install", *WAYS[second])
    assert (code, place.ways()) == (0, {second}), err
    assert ("because one is enough" in out) == (first != second)
    assert OTHERS in place.table.read_text()
    commands = place.log.read_text().splitlines()
    unit = {"timer": "sigprobe-test.timer", "agent": "sigprobe-agent.service"}
    if first != second and first in unit:
        assert f"--user disable --now {unit[first]}" in commands
    before = place.table.read_text()
    code, out, err = do("install", *WAYS[second])
    assert (code, place.ways(), place.table.read_text()) == (0, {second}, before)
    assert "because one is enough" not in out


@pytest.mark.process
def test_show_tells_all_and_that_one_is_enough(place: Place, do: Do) -> None:
    """As an older version, or hands, left them: all are shown, with a way out that works; one alone is no matter."""
    assert do("install")[0] == 0
    timer = {path: path.read_text() for path in place.user.iterdir()}
    assert "More than one" not in do("show")[2]
    assert do("install", "--agent")[0] == 0
    for path, text in timer.items():
        path.write_text(text)
    place.table.write_text(timers.with_block(OTHERS, "1 * * * * sigprobe test -q"))
    assert place.ways() == {"timer", "agent", "cron"}
    code, out, err = do("show")
    assert code == 0
    assert all(name in out for name in ("sigprobe-test.timer", "sigprobe-agent.service", "crontab: 1 * * * *"))
    assert "More than one is installed" in err
    assert "install it again" in err
    assert do("install", "--agent")[0] == 0
    assert place.ways() == {"agent"}
    assert do("show")[2] == ""


@pytest.mark.process
def test_what_the_device_has_is_named_and_left(place: Place, do: Do) -> None:
    """A user cannot take away the device's timer: it stays, and the command that does it is said; so the other way."""
    place.device.mkdir()
    assert do("install", "--system")[0] == 0
    code, _out, err = do("install", "--user", "--agent")
    assert code == 0
    assert "sudo sigprobe schedule remove --system" in err
    assert (place.ways(place.device), place.ways()) == ({"timer"}, {"agent"})
    for side, command in (("--user", "sudo sigprobe schedule remove --system"), ("--system", "schedule remove --user")):
        _code, out, err = do("show", side)
        assert str(place.device) in out and str(place.user) in out
        assert "More than one" in err and command in err
        assert "install it again" not in err
    assert "sigprobe schedule remove --user" in do("install", "--system")[2]


@pytest.mark.process
def test_who_may_not_use_cron_gets_the_agent(place: Place, do: Do) -> None:
    """cron refuses to show a table: there is no line that runs, and the agent is installed all the same."""
    Path(f"{place.table}.refused").touch()
    code, out, err = do("install", "--agent")
    assert (code, place.ways()) == (0, {"agent"})
    assert "Installed" in out
    assert "the command crontab -l failed" in err and "you may not use" not in err
    assert "you may not use this program" in do("install", "--agent", "-v")[2], "the control"


@pytest.mark.process
def test_a_way_that_cannot_be_taken_away_is_an_error(place: Place, do: Do) -> None:
    """systemctl fails at the timer: exit 1 and the reason, the new line in place; once it works, again mends it."""
    assert do("install")[0] == 0
    place.code.write_text("1")
    code, _out, err = do("install", "--cron")
    assert code == 1
    assert "disable --now sigprobe-test.timer" in err
    place.code.write_text("0")
    assert do("install", "--cron")[0] == 0
    assert place.ways() == {"cron"}


@pytest.mark.process
def test_a_service_that_does_not_start_leaves_what_was_there(place: Place, do: Do) -> None:
    """systemctl fails at the agent: its unit is gone again, the timer is as it was, and the exit code is 1."""
    assert do("install")[0] == 0
    before = {path: path.read_text() for path in place.user.iterdir()}
    place.code.write_text("1")
    assert do("install", "--agent")[0] == 1
    assert {path: path.read_text() for path in place.user.iterdir()} == before
    assert "--user disable --now sigprobe-agent.service" in place.log.read_text()


@pytest.mark.process
def test_remove_tells_where_it_is_installed(place: Place, do: Do) -> None:
    """Nothing of this user, but of the device: that is said with the command, and nothing is touched."""
    place.device.mkdir()
    assert do("install", "--system")[0] == 0
    code, out, err = do("remove", "--user")
    assert (code, place.ways(place.device)) == (0, {"timer"})
    assert "Nothing was installed" not in out
    assert "sudo sigprobe schedule remove --system" in err


@pytest.mark.process
@pytest.mark.parametrize("words", [(), ("--agent",)])
def test_without_a_manager_of_this_user_the_device_is_offered(
    place: Place, do: Do, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """systemd runs, this user has no manager and no cron: the command for the whole device is named."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    (place.folder / "bin" / "crontab").unlink()
    monkeypatch.setenv("PATH", str(place.folder / "bin"))
    code, _out, err = do("install", *words)
    assert code == 1
    assert "sudo sigprobe schedule install --system" in err


@pytest.mark.root
@pytest.mark.parametrize(
    ("hidden", "words"), [("user", "adduser"), ("settings", "install -D"), ("token", "chown root:nobody")]
)
def test_a_service_that_could_not_run_is_not_installed(
    place: Place, do: Do, monkeypatch: pytest.MonkeyPatch, hidden: str, words: str
) -> None:
    """Without its user, or with settings or a token that it cannot read, nothing is written; the mend is named."""
    monkeypatch.setattr(service_account, "USER", "no-such-user" if hidden == "user" else "nobody")
    monkeypatch.setattr(service_account, "_can_read", lambda _account, path: path.name != names[hidden])
    names = {"user": "", "settings": "config.yaml", "token": "token"}
    token = place.folder / "token"
    token.write_text("x")
    with (place.folder / "config.yaml").open("a") as file:
        file.write(f"upload: {{collectors: [{{url: 'http://127.0.0.1:9/', token_file: {token}}}]}}\n")
    code, _out, err = do("install", "--system")
    assert code == 1
    assert words in " ".join(err.split())
    assert not place.device.exists()


@pytest.mark.root
def test_the_services_user_itself_tries_to_read() -> None:
    """A closed directory above the file counts, as for the service."""
    account = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name), Path(name, "file")
        file.write_text("x")
        file.chmod(0o644)
        folder.chmod(0o755)
        assert service_account._can_read(account, file)
        folder.chmod(0o700)
        assert not service_account._can_read(account, file)
