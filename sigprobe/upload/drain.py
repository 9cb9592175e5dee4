"""Upload the queue: send batches and verify receipts, one collector after another, without losing a record.

No lock or transaction is held during network waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from sigprobe.buffer import Buffer, Row, StorageError, UnnotedError, Verdicts
from sigprobe.protocol import batches
from sigprobe.upload.backoff import Backoff
from sigprobe.upload.batch_size import SMALL_BATCH, Pace
from sigprobe.upload.clock_offset import boottime
from sigprobe.upload.quarantine import MOST, RefusedRecords
from sigprobe.upload.replies import ANSWERS, SPLITS, SendOutcome, keeping, sort_answers
from sigprobe.upload.report import Mode, Report, ignored
from sigprobe.upload.transport import Channel, Collector, Reply, TransportError, open_channel, post

LARGEST_RAW_BYTES: Final = 4 * 1024 * 1024
TRIES: Final = 3
TRY_WITHIN_S: Final = 30.0
END_OF_TEST_S: Final = 15.0
DOWN_FOR_S: Final = 30.0
"""How long a collector that failed stands behind the others of the list, within one drain."""
BREATH_S: Final = 0.3
_LEAST_S: Final = 0.5

Send = Callable[[Channel, str, bytes, Mapping[str, str], float, threading.Event], Reply]


@dataclass(slots=True)
class Upload:
    """One upload in progress and its dependencies. Everything that a test replaces is a field.

    `limit_s` limits its duration, requests included. After `give_way_s` no further batch is started.
    """

    buffer: Buffer
    collectors: Sequence[Collector]
    backoff: Backoff
    mode: Mode = Mode.TYPED
    limit_s: float | None = None
    give_way_s: float | None = None
    progress: Callable[[Report], None] = ignored
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    since_boot: Callable[[], float | None] = boottime
    pause: Callable[[float], object] | None = None
    send: Send = post
    report: Report = field(default_factory=Report)
    pace: Pace = field(default_factory=Pace)
    deferred: set[int] = field(default_factory=set)
    channels: dict[str, Channel] = field(default_factory=dict)
    _ends_at: float = float("inf")
    _give_way_at: float = float("inf")
    _tried: dict[str, int] = field(default_factory=dict)  # since the last batch that was answered
    _down_at: dict[str, float] = field(default_factory=dict)
    _unanswered: int = 0
    _unanswered_since: float = 0.0
    _fruitless: int = 0  # consecutive receipts that settled nothing
    _refused: RefusedRecords = field(default_factory=RefusedRecords)
    _deferring: set[str] = field(default_factory=set)
    _out: set[str] = field(default_factory=set)  # skipped for the rest of this upload

    def run(self) -> Report:
        """Upload until nothing is pending, a batch cannot be sent, or the time is up."""
        if self.limit_s is not None:
            self._ends_at = self.clock() + self.limit_s
        if self.give_way_s is not None:
            self._give_way_at = self.clock() + self.give_way_s
        remembered = [m.batch for m in (self.backoff.of(c.url) for c in self.collectors) if m.failures and m.batch]
        if remembered:
            self.pace.records = min(remembered)
        if self.mode is Mode.QUIET:
            refusing = [c.url for c in self.collectors if self.backoff.is_refused(c.url, c.token)]
            self.report.refused += [url for url in refusing if url not in self.report.refused]
        try:
            self._loop()
        finally:
            for channel in self.channels.values():
                channel.close()
            self.channels.clear()
        self.report.deferred = len(self.deferred)
        self.report.pending = self.buffer.pending()
        if self.report.pending and self.report.stopped is None and (self.deferred or self.stop.is_set()):
            self.report.stopped = "interrupted" if self.stop.is_set() else "collector_busy"
            for url in () if self.stop.is_set() else self._deferring:
                self.backoff.failed(url)  # otherwise the remaining records would be sent again at once, without end
        if self.report.stopped is not None:
            self.report.retry_at = self.backoff.next_at([c.url for c in self.collectors])
        return self.report

    def _loop(self) -> None:
        while not self.stop.is_set():
            if self.clock() >= min(self._ends_at, self._give_way_at):
                if self.buffer.pending():
                    self._stopped("interrupted", "time is up")
                return
            skip = self.deferred | self._refused.positions
            rows = self.buffer.peek(self.pace.records, LARGEST_RAW_BYTES, skip=skip)
            if not rows:
                refusing = self._refused.urls
                if not refusing:
                    return
                self._decide_refused(next(c for c in self.collectors if c.url in refusing))
                continue
            result = self._deliver(rows)
            if result is SendOutcome.DONE:
                continue
            if result is SendOutcome.NOBODY or self._unanswered >= TRIES or self._fruitless >= TRIES:
                return

    # --- one batch ------------------------------------------------------------------------------------------

    def _deliver(self, rows: list[Row]) -> SendOutcome:
        """Send these rows to one collector; split the batch to isolate a rejected record."""
        self._refused.begin_anew()
        stack = [rows]
        too_large: list[int] = []
        guilty = False
        while stack:
            part = self._refused.without(stack.pop())
            if not part:
                continue
            batch = batches.build_batch((row.id, row.line) for row in part)
            collector: Collector | None = None
            if len(batch.body) > batches.MAX_COMPRESSED_BYTES and len(part) > 1:
                result, problem = SendOutcome.LARGE, None
            else:
                collector = self._choose()
                if collector is None:
                    return self._nobody()
                result, problem = self._try(collector, batch, part)
            if result is SendOutcome.DONE:
                continue
            if result not in SPLITS:
                return result
            self._unanswered = 0  # an error body of sigprobe's own counts as an answer
            self._tried.clear()
            if len(part) == 1 and collector is not None:
                guilty = True
                self._refused.add(part[0], collector.url, problem or "refused")
                if len(self._refused.of(collector.url)) >= MOST and not self._decide_refused(collector):
                    return SendOutcome.FAILED
                continue
            if result is SendOutcome.LARGE:
                too_large.append(len(part))
            middle = len(part) // 2
            stack += [part[middle:], part[:middle]]
        if too_large and not guilty:
            self.pace.too_large(min(too_large))
        return SendOutcome.DONE

    def _decide_refused(self, collector: Collector) -> bool:
        """Quarantine the records that this collector refused individually, if it accepts another record and refuses
        these again.

        Otherwise the fault is in the collector or on the path to it: returns False, the refused records stay pending,
        and the collector is skipped for the rest of this upload.
        """
        url = collector.url
        for test_record in self._refused.test_records(url, self.buffer, self.deferred):
            result, problem = self._ask(collector, test_record)
            if result is SendOutcome.DONE and test_record.pos not in self.deferred:
                break
            if result not in ANSWERS:
                return self._leave_out(collector, said=True)
            if result is not SendOutcome.DONE and not self._refused.is_test_record(test_record, url):
                self._refused.add(test_record, url, problem or "refused")
        else:
            return self._leave_out(collector, said=False)
        for row in self._refused.of(url):
            result, problem = self._ask(collector, row)
            if result not in ANSWERS:
                return self._leave_out(collector, said=True)
            if result is not SendOutcome.DONE:
                self._keep(collector, Verdicts(rejected=[(row.id, problem or "refused")]))
                self.report.rejected += 1
                self._answered(collector)
        self._refused.release(url)
        return True

    def _ask(self, collector: Collector, row: Row) -> tuple[SendOutcome, str | None]:
        """Send a single record, with a few retries if no answer comes."""
        batch = batches.build_batch(((row.id, row.line),))
        self._unanswered = 0
        self._tried.clear()
        while True:
            result, problem = self._try(collector, batch, [row])
            again = (
                result in (SendOutcome.FAILED, SendOutcome.WAIT)
                and self._unanswered < TRIES
                and self._may_ask(collector)
            )
            if not again:
                return result, problem

    def _leave_out(self, collector: Collector, *, said: bool) -> bool:
        """Skip this collector for the rest of the upload. Other collectors get the records it refused."""
        self._out.add(collector.url)
        reason = self._refused.release(collector.url)
        if not said:
            self._failed(collector, [], "collector_refuses", reason)
        self._unanswered = 0
        self._tried.clear()
        return False

    def _try(self, collector: Collector, batch: batches.Batch, rows: list[Row]) -> tuple[SendOutcome, str | None]:
        """Send a batch to a collector once, within the time for all attempts of a batch."""
        if self._unanswered == 0:
            self._unanswered_since = self.clock()
        else:
            self._breathe(collector)
        left = min(self._unanswered_since + TRY_WITHIN_S, self._ends_at) - self.clock()
        if left < _LEAST_S or self.stop.is_set():
            return self._nobody(), None
        # collectors that were not tried yet must get their turn, too
        fresh = sum(1 for c in self.collectors if c.url not in self._tried and self._may_ask(c))
        self._tried[collector.url] = self._tried.get(collector.url, 0) + 1
        begun = self.clock()
        result, problem = self._send(collector, batch, rows, left / max(1, min(fresh, TRIES - self._unanswered)))
        if result in ANSWERS:
            if result is SendOutcome.DONE:
                self.pace.succeeded(len(rows), self.clock() - begun)
            return result, problem
        self._unanswered += 1
        if result is SendOutcome.WAIT:
            self._obey(collector)
        elif result is SendOutcome.FAILED:
            self._down_at[collector.url] = self.clock()
        return result, None

    def _answered(self, collector: Collector) -> None:
        """Reset the failure state after an answer from a real collector."""
        self._unanswered = 0
        self._tried.clear()
        self._down_at.pop(collector.url, None)
        self.backoff.succeeded(collector.url)
        self.report.batches += 1
        self.report.collector = collector.url
        self.report.stopped = self.report.detail = self.report.why = self.report.whom = None
        self.progress(self.report)

    def _choose(self) -> Collector | None:
        """Return the first collector that may be asked now. Those just tried, or known to be unreachable, come last."""
        now = self.clock()

        def rank(collector: Collector) -> tuple[int, bool]:
            down_at = self._down_at.get(collector.url)
            return self._tried.get(collector.url, 0), down_at is not None and now - down_at < DOWN_FOR_S

        return min((c for c in self.collectors if self._may_ask(c)), key=rank, default=None)

    def _may_ask(self, collector: Collector) -> bool:
        if collector.url in self.report.refused or collector.url in self._out:
            return False
        if self.mode is Mode.TYPED:
            return self.backoff.asked_wait_s(collector.url) <= 0.0
        return self.backoff.wait_s(collector.url) <= 0.0

    def _nobody(self) -> SendOutcome:
        """Report that no collector can be asked, unless a failure of this upload is already reported."""
        if self.report.stopped is not None:
            return SendOutcome.NOBODY
        if not self.collectors:
            self._stopped("no_collector", None)
        elif any(self.backoff.asked_wait_s(c.url) > 0.0 for c in self.collectors):
            self._stopped("collector_busy", "Retry-After")
        elif len(self.report.refused) == len(self.collectors):
            self._stopped("collector_token", None)
        elif self.stop.is_set() or self.clock() + _LEAST_S > self._ends_at:
            self._stopped("interrupted", "time is up")
        else:
            self._stopped("collector_unreachable", "waiting before the next try")
        return SendOutcome.NOBODY

    def _breathe(self, collector: Collector) -> None:
        """Pause before a collector that has failed twice is asked again."""
        if self._tried.get(collector.url, 0) > 1:
            self._wait(BREATH_S)

    def _obey(self, collector: Collector) -> None:
        """Wait as the collector asked, if no other can be asked and the wait fits into this batch's time."""
        wait = self.backoff.asked_wait_s(collector.url)
        end = min(self._unanswered_since + TRY_WITHIN_S, self._ends_at)
        if wait > 0.0 and self._choose() is None and self.clock() + wait < end:
            self._wait(wait + 0.01)

    def _wait(self, seconds: float) -> None:
        (self.pause or self.stop.wait)(max(0.0, min(seconds, self._ends_at - self.clock())))

    # --- one request ----------------------------------------------------------------------------------------

    def _send(
        self, collector: Collector, batch: batches.Batch, rows: list[Row], seconds: float
    ) -> tuple[SendOutcome, str | None]:
        headers = batches.batch_headers(batch, collector.token)
        self.report.requests += 1
        try:
            if collector.url not in self.channels:
                self.channels[collector.url] = open_channel(collector)
            begun, sent_at, sent_boot = self.clock(), self.now(), self.since_boot()
            url = collector.endpoint(batches.BATCH_PATH)
            reply = self.send(self.channels[collector.url], url, batch.body, headers, seconds, self.stop)
            ended = self.clock()
        except TransportError as error:
            self.channels.pop(collector.url).close()
            if error.reason != "unreachable":
                self.report.bytes_sent += len(batch.body)
            if error.reason not in ("unreachable", "tls") and collector.time_unchecked:
                self.report.note_unchecked(collector.url)
            if error.reason == "stopped":
                return SendOutcome.NOBODY, None
            code = "collector_tls" if error.reason == "tls" else "collector_unreachable"
            return self._failed(collector, rows, code, str(error), error.why), None
        except OSError as error:  # a CA file that is missing or invalid
            return self._failed(
                collector, rows, "collector_tls", f"{collector.ca_file}: {error}", "ca_file_unusable"
            ), None
        if collector.time_unchecked:
            self.report.note_unchecked(collector.url)
        self.report.bytes_sent += len(batch.body) + sum(len(name) + len(value) + 4 for name, value in headers.items())
        self.report.bytes_received += reply.wire_bytes
        content_type = reply.headers.get("Content-Type")
        try:
            receipt = batches.read_receipt(reply.status, content_type, reply.body, batch)
        except batches.NotAReceiptError as error:
            problem = batches.read_problem(reply.status, content_type, reply.body)
            if problem is not None:
                return self._refusal(collector, problem, reply, rows)
            # a gateway error: the network path works and the collector behind the gateway does not
            gateway = reply.status in (500, 502, 503, 504)
            code = "collector_unreachable" if gateway else "collector_portal"
            return self._failed(collector, rows, code, str(error), "http_status" if gateway else None), None
        # local processing time beside the request, on a busy device, adds to the uncertainty
        span_s = reply.rtt_s + max(0.0, ended - begun - reply.took_s)
        self.report.learn_time(receipt.server_time, span_s, sent_at, sent_boot)
        return self._settle(collector, receipt, rows), None

    def _refusal(
        self, collector: Collector, problem: batches.ProblemBody, reply: Reply, rows: list[Row]
    ) -> tuple[SendOutcome, str | None]:
        text = problem.detail or problem.title
        if problem.status in (401, 403):
            self.backoff.refused(collector.url, collector.token)
            self.report.refused.append(collector.url)
            self._stopped("collector_token", text)
            return SendOutcome.TOKEN, None
        if problem.status in (400, 413, 422):
            return SendOutcome.LARGE if problem.status == 413 else SendOutcome.SPLIT, text
        if problem.status in (429, 503):
            self.backoff.asked_to_wait(collector.url, batches.retry_after_s(reply.headers))
            self._stopped("collector_busy", text)
            return SendOutcome.WAIT, None
        text = f"status {problem.status}: {problem.title}"
        return self._failed(collector, rows, "collector_unreachable", text, "http_status"), None

    def _settle(self, collector: Collector, receipt: batches.Receipt, rows: list[Row]) -> SendOutcome:
        if len(rows) == 1 and self._refused.is_test_record(rows[0], collector.url):
            rows = []  # already settled and counted
        found = sort_answers(receipt, rows)
        # records deferred by the collector must not block the records after them
        self.deferred.update(found.left)
        if found.left:
            self._deferring.add(collector.url)
        if rows and len(found.left) == len(rows):
            # a receipt that settles nothing; after several in a row the collector accepts nothing now
            self._fruitless += 1
            self._unanswered = 0
            self._tried.clear()
            if self._fruitless < TRIES:
                return SendOutcome.DONE
            self.backoff.failed(collector.url)
            self._stopped("collector_busy", "the collector keeps asking to send again")
            return SendOutcome.FAILED
        self._fruitless = 0
        self._keep(collector, Verdicts([row.id for row in found.taken], found.rejected))
        self._refused.took(collector.url, found.taken)
        self.report.accepted += len(found.accepted)
        self.report.duplicate += len(found.duplicate)
        self.report.rejected += len(found.rejected)
        self._answered(collector)
        return SendOutcome.DONE

    def _keep(self, collector: Collector, verdicts: Verdicts) -> None:
        """Store the statuses of a receipt."""
        try:
            self.buffer.settle(verdicts, collector.url)
        except StorageError as error:
            # otherwise the same records would be sent again soon, at a cost, although only this device failed
            self.backoff.failed(collector.url, SMALL_BATCH)
            raise UnnotedError(str(error)) from error

    def _failed(
        self, collector: Collector, rows: list[Row], code: str, detail: str, why: str | None = None
    ) -> SendOutcome:
        self.pace.failed(len(rows))
        self.backoff.failed(collector.url, self.pace.records)
        self._stopped(code, detail)
        self.report.why, self.report.whom = why, urlsplit(collector.url).hostname
        return SendOutcome.FAILED

    def _stopped(self, code: str, detail: str | None) -> None:
        self.report.stopped, self.report.detail = code, detail
        self.report.why = self.report.whom = None


def drain(
    buffer: Buffer,
    collectors: Sequence[Collector],
    backoff: Backoff,
    *,
    mode: Mode = Mode.TYPED,
    limit_s: float | None = None,
    give_way_s: float | None = None,
    progress: Callable[[Report], None] = ignored,
    stop: threading.Event | None = None,
) -> Report:
    """Upload the pending records. Never raises for network or collector errors; SendingError for the queue."""
    upload = Upload(buffer, collectors, backoff, mode, limit_s, give_way_s, progress, stop or threading.Event())
    with keeping():
        return upload.run()
