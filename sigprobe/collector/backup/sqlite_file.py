"""Copy a SQLite database with its online backup API, and restore one from such a copy.

A copy is made beside its place, checked as a whole, synced, and only then named: a file with the wanted name is a
complete database. In WAL mode the source is read inside one transaction, so the copy is one moment of it, and writers
go on meanwhile. Without WAL (see `store/engine.py`) writers wait until the copy is made.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sigprobe.collector.backup.copy import BackupError, Copy, Progress, no_progress, put_in_place, require_file
from sigprobe.collector.store import epochs
from sigprobe.collector.store.database_causes import cause
from sigprobe.collector.store.engine import BUSY_S, open_unchanged, sqlite_driver
from sigprobe.files.atomic import sync_directory
from sigprobe.record.messages import N_, MessageError

_PAGES_A_STEP: Final = 2_000
_BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""Endings of the files that SQLite would read together with a database of this name."""


def back_up(source: Path, place: Path, progress: Progress = no_progress) -> Copy:
    """Copy a database that may be in use to a new file. Raises BackupError."""
    require_file(source)
    if os.path.lexists(place):
        raise BackupError("exists", str(place))
    with _draft(place) as draft:
        _copy(source, draft, progress)
        results = _verify(draft)
        return _finish(draft, place, results)


def restore(source: Path, place: Path, progress: Progress = no_progress) -> Copy:
    """Make a new database from a copy; readers of `/v1/results` begin a new history. Raises BackupError."""
    require_file(source)
    for ending in _BESIDE:
        beside = place.with_name(place.name + ending)
        if os.path.lexists(beside):
            # a journal of the former database would be played into this one
            raise BackupError("exists", str(beside))
    with _draft(place) as draft:
        _copy(source, draft, progress)
        results = _verify(draft)
        engine = open_unchanged(f"sqlite:///{draft}")
        try:
            epochs.begin_if_known(engine)
        finally:
            engine.dispose()
        _single_file(draft)
        return _finish(draft, place, results)


@contextmanager
def _draft(place: Path) -> Iterator[Path]:
    """Provide an empty private file beside the place; what is left of it is removed."""
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{place.name}-", suffix=".partial", dir=place.parent)
    except OSError as error:
        raise BackupError("unwritable", error, str(error)) from error
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
    except (OSError, sqlite_driver().Error) as error:
        raise BackupError(*_reason(error)) from error
    finally:
        for ending in _BESIDE:
            with suppress(OSError):
                draft.with_name(draft.name + ending).unlink(missing_ok=True)


def _reason(error: Exception) -> tuple[str, str | MessageError | OSError, str]:
    if isinstance(error, OSError):
        return "failed", error, str(error)
    kind = getattr(error, "sqlite_errorname", "")
    if kind == "SQLITE_NOTADB":
        return "not_ours", "", str(error)
    if kind.startswith("SQLITE_CORRUPT"):
        return "damaged", MessageError(N_("some of its pages cannot be read")), str(error)
    return "failed", cause(error), str(error)


def _connect(path: Path, mode: str) -> Any:
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"
    return sqlite_driver().connect(address, uri=True, timeout=BUSY_S, isolation_level=None)


def _copy(source: Path, draft: Path, progress: Progress) -> None:
    with closing(_connect(source, "ro")) as reader, closing(_connect(draft, "rw")) as writer:
        writer.execute("PRAGMA synchronous=OFF")  # synced as a whole at the end
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        # the transaction holds one moment; without it every foreign write would start the copy over
        reader.backup(writer, pages=_PAGES_A_STEP, progress=lambda _s, left, whole: progress(whole - left, whole))
        reader.execute("ROLLBACK")
    _single_file(draft)


def _single_file(path: Path) -> None:
    with closing(_connect(path, "rw")) as connection:
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'epochs'").fetchone() is not None:
            # however this copy becomes a collector's database, its readers must learn of it: see `store/epochs.py`
            connection.execute("UPDATE epochs SET fingerprint = 'copy'")


def _verify(path: Path) -> int:
    """Read every page; how many results there are."""
    with closing(_connect(path, "ro")) as connection:
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise BackupError(
                "damaged", MessageError(N_("some of its pages cannot be read")), str(found).splitlines()[-1]
            )
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "results" not in tables or "schema_version" not in tables:
            raise BackupError("not_ours")
        return int(connection.execute("SELECT count(*) FROM results").fetchone()[0])


def _finish(draft: Path, place: Path, results: int) -> Copy:
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    size = draft.stat().st_size
    put_in_place(draft, place)
    sync_directory(place.parent)
    return Copy(place, size, results)
