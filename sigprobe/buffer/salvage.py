"""Salvage verified records from a file that was set aside: through SQLite if readable, else from its raw pages.

Works in pages, on the new queue already in use, and may be interrupted at any point. A mark beside the file stays until
all is done, and repeating it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw

from sigprobe.buffer import page_recovery, quarantine, rows
from sigprobe.buffer.errors import StorageError
from sigprobe.buffer.page_recovery import RecoveredRecord, StoredState
from sigprobe.buffer.rows import State

Write = Callable[[Callable[[apsw.Connection], int], int], int]
"""Does the work in a transaction, where there is room for so many bytes of lines; returns what it returns."""
Usage = tuple[str, str, int]

_TRIES: Final = 5

_RECORDS: Final = (
    "SELECT pos, CAST(id AS BLOB), CAST(sha256 AS BLOB), CAST(put_at AS BLOB), urgent, own, CAST(line AS BLOB)"
    " FROM record ORDER BY pos"
)
_STATES_QUERY: Final = (
    "SELECT pos, state, CAST(at AS BLOB), CAST(seal AS BLOB), CAST(collector AS BLOB), CAST(reason AS BLOB) FROM fate"
)


def unfinished(path: Path, write: Write) -> int:
    """Salvage every marked file set aside from the queue at `path`; return how many records were saved.

    A failed file stays marked and is retried at the next opening; failures never stop collection. A file with
    unreadable parts is given up after some attempts: bad sectors are permanent, and reading them takes long.
    """
    saved = 0

    def counted(work: Callable[[apsw.Connection], int], size: int) -> int:
        nonlocal saved
        count = write(work, size)
        saved += count
        return count

    for aside in quarantine.unsaved(path):
        mark = quarantine.mark(aside)
        try:
            complete = salvage(aside, counted)
        except (StorageError, apsw.Error, OSError):
            continue  # most likely no space in the new file: not an error of the old one
        with suppress(OSError):
            if complete or mark.stat().st_size >= _TRIES:
                mark.unlink(missing_ok=True)
            else:
                with mark.open("ab") as file:
                    file.write(b".")
    return saved


def salvage(aside: Path, write: Write) -> bool:
    """Copy every verified record of a broken file into the new one, with its state, if the state's checksum verifies.

    Returns True when the whole file could be read. Unreadable records stay in the broken file, which is kept.
    """
    whole, states, usage = _survey(aside)

    def take(page: list[RecoveredRecord]) -> None:
        write(partial(_take, page=page, states=states), sum(len(record.line) for record in page))

    if whole:
        try:
            for page in rows.batched(_by_sqlite(aside)):
                take(page)
        except apsw.Error:
            whole = False
    complete = True
    if not whole:
        with suppress(apsw.Error):
            for page in rows.batched(_by_sqlite(aside)):
                take(page)
        with page_recovery.PageRecovery(aside) as recovery:
            for pos, more in recovery.states().items():
                states.setdefault(pos, []).extend(more)
            for page in rows.batched(recovery.records()):
                take(page)
            complete = recovery.complete
    if usage:
        write(partial(_count, usage=usage), 0)
    return complete


def _take(db: apsw.Connection, page: list[RecoveredRecord], states: dict[int, list[StoredState]]) -> int:
    new = 0
    for record in page:
        if db.execute("SELECT 1 FROM record WHERE id = ?", (record.id,)).get is not None:
            continue
        values = (record.id, record.sha256, record.put_at, record.urgent, record.own, record.line)
        db.execute(rows.INSERT, values)
        pos = db.last_insert_rowid()
        new += 1
        proved = [
            kept
            for kept in states.get(-1 if record.pos is None else record.pos, ())
            if kept.state in (State.ACKED, State.REJECTED, State.CARRIED)
            and rows.state_checksum(record.id, kept.state) == kept.checksum
        ]
        # an unverified state counts as pending: sent again, the collector answers `duplicate`
        for kept in sorted(proved, key=lambda kept: kept.state)[:1]:
            db.execute(
                "INSERT INTO fate (pos, state, at, seal, collector, reason) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    pos,
                    kept.state,
                    kept.at,
                    kept.checksum,
                    kept.collector,
                    kept.reason,
                ),
            )
    return new


def _count(db: apsw.Connection, usage: list[Usage]) -> int:
    for day, interface, count in usage:
        # the larger of the two: the new file has counted little so far, and a repetition adds nothing
        db.execute(
            "INSERT INTO usage VALUES (?, ?, ?) ON CONFLICT (day, interface)"
            " DO UPDATE SET bytes = max(bytes, excluded.bytes)",
            (day, interface, count),
        )
    return len(usage)


# --- by SQLite ----------------------------------------------------------------------------------------------


def _opened(aside: Path) -> apsw.Connection:
    try:
        size = aside.stat().st_size
    except OSError:
        size = 0
    if size == 0:
        # SQLite would delete the -wal beside it
        raise apsw.CantOpenError("the database is empty")
    old = apsw.Connection(str(aside), flags=apsw.SQLITE_OPEN_READONLY)
    old.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    old.pragma("cell_size_check", 1)
    return old


def _by_sqlite(aside: Path) -> Iterator[RecoveredRecord]:
    old = _opened(aside)
    try:
        for pos, name, digest, put_at, urgent, own, line in old.execute(_RECORDS):
            record = rows.text(name)
            if record is not None and rows.verifies(record, digest, line):
                yield RecoveredRecord(pos, record, digest, rows.text(put_at) or "", bool(urgent), bool(own), line)
    finally:
        with suppress(apsw.Error):
            old.close()


def _survey(aside: Path) -> tuple[bool, dict[int, list[StoredState]], list[Usage]]:
    """Return whether SQLite can read every record, the states, and the data counters."""
    states: dict[int, list[StoredState]] = {}
    usage: list[Usage] = []
    try:
        old = _opened(aside)
    except apsw.Error:
        return False, states, usage
    try:
        with suppress(apsw.Error):
            usage.extend(_usage(old))
        try:
            for pos, state, at, seal, collector, reason in old.execute(_STATES_QUERY):
                kept = StoredState(
                    pos, state, rows.text(at) or "", seal or b"", rows.text(collector), rows.text(reason)
                )
                states[pos] = [kept]
            by_table = old.execute("SELECT count(*) FROM record NOT INDEXED").get
            by_index = old.execute("SELECT count(*) FROM record INDEXED BY sqlite_autoindex_record_1").get
            sound = sum(1 for _ in _by_sqlite(aside))
            return by_table == by_index == sound and by_table > 0, states, usage
        except apsw.Error:
            return False, states, usage
    finally:
        with suppress(apsw.Error):
            old.close()


def _usage(old: apsw.Connection) -> Iterator[Usage]:
    row: tuple[Any, ...]
    for row in old.execute("SELECT CAST(day AS BLOB), CAST(interface AS BLOB), bytes FROM usage"):
        day, interface = rows.text(row[0]), rows.text(row[1])
        if day is not None and interface is not None and isinstance(row[2], int) and row[2] >= 0:
            yield day, interface, row[2]
