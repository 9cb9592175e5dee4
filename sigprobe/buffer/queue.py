"""The queue itself. A record is durable when `put` returns, and leaves only on a verified answer.

Order is the order of `put` (`pos`); the clock decides nothing but which records are urgent.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from sigprobe.buffer import ballast, identity, quarantine, schema
from sigprobe.buffer.errors import BufferLimitError, DiskFullError, storage_errors
from sigprobe.buffer.guard import Guard, choose_guard, connect
from sigprobe.buffer.lock import FileLock
from sigprobe.result import RUN_KIND, Outcome, Result, format_time, new_id

URGENT_FOR: Final = timedelta(hours=1)
KEEP_ACKED: Final = timedelta(days=7)
_CHECK_ALWAYS_BYTES: Final = 64 * 1024 * 1024
_CHECK_EVERY: Final = timedelta(hours=24)
_PAGE: Final = 500
_LIMIT_EVERY: Final = 32
"""How many puts may pass between two looks at the size: 32 records are some 40 kB."""


_COUNT_PENDING: Final = "SELECT (SELECT count(*) FROM record) - (SELECT count(*) FROM fate)"
# fixed words of SQL; the values are always bound
_PENDING: Final = "NOT EXISTS (SELECT 1 FROM fate f WHERE f.pos = record.pos)"
_DECIDE: Final = "INSERT INTO fate SELECT pos, ?, ?, ?, ? FROM record"
_AGAIN: Final = (
    "ON CONFLICT (pos) DO UPDATE SET state = excluded.state, at = excluded.at,"
    " collector = excluded.collector, reason = excluded.reason"
)


_T = TypeVar("_T")


def batched(items: Iterable[_T], most: int = _PAGE) -> Iterator[list[_T]]:
    """Cut a long run into pages, each read before a transaction begins."""
    waiting = iter(items)
    while page := list(islice(waiting, most)):
        yield page


class State(IntEnum):
    """What has become of a record."""

    PENDING = 0
    ACKED = 1
    REJECTED = 2
    CARRIED = 3
    DAMAGED = 4


@dataclass(frozen=True, slots=True)
class Stored:
    """A record that is on disk: its bytes, fixed for good."""

    pos: int
    result: Result
    line: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it lies in the queue. Times are RFC 3339 UTC."""

    pos: int
    id: str
    line: bytes
    sha256: bytes
    put_at: str
    own: bool
    state: State
    at: str | None
    collector: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a receipt settled: ids taken by the collector, and ids it will not take, each with its reason."""

    acked: Sequence[str] = ()
    rejected: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Stats:
    """The queue in numbers. `size_bytes` counts the file's pages in use."""

    pending: int
    acked: int
    rejected: int
    carried: int
    damaged: int
    oldest_pending_at: str | None
    last_upload_at: str | None
    size_bytes: int
    max_bytes: int
    set_aside_files: tuple[str, ...]
    newer_files: tuple[str, ...]


class Buffer:
    """The durable queue in one SQLite file. One object serves one thread; any number of processes may share it.

    Opening never fails because of what the file holds: a corrupt or foreign one is set aside into `quarantine/`,
    one of a newer version is left untouched and a fresh one is opened beside it. It raises StorageError when no
    file can be written at all.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_mb: int = 256,
        now: Callable[[], float] = time.time,
        vfs: str | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.configured_path = path
        self.path = path
        self.max_bytes = max_mb * 1_000_000
        self._now = now
        self._vfs = vfs
        self._wanted_guard = guard
        self._db: apsw.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._puts = 0
        self._settled_up_to = 0  # every record up to here has its fate: where the search for pending ones begins
        self.set_aside_now = False
        """True when a broken file had to be set aside while this object was open."""
        self.salvaged = 0
        """Records saved out of a file that was set aside while this object was open."""
        with storage_errors():
            identity.make_directory(path.parent)
            self.probe_id = identity.probe_id(path.parent, lambda: str(uuid.uuid4()))
            self.boot_id = identity.boot_id()
            self._lock = FileLock(path.with_name(path.name + ".lock"))
            self._open()
            ballast.keep(self._ballast)

    # --- opening and setting aside --------------------------------------------------------------------------

    @property
    def _ballast(self) -> Path:
        return self.configured_path.with_name(self.configured_path.name + ".ballast")

    def _open(self) -> None:
        with self._lock.exclusive():
            self._open_locked()

    def _open_locked(self) -> None:
        self._close_database()
        for _ in range(4):
            try:
                self._connect()
                return
            except schema.NewerVersionError:
                self._close_database()
                self.path = quarantine.beside_newer(self.path, schema.VERSION)
            except (apsw.CorruptError, apsw.NotADBError, apsw.FormatError) as error:
                self._close_database()
                self._set_aside(str(error) or type(error).__name__)
        raise OSError(f"no usable queue file at {self.path}")

    def _connect(self) -> None:
        fresh = not self.path.exists()
        guard = self._wanted_guard or choose_guard(self.path)
        if not fresh:
            quarantine.refuse_unreadable(self.path, schema.APPLICATION_ID, schema.VERSION)
        db, self.guard = connect(self.path, guard, vfs=self._vfs)
        self._db = db
        identity.share_with_group(self.path)
        schema.migrate(db, new_id(self._now()))
        self.stream_id = str(db.execute("SELECT stream_id FROM stream").get)
        if not fresh and self._check_is_due(db):
            quarantine.quick_check(db)
            self._note("checked_at", self._time())
            self._note("checked_boot", self.boot_id or "")
        status = self.path.stat()
        self._inode = (status.st_dev, status.st_ino)

    def _check_is_due(self, db: apsw.Connection) -> bool:
        if self.path.stat().st_size <= _CHECK_ALWAYS_BYTES:
            return True
        checked = self._noted("checked_at")
        oldest = format_time(datetime.fromtimestamp(max(0.0, self._now()), UTC) - _CHECK_EVERY)
        return (
            checked is None
            or not oldest <= checked <= self._time()
            or self._noted("checked_boot") != (self.boot_id or "")
        )

    def _set_aside(self, reason: str) -> None:
        """Move the broken file away, open a fresh one at once, then save out of the old what verifies."""
        aside = quarantine.set_aside(self.path, reason, self._time())
        self._connect()
        assert self._db is not None
        self.set_aside_now = True
        self.salvaged += quarantine.salvage(aside, self._db)

    def _close_database(self) -> None:
        if self._db is not None:
            with suppress(apsw.Error):
                self._db.close()
            self._db = None

    def close(self) -> None:
        """Close the file. The queue stays as it is."""
        self._close_database()
        self._lock.close()

    def __enter__(self) -> Buffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        """One write transaction in the file that is in force, under the shared lock."""
        with storage_errors(), self._lock.shared():
            db = self._current()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                # a full disk or an I/O error may have rolled back by itself
                if db.in_transaction:
                    with suppress(apsw.Error):
                        db.execute("ROLLBACK")
                raise

    def _current(self) -> apsw.Connection:
        """The open database, unless another process has set its file aside since: then the new one."""
        try:
            status = self.path.stat()
            same = (status.st_dev, status.st_ino) == self._inode
        except FileNotFoundError:
            same = False
        if self._db is None or not same:
            self._close_database()
            self._connect()
        assert self._db is not None
        return self._db

    def _again_after_damage(self, work: Callable[[], Any]) -> Any:
        """Do it; when the file turns out to be damaged, set it aside and do it once more on a fresh one.

        An I/O error gets the same second try on a connection opened anew, as SQLite asks for.
        """
        try:
            return work()
        except Exception as error:
            cause = error.__cause__
            if isinstance(cause, (apsw.CorruptError, apsw.NotADBError)):
                with storage_errors(), self._lock.exclusive():
                    self._close_database()
                    try:
                        self._connect()
                        assert self._db is not None
                        quarantine.quick_check(self._db)
                    except (apsw.CorruptError, apsw.NotADBError) as damage:
                        self._close_database()
                        self._set_aside(str(damage) or str(cause))
                return work()
            if isinstance(cause, apsw.IOError):
                with storage_errors():
                    self._open()
                return work()
            raise

    # --- put ------------------------------------------------------------------------------------------------

    def put(self, result: Result) -> Stored:
        """Give the record its place and commit it to disk. Raises StorageError when it is NOT saved."""
        stored = self._again_after_damage(lambda: self._put(result))
        assert isinstance(stored, Stored)
        return stored

    def _put(self, result: Result) -> Stored:
        urgent = result.kind == RUN_KIND or result.outcome is Outcome.FAILED
        with self._transaction() as db:
            self._hold_limit(db)
            stream_id, seq = db.execute("SELECT stream_id, next_seq FROM stream").get
            placed = result.placed(probe_id=self.probe_id, stream_id=stream_id, seq=seq, boot_id=self.boot_id)
            line = placed.to_line()
            pos = self._insert(db, placed.id, line, urgent=urgent, own=True)
            db.execute("UPDATE stream SET next_seq = ?", (seq + 1,))
        return Stored(pos, placed, line)

    def _insert(self, db: apsw.Connection, name: str, line: bytes, *, urgent: bool, own: bool) -> int:
        db.execute(
            "INSERT INTO record (id, sha256, put_at, urgent, own, line) VALUES (?, ?, ?, ?, ?, ?)",
            (name, hashlib.sha256(line).digest(), self._time(), urgent, own, line),
        )
        return db.last_insert_rowid()

    def _hold_limit(self, db: apsw.Connection) -> None:
        self._puts += 1
        if self._puts % _LIMIT_EVERY != 1 or self._size(db) < self.max_bytes:
            return
        # what the collector holds may go before its seven days; what it does not hold never goes
        self._prune(db, format_time(datetime.max.replace(tzinfo=UTC)), most=_PAGE)
        if self._size(db) >= self.max_bytes:
            self._puts = 0  # look again at the very next put
            raise BufferLimitError(f"{self.path} has reached {self.max_bytes // 1_000_000} MB")

    @staticmethod
    def _size(db: apsw.Connection) -> int:
        return int((db.pragma("page_count") - db.pragma("freelist_count")) * db.pragma("page_size"))

    # --- peek and settle ------------------------------------------------------------------------------------

    def peek(self, most: int, most_bytes: int, skip: Collection[int] = ()) -> list[Row]:
        """The next pending records: failures and run records of the last hour first, else the oldest.

        At most `most` rows and `most_bytes` of lines, but always one when there is one; positions in `skip` are
        passed over. A row whose bytes no longer match their digest is marked `damaged` and not handed out.
        """
        rows = self._again_after_damage(lambda: self._peek(most, most_bytes, skip))
        assert isinstance(rows, list)
        return rows

    def _peek(self, most: int, most_bytes: int, skip: Collection[int]) -> list[Row]:
        now = datetime.fromtimestamp(max(0.0, self._now()), UTC)
        recent = format_time(max(now - URGENT_FOR, datetime.fromtimestamp(0, UTC)))
        taken: dict[int, Row] = {}
        broken: list[int] = []
        size = 0
        with storage_errors(), self._lock.shared():
            db = self._current()
            if self._settled_up_to > (db.execute("SELECT max(pos) FROM record").get or 0):
                self._settled_up_to = 0
            urgent = "urgent = 1 AND put_at BETWEEN ? AND ?"
            for where, values in ((urgent, (recent, format_time(now))), ("pos > ?", (self._settled_up_to,))):
                first = True
                for row in self._select(db, f"{_PENDING} AND {where}", values, most + len(skip)):
                    if first and where != urgent:
                        self._settled_up_to = row.pos - 1
                    first = False
                    if len(taken) >= most or (taken and size + len(row.line) > most_bytes):
                        break
                    if row.pos in taken or row.pos in skip:
                        continue
                    if hashlib.sha256(row.line).digest() != row.sha256:
                        broken.append(row.pos)
                        continue
                    taken[row.pos] = row
                    size += len(row.line) + 1
        if broken:
            self._mark(broken, State.DAMAGED, reason="stored bytes do not match their digest")
        return list(taken.values())

    @staticmethod
    def _select(db: apsw.Connection, where: str, values: Sequence[Any], most: int) -> Iterator[Row]:
        # `where` is made of fixed words of this file; values are always bound
        query = (
            "SELECT pos, id, line, sha256, put_at, own, coalesce(state, 0), at, collector, reason"  # noqa: S608
            f" FROM record LEFT JOIN fate USING (pos) WHERE {where} ORDER BY pos LIMIT ?"
        )
        for row in db.execute(query, (*values, most)):
            pos, name, line, digest, put_at, own, state, at, collector, reason = row
            yield Row(pos, name, bytes(line), bytes(digest), put_at, bool(own), State(state), at, collector, reason)

    def settle(self, verdicts: Verdicts, collector: str) -> None:
        """Take over what a verified receipt says; rows it does not settle stay pending.

        Uses the ballast when the disk is full: an ack must never fail for want of room, or data are sent twice.
        """
        at = self._time()

        def work() -> None:
            with self._transaction() as db:
                db.executemany(
                    f"{_DECIDE} WHERE id = ? {_AGAIN} WHERE state IN (2, 3)",
                    ((State.ACKED, at, collector, None, name) for name in verdicts.acked),
                )
                db.executemany(
                    f"{_DECIDE} WHERE id = ? {_AGAIN} WHERE state = 3",
                    ((State.REJECTED, at, collector, reason, name) for name, reason in verdicts.rejected),
                )
                if verdicts.acked:
                    self._note("last_upload_at", at)

        self._with_ballast(lambda: self._again_after_damage(work))

    def _with_ballast(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except DiskFullError:
            if not ballast.release(self._ballast):
                raise
            work()
        finally:
            ballast.keep(self._ballast)

    def _mark(self, positions: Sequence[int], state: State, *, reason: str | None) -> None:
        at = self._time()
        with self._transaction() as db:
            db.executemany(
                f"{_DECIDE} WHERE pos = ? {_AGAIN} WHERE state <> 1",
                ((state, at, None, reason, pos) for pos in positions),
            )

    def prune(self) -> int:
        """Remove records acknowledged more than seven days ago; nothing else is ever removed. Returns how many.

        A clock that jumps ahead could call every ack old: at most one page goes per call.
        """
        oldest = format_time(datetime.fromtimestamp(max(0.0, self._now()), UTC) - KEEP_ACKED)
        with self._transaction() as db:
            return self._prune(db, oldest, most=_PAGE)

    @staticmethod
    def _prune(db: apsw.Connection, acked_before: str, *, most: int) -> int:
        db.execute(
            "DELETE FROM record WHERE pos IN (SELECT pos FROM fate WHERE state = 1 AND at < ? ORDER BY at LIMIT ?)",
            (acked_before, most),
        )
        return db.changes()

    # --- carrying by hand -----------------------------------------------------------------------------------

    def mark_carried(self, pairs: Iterable[tuple[str, str]], collector: str) -> int:
        """Mark as carried what a receipt in a file names by id and SHA-256 (hex); returns how many were marked.

        Only pending and rejected records whose id and bytes both match. A carried record is no longer pending and
        is never pruned; only a receipt over the network acknowledges it.
        """
        at = self._time()
        marked = 0
        for page in batched(pairs):
            with self._transaction() as db:
                for name, digest in page:
                    db.execute(
                        f"{_DECIDE} WHERE id = ? AND lower(hex(sha256)) = ? {_AGAIN} WHERE state = 2",
                        (State.CARRIED, at, collector, None, name, digest.lower()),
                    )
                    marked += db.changes()
        return marked

    def take_in(self, lines: Iterable[tuple[str, bytes]]) -> tuple[int, int, list[str]]:
        """Take in records of another device (id, stored bytes) as they are.

        Returns how many were new, how many were already here with the same bytes, and the ids that are here with
        other bytes, which stay as they are. Verifies nothing itself: whoever calls has read the lines.
        """
        new = known = 0
        conflicts: list[str] = []
        for page in batched(lines):
            with self._transaction() as db:
                for name, line in page:
                    here = db.execute("SELECT line FROM record WHERE id = ?", (name,)).get
                    if here is None:
                        self._insert(db, name, line, urgent=False, own=False)
                        new += 1
                    elif here == line:
                        known += 1
                    else:
                        conflicts.append(name)
        return new, known, conflicts

    # --- reading --------------------------------------------------------------------------------------------

    def rows(self, *states: State, newest: int | None = None) -> Iterator[Row]:
        """Records in the given states (all when none is given), oldest first; `newest` keeps only the last N.

        Read page by page, so that no long read holds the file and memory stays flat.
        """
        wanted = ",".join(str(int(s)) for s in states) or "0,1,2,3,4"
        after = 0
        if newest is not None:
            with storage_errors(), self._lock.shared():
                first = (
                    self._current()
                    .execute(
                        "SELECT min(pos) FROM (SELECT pos FROM record LEFT JOIN fate USING (pos)"  # noqa: S608
                        f" WHERE coalesce(state, 0) IN ({wanted}) ORDER BY pos DESC LIMIT ?)",
                        (newest,),
                    )
                    .get
                )
            after = (first or 1) - 1
        while True:
            with storage_errors(), self._lock.shared():
                where = f"coalesce(state, 0) IN ({wanted}) AND pos > ?"
                page = list(self._select(self._current(), where, (after,), _PAGE))
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].pos

    def find(self, name: str) -> Row | None:
        """The record with this id, or None."""
        with storage_errors(), self._lock.shared():
            return next(self._select(self._current(), "id = ?", (name,), 1), None)

    def pending(self) -> int:
        """How many records wait to be sent."""
        with storage_errors(), self._lock.shared():
            return int(self._current().execute(_COUNT_PENDING).get)

    def stats(self) -> Stats:
        """The queue in numbers."""
        with storage_errors(), self._lock.shared():
            db = self._current()
            counts = dict(db.execute("SELECT state, count(*) FROM fate GROUP BY state"))
            oldest = db.execute(f"SELECT put_at FROM record WHERE {_PENDING} ORDER BY pos LIMIT 1").get  # noqa: S608
            return Stats(
                pending=int(db.execute(_COUNT_PENDING).get),
                acked=counts.get(State.ACKED, 0),
                rejected=counts.get(State.REJECTED, 0),
                carried=counts.get(State.CARRIED, 0),
                damaged=counts.get(State.DAMAGED, 0),
                oldest_pending_at=oldest,
                last_upload_at=self._noted("last_upload_at"),
                size_bytes=self._size(db),
                max_bytes=self.max_bytes,
                set_aside_files=quarantine.files(self.configured_path),
                newer_files=(str(self.configured_path),) if self.path != self.configured_path else (),
            )

    # --- data counters --------------------------------------------------------------------------------------

    def add_usage(self, day: str, interface: str, count: int) -> None:
        """Count bytes used on an interface (`""` when unknown) on a day (`YYYY-MM-DD`, local)."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO usage VALUES (?, ?, ?)"
                " ON CONFLICT (day, interface) DO UPDATE SET bytes = bytes + excluded.bytes",
                (day, interface, count),
            )

    def usage(self, prefix: str, interface: str | None = None) -> int:
        """Bytes used on days that start with `prefix` (`2029-02` is a month), on one interface or all."""
        with storage_errors(), self._lock.shared():
            return int(
                self._current()
                .execute(
                    "SELECT coalesce(sum(bytes), 0) FROM usage"
                    " WHERE substr(day, 1, ?) = ? AND (? IS NULL OR interface = ?)",
                    (len(prefix), prefix, interface, interface),
                )
                .get
            )

    # --- small things ---------------------------------------------------------------------------------------

    def _time(self) -> str:
        return format_time(datetime.fromtimestamp(max(0.0, self._now()), UTC))

    def _note(self, name: str, value: str) -> None:
        assert self._db is not None
        self._db.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, value))

    def _noted(self, name: str) -> str | None:
        assert self._db is not None
        value = self._db.execute("SELECT value FROM note WHERE name = ?", (name,)).get
        return None if value is None else str(value)
