"""Choose the size of the next batch: small after a failure, larger after successes, within a time limit.

An interrupted batch is sent again, so on a bad link its size is the cost of an interruption. A large batch compresses
better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_BATCH: Final = 200
SMALL_BATCH: Final = 10
LARGEST_BATCH: Final = 1_000
AFTER_FAILURE: Final = 2
TARGET_S: Final = 8.0


@dataclass(slots=True)
class Pace:
    """Number of records for the next batch, between 1 and `most`."""

    records: int = FIRST_BATCH
    target_s: float = TARGET_S
    most: int = LARGEST_BATCH
    _failures: int = 0

    def succeeded(self, sent: int, seconds: float) -> None:
        """Record that a batch of this many records was answered after so many seconds."""
        self._failures = 0
        wanted = max(self.records, sent * 2)
        if seconds > 0.0:
            wanted = min(wanted, round(sent * self.target_s / seconds))
        self.records = max(1, min(self.most, wanted))

    def failed(self, sent: int) -> None:
        """Record that a batch of this many records was not answered. The size shrinks only if small batches keep
        failing."""
        self._failures += 1
        least = SMALL_BATCH if self._failures < 2 else 1
        self.records = max(least, min(self.records, sent) // AFTER_FAILURE)

    def too_large(self, sent: int) -> None:
        """Record that the collector refused a batch as too large but took its parts. Later batches stay smaller."""
        self.most = max(1, min(self.most, sent // 2))
        self.records = min(self.records, self.most)
