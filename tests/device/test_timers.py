"""Timers, cron lines and services: what is written, that twice is once, and that nothing else is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sigprobe.device import timers
from sigprobe.device.timers import (
    BEGIN,
    END,
    Setup,
    block_of,
    calendar,
    cron_line,
    even,
    unit_word,
    with_block,
)
from tests.support.requirements import missing, needs

Run = Callable[..., subprocess.CompletedProcess[str]]

OTHERS = "# my own\nMAILTO=me\n*/5 * * * * /usr/bin/backup # BEGIN sigprobe\n"


def setup(folder: Path, *, system: bool = False, agent: bool = False, every_min: int = 15) -> Setup:
    return timers.systemd_setup(
        system=system,
        agent=agent,
        every_min=every_min,
        command=(sys.executable, "-m", "sigprobe"),
        config=Path("/etc/sigprobe/a file.yaml"),
        directory=folder,
    )


# --- words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "used", "text"),
    [
        (1, 1, "*:0/1"),
        (7, 6, "*:0/6"),
        (15, 15, "*:0/15"),
        (45, 30, "*:0/30"),
        (60, 60, "0/1:00"),
        (100, 60, "0/1:00"),
        (240, 240, "0/4:00"),
        (1440, 1440, "00:00"),
    ],
)
def test_periods_are_what_timers_can_say(asked: int, used: int, text: str) -> None:
    """A period that does not divide the day becomes the next shorter one that does, never a longer one."""
    assert even(asked) == used
    assert calendar(asked) == text


@pytest.mark.parametrize("every", [1, 15, 30, 60, 240, 1440])
def test_a_cron_line_runs_as_often_as_asked(every: int) -> None:
    """The minutes and hours of the line, counted over a day."""
    for share in (0.0, 0.37, 0.999):
        line = cron_line(every_min=every, share=share, command=("/usr/bin/sigprobe",), config=None)
        minutes, hours, *rest = line.split()
        assert rest == ["*", "*", "*", "SIGPROBE_SCHEDULED=1", "/usr/bin/sigprobe", "test", "-q"]
        count = len(minutes.split(",")) * (24 if hours == "*" else len(hours.split(",")))
        assert count == 1440 // every
        assert all(0 <= int(m) < 60 for m in minutes.split(","))
        assert hours == "*" or all(0 <= int(h) < 24 for h in hours.split(","))


def test_paths_survive_cron_and_systemd() -> None:
    """Blanks, quotes, percent and dollar signs in a path arrive as they are."""
    line = cron_line(every_min=15, share=0, command=("/opt/my tools/sigprobe",), config=Path("/etc/100%.yaml"))
    assert line.endswith(r"'/opt/my tools/sigprobe' test -q --config /etc/100\%.yaml")
    assert unit_word('/a b/50%$x"') == r'"/a b/50%%$$x\""'
    assert unit_word("/usr/bin/sigprobe") == "/usr/bin/sigprobe"


# --- the crontab --------------------------------------------------------------------------------------------


def test_only_our_block_is_ours() -> None:
    """Every other line stays byte for byte, in its order; twice is once; and removing restores what was there."""
    once = with_block(OTHERS, "1 * * * * x")
    assert once == OTHERS + f"{BEGIN}\n1 * * * * x\n{END}\n"
    assert with_block(once, "1 * * * * x") == once
    moved = with_block(f"{BEGIN}\n1 * * * * x\n{END}\n" + OTHERS, "2 * * * * y")
    assert moved == OTHERS + f"{BEGIN}\n2 * * * * y\n{END}\n"
    assert block_of(moved) == "2 * * * * y"
    assert with_block(moved, None) == OTHERS
    assert block_of(OTHERS) is None


def test_a_block_whose_end_is_missing_costs_nobody_a_line() -> None:
    """Somebody deleted our last line by hand: what stands behind it is not taken for ours."""
    ours = "1 * * * * /usr/bin/sigprobe test -q"
    again = OTHERS + f"{BEGIN}\n{ours}\n{END}\n"
    assert with_block(f"{BEGIN}\n{ours}\n" + OTHERS, ours) == again
    assert with_block(f"{BEGIN}\n" + OTHERS, ours) == again
    assert with_block(f"{BEGIN}\n{END}\n" + OTHERS, ours) == again


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `crontab` command that keeps its table in a file, as the real one does, and says when there is none."""
    table = tmp_path / "table"
    tool = tmp_path / "bin" / "crontab"
    tool.parent.mkdir()
    tool.write_text(
        f'#!/bin/sh\nif [ "$1" = -l ]; then\n  [ -e {table} ] || {{ echo "no crontab for me" >&2; exit 1; }}\n'
        f"  cat {table}\nelse\n  cat > {table}\n  echo w >> {table}.writes\nfi\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return table


def config(folder: Path, every_min: int = 15) -> Path:
    path = folder / "config.yaml"
    path.write_text(
        "probe: {site: test}\nlanguage: en\ntargets: [{kind: ping, name: device, address: 127.0.0.1}]\n"
        f"buffer: {{path: {folder / 'queue' / 'buffer.db'}}}\nschedule: {{every_min: {every_min}}}\n"
    )
    return path


@pytest.mark.process
def test_the_cron_line_by_command(crontab: Path, tmp_path: Path, sigprobe: Run) -> None:
    """install twice writes once, show tells it, remove leaves the table as it was; --dry-run does nothing."""
    crontab.write_text(OTHERS)
    settings = ("--config", str(config(tmp_path)))
    dry = sigprobe("schedule", "install", "--cron", "--dry-run", *settings)
    assert dry.returncode == 0, dry.stderr
    assert "test -q --config" in dry.stdout
    assert crontab.read_text() == OTHERS
    for _ in range(2):
        done = sigprobe("schedule", "install", "--cron", *settings)
        assert done.returncode == 0, done.stderr
    table = crontab.read_text()
    assert table.startswith(OTHERS)
    assert table.count(BEGIN) == 1
    line = block_of(table) or ""
    assert len(line.split()[0].split(",")) == 4
    assert crontab.with_name("table.writes").read_text() == "w\n", "the second install had nothing to write"
    assert line in sigprobe("schedule", "show", *settings).stdout
    assert "crontab" in sigprobe("schedule", "remove", "--dry-run", *settings).stdout
    assert crontab.read_text() == table
    assert sigprobe("schedule", "remove", *settings).returncode == 0
    assert crontab.read_text() == OTHERS
    assert "Nothing was installed" in sigprobe("schedule", "remove", *settings).stdout


@pytest.mark.process
def test_no_crontab_yet_is_no_error(crontab: Path, tmp_path: Path, sigprobe: Run) -> None:
    """The first line of a user who never had any."""
    done = sigprobe("schedule", "install", "--cron", "--config", str(config(tmp_path, 60)))
    assert done.returncode == 0, done.stderr
    assert crontab.read_text().splitlines()[0] == BEGIN


@pytest.mark.process
def test_a_period_cron_cannot_say_is_said(crontab: Path, tmp_path: Path, sigprobe: Run) -> None:
    """The period really used is named."""
    done = sigprobe("schedule", "install", "--cron", "--config", str(config(tmp_path, 7)))
    assert "6 minutes are used" in done.stderr


@pytest.mark.process
@pytest.mark.slow
def test_the_line_that_is_installed_runs(crontab: Path, tmp_path: Path, sigprobe: Run) -> None:
    """What stands in the crontab, given to the shell as cron does, tests and prints nothing."""
    path = config(tmp_path)
    path.write_text(path.read_text() + "location: {source: none}\n")
    assert sigprobe("schedule", "install", "--cron", "--config", str(path)).returncode == 0
    command = (block_of(crontab.read_text()) or "").split(maxsplit=5)[5].replace(r"\%", "%")
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    kept = sigprobe("results", "--ndjson", "--config", str(path)).stdout.splitlines()
    assert len(kept) >= 2


def test_without_systemd_and_cron_the_line_is_shown(tmp_path: Path, sigprobe: Run) -> None:
    """Exit 1, and the line for another scheduler."""
    empty = tmp_path / "empty"
    empty.mkdir()
    done = sigprobe("schedule", "install", "--cron", "--config", str(config(tmp_path)), env={"PATH": str(empty)})
    assert done.returncode == 1
    assert "test -q --config" in done.stderr
    status = sigprobe("status", "--config", str(config(tmp_path)), "--lang", "en", env={"PATH": str(tmp_path)})
    assert "none scheduled (sigprobe agent)" in status.stdout, "it names a command that would write nothing"


# --- units --------------------------------------------------------------------------------------------------


class Recorder:
    """Stands for running commands; each can be made to fail."""

    def __init__(self, code: int = 0) -> None:
        self.commands: list[tuple[str, ...]] = []
        self.code = code

    def __call__(self, command: Sequence[str], _text: str | None) -> subprocess.CompletedProcess[str]:
        self.commands.append(tuple(command))
        return subprocess.CompletedProcess(command, self.code, "", "made up" if self.code else "")


@pytest.mark.parametrize("agent", [False, True])
def test_units_are_written_once_and_removed(tmp_path: Path, agent: bool) -> None:
    """Installing again leaves the files as they are; removing leaves nothing of ours and all of others'."""
    made = setup(tmp_path / "units", agent=agent)
    run = Recorder()
    timers.install(made, run)
    assert made.installed
    assert run.commands == [
        ("systemctl", "--user", "daemon-reload"),
        ("systemctl", "--user", "enable", "--now", made.enable),
    ]
    stamps = {path: path.stat().st_mtime_ns for path in made.units}
    timers.install(made, run)
    assert {path: path.stat().st_mtime_ns for path in made.units} == stamps
    foreign = tmp_path / "units" / "other.service"
    foreign.write_text("x")
    assert set(timers.remove(made, run)) == set(made.units)
    assert list((tmp_path / "units").iterdir()) == [foreign]
    assert run.commands[-2:] == [
        ("systemctl", "--user", "disable", "--now", made.enable),
        ("systemctl", "--user", "daemon-reload"),
    ]
    before = len(run.commands)
    assert timers.remove(made, run) == []
    assert len(run.commands) == before


def test_a_command_that_fails_is_an_error(tmp_path: Path) -> None:
    """The command is named; what it said is kept for `-v`."""
    with pytest.raises(timers.ScheduleError, match="daemon-reload failed") as error:
        timers.install(setup(tmp_path), Recorder(1))
    assert "made up" in error.value.technical and "made up" not in str(error.value)


def test_the_timer_catches_up_and_spreads(tmp_path: Path) -> None:
    """A test missed while the device was off is made up for, and devices do not all test in the same second."""
    units = setup(tmp_path).units
    timer = units[tmp_path / "sigprobe-test.timer"]
    for line in ("OnCalendar=*:0/15", "Persistent=true", "RandomizedDelaySec=450s", "FixedRandomDelay=true"):
        assert line in timer.splitlines()
    service = units[tmp_path / "sigprobe-test.service"]
    assert f'ExecStart={sys.executable} -m sigprobe test -q --config "/etc/sigprobe/a file.yaml"' in service
    assert not any("@" in text.replace("@system-service", "").replace("@clock", "") for text in units.values())


def test_the_service_of_the_whole_device_is_hardened(tmp_path: Path) -> None:
    """It may write its own directory alone, gains nothing, and keeps the one capability that ping wants."""
    text = setup(tmp_path, system=True, agent=True).units[tmp_path / "sigprobe-agent.service"]
    for line in (
        "Type=notify",
        "Group=sigprobe",
        "UMask=0007",
        "StateDirectory=sigprobe",
        "StateDirectoryMode=2770",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "AmbientCapabilities=CAP_NET_RAW",
        "CapabilityBoundingSet=CAP_NET_RAW",
        "#LoadCredential=sigprobe-token:/etc/sigprobe/token",
    ):
        assert line in text.splitlines()


CLOSED_TO_USERS = ("Protect", "Private", "Device", "CapabilityBoundingSet", "Ambient", "User=", "Group=", "ReadOnly")
"""What a user's manager can do only with a user namespace or a capability: with these a service may not start."""


@pytest.mark.parametrize("agent", [False, True])
def test_a_users_service_is_closed_as_far_as_a_user_can(tmp_path: Path, agent: bool) -> None:
    """It is held to what the device's agent has been, by filters alone; and nothing keeps it from starting."""
    name = "sigprobe-agent.service" if agent else "sigprobe-test.service"
    lines = setup(tmp_path, agent=agent).units[tmp_path / name].splitlines()
    device = setup(tmp_path, system=True, agent=True).units[tmp_path / "sigprobe-agent.service"].splitlines()
    for key in (
        "NoNewPrivileges",
        "RestrictAddressFamilies",
        "RestrictNamespaces",
        "RestrictRealtime",
        "LockPersonality",
        "SystemCallArchitectures",
        "SystemCallFilter",
        "SystemCallErrorNumber",
    ):
        wanted = [line for line in device if line.startswith(f"{key}=")]
        assert len(wanted) == 1
        assert [line for line in lines if line.startswith(f"{key}=")] == wanted
    assert [line for line in lines if line.startswith(CLOSED_TO_USERS)] == []


@pytest.mark.process
@pytest.mark.parametrize("agent", [False, True])
def test_a_users_service_is_no_longer_called_unsafe(tmp_path: Path, agent: bool) -> None:
    """systemd's own judgement of how far it is closed, of 10 for wide open; 9.4 without the filters."""
    tool = needs("systemd-analyze", "systemd")
    made = setup(tmp_path, agent=agent)
    for path, text in made.units.items():
        path.write_text(text)
    service = next(path for path in made.units if path.suffix == ".service")
    done = subprocess.run(
        [tool, "security", "--offline=yes", "--user", "--threshold=75", "--no-pager", str(service)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    if "Overall exposure level" not in done.stdout:
        missing("systemd-analyze cannot judge units here", "install systemd 250 or newer")
    assert done.returncode == 0, done.stdout[-400:]


@pytest.mark.process
@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("agent", [False, True])
def test_systemd_takes_the_units(tmp_path: Path, system: bool, agent: bool) -> None:
    """systemd-analyze verify finds nothing to complain of."""
    tool = needs("systemd-analyze", "systemd")
    made = setup(tmp_path, system=system, agent=agent)
    for path, text in made.units.items():
        path.write_text(text)
    done = subprocess.run(
        [tool, "verify", "--man=no", *(() if system else ("--user",)), *map(str, made.units)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    if "Failed to initialize manager" in done.stderr or "Failed to setup working directory" in done.stderr:
        missing("systemd-analyze cannot start here", "boot with systemd")
    ours = [line for line in done.stderr.splitlines() if "sigprobe" in line]
    assert ours == [], done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.process
@pytest.mark.parametrize("text", ["*:0/6", "*:0/15", "0/1:00", "0/4:00", "00:00"])
def test_systemd_understands_the_calendars(text: str) -> None:
    """Each form of calendar that is written is one that systemd reads."""
    tool = needs("systemd-analyze", "systemd")
    done = subprocess.run([tool, "calendar", text], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_units_by_command(tmp_path: Path, sigprobe: Run, clean_home: Path) -> None:
    """--dry-run shows the units and the commands and writes nothing; show says that nothing is installed."""
    if not timers.RUNNING_SYSTEMD.is_dir() or shutil.which("systemctl") is None:
        done = sigprobe("schedule", "show", "--config", str(config(tmp_path)))
        assert "would write" in done.stdout
        assert "test -q" in done.stdout
        return
    done = sigprobe(
        "schedule", "install", "--dry-run", "--config", str(config(tmp_path)), env={"XDG_RUNTIME_DIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert "Would run: systemctl --user daemon-reload" in done.stdout
    assert not (clean_home / ".config" / "systemd").exists()
