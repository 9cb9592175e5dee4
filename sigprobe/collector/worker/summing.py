"""Add published batches to the rollups and tallies, each exactly once.

One transaction corrects the times of a group's rows, adds them to the sums, and marks their batches. A worker that dies
in the middle leaves nothing of it, and the next one begins again.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, or_, select, update

from sigprobe.collector.rollups import queries as rollups
from sigprobe.collector.rollups.sums import Sums
from sigprobe.collector.store.batch_rows import at_most, rows_of
from sigprobe.collector.store.chunks import chunks
from sigprobe.collector.store.clocks import Anchor
from sigprobe.collector.store.metrics import read_metrics
from sigprobe.collector.store.schema import (
    LOWER_BOUNDS,
    MAX_WORD,
    METRICS,
    SUMMED_ALONE,
    batches,
    results,
    tallies,
    tokens,
    upsert,
)
from sigprobe.collector.store.text import sound_text
from sigprobe.collector.worker import corrections
from sigprobe.collector.worker.contributions import COLUMNS, contribution
from sigprobe.record.foreign_json import object_or_none
from sigprobe.record.result import RUN_KIND, Outcome

MOST_ROWS: Final = 2_000
"""Rows that one transaction adds, but at least one batch."""

_MOST_BATCHES: Final = 256
_CHUNK: Final = 500
_TOKEN_USE_GRAIN: Final = timedelta(hours=1)
_OUTCOMES: Final = frozenset(item.value for item in Outcome)
OTHER_OUTCOME: Final = "other"
"""What invented outcomes count as, so that no sender can add rows to the tallies without end."""

log = logging.getLogger(__name__)


def add_batches(connection: Connection) -> bool:
    """Add the oldest batches that are published and not summed; False when there is none."""
    with connection.begin():
        group = _take(connection, _next(connection))
        if not group:
            return False
        _learn(connection, group)
        rows = list(rows_of(connection, group, *COLUMNS))
        times = _times(connection, rows)
        corrections.correct(connection, [{"row": name, "when": when} for name, when in times.items()])
        sums = Sums()
        for row in rows:
            sums.add(contribution(row, times.get(row.id, row.corrected_at)))
        rollups.apply(connection, sums)
        _count(connection, rows)
        _note_use(connection, group)
        doubled = _doubled(connection, rows)
    for row in doubled:
        log.warning(
            "two devices share one probe id",
            extra={"probe": row.probe_id, "stream": row.stream_id, "seq": row.seq, "token": row.carrier},
        )
    return True


def add_single_rows(connection: Connection, most: int = _CHUNK) -> int:
    """Add rows that a program from before batches stored, and fill their columns. Returns how many."""
    with connection.begin():
        waiting = select(results.c.id).where(results.c.batch_id.is_(None)).order_by(results.c.receive_no).limit(most)
        ids = connection.execute(waiting).scalars().all()
        if not ids:
            return 0
        # marked first, so that each is added once; rows on several machines cannot be locked by a query
        taken = connection.execute(
            update(results)
            .where(results.c.id.in_(ids), results.c.batch_id.is_(None))
            .values(batch_id=SUMMED_ALONE)
            .returning(results.c.id)
        )
        rows = connection.execute(
            select(*COLUMNS, results.c.line)
            .where(results.c.id.in_(taken.scalars().all()))
            .order_by(results.c.receive_no)
        ).all()
        if not rows:
            return 0
        sums = Sums()
        values = []
        for row in rows:
            record = object_or_none(bytes(row.line)) or {}
            filled = _columns_of(row.kind, record)
            values.append({"row": row.id, **{f"new_{name}": value for name, value in filled.items()}})
            sums.add(contribution(_Filled(row, filled)))
        connection.execute(
            update(results)
            .where(results.c.id == bindparam("row"))
            .values(**{name: bindparam(f"new_{name}") for name in _FILLED}),
            values,
        )
        rollups.apply(connection, sums)
    return len(rows)


def walk(connection: Connection) -> bool:
    """Correct rows that came before their boot's anchor; True when more is left."""
    with connection.begin():
        sums = Sums()
        more = corrections.catch_up(connection, sums)
        rollups.apply(connection, sums)
    return more


def unsummed(connection: Connection) -> int:
    """Return how many batches are not part of the rollups yet."""
    query = select(func.count()).select_from(batches).where(~batches.c.summed)
    return int(connection.execute(query).scalar_one())


_FILLED: Final = ("target", *METRICS, *LOWER_BOUNDS.values())


class _Filled:
    """A row with some of its columns replaced."""

    def __init__(self, row: Any, filled: dict[str, Any]) -> None:
        self._row = row
        self._filled = filled

    def __getattr__(self, name: str) -> Any:
        return self._filled[name] if name in self._filled else getattr(self._row, name)


def _columns_of(kind: str, record: dict[str, Any]) -> dict[str, Any]:
    data, target = record.get("data"), record.get("target")
    metrics, bounds = read_metrics(kind, data) if isinstance(data, dict) else ({}, frozenset[str]())
    name = target.get("name") if isinstance(target, dict) else None
    return {
        "target": sound_text(name)[:MAX_WORD] if isinstance(name, str) and name else None,
        **{metric: metrics.get(metric) for metric in METRICS},
        **{column: metric in bounds if metric in metrics else None for metric, column in LOWER_BOUNDS.items()},
    }


def _next(connection: Connection) -> list[Row[Any]]:
    found = connection.execute(
        select(batches)
        .where(~batches.c.summed, batches.c.published_no.is_not(None))
        .order_by(batches.c.published_no)
        .limit(_MOST_BATCHES)
    ).all()
    return at_most(found, MOST_ROWS)


def _take(connection: Connection, group: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Mark batches as summed; return those that this call marked, so that each is added once."""
    if not group:
        return []
    taken = set(
        connection.execute(
            update(batches)
            .where(batches.c.published_no.in_([batch.published_no for batch in group]), ~batches.c.summed)
            .values(summed=True)
            .returning(batches.c.id)
        ).scalars()
    )
    return [batch for batch in group if batch.id in taken]


def _learn(connection: Connection, group: Sequence[Row[Any]]) -> None:
    told: dict[corrections.Boot, Anchor] = {}
    for batch in group:
        for probe, boot, error_s, booted_at_s in json.loads(batch.anchors) if batch.anchors else ():
            key, anchor = (probe, boot, batch.carrier), Anchor(error_s, booted_at_s)
            # programs of an earlier version beside this one write implausible ones too
            if anchor.is_plausible() and (key not in told or anchor.rank() < told[key].rank()):
                told[key] = anchor
    if told:
        corrections.learn(connection, told)


def _times(connection: Connection, rows: Sequence[Row[Any]]) -> dict[str, datetime | None]:
    """Return the times of those rows that an anchor of their boot corrects."""
    waiting = [row for row in rows if row.since_boot_s is not None and row.boot_id is not None]
    if not waiting:
        return {}
    anchors = corrections.find(connection, sorted({(row.probe_id, row.boot_id, row.carrier) for row in waiting}))
    return {
        row.id: anchors[key].time_of(row.since_boot_s)
        for row in waiting
        if (key := (row.probe_id, row.boot_id, row.carrier)) in anchors
    }


def tally_keys(row: Any) -> list[tuple[str, str, str]]:
    """Return the entries of the tallies that a row counts in: scope, subject and outcome."""
    if row.kind == RUN_KIND:
        return []
    outcome = row.outcome if row.outcome in _OUTCOMES else OTHER_OUTCOME
    subjects = (("place", row.tps_id or row.site), ("operator", row.operator_name or row.operator_plmn))
    return [(scope, subject, outcome) for scope, subject in subjects if subject]


def _count(connection: Connection, rows: Sequence[Row[Any]]) -> None:
    counted: Counter[tuple[str, str, str]] = Counter()
    last: dict[tuple[str, str, str], datetime] = {}
    for row in rows:
        for key in tally_keys(row):
            counted[key] += 1
            last[key] = max(last.get(key, row.received_at), row.received_at)
    if not counted:
        return
    statement = upsert(connection, tallies)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["scope", "subject", "outcome"],
            set_={
                "count": tallies.c.count + statement.excluded.count,
                "last_received_at": statement.excluded.last_received_at,
            },
        ),
        [
            {"scope": scope, "subject": subject, "outcome": outcome, "count": n, "last_received_at": last[key]}
            for key, n in sorted(counted.items())
            for scope, subject, outcome in [key]
        ],
    )


def _note_use(connection: Connection, group: Sequence[Row[Any]]) -> None:
    used: dict[str, datetime] = {}
    for batch in group:
        if batch.token_id is not None:
            used[batch.token_id] = max(used.get(batch.token_id, batch.received_at), batch.received_at)
    if used:
        connection.execute(
            update(tokens)
            .where(
                tokens.c.id == bindparam("token"),
                or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at < bindparam("before")),
            )
            .values(last_used_at=bindparam("when")),
            [{"token": name, "when": when, "before": when - _TOKEN_USE_GRAIN} for name, when in sorted(used.items())],
        )


def _doubled(connection: Connection, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Return one row of each stream in which another record has the same number: a copied disk image does that."""
    streams: dict[tuple[str, str], list[Row[Any]]] = {}
    for row in rows:
        streams.setdefault((row.probe_id, row.stream_id), []).append(row)
    found = []
    for (probe_id, stream_id), members in streams.items():
        for part in chunks(members, _CHUNK):
            number = connection.execute(
                select(results.c.seq)
                .where(
                    results.c.probe_id == probe_id,
                    results.c.stream_id == stream_id,
                    results.c.seq.in_([row.seq for row in part]),
                )
                .group_by(results.c.seq)
                .having(func.count() > 1)
                .limit(1)
            ).scalar()
            if number is not None:
                found.append(next(row for row in part if row.seq == number))
                break
    return found
