"""Let batches wait for the database in a fair and bounded queue.

How many are in the database at once adapts to how long it takes (`AdaptiveLimit`). The others wait, at most for
`MAX_WAIT_S`, and in no larger number than the database can take in that time. The order is that of weighted fair
queueing by token: a batch of a token that has sent little, a small batch, and a batch with failed checks go before
backlogs. When the queue is full the last in this order is refused, so a token that floods it is refused alone.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

TARGET_S: Final = 0.3
"""The database may take so long for a batch before fewer are passed to it at once."""

MAX_WAIT_S: Final = 0.7
"""A batch that has waited for so long is refused. With its time in the database it stays below two seconds."""

LEAST_WAIT_S: Final = 0.1
"""What is left of the wait for a batch that has waited elsewhere."""

_RATE_WINDOW_S: Final = 5.0
_LEAST_ROOM: Final = 16
_MOST_TOKENS: Final = 20_000
_MOST_DEBT: Final = 1000.0
"""So much cost beyond its share is held against a token at most; it is forgotten within seconds under load."""


class FullError(Exception):
    """Raised for a batch that the queue refuses. `own_fault`: its token has sent more than its share."""

    def __init__(self, *, own_fault: bool) -> None:
        super().__init__("the queue is full")
        self.own_fault = own_fault


class AdaptiveLimit:
    """How many batches may be in the database at once: one more while it is quick, a part less when it is slow."""

    def __init__(
        self, *, least: int = 2, most: int = 64, target_s: float = TARGET_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._least = least
        self._most = most
        self._target_s = target_s
        self._clock = clock
        self._value = float(max(least, most // 4))
        self._lowered_at = float("-inf")

    @property
    def value(self) -> int:
        """The limit now."""
        return int(self._value)

    def done(self, took_s: float, *, failed: bool, busy: bool) -> None:
        """Adapt to one batch. `busy`: the limit was in use, so a quick answer says something about it."""
        now = self._clock()
        if failed or took_s > self._target_s:
            # once in a while: the batches that follow were started under the old limit
            if now - self._lowered_at >= self._target_s:
                self._value = max(self._least, self._value * (0.5 if failed else 0.8))
                self._lowered_at = now
        elif busy:
            self._value = min(self._most, self._value + 1 / self._value)


@dataclass(slots=True)
class _Waiting:
    finish: float
    number: int
    token: str
    cost: float
    large: bool
    future: asyncio.Future[None] = field(repr=False)

    def place(self) -> tuple[float, int]:
        """Return what the order goes by."""
        return self.finish, self.number


class FairQueue:
    """The batches that wait for the database and those in it. Used from one event loop only."""

    def __init__(
        self,
        limit: AdaptiveLimit,
        *,
        max_wait_s: float = MAX_WAIT_S,
        max_waiting: int = 1024,
        is_fault: Callable[[BaseException], bool] = lambda _error: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_fault` tells a fault of the database from one of the batch, which says nothing about the limit."""
        self._limit = limit
        self._is_fault = is_fault
        self._max_wait_s = max_wait_s
        self._max_waiting = max_waiting
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()
        self._virtual = 0.0
        self._finished: OrderedDict[str, float] = OrderedDict()
        self._present: dict[str, int] = {}
        self._ended: deque[float] = deque(maxlen=4096)
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def limit(self) -> int:
        """How many may be in the database at once now."""
        return self._limit.value

    def room(self) -> int:
        """Return how many may wait: as many as the database lately took in the longest wait."""
        since = self._clock() - _RATE_WINDOW_S
        while self._ended and self._ended[0] < since:
            self._ended.popleft()
        lately = round(len(self._ended) / _RATE_WINDOW_S * self._max_wait_s)
        return min(self._max_waiting, max(_LEAST_ROOM, lately))

    def is_hopeless(self) -> bool:
        """Return whether any newcomer would be refused: the queue is full, and of small batches of many tokens."""
        return (
            len(self._waiting) >= self.room()
            and len({item.token for item in self._waiting}) == len(self._waiting)
            and not any(item.large for item in self._waiting)
        )

    @asynccontextmanager
    async def enter(
        self, token: str, cost: float, *, large: bool = False, waited_s: float = 0.0
    ) -> AsyncIterator[None]:
        """Wait for a turn and keep it for the block. Raises FullError instead of waiting in vain.

        `waited_s`: how long it has waited elsewhere before, which is taken off its longest wait here.
        """
        self._present[token] = self._present.get(token, 0) + 1
        try:
            await self._turn(token, cost, large, max(LEAST_WAIT_S, self._max_wait_s - waited_s))
        except BaseException:
            self._gone(token)
            raise
        began = self._clock()
        failed = False
        try:
            yield
        except BaseException as error:
            failed = self._is_fault(error)
            raise
        finally:
            busy = bool(self._waiting) or self.running >= self._limit.value
            self.running -= 1
            now = self._clock()
            self._limit.done(now - began, failed=failed, busy=busy)
            if not failed:
                self._ended.append(now)
            self._gone(token)
            self._pass_on()

    def _gone(self, token: str) -> None:
        self._present[token] -= 1
        if not self._present[token]:
            del self._present[token]

    async def _turn(self, token: str, cost: float, large: bool, most_s: float) -> None:
        own_share = min(self._finished.get(token, 0.0), self._virtual + _MOST_DEBT)
        finish = max(self._virtual, own_share) + cost
        if not self._waiting and self.running < self._limit.value:
            self._start(token, finish, cost)
            return
        own = _Waiting(finish, next(self._numbers), token, cost, large, asyncio.get_running_loop().create_future())
        if len(self._waiting) >= self.room():
            last = max(self._waiting, key=_Waiting.place)
            if last.finish <= finish:
                raise FullError(own_fault=self._present[token] > 1)
            self._refuse(last)
        self._waiting.append(own)
        self._finished[token] = finish
        try:
            async with asyncio.timeout(most_s):
                await own.future
        except BaseException as error:
            if own in self._waiting:
                self._waiting.remove(own)
                self._take_back(own)
            elif own.future.done() and not own.future.cancelled() and own.future.exception() is None:
                # its turn came in the same moment: pass it on
                self.running -= 1
                self._pass_on()
            if isinstance(error, TimeoutError):
                raise FullError(own_fault=self._present[token] > 1) from None
            raise

    def _refuse(self, item: _Waiting) -> None:
        self._waiting.remove(item)
        self._take_back(item)
        if not item.future.done():
            item.future.set_exception(FullError(own_fault=self._present[item.token] > 1))

    def _take_back(self, item: _Waiting) -> None:
        """What was not served does not count for its token."""
        if item.token in self._finished:
            self._finished[item.token] -= item.cost

    def _start(self, token: str, finish: float, cost: float) -> None:
        self.running += 1
        # virtual time passes as each of the tokens that are here gets its share
        self._virtual += cost / max(1, len(self._present))
        self._finished[token] = max(finish, self._finished.get(token, 0.0))
        self._finished.move_to_end(token)
        while len(self._finished) > _MOST_TOKENS:
            self._finished.popitem(last=False)

    def _pass_on(self) -> None:
        while self._waiting and self.running < self._limit.value:
            first = min(self._waiting, key=_Waiting.place)
            self._waiting.remove(first)
            if first.future.done():
                continue
            self._start(first.token, first.finish, first.cost)
            first.future.set_result(None)
