"""Choose `Retry-After`: random, and over a span that grows with the overload or the outage.

Probes that were refused together must not return together. After a short refusal half a minute is enough. When most
requests are refused, or the database has been away for minutes, many more probes wait, so they need a longer span.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

LEAST_S: Final = 5.0
SPAN_S: Final = 30.0
LONGEST_S: Final = 300.0
_WINDOW_S: Final = 30.0


class RetryAfter:
    """Count what one process accepted and refused lately, and give out waiting times."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._clock = clock
        self._uniform = uniform
        self._began = clock()
        self._accepted = self._refused = 0
        self._before = (0, 0)
        self._outage_began: float | None = None

    def accepted(self) -> None:
        """Count a request that was served."""
        self._turn()
        self._accepted += 1
        self._outage_began = None

    def failed(self) -> None:
        """Note that the database could not serve a request."""
        if self._outage_began is None:
            self._outage_began = self._clock()

    def next_s(self) -> int:
        """Count a refusal and return the seconds to wait: whole, random, at least `LEAST_S`."""
        self._turn()
        self._refused += 1
        return round(self._uniform(LEAST_S, self.span_s()))

    def span_s(self) -> float:
        """Return the longest wait that is given out now."""
        accepted, refused = self._accepted + self._before[0], self._refused + self._before[1]
        crowded = SPAN_S * refused / max(1, accepted) if refused > _FEW else 0.0
        away = 0.0 if self._outage_began is None else self._clock() - self._outage_began
        return min(LONGEST_S, max(SPAN_S, crowded, away))

    def _turn(self) -> None:
        """Begin a new window; the one before it still counts."""
        passed = self._clock() - self._began
        if passed >= _WINDOW_S:
            self._before = (self._accepted, self._refused) if passed < 2 * _WINDOW_S else (0, 0)
            self._accepted = self._refused = 0
            self._began = self._clock()


_FEW: Final = 100
"""Fewer refusals than this in a window are no crowd, whatever was accepted beside them."""
