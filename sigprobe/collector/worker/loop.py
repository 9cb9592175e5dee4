"""Run the worker: publish, sum up, correct, find incidents, keep partitions ahead.

In a thread of `serve`, or as `collector work`. All of it is idempotent: a step that was interrupted is simply done
again, by this worker or another.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from sigprobe.collector.rollups import retention
from sigprobe.collector.store import partitions
from sigprobe.collector.store.engine import write_turn
from sigprobe.collector.store.schema import upsert
from sigprobe.collector.worker import pruning, publishing, summing
from sigprobe.collector.worker.alerting import STEP_S, Alerting
from sigprobe.collector.worker.detecting import JOB, TICK_S, Detecting
from sigprobe.collector.worker.leader import Leadership, LostError
from sigprobe.collector.worker.schema import jobs

log = logging.getLogger(__name__)

IDLE_S: Final = 1.0
"""Pause between rounds; a batch in this process ends it early."""
_PAUSE_S: Final = 0.05
_BEAT_S: Final = 2.0
_FILE_BEAT_S: Final = 10.0
_SUM_S: Final = 1.0
_PARTITIONS_S: Final = 600.0
_FORGET_S: Final = 600.0
_NOTE_S: Final = 60.0
_DETECT_LATER: Final = 3
"""While sums and corrections are behind, incidents are looked for so many times less often."""
_REST: Final = 9.0
"""On SQLite the worker rests so many times as long as a step took, while there is more to do."""
_ROUND_S: Final = 2.0
"""A round ends after so long, so that the leader's beat never grows old while there is much to do."""


class Worker:
    """Everything that happens by itself. Several may run on one database; one leads, the others wait."""

    def __init__(
        self,
        engine: Engine,
        name: str | None = None,
        *,
        wall: Callable[[], float] = time.time,
        alerts_to: str | None = None,
    ) -> None:
        """`alerts_to`: URL of a receiver of alerts. `wall`: seconds since 1970."""
        self._engine = engine
        self._detecting = Detecting(engine, wall)
        self._alerting = None if alerts_to is None else Alerting(engine, alerts_to, wall)
        self._lead = Leadership(engine, name)
        self._beat_s = _FILE_BEAT_S if engine.dialect.name == "sqlite" else _BEAT_S
        # a thread of `serve` and a reader that wants what was just stored may both come
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._done: dict[str, float] = {}
        self._noted: dict[str, float] = {}
        self._more = False

    @property
    def leads(self) -> bool:
        """Return whether this worker led when it last looked."""
        return self._lead.leads

    def start(self) -> None:
        """Run in a thread until `stop`."""
        self._thread = threading.Thread(target=self.run, name="worker", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the thread after its present step and give up the lead."""
        self.end()
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self._lock.acquire(timeout=timeout_s):
            try:
                self._lead.give_up()
            finally:
                self._lock.release()

    def end(self) -> None:
        """Ask `run` to return after its present step."""
        self._stopped.set()
        self._wake.set()

    def nudge(self) -> None:
        """Say that there is something to publish."""
        self._wake.set()

    def run(self) -> None:
        """Work until stopped."""
        while not self._stopped.is_set():
            self._wake.clear()
            self.round()
            if self._more:
                continue
            self._wake.wait(IDLE_S)
            # batches that come together are published together
            self._stopped.wait(_PAUSE_S)

    def round(self) -> bool:
        """Do what is due, if this worker leads or can; False when another leads or the database is away."""
        with self._lock:
            self._more = False
            try:
                if not self._lead.try_to_lead():
                    return False
                self._due("beat", self._beat_s, self._lead.beat)
                self._work(self._lead.connection())
            except LostError:
                log.warning("the worker lost the lead", extra={"worker": self._lead.name})
                self._lead.give_up()
                return False
            except SQLAlchemyError as error:
                log.warning("the worker cannot work", extra={"reason": type(error).__name__})
                self._lead.give_up()
                return False
            return True

    def publish(self) -> bool:
        """Give readers what is committed so far, at once, if this worker leads or can."""
        if self._engine.dialect.name == "sqlite":
            return True  # its writer numbers the rows itself
        with self._lock:
            try:
                if not self._lead.try_to_lead():
                    return False
                publishing.publish_all(self._lead.connection())
            except (LostError, SQLAlchemyError):
                self._lead.give_up()
                return False
            return True

    def look_now(self) -> bool:
        """Do all that is left to do, and look for incidents now, whenever that was last done."""
        with self._lock:
            self._done.pop("detect", None)
            return self.settle()

    def settle(self) -> bool:
        """Work until nothing is left to do; False when another leads or the database is away."""
        with self._lock:
            self._done.pop("sum", None)
            while self.round():
                if not self._more:
                    return True
                self._done.pop("sum", None)
            return False

    def _work(self, connection: Connection) -> None:
        until = time.monotonic() + _ROUND_S
        self._job("publish", connection, _publish_all)
        if not self._is_due("sum", _SUM_S):
            return
        for name, step in (
            ("sum", summing.add_batches),
            ("correct", summing.walk),
            ("backfill", lambda found: summing.add_single_rows(found) > 0),
        ):
            while more := self._job(name, connection, step):
                if time.monotonic() > until or self._stopped.is_set():
                    break
            self._more = self._more or more
        if self._more:
            self._done.pop("sum", None)
        # last: it reads what the jobs before it have published and corrected
        due = self._is_due(JOB, TICK_S * (_DETECT_LATER if self._more else 1))
        if due and self._job(JOB, connection, self._detecting.step, turn=False):
            self._done.pop(JOB, None)
            self._more = True
        alerting = self._alerting
        if alerting is not None:
            self._due("alerts", STEP_S, lambda: self._job("alerts", connection, alerting.step, turn=False))
        if self._is_due("retention", _FORGET_S):
            while self._job("retention", connection, retention.drop_step):
                if time.monotonic() > until or self._stopped.is_set():
                    # the rest in the next round
                    self._done.pop("retention", None)
                    break
        if connection.dialect.name == "postgresql":
            self._due("partitions", _PARTITIONS_S, lambda: self._job("partitions", connection, _make_partitions))
            self._due("forget", _FORGET_S, lambda: self._job("forget", connection, pruning.forget_shared_state))

    def _job(self, name: str, connection: Connection, step: Callable[[Connection], bool], *, turn: bool = True) -> bool:
        """Run one step of a job. A fault of its own does not keep the others from running.

        Without `turn` the step takes its turn to write by itself, where it writes.
        """
        began = time.monotonic()
        try:
            with write_turn(self._engine) if turn else nullcontext():
                more = step(connection)
        except LostError:
            raise
        except Exception as error:
            if connection.invalidated or connection.closed:
                raise LostError from error
            connection.rollback()
            log.exception("a job of the worker failed", extra={"job": name})
            self._note(connection, name, type(error).__name__)
            return False
        self._note(connection, name, None)
        if more and self._thread is not None and self._engine.dialect.name == "sqlite":
            # batches come first: sums may be late, a sender may not wait
            self._stopped.wait(_REST * (time.monotonic() - began))
        return more

    def _note(self, connection: Connection, name: str, error: str | None) -> None:
        """Keep in the database when a job last ended well, and how it last failed; not more often than is of use."""
        now = time.monotonic()
        if error is None and now - self._noted.get(name, -_NOTE_S) < _NOTE_S:
            return
        self._noted[name] = now
        when = datetime.now(UTC)
        values = {"done_at": when} if error is None else {"failed_at": when, "error": error[:200]}
        with suppress(SQLAlchemyError), connection.begin():
            statement = upsert(connection, jobs).values(name=name, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))

    def _is_due(self, name: str, every_s: float) -> bool:
        now = time.monotonic()
        if now - self._done.get(name, -every_s) < every_s:
            return False
        self._done[name] = now
        return True

    def _due(self, name: str, every_s: float, step: Callable[[], object]) -> None:
        if self._is_due(name, every_s):
            step()


def _publish_all(connection: Connection) -> bool:
    publishing.publish_all(connection)
    return False


def _make_partitions(connection: Connection) -> bool:
    with connection.begin():
        weeks = partitions.weeks_to_make(connection, datetime.now(UTC))
    for week in weeks:
        with connection.begin():
            # writers wait for this lock and behind it: better to try again later than to hold them up
            connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
            moved = partitions.make(connection, week)
        log.info("partition made", extra={"partition": partitions.name_of(week), "moved": moved})
    return False
