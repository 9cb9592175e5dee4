"""Open, verify, lock and replace the queue's file.

The content is handled by `queue.py`, which passes its work as functions.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

import apsw

from sigprobe.buffer import identity, machine, quarantine, reserve_file, salvage, schema
from sigprobe.buffer.durability import JournalMode, choose_journal_mode, connect
from sigprobe.buffer.errors import DAMAGE, DiskFullError, UnreadableError, is_full, is_unreadable, translate
from sigprobe.buffer.lock import FileLock
from sigprobe.record.result import new_id

_CHECK_ALWAYS_BYTES: Final = 64 * 1024 * 1024
_CHECK_EVERY_S: Final = 24 * 3600
_LOW_BYTES: Final = 16 * 1024 * 1024
_TRIES: Final = 12
_READS: Final = 3
_LATEST_S: Final = 253_402_300_799  # the end of the year 9999
_T = TypeVar("_T")
Work = Callable[[apsw.Connection], _T]


class _ReplacedError(Exception):
    """Raised when the file is missing or is not the open one: another process has set it aside."""


def clock_text(seconds: float) -> str:
    """Format a wall-clock reading as RFC 3339; an implausible clock is limited to 1970–9999."""
    millis = int(min(max(0.0, seconds), _LATEST_S) * 1000)
    return f"{_second(millis // 1000)}.{millis % 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(whole: int) -> str:
    # a put asks for the time once, and most puts are within the second of the one before
    return datetime.fromtimestamp(whole, UTC).isoformat()[:19]


class QueueFile:
    """SQLite file and its companions, in use by one thread; any number of processes may share it."""

    def __init__(self, path: Path, now: Callable[[], float], vfs: str | None, journal: JournalMode | None) -> None:
        # SQLite follows symbolic links, so its -wal is beside the real file: all other files must be, too
        self.configured_path = self.path = Path(os.path.realpath(path))
        self.directory = self.configured_path.parent
        # the name on disk stays, so that an earlier version finds and frees the same file
        self.reserve_path = self.configured_path.with_name(self.configured_path.name + ".ballast")
        """The file that is given up when the disk is full."""
        self.journal = journal or JournalMode("wal", "FULL", "fixed-sqlite")
        self.stream_id = ""
        self.generation = 0
        """Grows with every connection: positions learned from an older one may mean nothing now."""
        self.set_aside_now = False
        self.salvaged = 0
        self.identity_renewed = False
        """True when this object found a copy of another device's queue, and gave it an id of its own."""
        self.reserved = False
        """True while the reserve file lies there whole, as far as this process has heard."""
        self._now = now
        self._vfs = vfs
        self._wanted_journal = journal
        self._db: apsw.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._path_text = ""
        self._to_salvage = False
        try:
            identity.make_directory(self.directory)
            self.probe_id = self._with_room(self._identify)
            self.boot_id = identity.boot_id()
            self._lock = FileLock(self.configured_path.with_name(self.configured_path.name + ".lock"))
            self._with_room(self._open)
            self._take_over()
            self._salvage()
        except (apsw.Error, OSError) as error:
            raise translate(error, self.directory) from error
        self.keep_reserve()

    def _identify(self) -> str:
        """Return the probe's id: created at first use, and again on another machine or in a copied directory."""
        name = identity.probe_id(self.directory, lambda: str(uuid.uuid4()))
        name, renewed = machine.bind(self.directory, name, self.time())
        self.identity_renewed = self.identity_renewed or renewed
        return name

    def time(self) -> str:
        """Return the current time in the format of the rows."""
        return clock_text(self._now())

    def close(self) -> None:
        """Close the file. The queue is unchanged."""
        self._close_database()
        self._lock.close()

    # --- work -----------------------------------------------------------------------------------------------

    def read(self, work: Work[_T]) -> _T:
        """Run a read in the current file. Raises StorageError."""
        return self._run(work, writing=False)

    def write(self, work: Work[_T]) -> _T:
        """Run one write transaction, durable when this returns. Raises StorageError when it is NOT.

        `work` may be called more than once. A damaged file is set aside and the work repeated on a new one. After an
        I/O error it is repeated on a new connection, as SQLite requires.
        """
        return self._run(work, writing=True)

    def write_on(self, work: Work[_T]) -> _T:
        """Run `write` for existing records: repeated once if the file was replaced and salvaged."""
        before = self.generation
        value = self.write(work)
        return value if self.generation == before else self.write(work)

    # --- disk space -----------------------------------------------------------------------------------------

    def keep_reserve(self) -> None:
        """Create the reserve file if it is incomplete and there is space for it."""
        self.reserved = reserve_file.keep(self.reserve_path)

    def release_reserve(self) -> bool:
        """Release the reserve file; True when that freed space."""
        self.reserved = False
        return reserve_file.release(self.reserve_path)

    def look_at_room(self, size: int) -> None:
        """Raise DiskFullError when lines of `size` bytes would fit into the -wal but could not be checkpointed.

        Called now and then. On a nearly full disk the -wal is checkpointed each time, so that it never needs more space
        than the reserve file has.
        """
        self.keep_reserve()
        if not self._is_below(_LOW_BYTES, size):
            return
        try:
            self._checkpoint()
        except apsw.Error as error:
            if is_full(error, self.directory):
                raise translate(error, self.directory) from error
        if self._is_below(0, size):
            raise DiskFullError(f"less than twice {size} bytes are left")

    def hold_reserve(self, size: int) -> None:
        """Raise DiskFullError when lines of `size` bytes would use space reserved for acknowledgements.

        Called before records are written while `reserved` is False; with the reserve file present, they may use the
        rest of the disk.
        """
        self.keep_reserve()
        if self.reserved:
            return
        if self._is_below(reserve_file.RESERVE_BYTES, size) and (
            not self.fold() or self._is_below(reserve_file.RESERVE_BYTES, size)
        ):
            raise DiskFullError(f"the last {reserve_file.RESERVE_BYTES} bytes are kept for acknowledgements")

    def is_low(self) -> bool:
        """Return True when writes should be small and checkpointed at once.

        A large -wal may fit on the disk while its checkpoint does not. The queue would then be unusable.
        """
        return self._is_below(_LOW_BYTES // 4, 0)

    def is_tight(self) -> bool:
        """Return True when acknowledgements lack space even after a checkpoint and without the reserve file."""
        self.fold()
        return not self.reserved and self._is_below(reserve_file.RESERVE_BYTES, 0)

    def _is_below(self, kept: int, size: int) -> bool:
        """Return True when lines of `size` bytes would leave less than `kept`."""
        try:
            disk = reserve_file.room(self.directory)
            # written twice, to the -wal and then to the file, which may have free pages of its own
            wanted = kept + 2 * size
            if disk >= wanted or self._db is None:
                return disk < wanted
            free = self._db.pragma("freelist_count") * schema.PAGE_SIZE
        except (apsw.Error, OSError):
            return False  # an unknown amount of free space is no reason to refuse
        return bool(disk + free < wanted or disk < kept // 2 + size)

    def _run(self, work: Work[_T], *, writing: bool) -> _T:
        damaged = failed = full = 0
        try:
            for _ in range(_TRIES):
                try:
                    value = self._once(work, writing=writing)
                except _ReplacedError:
                    self._open()
                except DAMAGE as error:
                    damaged += 1
                    if damaged > 2:
                        raise
                    self._inspect(str(error) or type(error).__name__, certain=damaged > 1)
                except apsw.FullError:
                    full += 1
                    if full > 1 or not self.fold():
                        raise
                except (apsw.IOError, apsw.CantOpenError) as error:
                    failed += 1
                    if failed == 1:
                        self._open()
                    elif failed == 2 and is_unreadable(error):
                        self._inspect(str(error), certain=False)
                    else:
                        raise
                else:
                    if self._to_salvage:
                        self._salvage()
                    return value
            raise OSError(f"{self.path} is replaced again and again")
        except (apsw.Error, OSError) as error:
            raise translate(error, self.directory) from error

    def _once(self, work: Work[_T], *, writing: bool) -> _T:
        self._lock.share()
        try:
            db = self._db
            if db is None or not self._same():
                raise _ReplacedError
            if not writing:
                return work(db)
            db.execute("BEGIN IMMEDIATE")
            try:
                value = work(db)
                db.execute("COMMIT")
            except BaseException:
                # a full disk or an I/O error may have rolled back by itself
                if db.in_transaction:
                    with suppress(apsw.Error):
                        db.execute("ROLLBACK")
                raise
            return value
        finally:
            self._lock.release()

    def _same(self) -> bool:
        try:
            # called before every transaction: pathlib takes twice as long
            status = os.stat(self._path_text)  # noqa: PTH116
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._inode

    def fold(self) -> bool:
        """Checkpoint the -wal, so that its space can be reused; True on success."""
        with suppress(apsw.Error):
            return self._checkpoint()
        return False

    def _checkpoint(self) -> bool:
        if self._db is None or self.journal.mode != "wal":
            return False
        # not by pragma(), which quotes the whole as an unknown name, and reports nothing
        self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return True

    # --- opening --------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open the file: shared when it exists and is sound, exclusive when it must be created or replaced."""
        self._close_database()
        self._lock.share()
        try:
            self._connect(create=False)
            return
        except (*DAMAGE, apsw.IOError, schema.NewerVersionError, _ReplacedError):
            self._close_database()
        finally:
            self._lock.release()
        with self._lock.exclusive():
            self._open_alone(None)

    def _open_alone(self, damage: str | None, *, check: bool = False) -> None:
        """Open, create or replace the file under the exclusive lock; `damage` is the reason for a replacement."""
        unreadable = 0
        for _ in range(_TRIES):
            try:
                if damage is not None:
                    reason, damage = damage, None
                    raise apsw.CorruptError(reason)
                self._connect(create=True, check=check)
                return
            except schema.NewerVersionError:
                self._close_database()
                self.path = quarantine.beside_newer(self.path, schema.VERSION)
            except (*DAMAGE, apsw.IOError) as error:
                self._close_database()
                if isinstance(error, apsw.IOError):
                    unreadable += 1
                    # a bad sector is permanent; other errors may pass and are no reason to replace the file
                    if unreadable < _READS:
                        continue
                    if not is_unreadable(error):
                        raise
                    unreadable = 0
                quarantine.set_aside(self.path, str(error) or type(error).__name__, self.time())
                self.set_aside_now = self._to_salvage = True
        raise OSError(f"no usable queue file at {self.path}")

    def _connect(self, *, create: bool, check: bool = False) -> None:
        current = quarantine.look(self.path)
        fresh = current is None
        journal = self._wanted_journal or choose_journal_mode(self.path)
        # changing the journal needs the exclusive lock, as creating the file does
        if not create and (current == "wal") != (journal.mode == "wal"):
            raise _ReplacedError
        if fresh:
            identity.create_file(self.path)
        self._db, self.journal = connect(self.path, journal, new_id(self._now()), vfs=self._vfs)
        schema.read_stream(self._db)
        self.stream_id = schema.stream_of(self._db, self.probe_id, new_id(self._now()))
        if not fresh and (check or self._check_is_due(self._db)):
            self._check(self._db)
        self._path_text = str(self.path)
        status = self.path.stat()
        self._inode = (status.st_dev, status.st_ino)
        self.generation += 1

    def _check_is_due(self, db: apsw.Connection) -> bool:
        if self.path.stat().st_size <= _CHECK_ALWAYS_BYTES:
            return True
        checked = db.execute("SELECT CAST(value AS BLOB) FROM note WHERE name = 'checked'").get
        at, _, boot = (checked or b"").decode("ascii", errors="replace").partition(" ")
        return not clock_text(self._now() - _CHECK_EVERY_S) <= at <= self.time() or boot != (self.boot_id or "")

    def _check(self, db: apsw.Connection) -> None:
        """Raise apsw.CorruptError when SQLite finds the file damaged; a good result is remembered for a large file."""
        answer = str(db.execute("PRAGMA quick_check(1)").get)
        if answer != "ok":
            code = re.search(r"error code=(\d+)", answer)
            if code is not None and int(code[1]) & 0xFF == apsw.SQLITE_IOERR:
                raise UnreadableError(answer)
            raise apsw.CorruptError(answer)
        if self.path.stat().st_size > _CHECK_ALWAYS_BYTES:
            with suppress(apsw.FullError, apsw.ReadOnlyError):  # only to save time
                note = ("checked", f"{self.time()} {self.boot_id or ''}")
                db.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", note)

    def _close_database(self) -> None:
        if self._db is not None:
            with suppress(apsw.Error):
                self._db.close()
            self._db = None

    # --- damage ---------------------------------------------------------------------------------------------

    def _inspect(self, reason: str, *, certain: bool) -> None:
        """Check the file under the exclusive lock; set it aside when it is damaged, or has failed twice."""
        with self._lock.exclusive():
            mine = self._same()  # otherwise another process has checked it already
            self._close_database()
            self._open_alone(reason if mine and certain else None, check=mine)

    def _salvage(self) -> None:
        """Salvage files that were set aside, now or by a process that did not finish."""
        self._to_salvage = False
        saved = salvage.unfinished(self.configured_path, self._write_saved)
        self.salvaged += saved

    def _write_saved(self, work: Work[int], size: int) -> int:
        if not self.reserved:
            self.hold_reserve(size)
        return self.write(work)

    def _take_over(self) -> None:
        """Set aside, for complete salvage, the file that was used beside this one while this one was too new.

        A process of the older version that still runs misses its file at its next record, and creates another.
        """
        if self.path == self.configured_path and quarantine.beside_older(self.path):
            with self._lock.exclusive():
                for kept in quarantine.beside_older(self.path):
                    quarantine.set_aside(kept, "taken over after an upgrade", self.time(), quarantine.TAKEN)

    def _with_room(self, work: Callable[[], _T]) -> _T:
        """Run the work, on a full disk with the reserve's space: queued records must stay readable and ackable."""
        try:
            return work()
        except (apsw.Error, OSError) as error:
            if not is_full(error, self.directory) or not self.release_reserve():
                raise
            return work()
