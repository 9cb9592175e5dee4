"""Read or create the probe's id, read the boot id, and set the permissions of the queue's files."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sigprobe.files.atomic import sync_directory, write_whole

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_UUID: Final = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_SHARED: Final = 0o660
_PRIVATE: Final = 0o600


def make_directory(path: Path) -> None:
    """Create the queue's directory, private to the user; an existing one keeps its permissions."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def shared_directory(path: Path) -> bool:
    """Return True for a system install's directory: group-writable with the set-group-id bit (2770)."""
    mode = path.stat().st_mode
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def file_mode(directory: Path) -> int:
    """Return the permissions of the queue's files, whatever the umask: 0660 when shared, 0600 when not."""
    return _SHARED if shared_directory(directory) else _PRIVATE


def open_beside(path: Path) -> int:
    """Open a file of the queue for reading and writing; create it with its permissions if it is missing."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        mode = file_mode(path.parent)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
        if stat.S_IMODE(os.fstat(fd).st_mode) != mode and hasattr(os, "fchmod"):
            with suppress(PermissionError):  # another user created it a moment ago and sets its permissions
                os.fchmod(fd, mode)
        return fd


def create_file(path: Path) -> None:
    """Create the empty file of a new queue, and sync its directory. SQLite copies its permissions to -wal and -shm."""
    os.close(open_beside(path))
    sync_directory(path.parent)


def make_private_directory(path: Path) -> None:
    """Create a directory of the queue with the permissions of its files."""
    path.mkdir(mode=0o770, exist_ok=True)
    with suppress(PermissionError):
        path.chmod(0o2770 if shared_directory(path.parent) else 0o700)


def probe_id(directory: Path, mint: Callable[[], str]) -> str:
    """Read `probe-id`, or create it: random, at first use, never from hardware.

    It is written to a temporary file and then linked. If two first runs compete, one wins and both agree. A file
    without a UUID (a torn write after a power cut) is renamed to `probe-id.damaged`.
    """
    path = directory / "probe-id"
    for _ in range(5):
        with suppress(FileNotFoundError):
            text = path.read_text(encoding="ascii", errors="replace").strip()
            if _UUID.match(text):
                return text
            # another first run may have replaced it since it was read: remove only the damaged content
            damaged = directory / "probe-id.damaged"
            path.rename(damaged)
            if _UUID.match(damaged.read_text(encoding="ascii", errors="replace").strip()):
                with suppress(FileExistsError):
                    os.link(damaged, path)
        _offer(path, mint() + "\n")
        sync_directory(directory)
    raise OSError(f"{path} cannot be made")


def replace_probe_id(directory: Path, name: str) -> None:
    """Replace `probe-id` atomically and durably. Raises OSError."""
    replace_file(directory / "probe-id", name + "\n")


def replace_file(path: Path, text: str) -> None:
    """Replace a small file of the queue atomically and durably, with the queue's permissions. Raises OSError."""
    write_whole(path, text, file_mode(path.parent))
    sync_directory(path.parent)


def _offer(path: Path, text: str) -> None:
    """Create the complete file, unless there is one by now."""
    fd, temporary = tempfile.mkstemp(prefix=".probe-id-", dir=path.parent)
    try:
        os.write(fd, text.encode("ascii"))
        if hasattr(os, "fchmod"):
            os.fchmod(fd, file_mode(path.parent))
        os.fsync(fd)
        os.close(fd)
        fd = -1
        with suppress(FileExistsError):
            try:
                os.link(temporary, path)
            except PermissionError:  # FAT and some FUSE file systems have no links
                if not path.exists():
                    Path(temporary).rename(path)
    finally:
        if fd >= 0:
            os.close(fd)
        Path(temporary).unlink(missing_ok=True)


def boot_id(path: Path = BOOT_ID) -> str | None:
    """Return the boot id: a UUID of the kernel for this boot; None if the system has none."""
    try:
        text = path.read_text(encoding="ascii").strip().lower()
    except (OSError, ValueError):
        return None
    return text if _UUID.match(text) else None
