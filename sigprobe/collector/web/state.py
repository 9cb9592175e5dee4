"""Hold the shared state of one process's requests. Each domain has its own part beside it, see `app.py`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol, cast

from anyio import CapacityLimiter
from sqlalchemy import Engine
from starlette.requests import HTTPConnection

from sigprobe.collector.store.readers import for_readers
from sigprobe.collector.store.reference_clock import ReferenceClock
from sigprobe.collector.web.client_address import Client, client_of
from sigprobe.collector.web.metrics import Metrics
from sigprobe.collector.web.retry_after import RetryAfter
from sigprobe.collector.web.settings import Settings


class Worker(Protocol):
    """What requests want of the worker."""

    def nudge(self) -> None:
        """Say that there is something to publish."""

    def publish(self) -> bool:
        """Give readers what is committed so far, at once, if this worker leads."""


@dataclass(slots=True)
class State:
    """Settings, database and metrics. `read_threads` keeps pages and uploads out of each other's threads."""

    settings: Settings
    engine: Engine
    metrics: Metrics
    read_threads: CapacityLimiter
    reader: Engine
    """The same database for pages and readers: connections and time limits of their own."""
    clock: ReferenceClock
    retry_after: RetryAfter = field(default_factory=RetryAfter)
    worker: Worker | None = None
    """The worker within this process, if it has one."""
    last_database_fault: tuple[float, str] | None = None
    """When (monotonic) and why the database last failed a request; None since it last stored a batch."""

    def database_failed(self, reason: str) -> None:
        """Note that the database failed a request."""
        self.last_database_fault = (time.monotonic(), reason)
        self.retry_after.failed()

    def database_served(self) -> None:
        """Note that the database stored a batch."""
        self.last_database_fault = None
        self.retry_after.accepted()


def make_state(settings: Settings, engine: Engine, worker: Worker | None = None) -> State:
    """Return the state of a fresh process."""
    metrics = Metrics()
    metrics.live("sigprobe_processes", "Processes that serve on this port.", lambda: 1)
    return State(
        settings,
        engine,
        metrics,
        CapacityLimiter(4),
        for_readers(engine),
        ReferenceClock(engine, trust_own=settings.trust_clock),
        worker=worker,
    )


def state_of(connection: HTTPConnection) -> State:
    """Return the state of the app that a request came to."""
    return cast(State, connection.app.state.collector)


def client(connection: HTTPConnection) -> Client:
    """Return the client of a request, by this process's settings."""
    settings = state_of(connection).settings
    return client_of(connection, behind_proxy=settings.behind_proxy, header=settings.forwarded_header)
