"""Open settings, queue, collectors and thresholds for a command. Raises CommandError."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sigprobe.commands.support import logfile, sentences, terminal
from sigprobe.commands.support.command_result import CommandError
from sigprobe.commands.support.exit_codes import NOT_SAVED
from sigprobe.files import locations
from sigprobe.words.i18n import _

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.config import Loaded
    from sigprobe.record.profile import Profile
    from sigprobe.upload import Backoff, Collector


def settings(path: Path | None) -> Loaded:
    """Load the settings; warnings go to stderr. Raises CommandError with every mistake."""
    from sigprobe.config import ConfigError, load, report

    logfile.install()
    try:
        loaded = load(path)
    except ConfigError as error:
        raise CommandError(report(error)) from None
    for warning in loaded.warnings:
        terminal.current().say(_("Warning: {text}").format(text=warning))
    return loaded


def buffer_path(loaded: Loaded) -> Path:
    """Return the path of the queue: the configured one, else the default of the settings file in use."""
    from sigprobe.runs.setup import queue_path

    return queue_path(loaded)


def open_to_read(loaded: Loaded) -> Buffer:
    """Open the queue for a command that only reads; on a full or read-only disk as it is, with a warning."""
    from sigprobe.buffer import Buffer, StorageError
    from sigprobe.render.words import screen_code

    try:
        return open_buffer(loaded)
    except CommandError as refused:
        fault = refused.__context__
        if not isinstance(fault, StorageError):
            raise
        try:
            buffer = Buffer(buffer_path(loaded), max_mb=loaded.config.buffer.max_mb, read_only=True)
        except StorageError:
            raise refused from None
    if fault.code == "disk_full":
        text = _("The storage is full, so no new result can be saved. This is what is stored.")
    else:
        text = _("The storage cannot be written, so no new result can be saved. This is what is stored.")
    if buffer.incomplete:
        text += " " + _("The newest results may be missing.")
    terminal.current().error(f"{_('Warning: {text}').format(text=text)} {screen_code(fault.code)}")
    return buffer


def open_buffer(loaded: Loaded, *, saves: bool = False) -> Buffer:
    """Open the queue. Raises CommandError with exit code 6: without a queue nothing may be measured.

    `saves` tells commands that store results from those that only read: the latter lose none.
    """
    from sigprobe.buffer import Buffer, StorageError

    path = buffer_path(loaded)
    try:
        buffer = Buffer(path, max_mb=loaded.config.buffer.max_mb)
    except StorageError as error:
        texts = [sentences.queue_text(error, path, saves=saves)]
        if locations.is_closed(path):
            texts.append(
                _(
                    "{path} is this device's shared queue, and only the group sigprobe may write it. Run: {command} "
                    "and log in again. For a queue of your own, run: sigprobe init"
                ).format(path=path, command='sudo usermod -aG sigprobe "$USER"')
            )
        raise CommandError(*texts, exit_code=NOT_SAVED) from None
    if buffer.identity_renewed:
        terminal.current().error(sentences.copied_queue())
    if buffer.set_aside_now:
        terminal.current().say(
            _("The queue file was damaged. It was moved to {path}; {n} results were recovered from it.").format(
                path=path.parent / "quarantine", n=buffer.salvaged
            )
        )
    return buffer


def open_backoff(buffer: Buffer) -> Backoff:
    """Open the backoff state that is kept next to the queue."""
    from sigprobe.runs.setup import backoff_of

    return backoff_of(buffer.configured_path)


def collectors(loaded: Loaded) -> list[Collector]:
    """Return the collectors that have a usable token; report each unusable token on stderr."""
    from sigprobe.runs.setup import read_collectors

    found, trouble, from_environment = read_collectors(loaded)
    for entry in trouble:
        terminal.current().error(f"{entry.url}: {sentences.token_sentence(entry.reason, entry.path)}")
    if from_environment:
        terminal.current().say(sentences.token_in_environment())
    return found


def load_profile(loaded: Loaded) -> Profile:
    """Load the thresholds in use. Raises CommandError."""
    from sigprobe.record.profile import ProfileError, load

    try:
        return load(loaded.config.profile, profile_dirs(loaded))
    except ProfileError as error:
        from sigprobe.render.words import fill

        raise CommandError(fill(_(error.message), error.values)) from None


def contacts_doubt(loaded: Loaded) -> Sequence[str]:
    """Return why the `contacts.json` beside the settings file cannot be used; empty where it can, or is missing."""
    from sigprobe.places.contacts import fault
    from sigprobe.render.words import fill

    found = fault(loaded.path.parent)
    if found is None:
        return ()
    return (f"{fill(_(found.message), found.values)} {_('The contacts of this version are shown instead.')}",)


def profile_dirs(loaded: Loaded) -> Sequence[Path]:
    """Return the directories of the user's own profiles: next to the settings file."""
    return (loaded.path.parent / "profiles",)
