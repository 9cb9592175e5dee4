"""Define the tables of the queue's file, by version. Migrations are numbered by position and only appended.

A record without a `fate` row is pending. Line and state are in separate tables, so that an acknowledgement writes a few
small pages and not the records again. An ack must still fit when the disk is full, and a put stays cheap. The order of
the columns is part of the file format: `page_recovery.py` recognises records and states by it.
"""

from __future__ import annotations

import re
from typing import Final

import apsw

APPLICATION_ID: Final = 0x53504221  # "SPB!"
PAGE_SIZE: Final = 4096

MIGRATIONS: Final = (
    """
    CREATE TABLE stream (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        stream_id TEXT NOT NULL,
        next_seq INTEGER NOT NULL
    );
    CREATE TABLE record (
        pos INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        sha256 BLOB NOT NULL,
        put_at TEXT NOT NULL,
        urgent INTEGER NOT NULL,
        own INTEGER NOT NULL,
        line BLOB NOT NULL
    );
    CREATE INDEX record_urgent ON record (put_at) WHERE urgent = 1;
    CREATE TABLE fate (
        pos INTEGER PRIMARY KEY REFERENCES record (pos) ON DELETE CASCADE,
        state INTEGER NOT NULL CHECK (state <> 0),
        at TEXT NOT NULL,
        seal BLOB NOT NULL,
        collector TEXT,
        reason TEXT
    );
    CREATE INDEX fate_state ON fate (state, at);
    CREATE TABLE usage (
        day TEXT NOT NULL,
        interface TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (day, interface)
    ) WITHOUT ROWID;
    CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
    """,
)

VERSION: Final = len(MIGRATIONS)
HIGHEST_VERSION: Final = 1000
"""No queue will ever have a higher one: what says so has had its header damaged, and is no newer file."""

_UUID: Final = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


class NewerVersionError(Exception):
    """Raised for a file of a newer sigprobe; it must stay unchanged."""


class ForeignFileError(apsw.NotADBError):
    """Raised for a database that is not a queue of ours."""


def look(db: apsw.Connection) -> int:
    """Return the file's version (0 for a new one). Raises NewerVersionError or ForeignFileError; changes nothing."""
    version = int(db.pragma("user_version"))
    application = int(db.pragma("application_id"))
    tables = db.execute("SELECT count(*) FROM sqlite_schema").get
    if application != APPLICATION_ID and (tables or version or application):
        raise ForeignFileError(f"application id {application}, {tables} tables")
    if not 0 <= version <= HIGHEST_VERSION:
        raise apsw.CorruptError(f"version {version} is none")
    if version > VERSION:
        raise NewerVersionError(f"version {version}, this sigprobe knows {VERSION}")
    return version


def migrate(db: apsw.Connection, stream_id: str) -> None:
    """Migrate the file to `VERSION`, in one transaction."""
    if look(db) == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        # another process may have created it meanwhile
        version = look(db)
        for number in range(version, VERSION):
            db.execute(MIGRATIONS[number])
        if version == 0:
            db.execute("INSERT INTO stream VALUES (1, ?, 1)", (stream_id,))
        db.pragma("application_id", APPLICATION_ID)
        db.pragma("user_version", VERSION)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def read_stream(db: apsw.Connection) -> str:
    """Return the file's stream id.

    Raises apsw.CorruptError for an invalid one, or when the counter would assign a position twice.
    """
    raw = db.execute("SELECT CAST(stream_id AS BLOB) FROM stream").get
    next_seq = db.execute("SELECT next_seq FROM stream").get
    name = raw.decode("ascii", errors="replace") if isinstance(raw, bytes) else ""
    if not _UUID.match(name) or not isinstance(next_seq, int) or next_seq < 1:
        raise apsw.CorruptError("the stream's row is damaged")
    last = db.execute("SELECT CAST(line AS BLOB) FROM record WHERE own = 1 ORDER BY pos DESC LIMIT 1").get
    mark = re.search(rb'"stream_id":"([0-9a-f-]{36})","seq":(\d{1,19}),', last) if isinstance(last, bytes) else None
    if mark is not None and mark[1].decode() == name and int(mark[2]) >= next_seq:
        raise apsw.CorruptError("the stream's counter is behind its last record")
    return name


def stream_of(db: apsw.Connection, probe_id: str, fresh: str) -> str:
    """Return the stream in which `probe_id` counts its records; after a change of the probe's id it is `fresh`.

    Records under the former id keep their bytes, and so their position in the former stream.
    """
    if _owner(db) == probe_id:
        return read_stream(db)
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            former = _owner(db)  # another process may have changed it in the meantime
            if former not in (None, probe_id):
                db.execute("UPDATE stream SET stream_id = ?, next_seq = 1", (fresh,))
            db.execute("INSERT OR REPLACE INTO note VALUES ('probe_id', ?)", (probe_id,))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    except (apsw.FullError, apsw.ReadOnlyError):
        pass  # the new id alone keeps positions unique; the stream follows when there is space
    return read_stream(db)


def _owner(db: apsw.Connection) -> str | None:
    raw = db.execute("SELECT CAST(value AS BLOB) FROM note WHERE name = 'probe_id'").get
    return raw.decode("ascii", errors="replace") if isinstance(raw, bytes) else None
