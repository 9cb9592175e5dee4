"""Define the tables through which processes share what must not outlive them: speed tests and wrong secrets.

They are UNLOGGED in PostgreSQL: their commits wait for neither the disk nor a standby. A crash of the server empties
them, a standby does not have them. All that is lost then is a running speed test's count, or today's share of it.
SQLite has the same tables and leaves them empty: there one process keeps all of it in memory.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, MetaData, String, Table, Text, Uuid

from sigprobe.collector.store.schema import MAX_TEXT, UtcTime

metadata: Final = MetaData()

speedtest_use: Final = Table(
    "speedtest_use",
    metadata,
    Column("client", String(MAX_TEXT), primary_key=True),
    Column("process", String(32), primary_key=True),
    Column("began_at", UtcTime, nullable=False),
    Column("granted", BigInteger, nullable=False),
    Column("active", Integer, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
)
"""What each process has given a client since `began_at`: bytes, and streams that are open now."""

speedtest_sessions: Final = Table(
    "speedtest_sessions",
    metadata,
    Column("session", Uuid(as_uuid=False), primary_key=True),
    Column("process", String(32), primary_key=True),
    Column("open", Boolean, nullable=False),
    Column("taken_s", Float, nullable=False),
    Column("arrivals", Text, nullable=False),
    Column("seen_at", UtcTime, nullable=False, index=True),
)
"""What arrived of an upload session in each process. `taken_s`: all that arrived until then is in it.

Times are seconds since 1970 by the database's clock. `open`: more may come.
"""

wrong_tries: Final = Table(
    "wrong_tries",
    metadata,
    Column("client", String(MAX_TEXT), primary_key=True),
    Column("began_at", UtcTime, nullable=False),
    Column("wrong", Integer, nullable=False),
)
"""Wrong secrets of a client group since its window began."""
