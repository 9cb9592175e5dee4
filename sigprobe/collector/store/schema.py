"""Define the present tables. `migrations/` creates them; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeDecorator

from sigprobe.collector.store.line_packing import StoredLine


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time on both engines: `timestamptz` in PostgreSQL, naive UTC text in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Hand SQLite naive UTC, since it drops the zone; PostgreSQL the aware time."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give back an aware UTC time."""
        when: datetime | None = value
        if when is None:
            return None
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def upsert(connection: Connection, table: Table) -> Any:
    """Return an insert that can be told what to do with rows that are there: each engine has a statement of its own."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


MAX_TEXT: Final = 200
"""The longest text kept in a column. PostgreSQL cannot index a longer one than ~2,700 bytes; the line has it all."""

MAX_WORD: Final = 64
"""The longest text that is part of a rollup's key."""

METRICS: Final = (
    *("latency_ms", "jitter_ms", "loss_ratio", "dns_ms", "http_total_ms", "download_bps", "upload_bps"),
    *("web_total_ms", "video_start_ms", "stall_ratio"),
)
"""The numbers of `sigprobe.record.kinds`, each a column. They are read from the line once, when it is stored."""

LOWER_BOUNDS: Final = {"download_bps": "download_at_least", "upload_bps": "upload_at_least"}
"""Metrics that may be only a lower bound, and the column that says so."""

FIRST_ARRIVAL: Final = 2**40
"""Values of `receive_no` below this are numbers in the order of readers, those from it on are arrival times.

PostgreSQL's writers share no counter: they store an arrival time, for the order of pages. Readers get their order from
`batches.published_no`. SQLite has one writer at a time, which numbers its rows itself.
"""

SUMMED_ALONE: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""The `batch_id` of rows from before batches were kept, once they are part of the rollups."""

metadata: Final = MetaData()

results: Final = Table(
    "results",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("receive_no", BigInteger, nullable=False),
    Column("probe_id", Uuid(as_uuid=False), nullable=False),
    Column("stream_id", Uuid(as_uuid=False), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("run_id", Uuid(as_uuid=False), nullable=False),
    Column("kind", String(MAX_TEXT), nullable=False),
    Column("kind_version", BigInteger),
    Column("schema", BigInteger),
    Column("tps_id", String(MAX_TEXT)),
    Column("regency", String(4)),
    Column("site", String(MAX_TEXT)),
    Column("operator_plmn", String(MAX_TEXT)),
    Column("operator_name", String(MAX_TEXT)),
    Column("outcome", String(MAX_TEXT), nullable=False),
    Column("failure_code", String(MAX_TEXT)),
    Column("verdict_owner", String(MAX_TEXT)),
    Column("verdict_cause", String(MAX_TEXT)),
    Column("lat", Float),
    Column("lon", Float),
    Column("started_at", UtcTime, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("corrected_at", UtcTime),
    # of a record that knows no offset of its own: what an anchor of its boot needs to correct it
    Column("boot_id", String(MAX_TEXT)),
    Column("since_boot_s", Float),
    Column("carrier", String(MAX_TEXT), nullable=False),
    Column("line", StoredLine, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("batch_id", Uuid(as_uuid=False)),
    Column("place", Integer),
    Column("target", String(MAX_WORD)),
    *(Column(name, Float) for name in METRICS),
    *(Column(name, Boolean) for name in LOWER_BOUNDS.values()),
    # of a run record: how long after its begin the device tests and makes contact again
    Column("next_contact_s", Float),
    Index("results_receive_no", "receive_no"),
    Index("results_tps", "tps_id", "receive_no"),
    Index("results_outcome", "outcome", "receive_no"),
    Index("results_plmn", "operator_plmn", "receive_no"),
    Index("results_operator", "operator_name", "receive_no"),
    Index("results_order", "probe_id", "stream_id", "seq"),
    Index("results_plmn_outcome", "operator_plmn", "outcome", "receive_no"),
    Index("results_operator_outcome", "operator_name", "outcome", "receive_no"),
)
Index(
    "results_site",
    results.c.site,
    results.c.receive_no,
    sqlite_where=results.c.site.is_not(None),
    postgresql_where=results.c.site.is_not(None),
)

Index(
    "results_boot",
    results.c.probe_id,
    results.c.boot_id,
    results.c.carrier,
    results.c.receive_no,
    sqlite_where=results.c.since_boot_s.is_not(None),
    postgresql_where=results.c.since_boot_s.is_not(None),
)

Index(
    "results_unsummed",
    results.c.receive_no,
    sqlite_where=results.c.batch_id.is_(None),
    postgresql_where=results.c.batch_id.is_(None),
)
"""Rows that a program from before batches stored: the worker adds them to the rollups one by one."""

batches: Final = Table(
    "batches",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("carrier", String(MAX_TEXT), nullable=False),
    Column("token_id", Uuid(as_uuid=False)),
    Column("received_at", UtcTime, nullable=False),
    Column("n", Integer, nullable=False),
    Column("ids", LargeBinary, nullable=False),
    Column("anchors", Text),
    Column("published_no", BigInteger),
    Column("summed", Boolean, nullable=False),
)
"""One row for each batch that brought something new. `ids` are the new records' UUIDs, 16 bytes each.

Its records have the numbers `published_no` - `n` + 1 + `place`. NULL: readers do not see it yet. `summed`: it is part
of the rollups. `anchors`: what its records tell of their boots' clocks, as JSON.
"""
Index("batches_published", batches.c.published_no, unique=True)
Index(
    "batches_unpublished",
    batches.c.received_at,
    sqlite_where=batches.c.published_no.is_(None),
    postgresql_where=batches.c.published_no.is_(None),
)
Index(
    "batches_unsummed",
    batches.c.published_no,
    sqlite_where=~batches.c.summed,
    postgresql_where=~batches.c.summed,
)

epochs: Final = Table(
    "epochs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("epoch", String(16), nullable=False),
    Column("fingerprint", String(MAX_TEXT), nullable=False),
    Column("first_no", BigInteger, nullable=False),
    Column("began_at", UtcTime, nullable=False),
)
"""The histories this database has had: a restore or a failover begins one, since numbers may be given out again.

Numbers up to `first_no` are the same as in the epoch before.
"""

boot_clocks: Final = Table(
    "boot_clocks",
    metadata,
    Column("probe_id", Uuid(as_uuid=False), primary_key=True),
    Column("boot_id", String(MAX_TEXT), primary_key=True),
    Column("carrier", String(MAX_TEXT), primary_key=True),
    Column("error_s", Float),
    Column("booted_at_s", Float, nullable=False),
    Column("walked_no", BigInteger, nullable=False),
    Column("walk_to", BigInteger),
)
"""The best anchor of each boot, as far as one carrier told it: the true time at boot, and how far it may be off.

Rows of the boot with `walked_no` < `receive_no` <= `walk_to` still show what was known before; NULL: none does.
"""
Index(
    "boot_clocks_behind",
    boot_clocks.c.walk_to,
    sqlite_where=boot_clocks.c.walk_to.is_not(None),
    postgresql_where=boot_clocks.c.walk_to.is_not(None),
)

receive_order: Final = Table(
    "receive_order",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("last_no", BigInteger, nullable=False),
)
"""One row: the last number given to readers. Only SQLite's writer and PostgreSQL's one worker update it."""

tallies: Final = Table(
    "tallies",
    metadata,
    Column("scope", String(16), primary_key=True),
    Column("subject", String(MAX_TEXT), primary_key=True),
    Column("outcome", String(MAX_TEXT), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("last_received_at", UtcTime, nullable=False),
    Index("tallies_newest", "scope", "last_received_at"),
)
"""Checks counted as they arrive, so that opening a page never scans the results and never holds up a commit."""

tokens: Final = Table(
    "tokens",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("created_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
    Column("last_used_at", UtcTime),
)
Index(
    "tokens_active_name",
    tokens.c.name,
    unique=True,
    sqlite_where=tokens.c.revoked_at.is_(None),
    postgresql_where=tokens.c.revoked_at.is_(None),
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("use", String(16), nullable=False),
    Column("token_id", Uuid(as_uuid=False)),
    Column("expires_at", UtcTime, nullable=False),
)
"""Page sessions and one-time links, hashed. Here and not in the process, so that any web process will do."""

line_dictionaries: Final = Table(
    "line_dictionaries",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
    Column("since", UtcTime, nullable=False),
)
"""The dictionaries with which lines of this database are compressed. Without a row they are stored as they are."""

readiness: Final = Table(
    "readiness",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("beat_at", UtcTime),
)
"""One row, written by `/readyz` to see that a write is possible."""

schema_version: Final = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("title", Text, nullable=False),
    Column("applied_at", UtcTime, nullable=False),
)
