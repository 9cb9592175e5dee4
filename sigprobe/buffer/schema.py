"""The tables of the queue's file, by version. Migrations are append-only and numbered by their place here.

A record without a `fate` is pending. Its line lies apart from its fate, so that acknowledging a batch writes a few
small pages and not the records again: an ack must still fit when the disk is full, and a put stays cheap.
"""

from __future__ import annotations

from typing import Final

import apsw

APPLICATION_ID: Final = 0x53504221  # "SPB!"

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
        at TEXT,
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


class NewerVersionError(Exception):
    """The file was written by a newer sigprobe; it must be left as it is."""


class ForeignFileError(apsw.NotADBError):
    """The file is a database, but not a queue of ours."""


def migrate(db: apsw.Connection, stream_id: str) -> None:
    """Bring the file to `VERSION`, or raise NewerVersionError / ForeignFileError without touching it."""
    version = db.pragma("user_version")
    application = db.pragma("application_id")
    if application == APPLICATION_ID and version == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        # another process may have made it in the meantime
        version = db.pragma("user_version")
        application = db.pragma("application_id")
        tables = db.execute("SELECT count(*) FROM sqlite_schema").get
        if application != APPLICATION_ID and (tables or version or application):
            raise ForeignFileError(f"application id {application}, {tables} tables")
        if version > VERSION:
            raise NewerVersionError(f"version {version}, this sigprobe knows {VERSION}")
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
