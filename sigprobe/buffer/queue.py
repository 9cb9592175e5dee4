"""Store records in a durable queue: durable when `put` returns, removed only after a verified answer.

Order is the order of `put` (`pos`). The clock only decides which records are urgent.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from sigprobe.buffer import quarantine, rows, upkeep
from sigprobe.buffer.durability import JournalMode
from sigprobe.buffer.errors import BufferLimitError, DiskFullError
from sigprobe.buffer.queue_file import QueueFile, Work, clock_text
from sigprobe.buffer.read_only import ReadOnlyFile
from sigprobe.buffer.rows import PAGE, PENDING, Imported, Row, State, Stats, Stored, Verdicts
from sigprobe.record.result import MAX_WHOLE_NUMBER, RUN_KIND, Outcome, Result

URGENT_FOR_S: Final = 3600.0
KEEP_ACKED_S: Final = 7 * 24 * 3600.0
_LOOK_EVERY_BYTES: Final = 40_000
"""What may be put between two looks at the queue's size: some 32 records."""
_UNSEEN_BYTES: Final = 64 * 1024
_PUT_BYTES: Final = 16 * 1024
"""Most bytes written between two checks of the disk, in case another process has freed the reserve file, and bytes that
a put writes to the -wal besides its line: about four records."""
_FEW: Final = 25
_FEWER: Final = 8
"""Decisions, and records pruned to make room for them, in one transaction on a full disk: 50 kB of -wal at most."""

_RECEIPT: Final = rows.DECIDE.format(which="id = ?", unless="state IN (2, 3)")
_REFUSAL: Final = rows.DECIDE.format(which="id = ?", unless="state = 3")
_HANDOVER: Final = rows.DECIDE.format(which="lower(hex(sha256)) = ? AND id = ?", unless="state = 2")
_LAST_UPLOAD: Final = "INSERT OR REPLACE INTO note VALUES ('last_upload_at', ?)"
_DAMAGE: Final = rows.DECIDE.format(which="pos = ?", unless="state <> 1")


class Buffer:
    """Durable queue in one SQLite file. One object serves one thread; any number of processes may share it.

    Opening never fails because of what the file holds: a corrupt or foreign one is set aside into `quarantine/`,
    one of a newer version is left untouched and a fresh one is opened beside it. It raises StorageError when no
    file can be written at all. Every method may raise it.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_mb: int = 256,
        now: Callable[[], float] = time.time,
        vfs: str | None = None,
        journal: JournalMode | None = None,
        read_only: bool = False,
    ) -> None:
        """Open the queue; `read_only` creates and repairs nothing, and every write then raises StorageError."""
        self.max_bytes = max_mb * 1_000_000
        self._now = now
        self._file = ReadOnlyFile(path, now) if read_only else QueueFile(path, now, vfs, journal)
        self._unlooked = _LOOK_EVERY_BYTES
        self._unseen = _UNSEEN_BYTES
        self._settled_up_to = 0  # every record up to here has a final state: the search for pending ones begins here
        self._generation = self._file.generation

    @property
    def path(self) -> Path:
        """Return the path of the file in use: the configured one, or ours beside one of a newer version."""
        return self._file.path

    @property
    def configured_path(self) -> Path:
        """Return the configured path, symbolic links resolved; the queue's other files are beside it."""
        return self._file.configured_path

    @property
    def probe_id(self) -> str:
        """The probe's id."""
        return self._file.probe_id

    @property
    def identity_renewed(self) -> bool:
        """Return True when this object gave a copy of another device's queue a new id."""
        return self._file.identity_renewed

    @property
    def boot_id(self) -> str | None:
        """Return the boot id of this process."""
        return self._file.boot_id

    @property
    def stream_id(self) -> str:
        """Return the id created with the file in use."""
        return self._file.stream_id

    @property
    def journal(self) -> JournalMode:
        """Return the journal mode and sync level in use."""
        return self._file.journal

    @property
    def incomplete(self) -> bool:
        """Return True for a read-only queue whose newest records may be missing."""
        return isinstance(self._file, ReadOnlyFile) and self._file.incomplete

    @property
    def set_aside_now(self) -> bool:
        """Return True when a broken file was set aside while this object was open."""
        return self._file.set_aside_now

    @property
    def salvaged(self) -> int:
        """Return the number of records salvaged while this object was open."""
        return self._file.salvaged

    def close(self) -> None:
        """Close the file. The queue is unchanged."""
        self._file.close()

    def __enter__(self) -> Buffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- put ------------------------------------------------------------------------------------------------

    def put(self, result: Result) -> Stored:
        """Commit the record to disk with the next position. Raises StorageError when it is NOT saved.

        Raises ValueError when it cannot be encoded as a line. A record that is put again keeps its position.
        """
        urgent = result.kind == RUN_KIND or result.outcome is Outcome.FAILED
        probe_id, boot_id = self.probe_id, self.boot_id
        stream_id = self.stream_id
        head, tail = result.line_around_seq(probe_id=probe_id, stream_id=stream_id, boot_id=boot_id)
        self._hold_limits(len(head) + len(tail))

        def work(db: apsw.Connection) -> tuple[int, int, bytes]:
            nonlocal stream_id, head, tail
            if stream_id != self.stream_id:  # the file was replaced since
                stream_id = self.stream_id
                head, tail = result.line_around_seq(probe_id=probe_id, stream_id=stream_id, boot_id=boot_id)
            # two plain statements are quicker than one with RETURNING, which keeps its rows in a table of its own
            seq = db.execute("SELECT next_seq FROM stream").get
            if not isinstance(seq, int) or seq >= MAX_WHOLE_NUMBER:
                raise apsw.CorruptError("the stream's counter is gone")
            db.execute("UPDATE stream SET next_seq = ?", (seq + 1,))
            line = b"%s%d%s" % (head, seq, tail)
            return self._insert(db, result.id, line, urgent=urgent, own=True), seq, line

        try:
            pos, seq, line = self._file.write(work)
        except Exception as error:
            # a retry after a commit with unknown result: the first commit had succeeded
            there = self.find(result.id) if isinstance(error.__cause__, apsw.ConstraintError) else None
            if there is None or not rows.same_record(there.line, head, tail):
                raise
            pos, seq, line = there.pos, int(there.line[len(head) : -len(tail)]), there.line
        return Stored(pos, line, result, probe_id, stream_id, seq, boot_id)

    def _insert(self, db: apsw.Connection, name: str, line: bytes, *, urgent: bool, own: bool) -> int:
        values = (name, hashlib.sha256(line).digest(), self._file.time(), urgent, own, line)
        db.execute(rows.INSERT, values)
        return db.last_insert_rowid()

    def _hold_limits(self, size: int) -> None:
        """Raise BufferLimitError or DiskFullError when there is no space for `size` bytes of lines."""
        self._unlooked += size
        if self._unlooked >= _LOOK_EVERY_BYTES:
            while self._file.read(upkeep.size) >= self.max_bytes:
                # acknowledged records may be deleted before seven days; unacknowledged ones are never deleted
                if not self._prune(upkeep.END_OF_TIME):
                    self._unlooked = _LOOK_EVERY_BYTES  # look again at the very next put
                    raise BufferLimitError(f"{self.path} has reached {self.max_bytes // 1_000_000} MB")
            self._unlooked = 0
        self._unseen += size + _PUT_BYTES
        if self._unseen >= _UNSEEN_BYTES:
            self._file.look_at_room(size)
            self._unseen = 0
        if not self._file.reserved:
            self._file.hold_reserve(size)

    # --- peek and settle ------------------------------------------------------------------------------------

    def peek(self, most: int, most_bytes: int, skip: Collection[int] = ()) -> list[Row]:
        """Return the next pending records: failures and run records of the last hour first, else the oldest.

        At most `most` rows and `most_bytes` of lines, but always one when there is one; positions in `skip` are
        skipped. A row whose bytes do not match their digest is marked `damaged` and left out.
        """
        recent = clock_text(self._now() - URGENT_FOR_S)
        taken: dict[int, Row] = {}
        broken: list[Row] = []

        def work(db: apsw.Connection) -> None:
            taken.clear()
            broken.clear()
            self._forget_places(db)
            urgent = "urgent = 1 AND put_at BETWEEN ? AND ?"
            size = 0
            for where, values in ((urgent, (recent, self._file.time())), ("record.pos > ?", (self._settled_up_to,))):
                first = where != urgent
                for row in rows.select(db, f"{PENDING} AND {where}", values, most + len(skip) + len(taken)):
                    if first:
                        self._settled_up_to = row.pos - 1
                        first = False
                    if len(taken) >= most or (taken and size + len(row.line) > most_bytes):
                        break
                    if row.pos in taken or row.pos in skip:
                        continue
                    if not rows.verifies(row.id, row.sha256, row.line):
                        broken.append(row)
                        continue
                    taken[row.pos] = row
                    size += len(row.line) + 1

        while True:
            begun_at = self._settled_up_to
            self._file.read(work)
            if broken:
                self._mark_damaged(broken)
                if not taken:
                    continue  # a whole page of damaged rows must not look like an empty queue
            if not taken and begun_at and self.pending():
                # another process may have reset a record's state, at a position before the search's start
                self._settled_up_to = 0
                continue
            return list(taken.values())

    def _forget_places(self, db: apsw.Connection) -> None:
        """Restart the search when positions may refer to other records than before."""
        if self._generation != self._file.generation:
            self._generation = self._file.generation
            self._settled_up_to = 0
        if self._settled_up_to > (db.execute("SELECT max(pos) FROM record").get or 0):
            self._settled_up_to = 0

    def _mark_damaged(self, broken: list[Row]) -> None:
        at = self._file.time()
        reason = "stored bytes do not match their digest"
        decisions = [(State.DAMAGED, at, rows.state_checksum(r.id, State.DAMAGED), None, reason, r.pos) for r in broken]
        # positions: in a replaced file they refer to other records
        self._decide([(_DAMAGE, decision) for decision in decisions], self._file.write)

    def settle(self, verdicts: Verdicts, collector: str) -> None:
        """Store the statuses of a verified receipt; rows without a final status stay pending.

        On a full disk the reserve file is released first, then acknowledged records are deleted. An ack must never fail
        for lack of space, or data are sent twice.
        """
        at = self._file.time()
        acked = [(State.ACKED, at, rows.state_checksum(i, State.ACKED), collector, None, i) for i in verdicts.acked]
        rejected = [
            (State.REJECTED, at, rows.state_checksum(i, State.REJECTED), collector, r, i) for i, r in verdicts.rejected
        ]
        last = [(_LAST_UPLOAD, (at,))] if acked else []
        self._decide([*((_RECEIPT, d) for d in acked), *((_REFUSAL, d) for d in rejected), *last])

    def _decide(self, decisions: Sequence[upkeep.Decision], write: Callable[[Work[int]], int] | None = None) -> int:
        """Commit statuses, on a full disk in pages; return how many changed something."""
        write = write or self._file.write_on

        def commit(some: Sequence[upkeep.Decision]) -> int:
            return write(lambda db: upkeep.decide(db, some))

        try:
            with suppress(DiskFullError):
                if not self._file.is_low():
                    return commit(decisions)
            changed = 0
            for few in rows.batched(decisions, _FEW):
                if self._file.is_tight():
                    # pages of acknowledged records are reused: the file need not grow
                    with suppress(DiskFullError):
                        self._prune(upkeep.END_OF_TIME, _FEWER)
                try:
                    changed += commit(few)
                except DiskFullError:
                    if not self._file.release_reserve():
                        raise
                    changed += commit(few)
            return changed
        finally:
            self._file.keep_reserve()

    def send_again(self) -> int:
        """Set every refused record back to pending; return how many. Damaged ones stay as they are."""
        count = self._file.write_on(rows.send_again)
        self._settled_up_to = 0
        return count

    def prune(self) -> int:
        """Delete records acknowledged more than seven days ago, and no others. Return how many.

        A clock that jumps ahead could make every ack old: at most one page is deleted per call.
        """
        oldest = clock_text(self._now() - KEEP_ACKED_S)
        with suppress(DiskFullError):
            if not self._file.is_low():
                return self._prune(oldest)
        looked = 0
        while looked < PAGE:
            self._file.fold()
            try:
                few = self._prune(oldest, _FEWER)
            except DiskFullError:
                if not self._file.release_reserve():
                    raise
                few = self._prune(oldest, _FEWER)
            if few == 0:
                break
            looked += few
        self._file.keep_reserve()
        return looked

    def _prune(self, acked_before: str, most: int = PAGE) -> int:
        return self._file.write(lambda db: upkeep.prune(db, acked_before, most))

    # --- transfer files -------------------------------------------------------------------------------------

    def mark_carried(self, pairs: Iterable[tuple[str, str]], collector: str) -> int:
        """Mark as carried the records that a file's receipts name by id and SHA-256 (hex); return how many were marked.

        Only pending and rejected records whose id and bytes both match. A carried record is no longer pending and
        is never pruned; only a receipt over the network acknowledges it.
        """
        at = self._file.time()
        marked = 0
        for page in rows.batched(pairs):
            checksum = rows.state_checksum
            marked += self._decide(
                [
                    (_HANDOVER, (State.CARRIED, at, checksum(n, State.CARRIED), collector, None, digest.lower(), n))
                    for n, digest in page
                ]
            )
        return marked

    def take_in(self, lines: Iterable[tuple[str, bytes]]) -> tuple[int, int, list[str]]:
        """Insert records of another device (id, stored bytes) unchanged.

        Returns how many were new, how many already existed with the same bytes, and the ids that exist with other
        bytes. Those stay unchanged. The caller has verified the lines.
        """
        new = known = 0
        conflicts: list[str] = []
        for page in rows.batched(lines):

            def work(db: apsw.Connection, page: list[tuple[str, bytes]] = page) -> tuple[int, int, list[str]]:
                fresh, others = 0, []
                for name, line in page:
                    here = db.execute("SELECT line FROM record WHERE id = ?", (name,)).get
                    if here is None:
                        self._insert(db, name, line, urgent=False, own=False)
                        fresh += 1
                    elif here != line:
                        others.append(name)
                return fresh, len(page) - fresh - len(others), others

            self._unlooked = _LOOK_EVERY_BYTES  # a page is more than may be written without another check
            self._hold_limits(sum(len(line) for _, line in page))
            more = self._file.write(work)
            new, known = new + more[0], known + more[1]
            conflicts += more[2]
        return new, known, conflicts

    # --- reading --------------------------------------------------------------------------------------------

    def rows(self, *states: State, newest: int | None = None, own: bool = False) -> Iterator[Row]:
        """Yield records in the given states (all if none is given), oldest first; `newest` keeps only the last N.

        `own` leaves out, and does not count, the records imported from other devices.

        Reads page by page, so that no long read holds the file and memory stays constant.
        """
        wanted = ",".join(str(int(s)) for s in states) or "0,1,2,3,4"
        where = f"coalesce(state, 0) IN ({wanted})"
        if State.DAMAGED in states or not states:
            where = f"({where} OR state NOT IN (0, 1, 2, 3, 4))"
        if own:
            where = f"({where}) AND own = 1"
        after = 0
        if newest is not None:
            query = (
                "SELECT min(pos) FROM (SELECT record.pos AS pos FROM record LEFT JOIN fate ON fate.pos = record.pos"  # noqa: S608
                f" WHERE {where} ORDER BY record.pos DESC LIMIT ?)"
            )
            after = (self._file.read(lambda db: db.execute(query, (newest,)).get) or 1) - 1
        while True:
            page = self._select(f"{where} AND record.pos > ?", (after,), PAGE)
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].pos

    def find(self, name: str) -> Row | None:
        """Return the record with this id, or None."""
        return next(iter(self._select("id = ?", (name,), 1)), None)

    def _select(self, where: str, values: tuple[object, ...], most: int) -> list[Row]:
        return self._file.read(lambda db: list(rows.select(db, where, values, most)))

    def pending(self) -> int:
        """Return the number of pending records."""
        return self._file.read(lambda db: int(db.execute(rows.COUNT_PENDING).get))

    def stats(self) -> Stats:
        """The queue in numbers."""

        def work(db: apsw.Connection) -> Stats:
            return upkeep.stats(
                db,
                max_bytes=self.max_bytes,
                set_aside_files=quarantine.files(self.configured_path),
                newer_files=(str(self.configured_path),) if self.path != self.configured_path else (),
            )

        return self._file.read(work)

    def imported(self) -> Imported:
        """Count the records of other devices by state. Reads the whole table."""
        return self._file.read(upkeep.imported)

    # --- data counters --------------------------------------------------------------------------------------

    def add_usage(self, day: str, interface: str, count: int) -> None:
        """Count bytes used on an interface (`""` when unknown) on a day (`YYYY-MM-DD`, local)."""
        self._file.write(lambda db: db.execute(rows.ADD_USAGE, (day, interface, count)))

    def usage(self, prefix: str, interface: str | None = None) -> int:
        """Bytes used on days that start with `prefix` (`2029-02` is a month), on one interface or all."""
        values = (len(prefix), prefix, interface, interface)
        return self._file.read(lambda db: int(db.execute(rows.SUM_USAGE, values).get))
