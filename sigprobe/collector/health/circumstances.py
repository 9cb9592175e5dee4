"""Look at what works behind the requests: the worker, publishing, partitions, the disk.

None of it keeps a batch from being stored, so a fault here makes a collector `degraded`, not unready: taking every
process out of service because the worker is away would turn a delay into an outage. The alerts of `deploy/alerts.yml`
watch the same numbers.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from anyio import to_thread
from fastapi import FastAPI
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection, Engine, func, or_, select, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection

from sigprobe.collector.store import partitions
from sigprobe.collector.store.schema import UtcTime, batches
from sigprobe.collector.web.state import State
from sigprobe.collector.worker.schema import jobs, leader

WORKER_S: Final = 30.0
PUBLISH_S: Final = 30.0
AHEAD_S: Final = 7 * 86_400.0
DISK_RATIO: Final = 0.05

_COUNTED: Final = 10_000
"""A longer backlog is counted no further: counting it would cost more than it says."""
_REMEMBER_S: Final = 5.0
_DEADLINE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Numbers from one look; None for what is not known or does not apply."""

    worker_age_s: float | None
    unpublished: int
    unpublished_age_s: float | None
    unsummed: int
    partition_ahead_s: float | None
    disk_free_bytes: int | None
    disk_free_ratio: float | None
    failed_jobs: tuple[str, ...]

    def checks(self) -> dict[str, str]:
        """Return `ok` or a reason for each part."""
        return {
            "worker": self._worker(),
            "publishing": _unless(
                self.unpublished_age_s is not None and self.unpublished_age_s > PUBLISH_S,
                f"{self.unpublished} batches wait, the oldest for {self.unpublished_age_s or 0:.0f} s",
            ),
            "partitions": _unless(
                self.partition_ahead_s is not None and self.partition_ahead_s < AHEAD_S,
                f"made for {(self.partition_ahead_s or 0) / 86_400:.1f} days ahead",
            ),
            "disk": _unless(
                self.disk_free_ratio is not None and self.disk_free_ratio < DISK_RATIO,
                f"{(self.disk_free_bytes or 0) / 1e6:.0f} MB free",
            ),
            "jobs": _unless(bool(self.failed_jobs), f"failed last: {', '.join(self.failed_jobs)}"),
        }

    def _worker(self) -> str:
        if self.worker_age_s is None:
            return "none was seen yet"
        return _unless(self.worker_age_s > WORKER_S, f"none was seen for {self.worker_age_s:.0f} s")


def _unless(fault: bool, reason: str) -> str:
    return reason if fault else "ok"


def look(engine: Engine) -> Circumstances:
    """Ask the database and the disk. Raises SQLAlchemyError."""
    with engine.connect() as connection:
        now: datetime = connection.execute(_now(connection)).scalar_one()
        beat = connection.execute(select(leader.c.beat_at)).scalar()
        oldest = connection.execute(
            select(func.min(batches.c.received_at)).where(batches.c.published_no.is_(None))
        ).scalar()
        found = Circumstances(
            worker_age_s=None if beat is None else max(0.0, (now - beat).total_seconds()),
            unpublished=_count(connection, batches.c.published_no.is_(None)),
            unpublished_age_s=None if oldest is None else max(0.0, (now - oldest).total_seconds()),
            unsummed=_count(connection, ~batches.c.summed),
            partition_ahead_s=_ahead(connection, now),
            disk_free_bytes=None,
            disk_free_ratio=None,
            failed_jobs=tuple(
                connection.execute(
                    select(jobs.c.name)
                    .where(jobs.c.failed_at.is_not(None))
                    .where(or_(jobs.c.done_at.is_(None), jobs.c.failed_at >= jobs.c.done_at))
                    .order_by(jobs.c.name)
                ).scalars()
            ),
        )
    return _with_disk(found, engine)


def _now(connection: Connection) -> Any:
    # beats are written by the database's clock
    source = "CURRENT_TIMESTAMP" if connection.dialect.name == "sqlite" else "clock_timestamp()"
    return text(f"SELECT {source} AS now").columns(now=UtcTime)


def _count(connection: Connection, where: Any) -> int:
    few = select(batches.c.id).where(where).limit(_COUNTED).subquery()
    return int(connection.scalar(select(func.count()).select_from(few)) or 0)


def _ahead(connection: Connection, now: datetime) -> float | None:
    """Return for how long from now on ids meet a partition of their own; None where there are no partitions."""
    if connection.dialect.name == "sqlite":
        return None
    missing = partitions.weeks_to_make(connection, now)
    end = missing[0] if missing else partitions.week_of(now) + timedelta(weeks=partitions.WEEKS_AHEAD + 1)
    return max(0.0, (end - now).total_seconds())


def _with_disk(found: Circumstances, engine: Engine) -> Circumstances:
    if engine.dialect.name != "sqlite":
        return found  # the database's disk is on another machine: its own exporter watches it
    usage = shutil.disk_usage(Path(str(engine.url.database)).parent)
    from dataclasses import replace

    return replace(found, disk_free_bytes=usage.free, disk_free_ratio=usage.free / usage.total)


class Watch:
    """The circumstances of one process's database, looked at no more often than every five seconds."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._known: tuple[float, Circumstances] | None = None
        self._running: asyncio.Future[Circumstances | None] | None = None

    async def circumstances(self) -> Circumstances | None:
        """Return the last look, a new one if it is old; None when the database does not answer in time."""
        if self._known is not None and time.monotonic() - self._known[0] < _REMEMBER_S:
            return self._known[1]
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._look())
        done, _ = await asyncio.wait([self._running], timeout=_DEADLINE_S)
        return self._running.result() if done else None

    async def _look(self) -> Circumstances | None:
        try:
            found = await to_thread.run_sync(self._look_now)
        except (SQLAlchemyError, OSError):
            return None
        self._known = (time.monotonic(), found)
        return found

    def _look_now(self) -> Circumstances:
        # of several processes the one that is asked may not have stored a batch yet
        self._state.clock.refresh()
        return look(self._state.reader)


def gauges(state: State, found: Circumstances | None) -> Iterator[Metric]:
    """Yield what is known now as metrics; without the database only that it is away."""
    yield GaugeMetricFamily("sigprobe_database_up", "Whether the database answered.", 0 if found is None else 1)
    fault = state.clock.fault()
    yield GaugeMetricFamily("sigprobe_clock_trusted", "Whether receipts have a time.", 0 if fault else 1)
    values = {
        "clock_offset_seconds": ("The database's clock less ours.", state.clock.offset_s()),
    }
    if found is not None:
        values |= {
            "worker_age_seconds": ("Since a worker was last seen.", found.worker_age_s),
            "unpublished_batches": ("Batches that wait for readers' order, 10,000 at most.", found.unpublished),
            "unpublished_age_seconds": ("How long the oldest of them waits.", found.unpublished_age_s or 0.0),
            "unsummed_batches": ("Batches that wait for the sums, 10,000 at most.", found.unsummed),
            "partition_ahead_seconds": ("For how long there are partitions.", found.partition_ahead_s),
            "disk_free_bytes": ("Free on the disk of an SQLite database.", found.disk_free_bytes),
            "disk_free_ratio": ("The same as a part of the disk.", found.disk_free_ratio),
            "failed_jobs": ("Jobs of the worker that failed last.", len(found.failed_jobs)),
        }
    for name, (what, value) in values.items():
        if value is not None:
            yield GaugeMetricFamily(f"sigprobe_{name}", what, value)


def install(app: FastAPI, state: State) -> None:
    """Give the app its watch."""
    app.state.watch = Watch(state)


def watch_of(connection: HTTPConnection) -> Watch:
    """Return the watch of the app that a request came to."""
    return cast(Watch, connection.app.state.watch)
