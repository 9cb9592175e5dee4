"""`sigprobe schedule`: run tests automatically, with a timer, a cron line, or the agent as a service."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sigprobe.commands.support import opening, options, sentences
from sigprobe.commands.support.command_result import CommandResult, Message, Output, Screen
from sigprobe.commands.support.exit_codes import DONE, FAILED
from sigprobe.commands.support.typer_shell import Command
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.config import Loaded
    from sigprobe.device.timers import Setup

AGENT: Final = "agent"
TIMER: Final = "timer"
CRON: Final = "cron"

app = typer.Typer(no_args_is_help=True)


@dataclass(slots=True)
class Scheduled(CommandResult):
    """The result of a schedule command: its lines, warnings and errors."""

    shown: list[tuple[str, bool]] = field(default_factory=list)
    notes: list[Message] = field(default_factory=list)
    code: int = DONE

    @property
    def exit_code(self) -> int:
        """Return 1 if the schedule could not be changed, else 0."""
        return self.code

    def show(self, text: str) -> None:
        """Add a sentence of the result; it is wrapped for the screen."""
        self.shown.append((text, True))

    def show_unchanged(self, text: str) -> None:
        """Add a text to be copied, such as a crontab line or a unit file."""
        self.shown.append((text, False))

    def warn(self, text: str, *, error: bool = True) -> None:
        """Add a message for stderr."""
        self.notes.append(Message(text, error=error))

    def fail(self, *texts: str) -> Scheduled:
        """Add the reason why the schedule could not be changed; the exit code is then 1."""
        self.notes += [Message(text, error=True) for text in texts]
        self.code = FAILED
        return self

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield warnings and errors."""
        return self.notes

    def text(self, screen: Screen) -> str:
        """Return the lines in their order."""
        from sigprobe.render.words import fold

        folded = not screen.plain
        return "\n".join(fold(text, screen.width) if prose and folded else text for text, prose in self.shown)


SystemOption = Annotated[
    bool | None, typer.Option("--system/--user", help=N_("For the whole device, or for this user only."))
]
AgentOption = Annotated[bool, typer.Option("--agent", help=N_("Run the agent as a service instead of a timer."))]
DryOption = Annotated[bool, typer.Option("--dry-run", help=N_("Only show what would be done."))]
CronOption = Annotated[bool, typer.Option("--cron", help=N_("Use a crontab line even if systemd is running."))]


@app.command(cls=Command)
def install(
    *,
    config: options.ConfigOption = None,
    system: SystemOption = None,
    agent: AgentOption = False,
    cron: CronOption = False,
    dry_run: DryOption = False,
) -> CommandResult:
    """Install the timer, the crontab line or the agent and remove the others."""
    from sigprobe.device import service_account, timers

    loaded = opening.settings(config)
    whole = _whole_device(loaded, system)
    done = Scheduled()
    wanted = loaded.config.schedule.every_min
    if not agent and timers.even(wanted) != wanted:
        done.warn(
            _("Timers and cron do not support a {wanted}-minute interval; {every} minutes are used.").format(
                wanted=wanted, every=timers.even(wanted)
            ),
            error=False,
        )
    try:
        kept = CRON if cron else AGENT if agent else TIMER
        if not cron and timers.has_systemd(system=whole):
            if whole:
                service_account.check(loaded.path, _token_files(loaded))
            _install_units(_setup(loaded, whole, agent=agent), done, dry_run=dry_run)
        elif (agent or shutil.which("crontab") is None) and timers.has_systemd(system=True):
            return done.fail(_no_user_manager())
        elif agent:
            return done.fail(_("The agent as a service needs systemd. Start it in another way with: sigprobe agent"))
        elif shutil.which("crontab") is None:
            line = _cron_line(loaded)
            return done.fail(_("This device has neither systemd nor cron. Use another scheduler for this line:"), line)
        else:
            kept = CRON
            _install_cron(loaded, done, dry_run=dry_run)
        _replace(loaded, whole, kept, done, dry_run=dry_run)
        every = wanted if kept == AGENT else timers.even(wanted)
        done.show(sentences.data_plan(loaded, every))
    except service_account.AccountError as error:
        done.fail(sentences.message_text(error))
    except (timers.ScheduleError, OSError) as error:
        _fail(done, error)
    return done


@app.command(cls=Command)
def show(*, config: options.ConfigOption = None, system: SystemOption = None) -> CommandResult:
    """Show the installed schedule, and the one that `install` would choose."""
    from sigprobe.device import timers

    loaded = opening.settings(config)
    whole = _whole_device(loaded, system)
    done = Scheduled()
    found: set[tuple[bool, str]] = set()
    # the units of the device and this user's own would both run, so both are looked for
    for device, agent in ((d, a) for d in (whole, not whole) for a in (False, True)):
        for path, wanted in _setup(loaded, device, agent=agent).units.items():
            if path.exists():
                found.add((device, AGENT if agent else TIMER))
                same = path.read_text(encoding="utf-8", errors="replace") == wanted
                text = _("{path}: installed") if same else _("{path}: installed, with other content")
                done.show(text.format(path=path))
    if shutil.which("crontab") is not None:
        try:
            line = timers.block_of(timers.read_crontab())
        except timers.ScheduleError as error:
            done.warn(sentences.message_text(error, error.technical))
        else:
            if line is not None:
                found.add((whole, CRON))
                done.show_unchanged(_("crontab: {line}").format(line=line))
    if not found:
        _show_offer(loaded, whole, done)
    done.show(sentences.data_plan(loaded, loaded.config.schedule.every_min))
    if len(found) > 1:
        done.warn(_("More than one is installed; each of them runs tests and uses data. One is enough."))
        if len({device for device, _way in found}) > 1:
            done.warn(_other_too(whole))
        if len({way for device, way in found if device == whole}) > 1:
            done.warn(_("To keep one, install it again: it replaces the others."))
    return done


def _show_offer(loaded: Loaded, whole: bool, done: Scheduled) -> None:
    """Show what `install` would write on this device: a timer, a cron line, or that neither is possible."""
    from sigprobe.device import timers

    if timers.has_systemd(system=whole):
        done.show(_("Nothing is installed. sigprobe schedule install would write:"))
        _show_units(_setup(loaded, whole, agent=False), done)
    elif shutil.which("crontab") is not None:
        done.show(_("Nothing is installed. sigprobe schedule install would write this line into the crontab:"))
        done.show_unchanged(_cron_line(loaded))
    else:
        done.show(
            _("Nothing is installed. sigprobe schedule install would write nothing: no systemd and no cron here.")
        )
        done.show(_("For another scheduler, the line is:"))
        done.show_unchanged(_cron_line(loaded))
        done.show(_("To run tests automatically, keep this running: sigprobe agent"))


@app.command(cls=Command)
def remove(
    *, config: options.ConfigOption = None, system: SystemOption = None, dry_run: DryOption = False
) -> CommandResult:
    """Remove only files and lines that `install` wrote."""
    from sigprobe.device import timers

    loaded = opening.settings(config)
    whole = _whole_device(loaded, system)
    done = Scheduled()
    gone: list[str] = []
    try:
        for agent in (False, True):
            gone += _remove_units(_setup(loaded, whole, agent=agent), dry_run=dry_run)
        gone += _remove_cron(dry_run=dry_run)
    except (timers.ScheduleError, OSError) as error:
        _fail(done, error)
        return done
    text = _("Would be removed: {names}") if dry_run else _("Removed: {names}")
    there = _other_side(loaded, whole)
    if gone:
        done.show(text.format(names=", ".join(gone)))
    elif not there:
        done.show(_("Nothing was installed."))
    if there:
        done.warn(_other_too(whole) if gone else _only_there(whole), error=False)
    return done


# --- one way at a time --------------------------------------------------------------------------------------


def _replace(loaded: Loaded, whole: bool, kept: str, done: Scheduled, *, dry_run: bool) -> None:
    """Remove the other ways of this user, or of the device, once `kept` is installed; warn about what is left.

    Two of them would test twice as often, and use twice the data.
    """
    from sigprobe.device import timers

    gone: list[str] = []
    for agent in (False, True):
        # without systemctl nothing runs the units
        if kept != (AGENT if agent else TIMER) and shutil.which("systemctl") is not None:
            gone += _remove_units(_setup(loaded, whole, agent=agent), dry_run=dry_run)
    if kept != CRON:
        try:
            gone += _remove_cron(dry_run=dry_run)
        except timers.ScheduleError as error:
            done.warn(sentences.message_text(error, error.technical))  # a user who may not use cron has no line there
    if gone:
        text = _("Would be removed: {names}") if dry_run else _("Removed, because one is enough: {names}")
        done.show(text.format(names=", ".join(gone)))
    if _other_side(loaded, whole):
        done.warn(_other_too(whole))


def _other_side(loaded: Loaded, whole: bool) -> bool:
    """Return whether units are installed on the other side: this user's own, or those of the whole device."""
    return any(p.exists() for agent in (False, True) for p in _setup(loaded, not whole, agent=agent).units)


def _only_there(whole: bool) -> str:
    if whole:
        text = _("Nothing is installed for the whole device, but for this user. To remove that: {command}")
        return text.format(command="sigprobe schedule remove --user")
    text = _("Nothing is installed for this user, but for the whole device. To remove that: {command}")
    return text.format(command="sudo sigprobe schedule remove --system")


def _no_user_manager() -> str:
    text = _("systemd runs here, but no manager of this user. For the whole device, use: {command}")
    return text.format(command="sudo sigprobe schedule install --system")


def _other_too(whole: bool) -> str:
    """Return the warning about units of the other side, which may need root and are left alone."""
    if whole:
        text = _("This user has one, too; both run tests and use data. To remove it: {command}")
        return text.format(command="sigprobe schedule remove --user")
    text = _("There is one for the whole device, too; both run tests and use data. To remove it: {command}")
    return text.format(command="sudo sigprobe schedule remove --system")


def _remove_units(setup: Setup, *, dry_run: bool) -> Sequence[str]:
    from sigprobe.device import timers

    return [str(p) for p in ([p for p in setup.units if p.exists()] if dry_run else timers.remove(setup))]


def _remove_cron(*, dry_run: bool) -> Sequence[str]:
    from sigprobe.device import timers

    if shutil.which("crontab") is None:
        return []
    before = timers.read_crontab()
    after = timers.with_block(before, None)
    if not dry_run:
        timers.write_crontab(before, after)
    return ["crontab"] if after != before else []


# --- how ----------------------------------------------------------------------------------------------------


def _whole_device(loaded: Loaded, asked: bool | None) -> bool:
    """Return whether the whole device is meant: by the option, or because the settings in use are the device's."""
    from sigprobe.files import locations

    return locations.is_system(loaded.path) if asked is None else asked


def _config(loaded: Loaded, *, whole: bool = False) -> Path | None:
    """Return the settings file to name on the command line; None where it is found by itself.

    The service of the whole device runs as a user of its own, which finds none in this user's home.
    """
    from sigprobe.files import locations

    path = loaded.path.absolute()
    found = (locations.system_file(),) if whole else (locations.system_file(), locations.user_file())
    return None if path in found else path


def _token_files(loaded: Loaded) -> list[Path]:
    from sigprobe.files import locations

    named = (collector.token_file for collector in loaded.config.upload.collectors)
    return [locations.expand(file) for file in named if file is not None]


def _setup(loaded: Loaded, whole: bool, *, agent: bool) -> Setup:
    from sigprobe.device import timers

    return timers.systemd_setup(
        system=whole,
        agent=agent,
        every_min=loaded.config.schedule.every_min,
        command=timers.program(),
        config=_config(loaded, whole=whole),
        directory=timers.unit_directory(system=whole),
    )


def _install_units(setup: Setup, done: Scheduled, *, dry_run: bool) -> None:
    from sigprobe.device import timers

    if dry_run:
        _show_units(setup, done)
        for command in setup.commands():
            done.show_unchanged(_("Would run: {command}").format(command=shlex.join(command)))
        return
    timers.install(setup)
    done.show(_("Installed: {names}").format(names=", ".join(map(str, setup.units))))


def _show_units(setup: Setup, done: Scheduled) -> None:
    for path, text in setup.units.items():
        done.show_unchanged(f"# {path}\n{text}")


def _cron_line(loaded: Loaded) -> str:
    from sigprobe.device import timers
    from sigprobe.upload.jitter import share

    with opening.open_to_read(loaded) as buffer:
        own = share(buffer.probe_id, "schedule")
    return timers.cron_line(
        every_min=loaded.config.schedule.every_min, share=own, command=timers.program(), config=_config(loaded)
    )


def _install_cron(loaded: Loaded, done: Scheduled, *, dry_run: bool) -> None:
    from sigprobe.device import timers

    line = _cron_line(loaded)
    before = timers.read_crontab()
    after = timers.with_block(before, line)
    if dry_run:
        done.show_unchanged(_("Would be in the crontab: {line}").format(line=line))
        return
    timers.write_crontab(before, after)
    done.show_unchanged(_("In the crontab: {line}").format(line=line))


def _fail(done: Scheduled, error: Exception) -> None:
    from sigprobe.device import timers

    if isinstance(error, timers.ScheduleError):
        reason = sentences.message_text(error, error.technical)
    else:
        reason = sentences.system_reason(error)
    done.fail(_("The schedule could not be changed: {detail}").format(detail=reason))
    if isinstance(error, PermissionError):
        done.fail(_("For the whole device this needs root; for this user only, add --user."))
