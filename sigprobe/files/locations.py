"""Where sigprobe's files lie: settings, queue, log. Of settings files the first one found is used whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FILE_NAME: Final = "config.yaml"
SYSTEM_ROOT: Final = Path("/etc")


def user_file() -> Path:
    """The file in the user's own configuration directory."""
    import platformdirs

    return platformdirs.user_config_path("sigprobe", appauthor=False) / FILE_NAME


def system_file(root: Path = SYSTEM_ROOT) -> Path:
    """The file of a system install, shared by cron, agent and officer."""
    return root / "sigprobe" / FILE_NAME


def is_system(settings: Path) -> bool:
    """True when `settings` is the file of the system install: the whole device works by it."""
    return settings.absolute() == system_file()


def find(path: Path | None, environ: Mapping[str, str], root: Path = SYSTEM_ROOT) -> Path | None:
    """The file to use: `path`, `$SIGPROBE_CONFIG`, the user's, the system's; None when there is none.

    A file that was named is taken as it is, there or not: naming it and getting another one would be worse than
    an error. A file that is there and cannot be looked at is taken too, so that the error is seen.
    """
    if path is not None:
        return path
    named = environ.get("SIGPROBE_CONFIG", "")
    if named:
        return Path(named)
    for candidate in (user_file(), system_file(root)):
        try:
            if candidate.exists():
                return candidate
        except OSError:
            return candidate
    return None


def queue_file() -> Path:
    """The queue of this user: `buffer.db` in the platform's data directory."""
    import platformdirs

    return platformdirs.user_data_path("sigprobe", appauthor=False) / "buffer.db"


SYSTEM_QUEUE: Final = Path("/var/lib/sigprobe/buffer.db")
"""The queue of a system install, shared by cron, agent and officer."""


def default_queue(settings: Path) -> Path:
    """The queue that settings without `buffer.path` mean: the shared one with the system's file, else this user's.

    Whether this user may write the shared queue makes no difference: a second queue that nobody looks at would be
    worse than an error. Only where its directory was never made is there nothing to share.
    """
    return SYSTEM_QUEUE if is_system(settings) and _is_directory(SYSTEM_QUEUE.parent) else queue_file()


def is_closed(queue: Path) -> bool:
    """True for the shared queue when this user may not write its directory."""
    return queue == SYSTEM_QUEUE and _is_directory(queue.parent) and not os.access(queue.parent, os.W_OK | os.X_OK)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # one that may not be looked at is there
        return True


def log_file() -> Path:
    """The log of this user."""
    import platformdirs

    return platformdirs.user_log_path("sigprobe", appauthor=False) / "sigprobe.log"
