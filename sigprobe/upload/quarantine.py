"""Records that a collector refused whole and alone, until it is known whether they are at fault or the way is.

A gateway that drops a header makes a collector refuse everything with the words it has for a bad record. So a refusal
counts against a record only once the same collector is seen, after it, to take another record on the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from sigprobe.buffer import Buffer, Row, State
from sigprobe.buffer.rows import verifies

MOST: Final = 3
"""How many may be refused alone before the collector must show that it takes anything."""
ELSEWHERE: Final = 2
"""How many other records are tried with a collector that has taken none yet."""
_LOOKED_AT: Final = 8


@dataclass(slots=True)
class Suspects:
    """The suspects of one drain, by position, each with the collector's address and its reason."""

    _rows: dict[int, tuple[Row, str, str]] = field(default_factory=dict)
    _witness: dict[str, Row] = field(default_factory=dict)
    _tried: set[int] = field(default_factory=set)

    def add(self, row: Row, url: str, reason: str) -> None:
        """A collector has refused this record alone."""
        self._rows[row.pos] = (row, url, reason)

    @property
    def positions(self) -> set[int]:
        """Where they lie in the queue."""
        return set(self._rows)

    @property
    def urls(self) -> set[str]:
        """The collectors that have refused any."""
        return {url for _, url, _ in self._rows.values()}

    def of(self, url: str) -> list[Row]:
        """Those that this collector has refused."""
        return [row for row, by, _ in self._rows.values() if by == url]

    def release(self, url: str) -> str:
        """Let go those of this collector; returns the last reason it gave."""
        reason = "refused"
        for row in self.of(url):
            reason = self._rows.pop(row.pos)[2]
        return reason

    def took(self, url: str, rows: Iterable[Row]) -> None:
        """This collector has taken these: the shortest of the first ones can be shown to it once more."""
        if url not in self._witness:
            shortest = min(rows, key=lambda row: len(row.line), default=None)
            if shortest is not None:
                self._witness[url] = shortest

    def is_witness(self, row: Row, url: str) -> bool:
        """True for the record that is sent once more only to see whether the collector takes it."""
        return self._witness.get(url) is row

    def witnesses(self, url: str, buffer: Buffer, skip: set[int]) -> Iterator[Row]:
        """What to show a collector now: a record that it holds, else the newest that wait. Raises StorageError."""
        known = self._witness.get(url)
        if known is not None:
            yield known
            return
        newest = list(buffer.rows(State.PENDING, newest=_LOOKED_AT))[::-1]
        good = (r for r in newest if r.pos not in skip and r.pos not in self._rows and verifies(r.id, r.sha256, r.line))
        for row in islice(good, ELSEWHERE):
            self._tried.add(row.pos)
            yield row

    def without(self, rows: list[Row]) -> list[Row]:
        """Those of a batch that were not sent by themselves since it was put together."""
        return [row for row in rows if row.pos not in self._rows and row.pos not in self._tried]

    def begin_anew(self) -> None:
        """A batch is put together of what is pending now."""
        self._tried.clear()
