"""Keep what the speed test must know of its clients: places, the day's bytes, and what arrived of uploads.

One process keeps it in memory (`LocalBooks`). Processes that share a PostgreSQL keep it there, see `shared_books`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sigprobe.collector.speedtest.limits import Allowance, Limits
from sigprobe.collector.speedtest.upload_sessions import Sessions


class Books(Protocol):
    """What the endpoints ask. `client` is a token or a client group; `free` ones have no limits of their own."""

    async def enter(
        self, client: str, *, free: bool, wanted: int, unit: int = 1, session: str | None = None
    ) -> Allowance:
        """Reserve a place for one stream of `wanted` bytes, in whole `unit`s. Raises RefusedError."""

    def counter(self, session: str | None) -> Callable[[int], None] | None:
        """Return what counts one upload's bytes; None for an upload without a session. Call it after `enter`."""

    async def leave(self, allowance: Allowance, session: str | None = None) -> None:
        """Release the place, and make what was used and what arrived known to all processes."""

    async def report(self, session: str) -> dict[str, Any]:
        """Return what arrived for a session in all processes. Raises RefusedError where that cannot be known."""


class LocalBooks:
    """The books of the only process."""

    def __init__(self, *, daily_bytes: int, clock: Callable[[], float]) -> None:
        self._limits = Limits(daily_bytes=daily_bytes, clock=clock)
        self._sessions = Sessions(clock=clock)

    async def enter(
        self, client: str, *, free: bool, wanted: int, unit: int = 1, session: str | None = None
    ) -> Allowance:
        """Reserve a place. Raises RefusedError."""
        return self._limits.enter(client, free=free)

    def counter(self, session: str | None) -> Callable[[int], None] | None:
        """Return what counts one upload's bytes."""
        return self._sessions.counter(session)

    async def leave(self, allowance: Allowance, session: str | None = None) -> None:
        """Release the place."""
        allowance.leave()

    async def report(self, session: str) -> dict[str, Any]:
        """Return what arrived; an unknown session is one for which nothing did."""
        return self._sessions.report(session)
