"""`sigprobe schedule`: let this device test by itself, with a timer, a cron line, or the agent as a service."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sigprobe.commands.support import common, terminal
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.config import Loaded
    from sigprobe.device.timers import Setup

FAILED: Final = 1
AGENT: Final = "agent"
TIMER: Final = "timer"
CRON: Final = "cron"

app = typer.Typer(no_args_is_help=True)

SystemOption = Annotated[
    bool | None, typer.Option("--system/--user", help=N_("For the whole device, or for this user only."))
]
AgentOption = Annotated[bool, typer.Option("--agent", help=N_("The agent as a service instead of a timer."))]
DryOption = Annotated[bool, typer.Option("--dry-run", help=N_("Show what would be done, and do nothing."))]
CronOption = Annotated[bool, typer.Option("--cron", help=N_("A crontab line, even where systemd runs."))]


@app.command()
def install(
    *,
    config: common.ConfigOption = None,
    system: SystemOption = None,
    agent: AgentOption = False,
    cron: CronOption = False,
    dry_run: DryOption = False,
) -> None:
    """Install the timer, the crontab line or the agent in place of the others; doing it again changes nothing."""
    from sigprobe.device import timers

    loaded = common.settings(config)
    whole = _whole_device(loaded, system)
    out = terminal.current()
    wanted = loaded.config.schedule.every_min
    if not agent and timers.even(wanted) != wanted:
        out.say(
            _("Timers and cron know no {wanted} minutes; every {every} minutes is used.").format(
                wanted=wanted, every=timers.even(wanted)
            )
        )
    try:
        kept = CRON if cron else AGENT if agent else TIMER
        if not cron and timers.has_systemd(system=whole):
            _install_units(_setup(loaded, whole, agent=agent), dry_run=dry_run)
        elif agent:
            out.error(_("The agent as a service needs systemd. Start it by other means with: sigprobe agent"))
            raise typer.Exit(FAILED)
        else:
            kept = CRON
            _install_cron(loaded, dry_run=dry_run)
        _replace(loaded, whole, kept, dry_run=dry_run)
    except (timers.ScheduleError, OSError) as error:
        _fail(error)


@app.command()
def show(*, config: common.ConfigOption = None, system: SystemOption = None) -> None:
    """Show what is installed, and what would be."""
    from sigprobe.device import timers

    loaded = common.settings(config)
    whole = _whole_device(loaded, system)
    out = terminal.current()
    found: set[tuple[bool, str]] = set()
    # the units of the device and this user's own would both run, so both are looked for
    for device, agent in ((d, a) for d in (whole, not whole) for a in (False, True)):
        for path, wanted in _setup(loaded, device, agent=agent).units.items():
            if path.exists():
                found.add((device, AGENT if agent else TIMER))
                same = path.read_text(encoding="utf-8", errors="replace") == wanted
                text = _("{path}: installed") if same else _("{path}: installed, with other content")
                out.show(text.format(path=path))
    if shutil.which("crontab") is not None:
        try:
            line = timers.block_of(timers.read_crontab())
        except timers.ScheduleError as error:
            out.error(str(error))
        else:
            if line is not None:
                found.add((whole, CRON))
                out.show(_("crontab: {line}").format(line=line))
    if not found:
        out.show(_("Nothing is installed. sigprobe schedule install would write:"))
        if timers.has_systemd(system=whole):
            _show_units(_setup(loaded, whole, agent=False))
        else:
            out.show(_cron_line(loaded))
    if len(found) > 1:
        out.error(_("More than one is installed, and each of them tests and uses data by itself. One is enough."))
        if len({device for device, _way in found}) > 1:
            out.error(_other_too(whole))
        if len({way for device, way in found if device == whole}) > 1:
            out.error(_("To keep one, install it again: it takes the place of the others."))


@app.command()
def remove(*, config: common.ConfigOption = None, system: SystemOption = None, dry_run: DryOption = False) -> None:
    """Remove what install wrote, and nothing else."""
    from sigprobe.device import timers

    loaded = common.settings(config)
    whole = _whole_device(loaded, system)
    out = terminal.current()
    gone: list[str] = []
    try:
        for agent in (False, True):
            gone += _remove_units(_setup(loaded, whole, agent=agent), dry_run=dry_run)
        gone += _remove_cron(dry_run=dry_run)
    except (timers.ScheduleError, OSError) as error:
        _fail(error)
    text = _("Would be removed: {names}") if dry_run else _("Removed: {names}")
    out.show(text.format(names=", ".join(gone)) if gone else _("Nothing was installed."))


# --- one way at a time --------------------------------------------------------------------------------------


def _replace(loaded: Loaded, whole: bool, kept: str, *, dry_run: bool) -> None:
    """Take away the other ways of this user, or of the device, once `kept` is in place; say what is left.

    Two of them would test twice as often, and cost the data twice.
    """
    from sigprobe.device import timers

    out = terminal.current()
    gone: list[str] = []
    for agent in (False, True):
        # without systemctl nothing runs what lies there
        if kept != (AGENT if agent else TIMER) and shutil.which("systemctl") is not None:
            gone += _remove_units(_setup(loaded, whole, agent=agent), dry_run=dry_run)
    if kept != CRON:
        try:
            gone += _remove_cron(dry_run=dry_run)
        except timers.ScheduleError as error:
            out.error(str(error))  # who may not ask cron has no line there that runs
    if gone:
        text = _("Would be removed: {names}") if dry_run else _("Removed, since one of them is enough: {names}")
        out.show(text.format(names=", ".join(gone)))
    if any(p.exists() for agent in (False, True) for p in _setup(loaded, not whole, agent=agent).units):
        out.error(_other_too(whole))


def _other_too(whole: bool) -> str:
    """What is said of units on the side that was not asked for: they are somebody's choice, and may want root."""
    if whole:
        text = _("There is one of this user, too, and both test and use data. To remove it: {command}")
        return text.format(command="sigprobe schedule remove --user")
    text = _("There is one for the whole device, too, and both test and use data. To remove it: {command}")
    return text.format(command="sudo sigprobe schedule remove --system")


def _remove_units(setup: Setup, *, dry_run: bool) -> list[str]:
    from sigprobe.device import timers

    return [str(p) for p in ([p for p in setup.units if p.exists()] if dry_run else timers.remove(setup))]


def _remove_cron(*, dry_run: bool) -> list[str]:
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
    """For the whole device when asked, or when the settings in use are the device's."""
    from sigprobe.files import locations

    return locations.is_system(loaded.path) if asked is None else asked


def _config(loaded: Loaded) -> Path | None:
    """The settings file to name on the command line; None where it is found by itself."""
    from sigprobe.files import locations

    path = loaded.path.absolute()
    return None if path in (locations.system_file(), locations.own_file()) else path


def _setup(loaded: Loaded, whole: bool, *, agent: bool) -> Setup:
    from sigprobe.device import timers

    return timers.systemd_setup(
        system=whole,
        agent=agent,
        every_min=loaded.config.schedule.every_min,
        command=timers.program(),
        config=_config(loaded),
        directory=timers.unit_directory(system=whole),
    )


def _install_units(setup: Setup, *, dry_run: bool) -> None:
    from sigprobe.device import timers

    out = terminal.current()
    if dry_run:
        _show_units(setup)
        for command in setup.commands():
            out.show(_("Would run: {command}").format(command=shlex.join(command)))
        return
    timers.install(setup)
    out.show(_("Installed: {names}").format(names=", ".join(map(str, setup.units))))


def _show_units(setup: Setup) -> None:
    for path, text in setup.units.items():
        terminal.current().show(f"# {path}\n{text}")


def _cron_line(loaded: Loaded) -> str:
    from sigprobe.device import timers
    from sigprobe.upload.jitter import share

    with common.open_buffer(loaded) as buffer:
        own = share(buffer.probe_id, "schedule")
    return timers.cron_line(
        every_min=loaded.config.schedule.every_min, share=own, command=timers.program(), config=_config(loaded)
    )


def _install_cron(loaded: Loaded, *, dry_run: bool) -> None:
    from sigprobe.device import timers

    out = terminal.current()
    line = _cron_line(loaded)
    if shutil.which("crontab") is None:
        out.error(_("Neither systemd nor cron is here. Let another scheduler run this line:"))
        out.error(line)
        raise typer.Exit(FAILED)
    before = timers.read_crontab()
    after = timers.with_block(before, line)
    if dry_run:
        out.show(_("Would be in the crontab: {line}").format(line=line))
        return
    timers.write_crontab(before, after)
    out.show(_("In the crontab: {line}").format(line=line))


def _fail(error: Exception) -> None:
    out = terminal.current()
    out.error(_("The schedule could not be changed: {detail}").format(detail=error))
    if isinstance(error, PermissionError):
        out.error(_("For the whole device this needs root; for this user alone, add --user."))
    raise typer.Exit(FAILED) from None
