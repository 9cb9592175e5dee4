"""Go through what a version without batches stored: fill its columns and add it to the rollups, in small steps."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine, func, inspect, select

from sigprobe.collector.store.engine import write_turn
from sigprobe.collector.store.schema import results
from sigprobe.collector.worker import summing


def left(engine: Engine) -> int:
    """Return how many results are still to be gone through. The database may be of an earlier version."""
    found = inspect(engine)
    if not found.has_table("results"):
        return 0
    query = select(func.count()).select_from(results)
    if any(column["name"] == "batch_id" for column in found.get_columns("results")):
        query = query.where(results.c.batch_id.is_(None))
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def run(engine: Engine, progress: Callable[[int], None] = lambda _done: None) -> int:
    """Go through them all, each step a transaction of its own. Returns how many. The worker may do so meanwhile."""
    done = 0
    with engine.connect().execution_options(write=True) as connection:
        while True:
            with write_turn(engine):
                step = summing.add_single_rows(connection)
            if not step:
                return done
            done += step
            progress(done)
