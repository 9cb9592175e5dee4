"""Erase all records of one probe, and take them out of the rollups and tallies."""

from __future__ import annotations

from collections import Counter
from typing import Final

from sqlalchemy import Connection, Engine, bindparam, delete, select, update

from sigprobe.collector.rollups import queries as rollups
from sigprobe.collector.rollups.sums import Sums
from sigprobe.collector.store.engine import write_turn
from sigprobe.collector.store.schema import SUMMED_ALONE, batches, boot_clocks, results, tallies
from sigprobe.collector.worker.contributions import COLUMNS, contribution
from sigprobe.collector.worker.summing import tally_keys

_PAGE: Final = 1_000


def erase_probe(engine: Engine, probe_id: str) -> int:
    """Erase a probe's records and boot clocks; returns how many records. An interrupted call can be repeated.

    A record that comes again afterwards is stored again: nothing is kept of an erased one.
    """
    erased = 0
    while True:
        with write_turn(engine), engine.execution_options(write=True).begin() as connection:
            ids = connection.execute(select(results.c.id).where(results.c.probe_id == probe_id).limit(_PAGE)).scalars()
            # what this deletes nobody else changes any more; rows on several machines cannot be locked by a query
            gone = delete(results).where(results.c.id.in_(ids.all())).returning(*COLUMNS)
            rows = connection.execute(gone).all()
            if not rows:
                connection.execute(delete(boot_clocks).where(boot_clocks.c.probe_id == probe_id))
                return erased
            summed = _summed(connection, {row.batch_id for row in rows if row.batch_id is not None})
            sums = Sums()
            counted: Counter[tuple[str, str, str]] = Counter()
            for row in rows:
                if row.batch_id in summed or row.batch_id == SUMMED_ALONE:
                    sums.add(contribution(row), -1)
                    counted.update(tally_keys(row))
            rollups.apply(connection, sums)
            if counted:
                connection.execute(
                    update(tallies)
                    .where(
                        tallies.c.scope == bindparam("of"),
                        tallies.c.subject == bindparam("about"),
                        tallies.c.outcome == bindparam("was"),
                    )
                    .values(count=tallies.c.count - bindparam("less")),
                    [
                        {"of": scope, "about": subject, "was": outcome, "less": n}
                        for (scope, subject, outcome), n in sorted(counted.items())
                    ],
                )
                connection.execute(delete(tallies).where(tallies.c.count <= 0))
            erased += len(rows)


def _summed(connection: Connection, names: set[str]) -> set[str]:
    """Return which of these batches are part of the rollups, and let no worker add one until COMMIT."""
    query = select(batches.c.id, batches.c.summed).where(batches.c.id.in_(sorted(names))).order_by(batches.c.id)
    return {row.id for row in connection.execute(query.with_for_update()) if row.summed}
