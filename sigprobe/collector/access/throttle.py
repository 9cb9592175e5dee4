"""Throttle clients that keep sending wrong secrets, and no others."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable


class WrongTries:
    """Count of wrong secrets per client group, within a window.

    A right secret is never refused: a caller checks the secret first and asks here only how to answer a wrong one. So
    no client can lock out another. A secret of 256 random bits needs no other protection.

    It is kept in memory. Processes of one PostgreSQL count together, see `reader.note_wrong`.
    """

    def __init__(
        self,
        *,
        each: int = 10,
        window_s: float = 300.0,
        max_groups: int = 20_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._each = each
        self._window_s = window_s
        self._max_groups = max_groups
        self._clock = clock
        self._groups: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_s(self, group: str) -> int | None:
        """Return seconds until the group's window ends when it has had its tries; None while it has some left."""
        began, wrong = self._groups.get(group, (0.0, 0))
        left = began + self._window_s - self._clock()
        return max(1, math.ceil(left)) if wrong >= self._each and left > 0 else None

    @property
    def window_s(self) -> float:
        """Return how long a window is."""
        return self._window_s

    def note(self, group: str) -> None:
        """Count a wrong secret."""
        now = self._clock()
        began, wrong = self._groups.get(group, (now, 0))
        if now - began >= self._window_s:
            began, wrong = now, 0
        self._keep(group, began, wrong + 1)

    def learn(self, group: str, wrong: int, age_s: float) -> None:
        """Take over what all processes together have counted in a window that began `age_s` ago."""
        self._keep(group, self._clock() - age_s, wrong)

    def _keep(self, group: str, began: float, wrong: int) -> None:
        self._groups[group] = (began, wrong)
        self._groups.move_to_end(group)
        while len(self._groups) > self._max_groups:
            self._groups.popitem(last=False)
