"""Judge a measured rate against what is usual for its network in its regency.

The usual rates are taken as log-normal. A rate counts as a drop when it lies below the interval that holds all but one
in forty usual rates, and below half of the usual middle. A rate that is only a lower bound can never be a drop: where
it is below the limit, it says nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_LEAST: Final = 20
_KEEPS: Final = 400.0
_SPREADS: Final = 2.0
_HALF: Final = math.log(2)
_LEAST_SPREAD: Final = 0.2


@dataclass(slots=True)
class _Rates:
    n: float = 0.0
    mean: float = 0.0
    square: float = 0.0

    def add(self, value: float) -> None:
        self.n = min(self.n + 1, _KEEPS)
        gain = 1 / self.n
        apart = value - self.mean
        self.mean += gain * apart
        self.square += gain * (apart * (value - self.mean) - self.square)

    @property
    def limit(self) -> float:
        spread = max(_LEAST_SPREAD, math.sqrt(max(0.0, self.square)))
        return self.mean - max(_HALF, _SPREADS * spread)


class UsualSpeed:
    """The usual rates of each network, regency and direction."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, str, str], _Rates] = {}

    def dropped(self, plmn: str, regency: str, direction: str, bps: float, *, at_least: bool) -> bool | None:
        """Return whether a rate is a drop, and learn it; None where that cannot be said (yet)."""
        rates = self._rates.setdefault((plmn, regency, direction), _Rates())
        value = math.log(bps)
        known = rates.n >= _LEAST
        below = known and value < rates.limit
        if at_least:
            return False if known and not below else None
        if not below:
            # what drops is an incident, and does not become usual while it lasts
            rates.add(value)
        return below if known else None
