"""Who this queue belongs to: the probe's id, the boot, and the rights of the files."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_UUID: Final = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def make_directory(path: Path) -> None:
    """Make the queue's directory, private to the user; one that exists keeps its rights."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def shared_directory(path: Path) -> bool:
    """True for a system install's directory: group-writable with the set-group-id bit (2770)."""
    mode = path.stat().st_mode
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def share_with_group(path: Path) -> None:
    """In a shared directory let the group write the queue's files, whatever the umask was."""
    if shared_directory(path.parent):
        for name in (path.name, path.name + "-wal", path.name + "-shm", path.name + ".lock"):
            with suppress(OSError):  # another user's file already has the right mode
                (path.parent / name).chmod(0o660)


def probe_id(directory: Path, mint: Callable[[], str]) -> str:
    """Read `probe-id`, or make it: random, at first use, never from hardware.

    Made whole beside its place and then linked, so that of two first runs at once one wins and both agree. One
    that does not hold a UUID (a torn write of an old power cut) is replaced.
    """
    path = directory / "probe-id"
    for _ in range(3):
        with suppress(OSError):
            text = path.read_text(encoding="ascii", errors="replace").strip()
            if _UUID.match(text):
                return text
            path.rename(directory / "probe-id.damaged")
        fd, temporary = tempfile.mkstemp(prefix=".probe-id-", dir=directory)
        try:
            os.write(fd, (mint() + "\n").encode("ascii"))
            os.fchmod(fd, 0o660 if shared_directory(directory) else 0o600)
            os.fsync(fd)
            with suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            os.close(fd)
            Path(temporary).unlink()
        _sync_directory(directory)
    raise OSError(f"{path} cannot be made")


def _sync_directory(directory: Path) -> None:
    with suppress(OSError):  # not every file system lets a directory be opened
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def boot_id(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> str | None:
    """The boot this process lives in; None where the system does not say."""
    with suppress(OSError):
        return path.read_text(encoding="ascii").strip() or None
    return None
