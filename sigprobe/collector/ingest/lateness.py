"""Notice that requests wait too long before this process looks at them, and refuse as many as needed (CoDel).

The kernel keeps connections that nobody has accepted yet: thousands, in the order of their arrival. When taking one
costs more than the time until the next one comes, all wait longer and longer, and each is answered when its sender is
about to give up. A refusal costs a tenth of an acceptance; so while every request is late, late ones are refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

TARGET_S: Final = 1.0
"""A request may wait so long for its first look."""

INTERVAL_S: Final = 0.2
"""So long every request must have been late before one is refused: a pause of the process alone refuses none."""

LEAST: Final = 32
"""So many requests in a row must have been late. A few that meet a pause are served."""


class Lateness:
    """Whether a request is refused for having waited. Used from one event loop only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._row = 0

    def is_too_late(self, waited_s: float) -> bool:
        """Note how long a request has waited, and return whether to refuse it."""
        if waited_s <= TARGET_S:
            self._since, self._row = None, 0
            return False
        now = self._clock()
        if self._since is None:
            self._since = now
        self._row += 1
        return self._row > LEAST and now - self._since >= INTERVAL_S
