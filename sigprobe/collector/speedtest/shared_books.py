"""Share the books of the speed test between all processes on one PostgreSQL.

A client's day and its places are granted by the database: bytes of a download as a whole, those of an upload in slices.
What arrives of an upload session is written by each process four times a second and at its end, and added up by the
process that is asked. Chunks never reach the database.

Without the database nothing is granted, and no session is reported: a figure from one process of several would be too
low, and would count against an operator.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from anyio import CapacityLimiter
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sigprobe.collector.speedtest import queries
from sigprobe.collector.speedtest.limits import (
    DAY_S,
    MAX_ADDRESSES,
    MAX_PER_ADDRESS,
    MAX_STREAMS,
    NO_PLACE,
    RETRY_SOON_S,
    TOO_MANY,
    USED_UP,
    Allowance,
    RefusedError,
)
from sigprobe.collector.speedtest.upload_sessions import Sessions, merged_report
from sigprobe.collector.web.problems import DatabaseSilentError
from sigprobe.collector.web.threads import in_thread

SLICE: Final = 16_000_000
"""Bytes that an upload gets at a time, and by which it may be ahead of them while it waits for more."""

BEAT_S: Final = 0.25
REPORT_S: Final = 2.0
"""A report waits so long for the other processes' last words; our probe waits three seconds for it."""

PLACE_S: Final = 1.0
"""A place that has just become free in another process is known after so long at the latest."""

_PLACE_PAUSE_S: Final = 0.1
_EXCHANGE_S: Final = 5.0
_DATABASE: Final = "the speed test needs the database, which does not answer"
_UNSETTLED: Final = "another process has not said what arrived of this session"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Account:
    """A client's books in this process. Each has a row of its own, so a forgotten one is never written over."""

    client: str
    want_more: Callable[[_Account], None]
    wait_s: Callable[[_Account], int]
    row: str = field(default_factory=lambda: uuid.uuid4().hex)
    granted: int = 0
    used: int = 0
    active: int = 0
    used_up: bool = False
    ended_s: float | None = None
    """When the client's day ends, on our clock; None before the database has said."""

    def reserve(self, wanted: int) -> int:
        """Take up to `wanted` of the granted bytes and return how many."""
        taken = max(0, min(wanted, self.granted - self.used))
        self.used += taken
        return taken

    def refund(self, count: int) -> None:
        """Return reserved bytes."""
        self.used -= count

    def spend(self, count: int) -> None:
        """Count bytes that arrived. Raises RefusedError when they are used up, or the database grants no more."""
        self.used += count
        ahead = self.used - self.granted
        if ahead <= 0:
            return
        if self.used_up:
            raise RefusedError(429, USED_UP, self.wait_s(self))
        if ahead > SLICE:
            raise RefusedError(503, _DATABASE, RETRY_SOON_S)
        self.want_more(self)

    def held(self) -> int:
        """Return the bytes that the others may not use: of an idle client only what was used."""
        return max(self.granted, self.used) if self.active else self.used


@dataclass(slots=True)
class _Wish:
    """A stream that waits for its grant; without `place` an upload that wants its next slice."""

    account: _Account
    wanted: int
    unit: int
    place: bool
    done: asyncio.Future[queries.Grant] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class SharedBooks:
    """The books of one process of several. Used from its event loop only."""

    def __init__(self, engine: Engine, *, daily_bytes: int) -> None:
        self._engine = engine
        self._process = uuid.uuid4().hex
        self._daily_bytes = daily_bytes
        self._threads = CapacityLimiter(2)
        self._sessions = Sessions(clock=time.monotonic, forget=self._forget)
        self._accounts: dict[str, _Account] = {}
        self._streams = 0
        self._open: dict[str, int] = {}
        self._forgotten: list[str] = []
        self._wishes: list[_Wish] = []
        self._dirty_accounts: dict[str, _Account] = {}
        self._dirty_sessions: set[str] = set()
        self._running: asyncio.Task[bool] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._offset: queries.Offset | None = None

    async def enter(
        self, client: str, *, free: bool, wanted: int, unit: int = 1, session: str | None = None
    ) -> Allowance:
        """Reserve a place for one stream, and make an upload's session known to the other processes before it begins.

        Raises RefusedError: 429 over the client's own limits, 503 over this process's or without the database.
        """
        if self._streams >= MAX_STREAMS:
            raise RefusedError(503, TOO_MANY, RETRY_SOON_S)
        self._streams += 1
        account = None
        try:
            if session is not None:
                # counted from now on: the others wait for us once they have read this
                self._sessions.counter(session)
                self._open[session] = self._open.get(session, 0) + 1
                self._dirty_sessions.add(session)
            if not free:
                account = self._account(client)
                await self._place(account, wanted, unit)
            elif session is not None and not await self._exchange():
                raise RefusedError(503, _DATABASE, RETRY_SOON_S)
        except BaseException:
            self._streams -= 1
            self._close(session)
            raise
        self._beat()
        return Allowance(account, lambda: self._release(account))

    def counter(self, session: str | None) -> Callable[[int], None] | None:
        """Return what counts one upload's bytes."""
        return self._sessions.counter(session)

    async def leave(self, allowance: Allowance, session: str | None = None) -> None:
        """Release the place, and write what was used and what arrived."""
        allowance.leave()
        self._close(session)
        await self._exchange()

    async def report(self, session: str) -> dict[str, Any]:
        """Add up what arrived in all processes until now. Raises RefusedError where one of them does not say."""
        own = self._sessions.get(session)
        if own is not None:
            self._dirty_sessions.add(session)
            if not await self._exchange():
                raise RefusedError(503, _DATABASE, RETRY_SOON_S)
        asked_s, until = None, time.monotonic() + REPORT_S
        while True:
            now_s, parts = await self._read(session)
            asked_s = now_s if asked_s is None else asked_s
            # our own was written just now
            others = [part for part in parts if part.process != self._process]
            if all(part.known_s is None or part.known_s >= asked_s for part in others):
                return merged_report([part.series for part in parts])
            if time.monotonic() > until:
                raise RefusedError(503, _UNSETTLED, 1)
            await asyncio.sleep(BEAT_S / 4)

    async def _read(self, session: str) -> tuple[float, list[queries.KnownPart]]:
        try:
            return await in_thread(
                queries.read_parts, self._engine, session, limiter=self._threads, deadline_s=_EXCHANGE_S
            )
        except (SQLAlchemyError, DatabaseSilentError):
            raise RefusedError(503, _DATABASE, RETRY_SOON_S) from None

    def _account(self, client: str) -> _Account:
        account = self._accounts.get(client)
        if account is None:
            if len(self._accounts) >= MAX_ADDRESSES:
                idle = next((name for name, one in self._accounts.items() if not one.active), None)
                if idle is None:
                    raise RefusedError(503, TOO_MANY, RETRY_SOON_S)
                # what it has used is in the database
                del self._accounts[idle]
            account = self._accounts[client] = _Account(client, self._want_more, self._wait_s)
        return account

    async def _place(self, account: _Account, wanted: int, unit: int) -> None:
        until = time.monotonic() + PLACE_S
        while True:
            # an upload gets more as it goes on, so its length takes nothing from others at once
            wish = _Wish(account, min(wanted, SLICE) if unit == 1 else wanted, unit, place=True)
            self._wishes.append(wish)
            self._start()
            grant = await wish.done
            if grant.place and grant.granted:
                return
            if grant.place:
                raise RefusedError(429, USED_UP, self._wait_s(account))
            if time.monotonic() > until:
                raise RefusedError(429, NO_PLACE, RETRY_SOON_S)
            # another process may be about to write that it has ended a stream
            await asyncio.sleep(_PLACE_PAUSE_S)

    def _wait_s(self, account: _Account) -> int:
        return max(1, math.ceil((account.ended_s or 0.0) - time.monotonic()))

    def _want_more(self, account: _Account) -> None:
        if not any(wish.account is account and not wish.place for wish in self._wishes):
            self._wishes.append(_Wish(account, account.used - account.granted + SLICE, 1, place=False))
            self._start()

    def _release(self, account: _Account | None) -> None:
        self._streams -= 1
        if account is not None:
            account.active -= 1
            self._dirty_accounts[account.row] = account

    def _close(self, session: str | None) -> None:
        if session is None:
            return
        left = self._open.get(session, 0) - 1
        if left > 0:
            self._open[session] = left
        else:
            self._open.pop(session, None)
        self._dirty_sessions.add(session)

    def _forget(self, session: str) -> None:
        self._forgotten.append(session)
        self._dirty_sessions.discard(session)

    # --- the exchange with the database: one at a time, for all that wait

    def _start(self) -> asyncio.Task[bool]:
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._run())
        return self._running

    async def _exchange(self) -> bool:
        """Write what has changed until now; False when the database does not take it."""
        if self._running is not None and not self._running.done():
            # it may have looked before our change
            await asyncio.shield(self._running)
        return await asyncio.shield(self._start())

    async def _run(self) -> bool:
        while self._wishes or self._dirty_accounts or self._dirty_sessions or self._forgotten:
            if not await self._once():
                return False
        return True

    async def _once(self) -> bool:
        wishes, self._wishes = self._wishes, []
        accounts, self._dirty_accounts = self._dirty_accounts, {}
        names, self._dirty_sessions = self._dirty_sessions, set()
        forgotten, self._forgotten = self._forgotten, []
        now = time.monotonic()
        touched = {wish.account.row: wish.account for wish in wishes} | accounts
        for account in touched.values():
            if account.ended_s is not None and now >= account.ended_s:
                # a new day
                account.granted = account.used = 0
                account.used_up, account.ended_s = False, None
        held = {row: account.held() for row, account in touched.items()}

        def ask(account: _Account, wanted: int = 0, unit: int = 1, place: bool = False) -> queries.Ask:
            return queries.Ask(
                account.client, account.row, held[account.row], account.active, wanted, unit, place, slice=unit == 1
            )

        waiting = {wish.account.row for wish in wishes}
        asks = [ask(wish.account, wish.wanted, wish.unit, wish.place) for wish in wishes]
        asks += [ask(account) for row, account in touched.items() if row not in waiting]
        parts = [
            queries.Part(name, arrivals.series(), name in self._open, now)
            for name in names
            if (arrivals := self._sessions.get(name)) is not None
        ]
        try:
            grants, self._offset = await in_thread(
                queries.exchange,
                self._engine,
                self._process,
                asks,
                parts,
                forgotten,
                daily_bytes=self._daily_bytes,
                most_places=MAX_PER_ADDRESS,
                offset=self._offset,
                limiter=self._threads,
                deadline_s=_EXCHANGE_S,
            )
        except Exception as error:
            log.warning("the speed test cannot reach the database", extra={"reason": type(error).__name__})
            self._dirty_accounts = accounts | self._dirty_accounts
            self._dirty_sessions |= names
            self._forgotten[:0] = forgotten
            for wish in wishes:
                self._dirty_accounts.setdefault(wish.account.row, wish.account)
                if wish.place and not wish.done.done():
                    wish.done.set_exception(RefusedError(503, _DATABASE, RETRY_SOON_S))
            if not isinstance(error, SQLAlchemyError | DatabaseSilentError):
                raise
            self._beat()
            return False
        for row, count in held.items():
            touched[row].granted = count
        for wish, grant in zip(wishes, grants, strict=False):
            account = wish.account
            account.used_up = grant.used_up
            account.ended_s = time.monotonic() + DAY_S - grant.day_s
            if wish.place and wish.done.done():
                continue  # it was given up meanwhile
            account.granted += grant.granted
            if wish.place:
                account.active += int(grant.place and grant.granted > 0)
                wish.done.set_result(grant)
        return True

    def _beat(self) -> None:
        if self._beating is None or self._beating.done():
            self._beating = asyncio.ensure_future(self._beats())

    async def _beats(self) -> None:
        """Write four times a second while a stream is open or something could not be written."""
        while self._streams or self._dirty_accounts or self._dirty_sessions:
            await asyncio.sleep(BEAT_S)
            self._dirty_sessions |= self._open.keys()
            for account in self._accounts.values():
                if account.active:
                    self._dirty_accounts[account.row] = account
            await self._exchange()
