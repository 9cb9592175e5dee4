"""Keep batches, metrics and rollups; partition the results of PostgreSQL by id.

Programs of version 3 that still run go on working: their statements fit the new tables. What they store has no batch;
the worker adds it to the rollups as it does with the rows that are here already.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from alembic import op
from sqlalchemy import Connection, DateTime, bindparam, text

from sigprobe.collector.store.migrations.column_types import column_types

revision = "0004"
down_revision = "0003"

_METRICS = (
    *("latency_ms", "jitter_ms", "loss_ratio", "dns_ms", "http_total_ms", "download_bps", "upload_bps"),
    *("web_total_ms", "video_start_ms", "stall_ratio"),
)
_COLUMNS = (
    *("batch_id {uuid}", "place INTEGER", "target VARCHAR(64)"),
    *(f"{name} {{float}}" for name in _METRICS),
    *("download_at_least BOOLEAN", "upload_at_least BOOLEAN"),
)
_INDEXES = {
    "results_receive_no": "(receive_no)",
    "results_tps": "(tps_id, receive_no)",
    "results_outcome": "(outcome, receive_no)",
    "results_plmn": "(operator_plmn, receive_no)",
    "results_operator": "(operator_name, receive_no)",
    "results_order": "(probe_id, stream_id, seq)",
    "results_boot": "(probe_id, boot_id, carrier, receive_no) WHERE since_boot_s IS NOT NULL",
    "results_site": "(site, receive_no) WHERE site IS NOT NULL",
    "results_plmn_outcome": "(operator_plmn, outcome, receive_no)",
    "results_operator_outcome": "(operator_name, outcome, receive_no)",
    "results_unsummed": "(receive_no) WHERE batch_id IS NULL",
}
_ROLLUP_KEY = """width_s INTEGER NOT NULL, start_s BIGINT NOT NULL, regency VARCHAR(4) NOT NULL,
    area VARCHAR(6) NOT NULL, operator VARCHAR(64) NOT NULL, kind VARCHAR(64) NOT NULL, target VARCHAR(64) NOT NULL"""
_TABLES = (
    """CREATE TABLE batches (
        id {uuid} NOT NULL PRIMARY KEY, carrier VARCHAR(200) NOT NULL, token_id {uuid}, received_at {time} NOT NULL,
        n INTEGER NOT NULL, ids {blob} NOT NULL, anchors TEXT, published_no BIGINT, summed BOOLEAN NOT NULL)""",
    "CREATE UNIQUE INDEX batches_published ON batches (published_no)",
    "CREATE INDEX batches_unpublished ON batches (received_at) WHERE published_no IS NULL",
    "CREATE INDEX batches_unsummed ON batches (published_no) WHERE {unsummed}",
    """CREATE TABLE epochs (
        number INTEGER NOT NULL PRIMARY KEY, epoch VARCHAR(16) NOT NULL, fingerprint VARCHAR(200) NOT NULL,
        first_no BIGINT NOT NULL, began_at {time} NOT NULL)""",
    """CREATE TABLE worker_leader (
        one INTEGER NOT NULL PRIMARY KEY, name VARCHAR(200) NOT NULL, backend BIGINT, beat_at {time} NOT NULL)""",
    """CREATE TABLE worker_jobs (
        name VARCHAR(64) NOT NULL PRIMARY KEY, done_at {time}, failed_at {time}, error VARCHAR(200))""",
    f"""CREATE TABLE rollup_counts ({_ROLLUP_KEY}, what VARCHAR(8) NOT NULL, value VARCHAR(64) NOT NULL,
        n BIGINT NOT NULL,
        PRIMARY KEY (width_s, start_s, regency, area, operator, kind, target, what, value))""",
    f"""CREATE TABLE rollup_bins ({_ROLLUP_KEY}, metric VARCHAR(64) NOT NULL, bin SMALLINT NOT NULL,
        n BIGINT NOT NULL, n_at_least BIGINT NOT NULL,
        PRIMARY KEY (width_s, start_s, regency, area, operator, kind, target, metric, bin))""",
    f"""CREATE TABLE rollup_members ({_ROLLUP_KEY}, station VARCHAR(64) NOT NULL, probe VARCHAR(36) NOT NULL,
        n BIGINT NOT NULL, n_failed BIGINT NOT NULL,
        PRIMARY KEY (width_s, start_s, regency, area, operator, kind, target, station, probe))""",
    "CREATE INDEX rollup_counts_time ON rollup_counts (width_s, start_s)",
    "CREATE INDEX rollup_bins_time ON rollup_bins (width_s, start_s)",
    "CREATE INDEX rollup_members_time ON rollup_members (width_s, start_s)",
)


def upgrade() -> None:
    """Bring version 3 to version 4."""
    connection = op.get_bind()
    kinds = column_types(connection)
    # SQLite takes a partial index only where a query has the same words
    kinds["unsummed"] = "summed = 0" if connection.dialect.name == "sqlite" else "NOT summed"
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        # no writer of version 3 may come between: its rows are moved below
        connection.execute(text("LOCK TABLE results IN ACCESS EXCLUSIVE MODE"))
    for column in _COLUMNS:
        connection.execute(text(f"ALTER TABLE results ADD COLUMN {column}".format(**kinds)))
    connection.execute(text(f"CREATE INDEX results_unsummed ON results {_INDEXES['results_unsummed']}"))
    for statement in _TABLES:
        connection.execute(text(statement.format(**kinds)))
    now = datetime.now(UTC)
    if connection.dialect.name == "postgresql":
        _partition(connection, now)
    # a typed parameter: Python 3.12 deprecates that its own sqlite3 converts times
    connection.execute(
        text(
            "INSERT INTO schema_version (version, title, applied_at) VALUES (4, 'batches and rollups', :now)"
        ).bindparams(bindparam("now", now, DateTime(timezone=True)))
    )


def _partition(connection: Connection, now: datetime) -> None:
    """Make `results` a partitioned table whose first partition is the table of before, whole and with its indexes.

    Attaching it reads it once, to see that no id in it belongs elsewhere.
    """
    monday = datetime(now.year, now.month, now.day, tzinfo=UTC) - timedelta(days=now.weekday())
    bound = _first_id(monday + timedelta(weeks=1))
    statements = ["ALTER TABLE results RENAME TO results_first"]
    statements += [f"ALTER INDEX {name} RENAME TO results_first{name.removeprefix('results')}" for name in _INDEXES]
    statements += [
        "ALTER TABLE results_first RENAME CONSTRAINT results_pkey TO results_first_pkey",
        "CREATE TABLE results (LIKE results_first INCLUDING DEFAULTS) PARTITION BY RANGE (id)",
        "ALTER TABLE results ADD PRIMARY KEY (id)",
    ]
    statements += [f"CREATE INDEX {name} ON results {what}" for name, what in _INDEXES.items()]
    for statement in statements:
        connection.execute(text(statement))
    for table in ("results", "results_first"):
        _compress(connection, table)
    for statement in (
        "CREATE TABLE results_default PARTITION OF results DEFAULT",
        # clocks that were ahead: their ids belong to weeks to come
        f"INSERT INTO results_default SELECT * FROM results_first WHERE id >= '{bound}'",  # noqa: S608
        f"DELETE FROM results_first WHERE id >= '{bound}'",  # noqa: S608
        f"ALTER TABLE results ATTACH PARTITION results_first FOR VALUES FROM (MINVALUE) TO ('{bound}')",
    ):
        connection.execute(text(statement))


def _compress(connection: Connection, table: str) -> None:
    try:
        with connection.begin_nested():
            connection.execute(text(f"ALTER TABLE {table} ALTER COLUMN line SET COMPRESSION lz4"))
    except Exception:  # noqa: BLE001, S110 - a server built without lz4 compresses with its own method
        pass


def _first_id(when: datetime) -> uuid.UUID:
    return uuid.UUID(int=int(when.timestamp() * 1000) << 80)
