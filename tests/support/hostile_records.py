"""Make records with one unusual value each, at every place where a record can hold one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

ODD_VALUES: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 2**63, 2**64, 10**400, 1e308, -0.0, "", "\0", "\ud800", "x" * 60_000, "NaN", [], {}, [[]],
    "2029-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", {"": {"": None}}, "é" * 300,
    "\x1b[31m\x07\x7f\u202e", "\u2028\r\n\t", "%s {0} {{ 7*7 }} <b>",
)  # fmt: skip
"""Values that a hostile or broken probe may put anywhere."""

_NOT_UNDER: Final = ("id",)
"""Places that stay as they are: without its id a line has no answer in the receipt."""


def with_odd_values(line: bytes, *, under: tuple[str, ...] = ()) -> Iterator[bytes]:
    """Yield the record of `line` once for each place below `under` (or everywhere) and each unusual value."""
    record = json.loads(line)
    for way in list(_ways(record)):
        if way[0] in _NOT_UNDER or (under and way[0] not in under):
            continue
        for value in ODD_VALUES:
            changed = json.loads(line)
            place = changed
            for name in way[:-1]:
                place = place[name]
            place[way[-1]] = value
            yield json.dumps(changed).encode("ascii")


def _ways(value: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, inner in value.items():
        yield (*before, name)
        if isinstance(inner, dict):
            yield from _ways(inner, (*before, name))
