"""The tables of the worker: which one leads, and how each of its jobs went."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table

from sigprobe.collector.store.schema import UtcTime

metadata: Final = MetaData()

leader: Final = Table(
    "worker_leader",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("name", String(200), nullable=False),
    Column("backend", BigInteger),
    Column("beat_at", UtcTime, nullable=False),
)
"""One row. `backend` is the server process that holds the lock (PostgreSQL)."""

jobs: Final = Table(
    "worker_jobs",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("done_at", UtcTime),
    Column("failed_at", UtcTime),
    Column("error", String(200)),
    Column("position", BigInteger),
    Column("epoch", String(16)),
)
"""When each job last ended well, and when and how it last failed.

`position`: the number up to which a job has read the results, in the order of readers of that `epoch`.
"""
