"""Locate the settings, the queue and the log. Of several settings files the first one found is used alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE_NAME: Final = "config.yaml"
SYSTEM_ROOT: Final = Path("/etc")
SYSTEM_QUEUE: Final = Path("/var/lib/sigprobe/buffer.db")
"""The queue of a system install, shared by cron, agent and officer."""


class NoHomeError(Exception):
    """This user has no home directory: HOME is not set and the user id has no account entry."""


def _of_user(ask: Callable[..., Path]) -> Path:
    """Return a directory of this user. Raises NoHomeError."""
    try:
        return ask("sigprobe", appauthor=False)
    except (RuntimeError, KeyError):  # no HOME, no XDG variable, no account entry
        raise NoHomeError("no home directory: set HOME, or name the files in the settings") from None


def user_file() -> Path:
    """Return the settings file in the user's own configuration directory. Raises NoHomeError."""
    import platformdirs

    return _of_user(platformdirs.user_config_path) / FILE_NAME


def system_file(root: Path = SYSTEM_ROOT) -> Path:
    """Return the settings file of a system install, shared by cron, agent and officer."""
    return root / "sigprobe" / FILE_NAME


def own_file() -> Path:
    """Return the settings file that `init` writes: the user's, or the system's for a user without a home directory."""
    try:
        return user_file()
    except NoHomeError:
        return system_file()


def is_system(settings: Path) -> bool:
    """Return True when `settings` is the file of the system install."""
    return settings.absolute() == system_file()


def find(path: Path | None, environ: Mapping[str, str], root: Path = SYSTEM_ROOT) -> Path | None:
    """Return the file to use: `path`, `$SIGPROBE_CONFIG`, the user's, the system's; None if there is none.

    A named file is used as it is, existing or not: using another one instead would be worse than an error. A file
    that exists but cannot be examined is returned too, so that the error is reported.
    """
    if path is not None:
        return path
    named = environ.get("SIGPROBE_CONFIG", "")
    if named:
        return expand(named)
    candidates = [system_file(root)]
    with suppress(NoHomeError):
        candidates.insert(0, user_file())
    for candidate in candidates:
        try:
            if candidate.exists():
                return candidate
        except OSError:
            return candidate
    return None


def queue_file() -> Path:
    """Return the queue of this user: `buffer.db` in the platform's data directory. Raises NoHomeError."""
    import platformdirs

    return _of_user(platformdirs.user_data_path) / "buffer.db"


def known_queues() -> tuple[Path, ...]:
    """Return the queues of the personal and of the system install."""
    try:
        return queue_file(), SYSTEM_QUEUE
    except NoHomeError:
        return (SYSTEM_QUEUE,)


def default_queue(settings: Path) -> Path:
    """Return the queue for settings without `buffer.path`. Raises NoHomeError if there is no place for one.

    It is the shared queue with the system's settings, else this user's. Whether this user can write the shared queue
    makes no difference: an unnoticed second queue would be worse than an error. A user without a home directory gets
    the shared queue if its directory exists.
    """
    shared = _is_directory(SYSTEM_QUEUE.parent)
    if shared and is_system(settings):
        return SYSTEM_QUEUE
    try:
        return queue_file()
    except NoHomeError:
        if shared:
            return SYSTEM_QUEUE
        raise


def is_closed(queue: Path) -> bool:
    """Return True for the shared queue when this user cannot write its directory."""
    return queue == SYSTEM_QUEUE and _is_directory(queue.parent) and not os.access(queue.parent, os.W_OK | os.X_OK)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a path that cannot be examined exists
        return True


def log_file() -> Path:
    """Return the log of this user; beside the shared queue for a user without a home directory."""
    import platformdirs

    try:
        return _of_user(platformdirs.user_log_path) / "sigprobe.log"
    except NoHomeError:
        return SYSTEM_QUEUE.with_name("sigprobe.log")


def expand(text: str) -> Path:
    """Expand a leading `~`; without a home directory the text is unchanged."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises without a home directory
