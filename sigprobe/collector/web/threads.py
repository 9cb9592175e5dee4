"""Call the database from a request: in a thread, with our own deadline."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar

from anyio import CapacityLimiter, to_thread

from sigprobe.collector.web.problems import DatabaseSilentError

_T = TypeVar("_T")

STORE_S: Final = 12.0
"""A frozen database never answers, and its driver would wait with it. Token, queue and this together: 18 s."""

TOKEN_S: Final = 5.0
"""Looking up a token, or opening or ending a session."""

READ_S: Final = 8.0
"""Reading and drawing a page. The query itself has less, see `store.readers`."""


async def in_thread(
    function: Callable[..., _T],
    *args: Any,
    limiter: CapacityLimiter,
    deadline_s: float = STORE_S,
    **named: Any,
) -> _T:
    """Return the function's result. Raises DatabaseSilentError after the deadline; the thread ends later."""
    try:
        async with asyncio.timeout(deadline_s):
            return await to_thread.run_sync(
                functools.partial(function, *args, **named), limiter=limiter, abandon_on_cancel=True
            )
    except TimeoutError as error:
        raise DatabaseSilentError from error
