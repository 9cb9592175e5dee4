"""Set a broken queue file aside: the database, its -wal, its -shm and its -journal together.

They move into `quarantine/`, which is never emptied automatically. `salvage.py` saves what verifies.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from sigprobe.buffer import identity, schema
from sigprobe.files.atomic import sync_directory

BROKEN: Final = ".db.broken"
TAKEN: Final = ".db.taken"
"""Nothing is wrong with such a file: it was kept beside one of a newer version, which can be read by now."""

_UNSAVED: Final = ".unsaved"
_MAGIC: Final = b"SQLite format 3\x00"
_NEIGHBOURS: Final = ("-wal", "-journal", "-shm")


def directory(path: Path) -> Path:
    """Return the directory for files set aside from the queue at `path`."""
    return path.parent / "quarantine"


def homes(path: Path) -> tuple[Path, Path]:
    """Return both directories to search: the quarantine, and the queue's own if that could not be created."""
    return directory(path), path.parent


def files(path: Path) -> tuple[str, ...]:
    """Return the databases that were set aside, oldest first."""
    return tuple(str(p) for p in _of(path, BROKEN))


def _of(path: Path, ending: str) -> list[Path]:
    """Return files of this queue there; another queue may share the directory."""
    found = [p for home in homes(path) for p in sorted(home.glob(f"*{ending}"))]
    # our own file beside one of a newer version is the same queue: buffer.v1-…
    mine = re.compile(rf"{re.escape(path.stem)}(?:\.v\d+)?-\d{{8}}T\d{{6}}-\d+{re.escape(ending)}")
    return [p for p in found if mine.fullmatch(p.name)]


def look(path: Path) -> str | None:
    """Inspect the file before SQLite may write to it; None when it is missing and a new one may be created.

    Otherwise returns the journal mode in its header: "wal" or "rollback".

    Raises NewerVersionError for a queue of a newer version, which must stay untouched. Raises ForeignFileError or
    apsw.NotADBError for any other file. Raises OSError for anything but a file, which is a configuration error.
    """
    wal = _size(path.with_name(path.name + "-wal"))
    try:
        status = path.stat()
    except FileNotFoundError:
        status = None
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a file")
    if status is None or status.st_size == 0:
        if wal:
            # SQLite would delete a -wal without its database, and with it the newest records
            raise apsw.NotADBError("the database is gone, its -wal is not")
        return None
    with path.open("rb") as file:
        header = file.read(100)
    if not header.startswith(_MAGIC):
        # a first run that ended in a power failure leaves its journal, which repairs the file
        if _size(path.with_name(path.name + "-journal")):
            return "rollback"
        raise apsw.NotADBError("the file is no database")
    version = int.from_bytes(header[60:64], "big")
    application = int.from_bytes(header[68:72], "big")
    if version > schema.HIGHEST_VERSION and application in (0, schema.APPLICATION_ID):
        raise apsw.CorruptError(f"version {version} is none")
    if application == schema.APPLICATION_ID and version > schema.VERSION:
        raise schema.NewerVersionError(f"version {version}, this sigprobe knows {schema.VERSION}")
    if application not in (0, schema.APPLICATION_ID):
        raise schema.ForeignFileError(f"application id {application}")
    return "wal" if header[18] == 2 else "rollback"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def beside_newer(path: Path, version: int) -> Path:
    """Return the name of our own file beside one of a newer version: `buffer.v1.db`."""
    return path.with_name(f"{path.stem}.v{version}{path.suffix}")


def beside_older(path: Path) -> list[Path]:
    """Return the files that this version and older ones kept beside a newer queue at `path`."""
    name = re.compile(rf"{re.escape(path.stem)}\.v(\d{{1,6}}){re.escape(path.suffix)}")
    found = ((name.fullmatch(p.name), p) for p in path.parent.glob(f"{glob.escape(path.stem)}.v*{path.suffix}"))
    return sorted(p for match, p in found if match is not None and int(match[1]) <= schema.VERSION)


def set_aside(path: Path, reason: str, at: str, ending: str = BROKEN) -> Path:
    """Move the file with all its companions into `quarantine/`; return its new path.

    The name has the time for people and a number in case the clock is constant. A mark beside it says that it is not
    salvaged yet.
    """
    home = directory(path)
    try:
        identity.make_private_directory(home)
        writable = os.access(home, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        home = path.parent
    stamp = at.replace(":", "").replace("-", "").partition(".")[0]
    number = 1
    while any(home.glob(f"{path.stem}-{stamp}-{number}{ending}*")):
        number += 1
    aside = home / f"{path.stem}-{stamp}-{number}{ending}"
    mark(aside).touch()  # nothing is moved before the mark for salvaging is stored
    # the -wal first: after an interruption here, the database without its -wal is found broken again; in the
    # other order, another file's -wal would be beside the fresh database
    for suffix in _NEIGHBOURS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    try:
        path.rename(aside)
    except FileNotFoundError:
        with suppress(OSError):
            aside.touch()  # only the -wal was left: it is listed under its database's name
    for place in {home, path.parent}:
        sync_directory(place)
    with suppress(OSError):  # the note is for people; a full disk must not stop collection
        aside.with_name(aside.name + ".txt").write_text(f"{at} {reason}\n", encoding="utf-8")
    return aside


def mark(aside: Path) -> Path:
    """Return the mark of a file that was set aside and is not completely salvaged."""
    return aside.with_name(aside.name + _UNSAVED)


def unsaved(path: Path) -> list[Path]:
    """Return the files set aside from the queue at `path` that still have their mark, the oldest first.

    The mark decides, not the file: after an interrupted move there may be only a -wal.
    """
    marks = [p for ending in (BROKEN, TAKEN) for p in _of(path, ending + _UNSAVED)]
    return [p.with_name(p.name.removesuffix(_UNSAVED)) for p in marks]
