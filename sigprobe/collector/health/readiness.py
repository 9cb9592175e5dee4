"""Check within two seconds whether batches can be stored, and with the right time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, cast

from anyio import to_thread
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection

from sigprobe.collector.health.queries import write_beat
from sigprobe.collector.web.problems import database_fault
from sigprobe.collector.web.state import State

DEADLINE_S: Final = 1.5
_REMEMBER_S: Final = 1.0
_REFUSED_S: Final = 5.0


class Readiness:
    """Try a small committed write, one at a time, and cache the answer for a second."""

    def __init__(self, state: State, write: Callable[[], None] | None = None) -> None:
        self._state = state
        self._write = write or self._write_and_compare
        self._running: asyncio.Future[str | None] | None = None
        self._known: tuple[float, str | None] | None = None

    async def fault(self) -> str | None:
        """Return why batches cannot be stored now; None when they can."""
        refused = self._state.last_database_fault
        if refused is not None and time.monotonic() - refused[0] < _REFUSED_S:
            return refused[1]
        if self._known is not None and time.monotonic() - self._known[0] < _REMEMBER_S:
            return self._known[1]
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._try())
        done, _ = await asyncio.wait([self._running], timeout=DEADLINE_S)
        if not done:
            return "the database does not answer"
        found = self._running.result()
        self._known = (time.monotonic(), found)
        return found

    async def _try(self) -> str | None:
        try:
            # the loop's own threads: those of pages and batches may all be waiting
            await to_thread.run_sync(self._write)
        except SQLAlchemyError as error:
            return database_fault(error)
        fault = self._state.clock.fault()
        return None if fault is None else f"the clock of this collector is not right: {fault}"

    def _write_and_compare(self) -> None:
        write_beat(self._state.engine)
        self._state.clock.measure()


def install(app: FastAPI, state: State) -> None:
    """Give the app its readiness."""
    app.state.readiness = Readiness(state)


def readiness_of(connection: HTTPConnection) -> Readiness:
    """Return the readiness of the app that a request came to."""
    return cast(Readiness, connection.app.state.readiness)
