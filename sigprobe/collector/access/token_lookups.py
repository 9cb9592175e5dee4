"""Look up waiting tokens together: one query for all that came while the last one ran.

Under load every batch brings a token that was not seen for a while. A query and a thread for each cost more than the
batch, and they would wait for each other.
"""

from __future__ import annotations

import asyncio
from typing import Final

from anyio import CapacityLimiter

from sigprobe.collector.access.queries import Token
from sigprobe.collector.access.token_check import TokenCheck
from sigprobe.collector.web.problems import DatabaseSilentError
from sigprobe.collector.web.threads import TOKEN_S, in_thread

_MOST: Final = 500


class TokenLookups:
    """The tokens that wait for a look into the database. Used from the process's event loop only."""

    def __init__(self, tokens: TokenCheck, limiter: CapacityLimiter) -> None:
        self._tokens = tokens
        self._limiter = limiter
        self._waiting: dict[str, asyncio.Future[Token | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, secret: str) -> Token | None:
        """Return the token in use with this secret, or None. Raises DatabaseSilentError after the deadline."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._waiting = {}
            self._task = None
        future = self._waiting.get(secret)
        if future is None:
            future = self._waiting[secret] = loop.create_future()
            # a sender that left takes no answer, and no fault either
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._task is None:
            self._task = loop.create_task(self._run())
        try:
            async with asyncio.timeout(TOKEN_S):
                return await asyncio.shield(future)
        except TimeoutError as error:
            raise DatabaseSilentError from error

    async def _run(self) -> None:
        while self._waiting:
            part = {secret: self._waiting.pop(secret) for secret in list(self._waiting)[:_MOST]}
            try:
                found = await in_thread(self._tokens.find_all, list(part), limiter=self._limiter, deadline_s=TOKEN_S)
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait
                for future in part.values():
                    if not future.done():
                        future.set_exception(error)
            else:
                for secret, future in part.items():
                    if not future.done():
                        future.set_result(found[secret])
