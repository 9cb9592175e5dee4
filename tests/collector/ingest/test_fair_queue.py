"""What waits for the database: fair by token, bounded in number and time, adapted to the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sigprobe.collector.ingest.fair_queue import AdaptiveLimit, FairQueue, FullError


class Scene:
    """A database with one place, that serves a batch whenever `serve` is called."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue = queue
        self.served: list[str] = []
        self.refused: dict[str, bool] = {}
        self._go = asyncio.Semaphore(0)
        self.tasks: list[asyncio.Task[None]] = []

    async def send(self, name: str, token: str, cost: float = 1, *, large: bool = False) -> None:
        """Begin to send a batch."""

        async def one() -> None:
            try:
                async with self.queue.enter(token, cost, large=large):
                    await self._go.acquire()
                    self.served.append(name)
            except FullError as error:
                self.refused[name] = error.own_fault

        self.tasks.append(asyncio.create_task(one()))
        for _ in range(3):
            await asyncio.sleep(0)

    async def serve(self, count: int) -> None:
        """Let the database finish so many batches."""
        for _ in range(count):
            self._go.release()
            for _ in range(5):
                await asyncio.sleep(0)

    async def end(self) -> None:
        """Serve the rest."""
        await self.serve(len(self.tasks))
        await asyncio.gather(*self.tasks)


def one_at_a_time(**options: Any) -> FairQueue:
    """A queue before a database that takes one batch at once."""
    return FairQueue(AdaptiveLimit(least=1, most=1), **options)


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scene())


def test_a_token_that_floods_waits_behind_the_others() -> None:
    """A token with many batches gets its share; those of the others go first, in whatever order they came."""

    async def scene() -> None:
        on = Scene(one_at_a_time(max_wait_s=60))
        for number in range(8):
            await on.send(f"flood-{number}", "flood")
        for name in ("a", "b", "c"):
            await on.send(name, name)
        await on.end()
        assert set(on.served[1:5]) >= {"a", "b", "c"}, on.served
        assert len(on.served) == 11 and not on.refused

    play(scene)


def test_a_full_queue_refuses_the_flood_alone() -> None:
    """When there is no room, a newcomer takes the place of the batch furthest beyond its token's share."""

    async def scene() -> None:
        on = Scene(one_at_a_time(max_wait_s=60))
        for number in range(20):
            await on.send(f"flood-{number}", "flood")
        before = len(on.refused)
        assert before > 0 and all(on.refused.values()), "the token itself is refused beyond the room, with its reason"
        for name in ("a", "b", "c"):
            await on.send(name, name)
        assert len(on.refused) == before + 3
        await on.end()
        assert {"a", "b", "c"} <= set(on.served)
        assert all(name.startswith("flood") for name in on.refused)

    play(scene)


def test_small_batches_go_before_backlogs() -> None:
    """Live results of many tokens pass a backlog; a backlog is not refused while there is room."""

    async def scene() -> None:
        on = Scene(one_at_a_time(max_wait_s=60))
        await on.send("first", "x")
        for number in range(3):
            await on.send(f"backlog-{number}", f"b{number}", 100, large=True)
        for number in range(5):
            await on.send(f"live-{number}", f"l{number}")
        await on.end()
        assert all(name.startswith("live") for name in on.served[1:6]), on.served
        assert not on.refused

    play(scene)


def test_a_backlog_comes_to_its_turn() -> None:
    """Small batches that keep coming do not hold it up without end: their tokens use up their share."""

    async def scene() -> None:
        on = Scene(one_at_a_time(max_wait_s=60))
        await on.send("first", "x")
        await on.send("backlog", "b", 20, large=True)
        for number in range(120):
            await on.send(f"live-{number}", f"l{number % 3}")
            await on.serve(1)
        assert "backlog" in on.served
        await on.end()

    play(scene)


def test_nothing_waits_for_longer_than_its_time() -> None:
    """A database that stands still: what waits is refused in time; with a longer time it would still wait."""

    async def scene(max_wait_s: float) -> int:
        on = Scene(one_at_a_time(max_wait_s=max_wait_s))
        await on.send("first", "x")
        for name in ("a", "b"):
            await on.send(name, name)
        await asyncio.wait(on.tasks[1:], timeout=2)
        refused = len(on.refused)
        await on.end()
        return refused

    assert asyncio.run(scene(0.05)) == 2
    assert asyncio.run(scene(60)) == 0, "the control"


def test_it_is_hopeless_only_when_every_newcomer_would_be_refused() -> None:
    """A full queue with a backlog, or with two batches of one token, still takes a small batch of another token."""

    async def scene(odd: tuple[str, float, bool]) -> bool:
        on = Scene(one_at_a_time(max_wait_s=60))
        await on.send("first", "x")
        token, cost, large = odd
        await on.send("odd", token, cost, large=large)
        for number in range(15):
            await on.send(f"live-{number}", f"l{number}")
        hopeless = on.queue.is_hopeless()
        await on.end()
        return hopeless

    assert asyncio.run(scene(("alone", 1, False)))
    assert not asyncio.run(scene(("l3", 1, False)))
    assert not asyncio.run(scene(("alone", 100, True)))


def test_a_sender_that_leaves_gives_its_place_back() -> None:
    """A cancelled wait, and one that is cancelled in the moment of its turn, hold nothing."""

    async def scene() -> None:
        on = Scene(one_at_a_time(max_wait_s=60))
        await on.send("first", "x")
        await on.send("leaves", "a")
        await on.send("stays", "b")
        on.tasks[1].cancel()
        await on.serve(1)
        on.tasks[2].cancel()
        await asyncio.gather(*on.tasks, return_exceptions=True)
        assert (on.queue.running, on.queue.waiting) == (0, 0)
        await on.send("next", "c")
        await on.serve(1)
        assert "next" in on.served

    play(scene)


def test_the_limit_follows_the_database() -> None:
    """Quick answers raise it slowly, slow ones and faults lower it at once, and neither beyond its bounds."""
    now = 0.0
    limit = AdaptiveLimit(least=2, most=40, target_s=0.5, clock=lambda: now)
    assert limit.value == 10
    for _ in range(1000):
        limit.done(0.01, failed=False, busy=False)
    assert limit.value == 10, "a limit that is not used says nothing"
    for _ in range(100):
        limit.done(0.01, failed=False, busy=True)
    risen = limit.value
    assert 15 < risen <= 40
    limit.done(2.0, failed=False, busy=True)
    limit.done(2.0, failed=False, busy=True)
    assert limit.value == pytest.approx(risen * 0.8, abs=1), "one step for all that began under the old limit"
    for _ in range(50):
        now += 1
        limit.done(12.0, failed=True, busy=True)
    assert limit.value == 2


def test_a_fault_of_a_batch_does_not_lower_the_limit() -> None:
    """Only the database's own faults do: bad batches must not slow down the good ones."""

    async def scene(error: Exception) -> int:
        limit = AdaptiveLimit(least=2, most=64, clock=lambda: 0.0)
        queue = FairQueue(limit, is_fault=lambda found: isinstance(found, OSError))
        for _ in range(3):
            with pytest.raises(type(error)):
                async with queue.enter("x", 1):
                    raise error
        return queue.limit

    assert asyncio.run(scene(ValueError())) == 16
    assert asyncio.run(scene(OSError())) == 8
