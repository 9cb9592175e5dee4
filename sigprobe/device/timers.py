"""Install timers and cron lines for automatic tests. Installing twice changes nothing.

Everything is first computed as plain text (`systemd_setup`, `cron_line`), so that it can also be shown only.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from sigprobe.files import locations
from sigprobe.files.atomic import write_whole
from sigprobe.record.messages import N_, MessageError

BEGIN: Final = "# BEGIN sigprobe (written by: sigprobe schedule install)"
END: Final = "# END sigprobe"
SYSTEM_UNITS: Final = Path("/etc/systemd/system")
RUNNING_SYSTEMD: Final = Path("/run/systemd/system")
SCHEDULED: Final = "SIGPROBE_SCHEDULED"
"""Set where a timer or cron runs a test: large checks then keep to the day's share of data."""
_HOUR_MIN: Final = 60
_DAY_MIN: Final = 1440
_COMMAND_S: Final = 60.0

Run = Callable[[Sequence[str], str | None], "subprocess.CompletedProcess[str]"]


class ScheduleError(MessageError):
    """Raised when a system command failed. The message names the command; `technical` is what it said, for `-v`."""

    def __init__(self, command: Sequence[str], technical: str) -> None:
        super().__init__(N_("the command {command} failed; run it by hand to see why"), command=shlex.join(command))
        self.technical = technical


@dataclass(frozen=True, slots=True)
class Setup:
    """Unit files with their content, the unit to enable, and systemctl's leading options."""

    units: dict[Path, str]
    enable: str
    systemctl: tuple[str, ...]

    @property
    def installed(self) -> bool:
        """Return True when all files exist with this content."""
        return all(_text(path) == text for path, text in self.units.items())

    def commands(self) -> list[tuple[str, ...]]:
        """Return the commands to run after the files are written."""
        return [(*self.systemctl, "daemon-reload"), (*self.systemctl, "enable", "--now", self.enable)]


def run(command: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a system command without a shell, with `text` on its stdin."""
    return subprocess.run(  # noqa: S603 - fixed words and paths of our own
        command, input=text or "", capture_output=True, text=True, timeout=_COMMAND_S, check=False
    )


def program() -> tuple[str, ...]:
    """Return the command line that starts this sigprobe: its own script, else its interpreter with `-m`."""
    script = Path(sys.argv[0])
    if script.name == "sigprobe" and script.is_file():
        return (str(script.absolute()),)
    beside = Path(sys.executable).with_name("sigprobe")
    return (str(beside),) if beside.is_file() else (sys.executable, "-m", "sigprobe")


def has_systemd(*, system: bool, which: Callable[[str], str | None] = shutil.which) -> bool:
    """Return whether systemd runs here, and for user units whether the user's manager runs."""
    if not RUNNING_SYSTEMD.is_dir() or which("systemctl") is None:
        return False
    return system or bool(os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("DBUS_SESSION_BUS_ADDRESS"))


# --- systemd ------------------------------------------------------------------------------------------------


def unit_directory(*, system: bool) -> Path:
    """Return the directory for unit files. Raises NoHomeError for a user without a home directory."""
    if system:
        return SYSTEM_UNITS
    return locations.user_file().parent.parent / "systemd" / "user"


def systemd_setup(
    *, system: bool, agent: bool, every_min: int, command: Sequence[str], config: Path | None, directory: Path
) -> Setup:
    """Return the units of the agent, or of a timer that runs `sigprobe test -q`."""
    kind = "system" if system else "user"
    words = {
        "@EXEC@": " ".join(unit_word(word) for word in command),
        "@CONFIG@": "" if config is None else " --config " + unit_word(str(config)),
        "@CALENDAR@": calendar(every_min),
        "@DELAY@": f"{min(every_min * 30, 600)}s",
    }
    if agent:
        units = {directory / "sigprobe-agent.service": template(f"agent.{kind}.service", words)}
    else:
        units = {
            directory / "sigprobe-test.service": template(f"test.{kind}.service", words),
            directory / "sigprobe-test.timer": template("test.timer", words),
        }
    enable = "sigprobe-agent.service" if agent else "sigprobe-test.timer"
    return Setup(units, enable, ("systemctl",) if system else ("systemctl", "--user"))


def template(name: str, words: dict[str, str]) -> str:
    """Return a shipped unit with its @WORDS@ filled in."""
    text = (files("sigprobe.device") / "units" / name).read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def unit_word(text: str) -> str:
    """Quote one word of a command line in a unit file against systemd's expansion."""
    plain = text.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    return '"' + plain.replace('"', '\\"') + '"' if any(c in text for c in " \t\"'\\;") else plain


def calendar(every_min: int) -> str:
    """Return `every_min` as a systemd calendar. A period that does not divide the day is shortened to one that does."""
    every = even(every_min)
    if every < _HOUR_MIN:
        return f"*:0/{every}"
    return f"0/{every // _HOUR_MIN}:00" if every < _DAY_MIN else "00:00"


def even(every_min: int) -> int:
    """Return the longest equal period that timers and cron can express and that is not longer."""
    hours = [60 * h for h in (24, 12, 8, 6, 4, 3, 2, 1)]
    minutes = [m for m in range(30, 0, -1) if _HOUR_MIN % m == 0]
    return next(step for step in (*hours, *minutes) if step <= every_min)


def install(setup: Setup, run: Run = run) -> None:
    """Write the units and enable them. Raises ScheduleError or OSError; existing identical files are not written.

    If systemd does not start them, the files are as they were before.
    """
    before = {path: _text(path) for path in setup.units}
    for path, text in setup.units.items():
        if before[path] != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text, 0o644, durable=False)
    try:
        for command in setup.commands():
            _must(run(command, None), command)
    except ScheduleError:
        _put_back(setup, before, run)
        raise


def _put_back(setup: Setup, before: Mapping[Path, str | None], run: Run) -> None:
    """Disable a unit that is new and does not start, and restore the files. What fails here is not reported."""
    if all(text is None for text in before.values()):
        run((*setup.systemctl, "disable", "--now", setup.enable), None)
    for path, text in before.items():
        if text is None:
            path.unlink(missing_ok=True)
        else:
            write_whole(path, text, 0o644, durable=False)
    run((*setup.systemctl, "daemon-reload"), None)


def remove(setup: Setup, run: Run = run) -> list[Path]:
    """Disable the unit and delete our files; return those that existed."""
    there = [path for path in setup.units if path.exists()]
    if there:
        command = (*setup.systemctl, "disable", "--now", setup.enable)
        _must(run(command, None), command)
        for path in there:
            path.unlink()
        _must(run((*setup.systemctl, "daemon-reload"), None), (*setup.systemctl, "daemon-reload"))
    return there


# --- cron ---------------------------------------------------------------------------------------------------


def cron_line(*, every_min: int, share: float, command: Sequence[str], config: Path | None) -> str:
    """Return the cron line for `sigprobe test -q`, at this probe's own minutes (`share` from 0 to below 1)."""
    every = even(every_min)
    words = [*command, "test", "-q", *([] if config is None else ["--config", str(config)])]
    first = int(share * min(every, _HOUR_MIN))
    minutes = ",".join(str(m) for m in range(first, _HOUR_MIN, min(every, _HOUR_MIN)))
    hours = "*"
    if every > _HOUR_MIN:
        step = every // _HOUR_MIN
        hours = ",".join(str(h) for h in range(int(share * step), 24, step))
    return f"{minutes} {hours} * * * {SCHEDULED}=1 " + shlex.join(words).replace("%", r"\%")


def with_block(table: str, line: str | None) -> str:
    """Return a crontab with our block holding `line`, or without it when None. Other lines are unchanged."""
    lines = table.splitlines()
    kept: list[str] = []
    at = 0
    while at < len(lines):
        if lines[at].strip() != BEGIN:
            kept.append(lines[at])
            at += 1
            continue
        marks = [text.strip() for text in lines[at + 1 : at + 3]]
        # we write one line between the marks; if the end mark is missing, only our own lines are removed
        at += 1 + (marks.index(END) + 1 if END in marks else any(" test -q" in text for text in marks[:1]))
    if line is not None:
        kept += [BEGIN, line, END]
    return "".join(text + "\n" for text in kept)


def block_of(table: str) -> str | None:
    """Return the line in our block; None without one."""
    lines = [text.strip() for text in table.splitlines()]
    if BEGIN not in lines:
        return None
    rest = lines[lines.index(BEGIN) + 1 :]
    return next((text for text in rest[: rest.index(END)] if text), None) if END in rest else None


def read_crontab(run: Run = run) -> str:
    """Return this user's crontab; empty without one. Raises ScheduleError when cron cannot be queried."""
    try:
        done = run(("crontab", "-l"), None)
    except OSError as error:
        raise ScheduleError(("crontab", "-l"), str(error)) from error
    if done.returncode and "no crontab" not in done.stderr.lower():
        raise ScheduleError(("crontab", "-l"), done.stderr.strip() or str(done.returncode))
    return "" if done.returncode else done.stdout


def write_crontab(before: str, after: str, run: Run = run) -> None:
    """Replace this user's crontab if it changes. Raises ScheduleError."""
    if after != before:
        command = ("crontab", "-")
        _must(run(command, after), command)


# --- helpers ------------------------------------------------------------------------------------------------


def _must(done: subprocess.CompletedProcess[str], command: Sequence[str]) -> None:
    if done.returncode:
        raise ScheduleError(command, done.stderr.strip() or str(done.returncode))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
