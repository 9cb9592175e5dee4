"""Maintain the queue's tables: statistics, statuses, pruning, an index that has lost records."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final, TypeAlias

import apsw

from sigprobe.buffer import rows
from sigprobe.buffer.rows import PAGE, PENDING, Imported, State, Stats

Decision: TypeAlias = tuple[str, tuple[Any, ...]]
"""A statement that settles one record, and its values; the last names the record."""

END_OF_TIME: Final = "9999-12-31T23:59:59.999Z"
"""Later than any time that is written into rows: `file.clock_text` holds its readings before it."""


def size(db: apsw.Connection) -> int:
    """Bytes of the file's pages in use."""
    return int((db.pragma("page_count") - db.pragma("freelist_count")) * db.pragma("page_size"))


def stats(
    db: apsw.Connection, *, max_bytes: int, set_aside_files: tuple[str, ...], newer_files: tuple[str, ...]
) -> Stats:
    """Return the statistics of the queue, with those of its directory."""
    counts = dict(db.execute("SELECT state, count(*) FROM fate GROUP BY state"))
    named = {state: counts.pop(int(state), 0) for state in State}
    oldest = f"SELECT CAST(put_at AS BLOB) FROM record WHERE own = 1 AND {PENDING} ORDER BY pos LIMIT 1"  # noqa: S608
    last = "SELECT CAST(value AS BLOB) FROM note WHERE name = 'last_upload_at'"
    return Stats(
        pending=int(db.execute(rows.COUNT_PENDING).get),
        acked=named[State.ACKED],
        rejected=named[State.REJECTED],
        carried=named[State.CARRIED],
        damaged=named[State.DAMAGED] + sum(counts.values()),
        oldest_pending_at=rows.text(db.execute(oldest).get),
        last_upload_at=rows.text(db.execute(last).get),
        size_bytes=size(db),
        max_bytes=max_bytes,
        set_aside_files=set_aside_files,
        newer_files=newer_files,
    )


def imported(db: apsw.Connection) -> Imported:
    """Count the records of other devices by state, and find when the oldest waiting one was imported."""
    joined = "record LEFT JOIN fate ON fate.pos = record.pos"
    counts = dict(db.execute(f"SELECT coalesce(state, 0), count(*) FROM {joined} WHERE own = 0 GROUP BY 1"))  # noqa: S608
    named = {state: counts.pop(int(state), 0) for state in State}
    oldest = f"SELECT CAST(put_at AS BLOB), line FROM record WHERE own = 0 AND {PENDING} ORDER BY pos LIMIT 1"  # noqa: S608
    put_at, line = db.execute(oldest).fetchone() or (None, None)
    return Imported(
        pending=named[State.PENDING],
        acked=named[State.ACKED],
        rejected=named[State.REJECTED],
        carried=named[State.CARRIED],
        damaged=named[State.DAMAGED] + sum(counts.values()),
        oldest_pending_at=rows.text(put_at),
        oldest_pending_line=None if line is None else bytes(line),
    )


def decide(db: apsw.Connection, decisions: Iterable[Decision]) -> int:
    """Apply final statuses; return how many changed something. Raises apsw.CorruptError as `hold_index` does."""
    changed = 0
    vain = []
    for query, values in decisions:
        db.execute(query, values)
        if db.changes() == 0:
            vain.append(str(values[-1]))
        changed += db.changes()
    hold_index(db, vain)
    return changed


def hold_index(db: apsw.Connection, names: Collection[str]) -> None:
    """Raise apsw.CorruptError when a record exists but its index entry is missing: it could never be settled."""
    lost = {name for name in names if db.execute("SELECT 1 FROM record WHERE id = ?", (name,)).get is None}
    # a receipt may name unknown records: the table is read once for all of them
    there = db.execute("SELECT CAST(id AS BLOB) FROM record NOT INDEXED") if lost else ()
    if any(rows.text(name) in lost for (name,) in there):
        raise apsw.CorruptError("the index of the ids has lost records")


def prune(db: apsw.Connection, acked_before: str, most: int = PAGE) -> int:
    """Delete a page of records acknowledged before that time (RFC 3339 UTC), the oldest acks first.

    Returns how many states were examined, so that 0 means none is left.

    The last record is never deleted, so that its position is never assigned again.
    """
    # not those of exactly that moment: a clock before 1970 or after 9999 always writes the same one
    found: list[tuple[Any, ...]] = db.execute(
        "SELECT fate.pos, CAST(id AS BLOB), CAST(seal AS BLOB) FROM fate JOIN record ON record.pos = fate.pos"
        " WHERE state = 1 AND at < ? AND fate.pos < (SELECT max(pos) FROM record) ORDER BY at LIMIT ?",
        (acked_before, most),
    ).fetchall()
    for pos, name, proof in found:
        if proof == rows.state_checksum(rows.text(name) or "", State.ACKED):
            db.execute("DELETE FROM record WHERE pos = ?", (pos,))
        else:
            # a damaged state proves nothing: the record is pending again, and the answer is `duplicate` if stored
            db.execute("DELETE FROM fate WHERE pos = ?", (pos,))
    return len(found)
