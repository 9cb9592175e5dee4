"""What the verbs share: the settings, the queue, the collectors with their tokens, and how a code is said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sigprobe.commands.support import logfile, terminal
from sigprobe.files import locations
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.config import Loaded
    from sigprobe.record.profile import Profile
    from sigprobe.upload import Backoff, Collector, Report

USAGE: Final = 2
BELOW_THRESHOLD: Final = 3
NOT_ACKNOWLEDGED: Final = 4
SECOND_AGENT: Final = 5
NOT_SAVED: Final = 6
INTERRUPTED: Final = 130

ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="F", help=N_("The settings file to use."))]
JsonOption = Annotated[bool, typer.Option("--json", help=N_("Print JSON for programs."))]


def settings(path: Path | None) -> Loaded:
    """The settings, or every mistake in them on stderr and exit 2."""
    from sigprobe.config import ConfigError, load, report

    logfile.install()
    try:
        loaded = load(path)
    except ConfigError as error:
        terminal.current().error(report(error))
        raise typer.Exit(USAGE) from None
    for warning in loaded.warnings:
        terminal.current().say(_("Warning: {text}").format(text=warning))
    return loaded


def buffer_path(loaded: Loaded) -> Path:
    """Where the queue lies: as configured, else where the settings file that is in force has it."""
    from sigprobe.runs.setup import queue_path

    return queue_path(loaded)


def open_buffer(loaded: Loaded) -> Buffer:
    """The queue, or a sentence and exit 6: what cannot be kept must not be measured."""
    from sigprobe.buffer import Buffer, StorageError

    path = buffer_path(loaded)
    try:
        buffer = Buffer(path, max_mb=loaded.config.buffer.max_mb)
    except StorageError as error:
        say_code(error.code, f"{path}: {error}")
        if locations.is_closed(path):
            terminal.current().error(
                _(
                    "{path} is this device's shared queue, and only the group sigprobe may write it. Run: {command} "
                    "and log in again. For a queue of your own, run: sigprobe init"
                ).format(path=path, command='sudo usermod -aG sigprobe "$USER"')
            )
        raise typer.Exit(NOT_SAVED) from None
    if buffer.identity_renewed:
        terminal.current().error(copied_queue())
    if buffer.set_aside_now:
        terminal.current().say(
            _("The queue file was damaged. It was set aside in {path}; {n} results were saved out of it.").format(
                path=path.parent / "quarantine", n=buffer.salvaged
            )
        )
    return buffer


def copied_queue() -> str:
    """Return what is said once where the queue turns out to be a copy from another device."""
    return _(
        "This queue was copied from another device or directory. From now on this device has a probe id of its own; "
        "earlier results are still sent under the old id. If tests run automatically, run: sigprobe schedule install"
    )


def open_backoff(buffer: Buffer) -> Backoff:
    """The memory of failed tries that lies beside the queue."""
    from sigprobe.runs.setup import backoff_of

    return backoff_of(buffer.configured_path)


def collectors(loaded: Loaded) -> list[Collector]:
    """The configured collectors that may be asked, with their tokens; a token that cannot be used is said."""
    from sigprobe.runs.setup import read_collectors

    found, trouble, from_environment = read_collectors(loaded)
    for entry in trouble:
        terminal.current().error(f"{entry.url}: {token_sentence(entry.reason, entry.path)}")
    if from_environment:
        terminal.current().say(token_in_environment())
    return found


def token_in_environment() -> str:
    """What is said where a token comes from SIGPROBE_TOKEN."""
    return _("Warning: the token comes from SIGPROBE_TOKEN; other programs of this user can read it there.")


def token_sentence(reason: str, path: str) -> str:
    """Why a token cannot be used, and what to do."""
    if reason == "lax":
        text = _("the token file {path} can be read or changed by others, so it is not used. Run: chmod 600 {path}")
    elif reason == "missing":
        text = _("the token file {path} does not exist. Put the token from the monitoring centre there.")
    elif reason == "unreadable":
        text = _("the token file {path} may not be read by this user. Run: ls -l {path}")
    elif reason == "none":
        text = _("no token is configured. Set token_file in the settings to a file with the token.")
    else:
        text = _("the token in {path} is empty or malformed. Put the token there as it was given, on one line.")
    return text.format(path=path)


def load_profile(loaded: Loaded) -> Profile:
    """The thresholds in use, or a sentence and exit 2."""
    from sigprobe.record.profile import ProfileError, load

    try:
        return load(loaded.config.profile, profile_dirs(loaded))
    except ProfileError as error:
        from sigprobe.render.words import fill

        terminal.current().error(fill(_(error.message), error.values))
        raise typer.Exit(USAGE) from None


def profile_dirs(loaded: Loaded) -> Sequence[Path]:
    """Where profiles of the user's own are looked for: beside the settings file."""
    return (loaded.path.parent / "profiles",)


def place_name(tps_id: str | None) -> str | None:
    """The place of a TPS in words, as far as the table shipped knows it."""
    from sigprobe import places

    return places.place(tps_id).title


def say_code(code: str, detail: str | None = None, **values: object) -> None:
    """Say a failure on stderr: its sentence with its code, what to do, and the technical words."""
    from sigprobe.render import words

    lines = [f"{words.sentence(code, **values)} {words.screen_code(code)}", words.advice(code, **values)]
    if detail:
        lines.append(f"({detail})")
    terminal.current().error("\n".join(lines))


def say_stopped(report: Report, *, waiting: bool) -> None:
    """Say why a drain that was typed has ended: in plain words, with what helps now; the raw words only under `-v`."""
    from sigprobe.render import words

    assert report.stopped is not None
    lines = [f"{words.sentence(report.stopped)} {words.screen_code(report.stopped)}"]
    if report.why is not None:
        lines.append(words.sentence(report.why, name=report.whom))
    if report.stopped != "collector_unreachable":
        lines.append(words.advice(report.stopped))
    elif waiting:
        lines.append(_("Nothing needs to be done: it is tried again until everything is sent."))
    else:
        lines.append(_("Nothing needs to be done now; to go on until everything is sent: sigprobe upload --wait"))
    if report.detail and terminal.current().verbose:
        lines.append(f"({report.detail})")
    terminal.current().error("\n".join(lines))


def say_unchecked(report: Report) -> None:
    """Say after a drain which collectors were asked without a look at the dates of their certificates."""
    for url in report.time_unchecked:
        terminal.current().say(
            _("The dates of the certificate of {url} were not checked, as the settings ask for.").format(url=url)
        )


def say_clock(report: Report) -> None:
    """Say once after a drain that this device's clock is far off, when the collector's shows it."""
    from sigprobe.runs.clock import clock_is_wrong
    from sigprobe.words.i18n import duration

    if clock_is_wrong(report):
        away = duration(abs(report.clock_offset_ms or 0.0) / 1000)
        say_code("clock_wrong", _("Difference: {span}").format(span=away))


def local_time(seconds: float | None) -> datetime | None:
    """Wall-clock seconds as an aware time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
