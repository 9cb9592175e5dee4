"""When a queue file is broken: set it aside whole, go on with a fresh one, and save what verifies.

The broken file, its -wal and its -shm move together into `quarantine/`, which nothing here ever empties. Salvage
takes a record only when its stored SHA-256 matches its bytes, so an altered row is never sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw

from sigprobe.buffer import schema

_MAGIC: Final = b"SQLite format 3\x00"
_SMALLEST_RECORD: Final = 200
_TRIES: Final = 3_000_000


def directory(path: Path) -> Path:
    """Where files set aside from the queue at `path` lie."""
    return path.parent / "quarantine"


def files(path: Path) -> tuple[str, ...]:
    """The databases that were set aside, oldest first."""
    return tuple(str(p) for p in sorted(directory(path).glob("*.db.broken")))


def refuse_unreadable(path: Path, application_id: int, version: int) -> None:
    """Look at the header before SQLite may write to the file.

    Raises NewerVersionError for a queue of a newer version, which must stay untouched, and apsw.NotADBError for
    something that is no database at all. An empty file is a fresh one.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if not header:
        return
    if not header.startswith(_MAGIC):
        raise apsw.NotADBError("the file is no database")
    theirs = int.from_bytes(header[60:64], "big")
    if int.from_bytes(header[68:72], "big") == application_id and theirs > version:
        raise schema.NewerVersionError(f"version {theirs}, this sigprobe knows {version}")


def beside_newer(path: Path, version: int) -> Path:
    """The name of our own file beside one of a newer version: `buffer.v1.db`."""
    return path.with_name(f"{path.stem}.v{version}{path.suffix}")


def quick_check(db: apsw.Connection) -> None:
    """Raise apsw.CorruptError when SQLite finds the file damaged."""
    answer = db.execute("PRAGMA quick_check(1)").get
    if answer != "ok":
        raise apsw.CorruptError(str(answer))


def set_aside(path: Path, reason: str, at: str) -> Path:
    """Move the file with its -wal and -shm into `quarantine/`; returns its new place.

    The name carries the time for people and a number against a clock that stands still.
    """
    home = directory(path)
    home.mkdir(mode=0o770, exist_ok=True)
    stamp = at.replace(":", "").replace("-", "").partition(".")[0]
    number = 1
    while (home / f"{path.stem}-{stamp}-{number}.db.broken").exists():
        number += 1
    aside = home / f"{path.stem}-{stamp}-{number}.db.broken"
    # the -wal first: were this cut short, the database without its -wal would be found broken again, and the
    # other way round a stranger's -wal would lie beside the fresh file
    for suffix in ("-wal", "-shm", ""):
        source = path.with_name(path.name + suffix)
        with suppress(FileNotFoundError):
            source.rename(aside.with_name(aside.name + suffix))
    with suppress(OSError):  # the note is for people; a full disk must not stop collection
        aside.with_name(aside.name + ".txt").write_text(f"{at} {reason}\n", encoding="utf-8")
    return aside


def salvage(aside: Path, into: apsw.Connection) -> int:
    """Copy every record of a broken file that verifies into a fresh one, with its state. Returns how many.

    Best effort by nature: whatever cannot be read stays in the broken file, which is kept.
    """
    saved = 0
    try:
        old = apsw.Connection(str(aside))
    except apsw.Error:
        return 0
    try:
        # reading must not fold the -wal into the evidence
        old.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        old.pragma("cell_size_check", 1)
        fates = dict(_fates(old))
        into.execute("BEGIN IMMEDIATE")
        try:
            for pos, name, digest, put_at, urgent, own, line in _records(old, aside.stat().st_size):
                if not _verifies(name, digest, line):
                    continue
                with suppress(apsw.ConstraintError):  # the same id was already saved
                    into.execute(
                        "INSERT INTO record (id, sha256, put_at, urgent, own, line) VALUES (?, ?, ?, ?, ?, ?)",
                        (name, digest, str(put_at), int(bool(urgent)), int(bool(own)), line),
                    )
                    # a fate that cannot be read counts as pending: sent again, the collector says `duplicate`
                    if pos in fates:
                        into.execute("INSERT INTO fate VALUES (?, ?, ?, ?, ?)", (into.last_insert_rowid(), *fates[pos]))
                    saved += 1
            _copy_usage(old, into)
            into.execute("COMMIT")
        except BaseException:
            if into.in_transaction:
                into.execute("ROLLBACK")
            raise
    except (apsw.Error, OSError):
        return 0
    finally:
        with suppress(apsw.Error):
            old.close()
    return saved


def _verifies(name: object, digest: object, line: object) -> bool:
    if not (isinstance(name, str) and isinstance(digest, bytes) and isinstance(line, bytes)):
        return False
    if hashlib.sha256(line).digest() != digest:
        return False
    try:
        # the id column must be the record's own, or a receipt would settle the wrong row
        return bool(json.loads(line).get("id") == name)
    except (ValueError, AttributeError):
        return False


_COLUMNS: Final = "SELECT pos, id, sha256, put_at, urgent, own, line FROM record"


def _records(old: apsw.Connection, size: int) -> Iterator[tuple[Any, ...]]:
    """All records in order; from the first damaged page on, one by one around the damage."""
    last = 0
    try:
        for row in old.execute(f"{_COLUMNS} ORDER BY pos"):
            last = row[0]
            yield row
        return
    except apsw.Error:
        pass
    most = last + min(_TRIES, size // _SMALLEST_RECORD + 1000)
    with suppress(apsw.Error):
        most = max(last, min(most, int(old.execute("SELECT max(pos) FROM record").get or 0)))
    for pos in range(last + 1, most + 1):
        with suppress(apsw.Error):
            yield from old.execute(f"{_COLUMNS} WHERE pos = ?", (pos,))


def _fates(old: apsw.Connection) -> Iterator[tuple[int, tuple[Any, ...]]]:
    with suppress(apsw.Error):
        for pos, state, at, collector, reason in old.execute(
            "SELECT pos, state, at, collector, reason FROM fate ORDER BY pos"
        ):
            if isinstance(pos, int) and state in (1, 2, 3):
                yield pos, (state, at, collector, reason)


def _copy_usage(old: apsw.Connection, into: apsw.Connection) -> None:
    with suppress(apsw.Error):
        for day, interface, count in old.execute("SELECT day, interface, bytes FROM usage"):
            if isinstance(day, str) and isinstance(interface, str) and isinstance(count, int) and count >= 0:
                into.execute("INSERT OR REPLACE INTO usage VALUES (?, ?, ?)", (day, interface, count))
