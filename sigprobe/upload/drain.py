"""The drain: batches out, verified receipts in, one collector after another, and never a record lost.

No lock and no transaction is held while the network is waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from sigprobe import wire
from sigprobe.buffer import Buffer, Row, Verdicts
from sigprobe.result import parse_time
from sigprobe.upload.backoff import Backoff
from sigprobe.upload.transport import Collector, Reply, TransportError, open_session, post

if TYPE_CHECKING:
    import requests

FIRST_BATCH: Final = 200
SMALL_BATCH: Final = 10
LARGEST_BATCH: Final = 1_000
LARGEST_RAW_BYTES: Final = 4 * 1024 * 1024
TRIES: Final = 3
TRY_WITHIN_S: Final = 30.0
END_OF_TEST_S: Final = 15.0


class Mode(Enum):
    """Who asks. TYPED ignores backoff (not Retry-After) and ends at a batch that will not go; QUIET obeys both."""

    TYPED = "typed"
    QUIET = "quiet"


@dataclass(slots=True)
class Report:
    """What one drain did. `stopped` is None when nothing was left to send, else a failure code of `CODES`."""

    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    deferred: int = 0
    pending: int = 0
    batches: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    collector: str | None = None
    stopped: str | None = None
    detail: str | None = None
    refused: list[str] = field(default_factory=list)
    retry_at: float | None = None  # wall-clock seconds
    clock_offset_ms: float | None = None
    clock_error_ms: float | None = None

    @property
    def sent(self) -> int:
        """Records the collector holds after this drain that were pending before."""
        return self.accepted + self.duplicate


class _Result(Enum):
    DONE = "done"  # everything in the batch was settled or deferred
    SPLIT = "split"  # ours, and the content is at fault
    WAIT = "wait"  # ours: busy
    TOKEN = "token"  # noqa: S105 - ours: the token was refused
    FAILED = "failed"  # not ours, or no answer


def _nothing(_: Report) -> None:
    return None


@dataclass(slots=True)
class Upload:
    """One drain under way: what it works with. Everything that a test would have to patch is a field."""

    buffer: Buffer
    collectors: Sequence[Collector]
    backoff: Backoff
    mode: Mode = Mode.TYPED
    limit_s: float | None = None
    progress: Callable[[Report], None] = _nothing
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    send: Callable[[requests.Session, str, bytes, Mapping[str, str], float], Reply] = post
    report: Report = field(default_factory=Report)
    batch_size: int = FIRST_BATCH
    deferred: set[int] = field(default_factory=set)
    sessions: dict[str, requests.Session] = field(default_factory=dict)
    ends_at: float = float("inf")

    def run(self) -> Report:
        """Drain until nothing is pending, a batch will not go, or the time is up."""
        if self.limit_s is not None:
            self.ends_at = self.clock() + self.limit_s
        if any(self.backoff.of(c.url).failures for c in self.collectors):
            self.batch_size = SMALL_BATCH
        try:
            self._loop()
        finally:
            for session in self.sessions.values():
                session.close()
            self.report.deferred = len(self.deferred)
            self.report.pending = self.buffer.pending()
        if self.report.pending and self.report.stopped is None:
            self.report.stopped = "collector_busy" if self.deferred else "interrupted"
        if self.report.stopped is not None and self.report.retry_at is None:
            self.report.retry_at = self.backoff.next_at([c.url for c in self.collectors])
        return self.report

    def _loop(self) -> None:
        while not self.stop.is_set():
            rows = self.buffer.peek(self.batch_size, LARGEST_RAW_BYTES, skip=self.deferred)
            if not rows:
                return
            if self.clock() >= self.ends_at:
                self._stopped("collector_busy", "time is up")
                return
            if not self._deliver(rows):
                return
            self.batch_size = min(LARGEST_BATCH, self.batch_size * 2)

    # --- one batch, some tries, any collector ---------------------------------------------------------------

    def _deliver(self, rows: list[Row]) -> bool:
        """Bring these rows to any collector; halves them around a poison record. False ends the drain."""
        stack = [rows]
        while stack:
            part = stack.pop()
            result, collector, problem = self._try(part)
            if result is _Result.DONE:
                continue
            if result is not _Result.SPLIT or collector is None:
                return False
            if len(part) == 1:
                self.buffer.settle(Verdicts(rejected=[(part[0].id, problem or "refused")]), collector.url)
                self.report.rejected += 1
                continue
            middle = len(part) // 2
            stack += [part[middle:], part[:middle]]
        return True

    def _try(self, rows: list[Row]) -> tuple[_Result, Collector | None, str | None]:
        """Up to three tries of one batch over all collectors that may be asked."""
        batch = wire.build_batch((row.id, row.line) for row in rows)
        if len(batch.body) > wire.MAX_COMPRESSED_BYTES and len(rows) > 1:
            return _Result.SPLIT, self.collectors[0], None
        first = self.clock()
        until = min(first + TRY_WITHIN_S, self.ends_at)
        tried: dict[str, int] = {}
        for number in range(TRIES):
            collector = self._choose(tried)
            if collector is None or (number and self.clock() >= until) or self.stop.is_set():
                break
            tried[collector.url] = tried.get(collector.url, 0) + 1
            result, problem = self._send(collector, batch, rows, until)
            if result in (_Result.DONE, _Result.SPLIT):
                return result, collector, problem
            self.batch_size = max(1, min(self.batch_size, SMALL_BATCH))
            if result is _Result.WAIT and not self._pause(collector, until):
                continue
        if self.report.stopped is None:
            self._explain_no_try()
        return _Result.FAILED, None, None

    def _choose(self, tried: Mapping[str, int]) -> Collector | None:
        """The first collector that may be asked now, those tried least before the others."""
        open_ones = [c for c in self.collectors if self._may_ask(c)]
        return min(open_ones, key=lambda c: tried.get(c.url, 0), default=None)

    def _may_ask(self, collector: Collector) -> bool:
        if collector.url in self.report.refused:
            return False
        if self.mode is Mode.TYPED:
            return self.backoff.asked_wait_s(collector.url) <= 0.0
        return not (self.backoff.is_refused(collector.url, collector.token) or self.backoff.wait_s(collector.url) > 0.0)

    def _explain_no_try(self) -> None:
        """Why no collector may be asked at all."""
        if any(self.backoff.asked_wait_s(c.url) > 0.0 for c in self.collectors):
            self._stopped("collector_busy", "Retry-After")
        elif all(self.backoff.is_refused(c.url, c.token) for c in self.collectors):
            self.report.refused = [c.url for c in self.collectors]
            self._stopped("collector_token", None)
        else:
            self._stopped("collector_unreachable", "waiting before the next try")

    def _pause(self, collector: Collector, until: float) -> bool:
        """Wait as asked when that fits into the time of this batch; the wait ends early on `stop`."""
        wait = self.backoff.asked_wait_s(collector.url)
        if len(self.collectors) > 1 or wait <= 0.0 or self.clock() + wait >= until:
            return False
        return not self.stop.wait(wait + 0.01)

    # --- one request ----------------------------------------------------------------------------------------

    def _send(
        self, collector: Collector, batch: wire.Batch, rows: list[Row], until: float
    ) -> tuple[_Result, str | None]:
        left = max(5.0, until - self.clock())
        try:
            if collector.url not in self.sessions:
                self.sessions[collector.url] = open_session(collector)
            sent_at = self.now()
            reply = self.send(
                self.sessions[collector.url],
                collector.endpoint(wire.BATCH_PATH),
                batch.body,
                wire.batch_headers(batch, collector.token),
                min(left, TRY_WITHIN_S),
            )
        except TransportError as error:
            self._failed(collector, "collector_tls" if error.reason == "tls" else "collector_unreachable", str(error))
            return _Result.FAILED, None
        except OSError as error:  # a CA file that is not there, or is none
            self._failed(collector, "collector_tls", f"{collector.ca_file}: {error}")
            return _Result.FAILED, None
        self.report.bytes_sent += len(batch.body)
        self.report.bytes_received += len(reply.body)
        return self._judge(collector, batch, rows, reply, sent_at)

    def _judge(
        self, collector: Collector, batch: wire.Batch, rows: list[Row], reply: Reply, sent_at: float
    ) -> tuple[_Result, str | None]:
        content_type = reply.headers.get("Content-Type")
        try:
            receipt = wire.read_receipt(reply.status, content_type, reply.body, batch)
        except wire.NotAReceiptError as error:
            problem = wire.read_problem(reply.status, content_type, reply.body)
            if problem is None:
                self._failed(collector, "collector_portal", str(error))
                return _Result.FAILED, None
            return self._refusal(collector, problem, reply)
        self._learn_time(receipt, reply, sent_at)
        return self._settle(collector, receipt, rows), None

    def _refusal(self, collector: Collector, problem: wire.Problem, reply: Reply) -> tuple[_Result, str | None]:
        if problem.status in (401, 403):
            self.backoff.refused(collector.url, collector.token)
            self.report.refused.append(collector.url)
            self._stopped("collector_token", problem.detail or problem.title)
            return _Result.TOKEN, None
        if problem.status in (400, 413, 422):
            return _Result.SPLIT, problem.detail or problem.title
        if problem.status in (429, 503):
            self.backoff.asked_to_wait(collector.url, wire.retry_after_s(reply.headers))
            self._stopped("collector_busy", problem.detail or problem.title)
            return _Result.WAIT, None
        self._failed(collector, "collector_unreachable", f"status {problem.status}: {problem.title}")
        return _Result.FAILED, None

    def _settle(self, collector: Collector, receipt: wire.Receipt, rows: list[Row]) -> _Result:
        answers = {answer.id: answer for answer in receipt.results}
        acked: list[str] = []
        rejected: list[tuple[str, str]] = []
        left: list[int] = []
        for row in rows:
            answer = answers.get(row.id)
            status = wire.RETRY if answer is None else answer.status
            if status == wire.ACCEPTED:
                self.report.accepted += 1
                acked.append(row.id)
            elif status == wire.DUPLICATE:
                self.report.duplicate += 1
                acked.append(row.id)
            elif answer is not None and status in (wire.REJECTED, wire.CONFLICT):
                self.report.rejected += 1
                rejected.append((row.id, f"{status}: {answer.reason or 'no reason given'}"))
            else:
                left.append(row.pos)
        if acked or rejected:
            self.buffer.settle(Verdicts(acked, rejected), collector.url)
        if not acked and not rejected:
            # a receipt that settles nothing is a collector that cannot take anything now
            self._failed(collector, "collector_busy", "the collector kept none of the batch")
            return _Result.FAILED
        # what it could not take now must not stand in the way of what lies behind it
        self.deferred.update(left)
        self.backoff.succeeded(collector.url)
        self.report.batches += 1
        self.report.collector = collector.url
        self.report.stopped = self.report.detail = None
        self.progress(self.report)
        return _Result.DONE

    def _learn_time(self, receipt: wire.Receipt, reply: Reply, sent_at: float) -> None:
        """The collector's clock against ours, as NTP would from one exchange: known within half the round trip."""
        server = parse_time(receipt.server_time or "")
        if server is not None:
            with suppress(OverflowError):
                self.report.clock_offset_ms = (server.timestamp() - (sent_at + reply.rtt_s / 2)) * 1000
                self.report.clock_error_ms = reply.rtt_s / 2 * 1000 + 1.0

    def _failed(self, collector: Collector, code: str, detail: str) -> None:
        self.backoff.failed(collector.url)
        self._stopped(code, detail)

    def _stopped(self, code: str, detail: str | None) -> None:
        self.report.stopped = code
        self.report.detail = detail


def drain(
    buffer: Buffer,
    collectors: Sequence[Collector],
    backoff: Backoff,
    *,
    mode: Mode = Mode.TYPED,
    limit_s: float | None = None,
    progress: Callable[[Report], None] = _nothing,
    stop: threading.Event | None = None,
) -> Report:
    """Send what is pending. Never raises for what a network or a collector does; StorageError for the queue."""
    upload = Upload(buffer, collectors, backoff, mode, limit_s, progress, stop or threading.Event())
    return upload.run()
