"""Call the database from a request: in a thread, with our own deadline."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar

from anyio import CapacityLimiter, to_thread

from sigprobe.collector.web.problems import ProblemError

_T = TypeVar("_T")

DEADLINE_S: Final = 18.0
"""A frozen database never answers, and its driver would wait with it."""


async def in_thread(
    function: Callable[..., _T],
    *args: Any,
    limiter: CapacityLimiter,
    deadline_s: float = DEADLINE_S,
    **named: Any,
) -> _T:
    """Return the function's result. Raises ProblemError 503 after the deadline; the thread ends when its call does."""
    try:
        async with asyncio.timeout(deadline_s):
            return await to_thread.run_sync(
                functools.partial(function, *args, **named), limiter=limiter, abandon_on_cancel=True
            )
    except TimeoutError as error:
        raise ProblemError(503, "the database does not answer", headers={"Retry-After": "10"}) from error
