"""Spread the large tables over several PostgreSQL machines with the extension Citus.

`results` goes by its id: the key that keeps it once stays local to one shard. The sums go by regency, side by side, so
that one batch's sums of a regency are added on one machine. Small tables stay on the coordinator. The schema and all
statements are the same with and without Citus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from sigprobe.collector.store.database_causes import cause, technical_text
from sigprobe.record.messages import MessageError

TABLES: Final = (
    ("results", "id", None),
    ("rollup_counts", "regency", None),
    ("rollup_bins", "regency", "rollup_counts"),
    ("rollup_members", "regency", "rollup_counts"),
)
"""Table, column that decides on the shard, and the table whose shards it lies beside."""


class DistributionError(Exception):
    """Raised when the tables cannot be spread.

    `code` is one of a few words. `detail` is a cause that the screen puts into words. `technical` is what the driver
    said, for `-v`.
    """

    def __init__(self, code: str, detail: str | MessageError = "", technical: str = "") -> None:
        super().__init__(": ".join(part for part in (code, str(detail), technical) if part))
        self.code = code
        self.detail = detail
        self.technical = technical


@dataclass(frozen=True, slots=True)
class Distributed:
    """`new`: tables that were spread now; `machines` hold shards, `shards` is their number for `results`."""

    new: tuple[str, ...]
    before: tuple[str, ...]
    machines: int
    shards: int
    version: str


def distribute(
    engine: Engine, shards: int, progress: Callable[[int, int], None] = lambda _done, _whole: None
) -> Distributed:
    """Spread what is not spread yet, with its rows. Raises DistributionError; a repeat goes on where it stopped.

    Each table is locked while it is spread, so nothing else should write.
    """
    if engine.dialect.name != "postgresql":
        raise DistributionError("no_postgresql")
    try:
        with engine.connect() as connection:
            connection.execute(text("SET statement_timeout = 0"))
            version, machines = _check(connection)
            before = _spread(connection)
            connection.commit()
            new = []
            for done, (name, column, beside) in enumerate(TABLES):
                progress(done, len(TABLES))
                if name not in before:
                    _spread_one(connection, name, column, beside, shards)
                    connection.commit()
                    new.append(name)
            progress(len(TABLES), len(TABLES))
            count = connection.scalar(
                text("SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = 'results'::regclass")
            )
            return Distributed(tuple(new), tuple(sorted(before)), machines, int(count or 0), version)
    except SQLAlchemyError as error:
        raise DistributionError("failed", cause(error), technical_text(error)) from error


def _check(connection: Connection) -> tuple[str, int]:
    version = connection.scalar(text("SELECT extversion FROM pg_extension WHERE extname = 'citus'"))
    if version is None:
        raise DistributionError("no_citus")
    machines = int(
        connection.scalar(text("SELECT count(*) FROM pg_dist_node WHERE isactive AND shouldhaveshards")) or 0
    )
    if machines == 0:
        raise DistributionError("no_machines")
    if connection.execute(text("SELECT 1 FROM results WHERE batch_id IS NULL LIMIT 1")).first() is not None:
        # the worker locks such rows one by one, which cannot be done over several machines
        raise DistributionError("backfill")
    return str(version), machines


def _spread(connection: Connection) -> frozenset[str]:
    return frozenset(
        connection.execute(text("SELECT logicalrelid::text FROM pg_dist_partition WHERE partmethod = 'h'")).scalars()
    ) & {name for name, _column, _beside in TABLES}


def _spread_one(connection: Connection, name: str, column: str, beside: str | None, shards: int) -> None:
    if beside is None:
        connection.execute(
            text("SELECT create_distributed_table(:name, :column, colocate_with => 'none', shard_count => :shards)"),
            {"name": name, "column": column, "shards": shards},
        )
    else:
        connection.execute(
            text("SELECT create_distributed_table(:name, :column, colocate_with => :beside)"),
            {"name": name, "column": column, "beside": beside},
        )
    # the copies that were moved away from the coordinator still take room there
    if connection.scalar(text("SELECT to_regprocedure('truncate_local_data_after_distributing_table(regclass)')")):
        connection.execute(
            text("SELECT truncate_local_data_after_distributing_table(CAST(:name AS regclass))"), {"name": name}
        )
