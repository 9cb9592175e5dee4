"""Find what runs tests and uploads automatically on this device: an agent, a timer, a cron line, or nothing.

A screen promises another attempt only where one of them is there to make it.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

Way = Literal["agent", "timer", "cron"]


@dataclass(frozen=True, slots=True)
class Automation:
    """The program that runs tests automatically. `next_at` is its next run, if known."""

    way: Way | None = None
    next_at: datetime | None = None


def find(queue: Path) -> Automation:
    """Return what runs tests on this queue; the running agent counts first."""
    from sigprobe.runs.agent import next_run_at

    seconds = next_run_at(queue)
    if seconds is not None:
        return Automation("agent", datetime.fromtimestamp(seconds).astimezone())
    units = [name for directory in _unit_directories() for name in _units(directory)]
    if "sigprobe-agent.service" in units:
        return Automation("agent")
    if "sigprobe-test.timer" in units:
        return Automation("timer")
    line = _cron_line()
    return Automation() if line is None else Automation("cron", next_of_cron(line, datetime.now().astimezone()))


def next_of_cron(line: str, now: datetime) -> datetime | None:
    """Return the next time of our own cron line: lists of minutes and hours, every day; None for any other line."""
    fields = line.split(maxsplit=5)
    if len(fields) < 6 or fields[2:5] != ["*", "*", "*"]:
        return None
    try:
        minutes = {int(text) for text in fields[0].split(",")}
        hours = set(range(24)) if fields[1] == "*" else {int(text) for text in fields[1].split(",")}
    except ValueError:
        return None
    when = now.replace(second=0, microsecond=0)
    for _step in range(24 * 60):
        when += timedelta(minutes=1)
        if when.minute in minutes and when.hour in hours:
            return when
    return None


def _unit_directories() -> list[Path]:
    from sigprobe.device import timers

    found = [timers.unit_directory(system=True)]
    with suppress(RuntimeError, KeyError):  # no home directory
        found.append(timers.unit_directory(system=False))
    return found if shutil.which("systemctl") is not None else []


def _units(directory: Path) -> list[str]:
    try:
        return [name for name in ("sigprobe-agent.service", "sigprobe-test.timer") if (directory / name).exists()]
    except OSError:
        return []


def _cron_line() -> str | None:
    import subprocess

    from sigprobe.device import timers

    if shutil.which("crontab") is None:
        return None
    with suppress(timers.ScheduleError, OSError, subprocess.SubprocessError):
        return timers.block_of(timers.read_crontab())
    return None
