"""Hold the shared parts of one process's batches: admission, writer threads, and metrics."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from anyio import CapacityLimiter
from fastapi import FastAPI
from prometheus_client import Counter, Gauge
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import HTTPConnection

from sigprobe.collector.ingest import queries
from sigprobe.collector.ingest.admission import Gate
from sigprobe.collector.ingest.early_refusal import early_refusal
from sigprobe.collector.ingest.group_commit import GroupCommit
from sigprobe.collector.ingest.queries import Statuses
from sigprobe.collector.ingest.rows import NewBatch
from sigprobe.collector.web.state import State


@dataclass(slots=True)
class Ingest:
    """The ingest part of one process."""

    gate: Gate
    group: GroupCommit[NewBatch, Statuses]
    threads: CapacityLimiter
    batches: Counter
    records: Counter
    store_seconds: Counter
    last_batch: Gauge


def install(app: FastAPI, state: State) -> None:
    """Give the app its ingest part."""
    settings, metrics = state.settings, state.metrics
    gate = Gate(
        max_in_flight=settings.max_in_flight,
        max_bytes=settings.max_body_bytes,
        max_storing=settings.max_storing,
        max_per_token=settings.max_per_token,
        retry_after=state.retry_after,
    )
    group: GroupCommit[NewBatch, Statuses] = GroupCommit(
        functools.partial(_store, state.engine),
        # SQLite has one writer at a time anyway
        writers=1 if state.engine.dialect.name == "sqlite" else settings.store_threads,
        alone=(OperationalError, InterfaceError, InternalError, PoolTimeoutError),
    )
    for name, text, value in (
        ("batches_in_flight", "Batches on their way now.", lambda: gate.in_flight),
        ("batches_storing", "Batches waiting for the database or in it.", lambda: gate.storing),
        ("batches_storing_limit", "Batches that may be in the database at once now.", lambda: gate.limit),
        ("body_bytes_held", "Compressed bytes of batches on their way.", lambda: gate.held_bytes),
    ):
        metrics.live(f"sigprobe_{name}", text, value)
    metrics.counted("sigprobe_shed", "Batches turned away for lack of room.", lambda: gate.shed)
    batches = Counter("sigprobe_batches", "Batches answered, by HTTP status.", ["status"], registry=metrics.registry)
    if not settings.plain_public:
        app.state.early_refusal = early_refusal(gate, lambda status: batches.labels(str(status)).inc())
    app.state.ingest = Ingest(
        gate,
        group,
        CapacityLimiter(settings.store_threads),
        batches,
        Counter("sigprobe_records", "Records answered in receipts, by status.", ["status"], registry=metrics.registry),
        Counter("sigprobe_store_seconds", "Time spent unpacking and storing.", registry=metrics.registry),
        Gauge(
            "sigprobe_last_batch_timestamp_seconds",
            "When a batch was last stored.",
            registry=metrics.registry,
            multiprocess_mode="max",
        ),
    )


def _store(engine: Engine, group: Sequence[NewBatch]) -> Sequence[Statuses]:
    return queries.store_batches(engine, group)


def ingest_of(connection: HTTPConnection) -> Ingest:
    """Return the ingest part of the app that a request came to."""
    return cast(Ingest, connection.app.state.ingest)
