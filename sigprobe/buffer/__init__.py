"""Keep results in one durable SQLite queue until a collector has acknowledged them.

Two rules define it: *a row leaves the queue only after the collector has committed its id*; *inserting the same id
twice changes nothing*. The other files of a queue are beside its database: `probe-id`, `quarantine/`, the backoff
state, the lock files and the reserve file.
"""

from __future__ import annotations

from sigprobe.buffer.durability import JournalMode, sqlite_is_fixed, sqlite_version
from sigprobe.buffer.errors import BufferLimitError, DiskFullError, SendingError, StorageError, UnnotedError
from sigprobe.buffer.queue import Buffer
from sigprobe.buffer.rows import Imported, Row, State, Stats, Stored, Verdicts

__all__ = [
    "Buffer",
    "BufferLimitError",
    "DiskFullError",
    "Imported",
    "JournalMode",
    "Row",
    "SendingError",
    "State",
    "Stats",
    "StorageError",
    "Stored",
    "UnnotedError",
    "Verdicts",
    "sqlite_is_fixed",
    "sqlite_version",
]
