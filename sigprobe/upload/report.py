"""Define the report of one upload, and the modes of uploading."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from sigprobe.record.result import parse_time


class Mode(Enum):
    """Origin of an upload. TYPED ignores backoff (not Retry-After) and ends at a batch that fails; QUIET obeys both."""

    TYPED = "typed"
    QUIET = "quiet"


@dataclass(slots=True)
class Report:
    """Report of one upload. `stopped` is None when nothing was left to send, else a failure code of `CODES`.

    `why` is the failure code of the error on the path to the host `whom`, if known. `detail` is its technical text.

    `clock_offset_ms` is the collector's clock minus this device's, known within `clock_error_ms`, from this upload's
    most accurate exchange. `true_at_boot_s` is the collector's time minus the time since boot (None if the device has
    no such clock).
    """

    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    deferred: int = 0
    pending: int = 0
    batches: int = 0
    requests: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    collector: str | None = None
    stopped: str | None = None
    detail: str | None = None
    why: str | None = None
    whom: str | None = None
    refused: list[str] = field(default_factory=list)
    time_unchecked: list[str] = field(default_factory=list)
    """Collectors that were asked without a look at the dates of their certificates."""
    retry_at: float | None = None  # wall-clock seconds
    clock_offset_ms: float | None = None
    clock_error_ms: float | None = None
    true_at_boot_s: float | None = None

    @property
    def sent(self) -> int:
        """Return the number of previously pending records that the collector has after this upload."""
        return self.accepted + self.duplicate

    def learn_time(self, server_time: str | None, span_s: float, sent_at: float, sent_boot: float | None) -> None:
        """Compute the collector's clock offset as NTP does from one exchange: its error is half of the span.

        `span_s` is how long the exchange took, `sent_at` the wall clock and `sent_boot` the time since boot at its
        start, in seconds.
        """
        server = parse_time(server_time or "")
        error_ms = span_s / 2 * 1000 + 1.0
        if server is None or (self.clock_error_ms or error_ms) < error_ms:
            return
        with suppress(OverflowError):
            half = span_s / 2
            self.clock_offset_ms = (server.timestamp() - (sent_at + half)) * 1000
            self.clock_error_ms = error_ms
            self.true_at_boot_s = None if sent_boot is None else server.timestamp() - (sent_boot + half)

    def note_unchecked(self, url: str) -> None:
        """Note a collector with unchecked certificate dates, once data may have been sent. Failed connections do not
        count."""
        if url not in self.time_unchecked:
            self.time_unchecked.append(url)

    def add(self, later: Report) -> None:
        """Add a later upload of the same queue: counts add up, states are those of the later one."""
        self.accepted += later.accepted
        self.duplicate += later.duplicate
        self.rejected += later.rejected
        self.batches += later.batches
        self.requests += later.requests
        self.bytes_sent += later.bytes_sent
        self.bytes_received += later.bytes_received
        self.deferred, self.pending = later.deferred, later.pending
        self.collector = later.collector or self.collector
        self.stopped, self.detail, self.retry_at = later.stopped, later.detail, later.retry_at
        self.why, self.whom = later.why, later.whom
        self.refused = later.refused
        self.time_unchecked += [url for url in later.time_unchecked if url not in self.time_unchecked]
        if later.clock_offset_ms is not None:
            self.clock_offset_ms, self.clock_error_ms = later.clock_offset_ms, later.clock_error_ms
            self.true_at_boot_s = later.true_at_boot_s


def ignored(_: Report) -> None:
    """No-op progress callback."""
