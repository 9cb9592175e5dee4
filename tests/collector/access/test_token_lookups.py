"""Tokens that wait at the same time share a query, and a fault of the database reaches each of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from anyio import CapacityLimiter
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from sigprobe.collector.access import queries
from sigprobe.collector.access.queries import Token
from sigprobe.collector.access.token_check import TokenCheck
from sigprobe.collector.access.token_lookups import TokenLookups


class Counted(TokenCheck):
    """Notes what each look into the database was for. The first waits until `go` is set."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.asked: list[list[str]] = []
        self.go = threading.Event()

    def find_all(self, secrets: Sequence[str]) -> dict[str, Token | None]:
        self.asked.append(list(secrets))
        assert self.go.wait(30)
        return super().find_all(secrets)


def test_those_that_wait_share_a_query(engine: Engine) -> None:
    """Each gets its own answer; a wrong one gets none; two that bring the same wait for the same look."""
    right = [queries.create_token(engine, f"laptop-{n}", queries.PROBE) for n in range(20)]
    check = Counted(engine)

    async def scene() -> list[Token | None]:
        lookups = TokenLookups(check, CapacityLimiter(4))
        asking = [asyncio.create_task(lookups.find(secret)) for secret in [*right, "wrong", right[0]]]
        while not check.asked:
            await asyncio.sleep(0.001)
        check.go.set()
        return await asyncio.gather(*asking)

    *found, wrong, again = asyncio.run(scene())
    assert [token.name for token in found if token is not None] == [f"laptop-{n}" for n in range(20)]
    assert wrong is None and again == found[0]
    assert len(check.asked) <= 2 and sum(map(len, check.asked)) == 21


def test_a_fault_reaches_all_and_is_not_kept(engine: Engine) -> None:
    """The next one asks anew, also from another event loop."""
    secret = queries.create_token(engine, "laptop-1", queries.PROBE)
    check = TokenCheck(engine)
    lookups = TokenLookups(check, CapacityLimiter(4))

    def broken(_secrets: Sequence[str]) -> dict[str, Token | None]:
        raise OperationalError("", None, Exception("away"))

    async def ask(*secrets: str) -> list[Token | BaseException | None]:
        return await asyncio.gather(*(lookups.find(one) for one in secrets), return_exceptions=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "find_all", broken)
        assert [type(one) for one in asyncio.run(ask(secret, "wrong"))] == [OperationalError] * 2
    (found,) = asyncio.run(ask(secret))
    assert isinstance(found, Token) and found.name == "laptop-1"


def test_a_sender_that_leaves_takes_no_answer_away(engine: Engine) -> None:
    """Another one that asked for the same token gets it."""
    secret = queries.create_token(engine, "laptop-1", queries.PROBE)
    check = Counted(engine)

    async def scene() -> Token | None:
        lookups = TokenLookups(check, CapacityLimiter(4))
        first, second = (asyncio.create_task(lookups.find(secret)) for _ in range(2))
        while not check.asked:
            await asyncio.sleep(0.001)
        first.cancel()
        check.go.set()
        return await second

    found = asyncio.run(scene())
    assert found is not None and found.name == "laptop-1"
