"""The tables of the rollups. Each primary key holds the regency, by which Citus distributes them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, SmallInteger, String, Table

MAX_WORD: Final = 64
"""The longest word kept in a key; the collector cuts longer ones when it reads a result."""

metadata: Final = MetaData()


def _key() -> tuple[Column[int] | Column[str], ...]:
    return (
        Column("width_s", Integer, primary_key=True),
        Column("start_s", BigInteger, primary_key=True),
        Column("regency", String(4), primary_key=True),
        Column("area", String(6), primary_key=True),
        Column("operator", String(MAX_WORD), primary_key=True),
        Column("kind", String(MAX_WORD), primary_key=True),
        Column("target", String(MAX_WORD), primary_key=True),
    )


counts: Final = Table(
    "rollup_counts",
    metadata,
    *_key(),
    Column("what", String(8), primary_key=True),
    Column("value", String(MAX_WORD), primary_key=True),
    Column("n", BigInteger, nullable=False),
)
bins: Final = Table(
    "rollup_bins",
    metadata,
    *_key(),
    Column("metric", String(MAX_WORD), primary_key=True),
    Column("bin", SmallInteger, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("n_at_least", BigInteger, nullable=False),
)
members: Final = Table(
    "rollup_members",
    metadata,
    *_key(),
    Column("station", String(MAX_WORD), primary_key=True),
    Column("probe", String(36), primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("n_failed", BigInteger, nullable=False),
)
retention: Final = Table(
    "rollup_retention",
    metadata,
    Column("width_s", Integer, primary_key=True, autoincrement=False),
    Column("keep_s", BigInteger, nullable=False),
    Column("dropped_before_s", BigInteger, nullable=False),
)
"""Widths whose sums are kept for a time only. Sums of buckets that start before `dropped_before_s` are gone."""

for _table in (counts, bins, members):
    Index(f"{_table.name}_time", _table.c.width_s, _table.c.start_s)
