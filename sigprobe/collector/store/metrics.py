"""Read from a record's data the numbers that have a column of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sigprobe.collector.store.schema import LOWER_BOUNDS, METRICS
from sigprobe.record import kinds
from sigprobe.record.result import is_at_least, is_to_proxy

_NUMBERS: Final = {
    kind: tuple((number.metric, number.keys) for number in info.numbers if number.metric in METRICS)
    for kind, info in kinds.KINDS.items()
    if info.numbers
}
_NONE: Final[frozenset[str]] = frozenset()
_MOST: Final = 1e15
"""No number of a check is larger. What is absurd stays in the line and counts in no statistic."""


def read_metrics(kind: str, data: Mapping[str, Any]) -> tuple[dict[str, float], frozenset[str]]:
    """Return the numbers of a check by metric, and which of them are only lower bounds."""
    found: dict[str, float] = {}
    for metric, keys in _NUMBERS.get(kind, ()):
        value = kinds.first_number(data, keys)
        if is_to_proxy(data, metric):
            continue  # it holds only as far as the proxy: no rate of the link
        if value is not None and 0 <= value <= _MOST:
            found[metric] = float(value)
    if not found:
        return found, _NONE
    bounds = [name for name in LOWER_BOUNDS if name in found and is_at_least(data, name)]
    return found, frozenset(bounds) if bounds else _NONE
