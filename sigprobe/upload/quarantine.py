"""Hold refused records until the cause is known: the record itself, or the network path.

A gateway that drops a header makes a collector refuse everything with the codes for a bad record. So a refusal counts
only after the same collector accepts another record on the same path.
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
class RefusedRecords:
    """Refused records of one upload, by position, each with the collector's address and its reason."""

    _rows: dict[int, tuple[Row, str, str]] = field(default_factory=dict)
    _test_record: dict[str, Row] = field(default_factory=dict)
    _tried: set[int] = field(default_factory=set)

    def add(self, row: Row, url: str, reason: str) -> None:
        """Add a record that a collector refused individually."""
        self._rows[row.pos] = (row, url, reason)

    @property
    def positions(self) -> set[int]:
        """Return their positions in the queue."""
        return set(self._rows)

    @property
    def urls(self) -> set[str]:
        """Return the collectors that have refused any."""
        return {url for _, url, _ in self._rows.values()}

    def of(self, url: str) -> list[Row]:
        """Return the records that this collector has refused."""
        return [row for row, by, _ in self._rows.values() if by == url]

    def release(self, url: str) -> str:
        """Remove the records of this collector; return its last reason."""
        reason = "refused"
        for row in self.of(url):
            reason = self._rows.pop(row.pos)[2]
        return reason

    def took(self, url: str, rows: Iterable[Row]) -> None:
        """Note records that this collector has accepted: the shortest of them can serve as a test record."""
        if url not in self._test_record:
            shortest = min(rows, key=lambda row: len(row.line), default=None)
            if shortest is not None:
                self._test_record[url] = shortest

    def is_test_record(self, row: Row, url: str) -> bool:
        """Return True for a record that is sent again only to test whether the collector accepts it."""
        return self._test_record.get(url) is row

    def test_records(self, url: str, buffer: Buffer, skip: set[int]) -> Iterator[Row]:
        """Return test records for a collector: one that it has stored, else the newest pending ones. Raises
        StorageError."""
        known = self._test_record.get(url)
        if known is not None:
            yield known
            return
        newest = list(buffer.rows(State.PENDING, newest=_LOOKED_AT))[::-1]
        good = (r for r in newest if r.pos not in skip and r.pos not in self._rows and verifies(r.id, r.sha256, r.line))
        for row in islice(good, ELSEWHERE):
            self._tried.add(row.pos)
            yield row

    def without(self, rows: list[Row]) -> list[Row]:
        """Return the rows of the batch that were not sent individually since it was built."""
        return [row for row in rows if row.pos not in self._rows and row.pos not in self._tried]

    def begin_anew(self) -> None:
        """Note that a new batch is built from the pending records."""
        self._tried.clear()
