"""What the requests of one process share. Nothing in it must outlive the process."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import cast

from anyio import CapacityLimiter
from sqlalchemy import Engine
from starlette.requests import Request

from sigprobe.collector.access.checks import GuessLimit, TokenCheck
from sigprobe.collector.ingest.admission import Gate
from sigprobe.collector.web.settings import Settings


@dataclass(slots=True)
class State:
    """Settings, database, guards and counters. The limiters keep pages and uploads out of each other's threads."""

    settings: Settings
    engine: Engine
    tokens: TokenCheck
    gate: Gate
    guesses: GuessLimit
    store_threads: CapacityLimiter
    token_threads: CapacityLimiter
    read_threads: CapacityLimiter
    batches: Counter[int] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    store_seconds: float = 0.0
    last_batch_at_s: float | None = None


def make_state(settings: Settings, engine: Engine) -> State:
    """The state of a fresh process."""
    return State(
        settings=settings,
        engine=engine,
        tokens=TokenCheck(engine),
        gate=Gate(
            max_in_flight=settings.max_in_flight,
            max_bytes=settings.max_body_bytes,
            max_storing=settings.max_storing,
        ),
        guesses=GuessLimit(),
        store_threads=CapacityLimiter(settings.store_threads),
        token_threads=CapacityLimiter(4),
        read_threads=CapacityLimiter(4),
    )


def state_of(request: Request) -> State:
    """The state of the app that a request came to."""
    return cast(State, request.app.state.collector)
