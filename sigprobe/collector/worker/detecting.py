"""Find incidents in what was published: read, vote, judge each minute, store what has changed.

The state is in memory, and every worker that takes the lead makes it anew: it reads the last hours again, minute by
minute as they came, and takes over the incidents that are stored. The same rows give the same incidents with the same
ids, so it makes no difference which worker found them. What is stored is the incidents, each change of them, and the
number up to which the rows were read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, func, select

from sigprobe.collector.incidents import records
from sigprobe.collector.incidents.detector import Detector, Incident, Moment
from sigprobe.collector.incidents.votes import Vote, bin_of
from sigprobe.collector.store import epochs
from sigprobe.collector.store.batch_rows import at_most, rows_of
from sigprobe.collector.store.engine import write_turn
from sigprobe.collector.store.schema import batches, upsert
from sigprobe.collector.worker.run_votes import COLUMNS, Reader, Speed
from sigprobe.collector.worker.schema import jobs
from sigprobe.collector.worker.usual_speed import UsualSpeed

log = logging.getLogger(__name__)

JOB: Final = "detect"
WINDOW_S: Final = 12 * 3600.0
"""A worker that begins reads so much of the past again."""
MOST_ROWS: Final = 2_000_000
"""And no more rows than this."""
TICK_S: Final = 60.0
WORKS: Final = "works"
SPEED: Final = "speed"
_STEP_S: Final = 0.3
_GROUP_ROWS: Final = 2_000
_GROUP_BATCHES: Final = 200
_KEEP_S: Final = 48 * 3600.0


class Detecting:
    """The job of one worker. `wall` is the clock of the ticks, in seconds since 1970."""

    def __init__(self, engine: Engine, wall: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._wall = wall
        self._epoch: str | None = None
        self._position = 0
        self._written: int | None = None
        self._begun = False
        self._reset()

    def _reset(self) -> None:
        self._reader = Reader()
        self._speeds = UsualSpeed()
        self._detectors = {WORKS: Detector(), SPEED: Detector(aspect=SPEED)}
        self._next_tick: float | None = None
        self._saved: dict[str, tuple[Any, ...]] = {}

    def step(self, connection: Connection) -> bool:
        """Read what is new, for a moment; once nothing is left, judge and store. Returns whether more is left.

        Only what is stored goes over `connection`, the leader's own: reading holds up no writer.
        """
        try:
            return self._step(connection, self._wall())
        except BaseException:
            # part of a group may have been taken: begin anew
            self._begun = False
            raise

    def _step(self, connection: Connection, now: float) -> bool:
        with self._engine.connect() as reader:
            last = int(reader.execute(select(func.max(batches.c.published_no))).scalar() or 0)
            epoch = epochs.current(reader)
            told = reader.execute(select(jobs.c.position, jobs.c.epoch).where(jobs.c.name == JOB)).first()
            position = None if told is None or told.epoch != epoch else told.position
            # another worker may have led meanwhile, or the database is another copy
            if not self._begun or epoch != self._epoch or position != self._written:
                self._begin(reader, now, last)
                self._epoch, self._written, self._begun = epoch, position, True
            until = time.monotonic() + _STEP_S
            while self._position < last and self._read(reader):
                if time.monotonic() > until and self._position < last:
                    return True
        self._judge(now)
        # a wide incident's timeline takes a while: ingest must not wait for it
        changed = [
            (aspect, incident, detector.timeline(incident), seen)
            for aspect, detector in self._detectors.items()
            for incident in detector.incidents
            if self._saved.get(incident.id) != (seen := _state(incident, now))
        ]
        with write_turn(self._engine), connection.begin():
            self._store(connection, changed, now)
        for detector in self._detectors.values():
            detector.forget_before(now - _KEEP_S)
        self._written = self._position
        return False

    def _begin(self, reader: Connection, now: float, last: int) -> None:
        """Start anew: from the first row of the window, with the incidents that are known."""
        self._reset()
        self._position = max(first_number(reader, now - WINDOW_S, last), last - MOST_ROWS)
        for aspect, known in records.load(reader, now - WINDOW_S).items():
            if aspect in self._detectors:
                self._detectors[aspect].resume(known)
        if last > self._position:
            log.info("incidents: reading the last hours again", extra={"records": last - self._position})

    def _read(self, reader: Connection) -> bool:
        group = self._next(reader)
        if not group:
            return False
        tokens = {batch.id: batch.token_id for batch in group if batch.token_id is not None}
        rows: dict[str, list[Any]] = {}
        for row in rows_of(reader, group, *COLUMNS):
            rows.setdefault(row.batch_id, []).append(row)
        for batch in group:
            self._judge(batch.received_at.timestamp())
            for vote in self._reader.votes(sorted(rows.get(batch.id, ()), key=lambda row: row.place or 0), tokens):
                self._add(vote)
        self._position = int(group[-1].published_no)
        return True

    def _next(self, reader: Connection) -> Sequence[Any]:
        found = reader.execute(
            select(batches.c.id, batches.c.token_id, batches.c.received_at, batches.c.ids, batches.c.published_no)
            .where(batches.c.published_no > self._position)
            .order_by(batches.c.published_no)
            .limit(_GROUP_BATCHES)
        ).all()
        return at_most(found, _GROUP_ROWS)

    def _add(self, said: Vote | Speed) -> None:
        if isinstance(said, Vote):
            self._detectors[WORKS].add(said)
            return
        vote = said.vote
        dropped = self._speeds.dropped(vote.plmn, vote.tps[:4], said.direction, said.bps, at_least=said.at_least)
        if dropped is not None:
            self._detectors[SPEED].add(replace(vote, bad=dropped, owner="uncertain" if dropped else "none"))

    def _judge(self, now: float) -> None:
        """Judge each whole minute that has passed by `now`."""
        if self._next_tick is None or now - self._next_tick > WINDOW_S:
            self._next_tick = now - now % TICK_S
        while self._next_tick <= now:
            for detector in self._detectors.values():
                detector.tick(self._next_tick)
            self._next_tick += TICK_S

    def _store(
        self, connection: Connection, changed: Sequence[tuple[str, Incident, Sequence[Moment], Any]], now: float
    ) -> None:
        for aspect, incident, moments, seen in changed:
            what = records.save(connection, aspect, incident, moments, now)
            self._saved[incident.id] = seen
            if what is not None:
                log.info(
                    "incident",
                    extra={
                        "incident": incident.id,
                        "change": what,
                        "kind": incident.kind,
                        "plmn": incident.plmn,
                        "area": incident.area,
                    },
                )
        values = {"position": self._position, "epoch": self._epoch, "done_at": datetime.fromtimestamp(now, UTC)}
        statement = upsert(connection, jobs).values(name=JOB, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))


def first_number(connection: Connection, when: float, last: int) -> int:
    """Return the number before the first batch received at or after a time, found by halving."""
    since = datetime.fromtimestamp(when, UTC)
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(
            select(batches.c.received_at, batches.c.published_no)
            .where(batches.c.published_no > middle)
            .order_by(batches.c.published_no)
            .limit(1)
        ).first()
        if found is None or found.received_at >= since:
            high = middle
        else:
            low = int(found.published_no)
    return low


def _state(incident: Incident, now: float) -> tuple[Any, ...]:
    """Return what must differ before an incident is stored again: an open one is refreshed once a bin."""
    return (
        *(getattr(incident, name) for name in records.WEIGHTY),
        None if incident.ended_at is not None else bin_of(now),
    )
