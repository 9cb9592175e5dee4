"""One run: plan, tag, measure, put, decide, put.

Checks that measure latency run in parallel; those that fill the link run alone, after them. Every result is stored
before its callback is called. A run always ends with its `run` record, whatever happened during it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from sigprobe import __version__, measure
from sigprobe.buffer import Buffer, StorageError
from sigprobe.measure.kind import CommonOptions, Measured
from sigprobe.net import routes
from sigprobe.net.limits import Context, DataBudget, Deadline, Progress
from sigprobe.net.processor import Mark, ProcessorWatch
from sigprobe.record.profile import Profile
from sigprobe.record.result import (
    RUN_KIND,
    Failure,
    Location,
    Outcome,
    Result,
    Software,
    Tags,
    Target,
    format_time,
    new_id,
)
from sigprobe.runs.data_budget import on_the_wire, payload_of
from sigprobe.tag import read_tags, with_location
from sigprobe.tag.modem import Choice, ModemReader
from sigprobe.verdict import Verdict, decide

SOFTWARE: Final = Software("sigprobe", __version__)
RUN_KIND_VERSION: Final = 1

_GRACE_S: Final = 1.0
OTHERS_SHARE: Final = 0.25
OTHERS_BYTES: Final = 300_000
"""So much more than the checks have counted, as a share and in bytes, is other programs' data: handshakes and headers
that are not counted take less."""

_log = logging.getLogger(__name__)


class Whereabouts(Protocol):
    """Source of the position, for example a reader of `sigprobe.tag`."""

    def location(self, check_started: float) -> Location | None:
        """Return the newest position; its age is relative to a start on the monotonic clock."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for a first position. Returns False at once if none can arrive."""

    def may_come(self) -> bool:
        """Return True while a position may still arrive."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Plan of one run, in plain values. `max_bytes` is the limit on the interface; None means no limit.

    `note` holds further keys for the run record's data.
    """

    targets: Sequence[CommonOptions]
    tps_id: str | None
    site: str | None
    election_id: str | None
    operator: str | None
    profile: Profile | None
    location_timeout_s: float = 30.0
    max_bytes: int | None = None
    max_time_s: float | None = None
    tokens: Mapping[str, str] = field(default_factory=dict)
    ca_files: Mapping[str, str] = field(default_factory=dict)
    note: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Saved:
    """Record of this run and whether it was stored. If not, `line` is None and `error` is the reason."""

    result: Result
    line: bytes | None
    error: StorageError | None = None


def _nothing(*_: Any) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Hooks:
    """Callbacks of a run. `stored` is called after the commit, in the caller's thread."""

    started: Callable[[CommonOptions], None] = _nothing
    progress: Callable[[CommonOptions, Progress], None] = _nothing
    stored: Callable[[Saved], None] = _nothing
    waiting_for_place: Callable[[float], None] = _nothing


@dataclass(frozen=True, slots=True)
class RunReport:
    """Finished run. `results` are in the order of the plan; `run` is the record that ends it."""

    run_id: str
    results: tuple[Saved, ...]
    run: Saved
    verdict: Verdict
    data_used_bytes: int
    data_counted_by: str
    interface_bytes: int | None
    """Bytes that crossed the interface meanwhile, those of other programs included."""
    interface: str | None
    interrupted: bool
    place_may_come: bool
    """Whether a position was still to be hoped for when the run ended."""
    modem: Choice | None = None
    """Only where there are several."""

    @property
    def saved(self) -> int:
        """Return the stored records, the run record included."""
        return sum(1 for s in (*self.results, self.run) if s.line is not None)

    @property
    def storage_error(self) -> StorageError | None:
        """Return why a record was not stored; None when all were."""
        return next((s.error for s in (*self.results, self.run) if s.error is not None), None)


@dataclass(slots=True)
class _Start:
    """Start of a check by both clocks, and the state of the link then."""

    at: str
    mono: float
    tags: Tags
    mark: Mark


class Session:
    """One run. Make it, call `run` once.

    A set `stop` ends it as Ctrl-C does. `clock_offset` returns true time minus the wall clock and its uncertainty, in
    ms.
    """

    def __init__(
        self,
        plan: RunPlan,
        buffer: Buffer,
        whereabouts: Whereabouts,
        hooks: Hooks | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        stop: threading.Event | None = None,
        clock_offset: Callable[[], tuple[float, float] | None] = lambda: None,
        modem: ModemReader | None = None,
    ) -> None:
        self._plan = plan
        self._buffer = buffer
        self._whereabouts = whereabouts
        self._hooks = hooks or Hooks()
        self._clock = clock
        self._now = now
        self._clock_offset = clock_offset
        self._modem = modem
        self._run_id = new_id(now())
        self._stop = stop or threading.Event()
        self._budget = DataBudget(payload_of(plan.max_bytes))
        self._ends_at = None if plan.max_time_s is None else clock() + plan.max_time_s
        self._saved: dict[str, Saved] = {}
        self._interrupted = False
        self._processor = ProcessorWatch(clock)

    def run(self) -> RunReport:
        """Run all checks, store all results, end with the run record. After Ctrl-C the finished results are kept."""
        with self._processor:
            return self._run()

    def _run(self) -> RunReport:
        begun = self._begin()
        meter = _Meter(begun.tags.network.interface)
        alone = [t for t in self._plan.targets if measure.KINDS[t.kind].exclusive]
        beside = [t for t in self._plan.targets if not measure.KINDS[t.kind].exclusive]
        # the path check uses the results of the others, and does not disturb them afterwards
        last = [t for t in beside if not measure.KINDS[t.kind].configurable and self._time_for_both(beside)]
        try:
            self._side_by_side([t for t in beside if t not in last])
            self._side_by_side([measure.path.informed(t, [s.result for s in self._saved.values()]) for t in last])
            for options in alone:
                if self._stop.is_set():
                    break
                self._alone(options)
            self._interrupted = self._stop.is_set()
        except KeyboardInterrupt:
            self._interrupted = True
            self._stop.set()
        return self._end(begun, meter.read(self._budget.used_bytes), meter.interface)

    # --- checks ---------------------------------------------------------------------------------------------

    def _side_by_side(self, targets: Sequence[CommonOptions]) -> None:
        done: queue.SimpleQueue[tuple[CommonOptions, _Start, float, Measured]] = queue.SimpleQueue()
        waiting = 0
        for options in targets:
            reason = self._left_out(options)
            if reason is not None:
                self._keep(options, self._begin(), 0.0, _skipped(reason))
                continue
            self._hooks.started(options)
            threading.Thread(target=self._work, args=(options, done), daemon=True, name=options.name).start()
            waiting += 1
        try:
            while waiting:
                options, start, seconds, measured = done.get()
                # stopped from outside: a check that ended early because of it is not a finished step
                if not (self._stop.is_set() and measured.outcome is Outcome.SKIPPED):
                    self._keep(options, start, seconds, measured)
                waiting -= 1
        except KeyboardInterrupt:
            # a check that ends within a moment of the stop is still a finished step
            self._stop.set()
            until = self._clock() + _GRACE_S
            while waiting and self._clock() < until:
                with suppress(queue.Empty):
                    options, start, seconds, measured = done.get(timeout=0.05)
                    if measured.outcome is not Outcome.SKIPPED:
                        self._keep(options, start, seconds, measured)
                    waiting -= 1
            raise

    def _time_for_both(self, beside: Sequence[CommonOptions]) -> bool:
        """Return whether the parallel checks leave time for one more after them, at their maximum duration."""
        # the path check needs only its first part; its second look uses the remaining time
        longest = sorted(t.timeout_s() if measure.KINDS[t.kind].configurable else t.estimate().seconds for t in beside)[
            -2:
        ]
        return self._ends_at is None or self._ends_at - self._clock() > sum(longest)

    def _work(self, options: CommonOptions, done: queue.SimpleQueue[Any]) -> None:
        start = self._begin()
        measured = self._measure(options)
        done.put((options, start, self._clock() - start.mono, measured))

    def _alone(self, options: CommonOptions) -> None:
        import filelock

        start = self._begin()
        reason = self._left_out(options)
        if reason is None:
            turn = filelock.FileLock(self._turn_path, mode=0o660)
            deadline = self._deadline(options)
            try:
                # tests on one queue run one at a time: two that fill one link would both be wrong
                with turn.acquire(timeout=deadline.remaining(), poll_interval=0.1, cancel_check=self._stop.is_set):
                    start = self._begin()
                    self._hooks.started(options)
                    measured = self._measure(options)
                    self._keep(options, start, self._clock() - start.mono, measured)
                    return
            except filelock.Timeout:
                reason = "interrupted" if self._stop.is_set() else "busy"
            except OSError as error:
                _log.warning("no turn at %s: %s", self._turn_path, error)
                measured = self._measure(options)
                self._keep(options, start, self._clock() - start.mono, measured)
                return
        self._keep(options, start, self._clock() - start.mono, _skipped(reason))

    @property
    def _turn_path(self) -> Path:
        path = self._buffer.configured_path
        return path.with_name(path.name + ".turn")

    def _left_out(self, options: CommonOptions) -> str | None:
        """Return why a check must not start; None when it may."""
        if self._ends_at is not None and self._clock() >= self._ends_at:
            return "time_up"
        if self._budget.exhausted():
            return "data_budget"
        left = self._budget.left_bytes()
        if left is not None and options.estimate().bytes > left and not measure.KINDS[options.kind].exclusive:
            # the exclusive kinds stop by themselves at the cap; small checks run completely or not at all
            return "data_budget"
        return None

    def _deadline(self, options: CommonOptions) -> Deadline:
        deadline = Deadline.after(options.timeout_s(), self._clock)
        return deadline if self._ends_at is None else Deadline(min(deadline.at_s, self._ends_at), self._clock)

    def _measure(self, options: CommonOptions) -> Measured:
        context = Context(
            deadline=self._deadline(options),
            budget=self._budget,
            stop=self._stop,
            progress=lambda progress: self._hooks.progress(options, progress),
            tokens=self._plan.tokens,
            ca_files=self._plan.ca_files,
            processor=self._processor,
        )
        try:
            return measure.run(options, context)
        except Exception as error:  # noqa: BLE001
            # an internal error must not lose the other results; it is stored as a row like any other
            _log.exception("check %s could not be run", options.name)
            return Measured(Outcome.FAILED, {}, Failure("internal", f"{type(error).__name__}: {error}"[:300]))

    # --- records --------------------------------------------------------------------------------------------

    def _begin(self) -> _Start:
        plan = self._plan
        tags = read_tags(
            tps_id=plan.tps_id,
            election_id=plan.election_id,
            site=plan.site,
            operator=plan.operator,
            modem=self._modem,
        )
        offset = self._clock_offset()
        if offset is not None:
            tags = replace(tags, clock=replace(tags.clock, offset_est_ms=offset[0], offset_err_ms=offset[1]))
        return _Start(self._wall(), self._clock(), tags, self._processor.mark())

    def _keep(self, options: CommonOptions, start: _Start, seconds: float, measured: Measured) -> None:
        tags = replace(start.tags, processor=self._processor.since(start.mark) if seconds else None)
        result = Result(
            id=new_id(self._now()),
            run_id=self._run_id,
            probe_id=self._buffer.probe_id,
            kind=options.kind,
            kind_version=measure.KINDS[options.kind].version,
            target=Target(options.name, options.configured_address(), measured.address_used),
            started_at=start.at,
            duration_ms=round(seconds * 1000, 3),
            outcome=measured.outcome,
            failure=measured.failure,
            data=measured.data,
            tags=with_location(tags, self._whereabouts.location(start.mono)),
            software=SOFTWARE,
        )
        self._saved[options.name] = saved = self._put(result)
        self._hooks.stored(saved)

    def _put(self, result: Result) -> Saved:
        try:
            stored = self._buffer.put(result)
            return Saved(stored.result, stored.line)
        except StorageError as error:
            _log.error("result %s is not saved: %s", result.id, error)
            return Saved(result, None, error)

    def _end(self, begun: _Start, used: _Used, interface: str | None) -> RunReport:
        plan = self._plan
        results = tuple(self._saved[t.name] for t in plan.targets if t.name in self._saved)
        verdict = decide([s.result for s in results], plan.profile)
        self._wait_for_place()
        profile = plan.profile
        data = {
            "verdict": verdict.to_dict(),
            "profile": None if profile is None else {"name": profile.name, "version": str(profile.version)},
            "data_used_bytes": used.bytes,
            "data_counted_by": used.counted_by,
            "data_own_bytes": used.own_bytes,
            "data_interface_bytes": used.interface_bytes,
            "plan": [{"name": t.name, "kind": t.kind} for t in plan.targets],
            **plan.note,
        }
        record = Result(
            id=new_id(self._now()),
            run_id=self._run_id,
            probe_id=self._buffer.probe_id,
            kind=RUN_KIND,
            kind_version=RUN_KIND_VERSION,
            target=Target(RUN_KIND),
            started_at=begun.at,
            duration_ms=round((self._clock() - begun.mono) * 1000, 3),
            outcome=Outcome.DEGRADED if self._interrupted else Outcome.OK,
            failure=Failure("interrupted") if self._interrupted else None,
            data=data,
            tags=with_location(begun.tags, self._whereabouts.location(begun.mono)),
            software=SOFTWARE,
        )
        modem = None if self._modem is None else self._modem.choice(begun.tags.network)
        may_come = self._whereabouts.may_come()
        saved, interrupted = self._put(record), self._interrupted
        return RunReport(
            self._run_id,
            results,
            saved,
            verdict,
            used.bytes,
            used.counted_by,
            used.interface_bytes,
            interface,
            interrupted,
            may_come,
            modem,
        )

    def _wait_for_place(self) -> None:
        """Wait for a GPS position before the record that closes the run. No other step waits for it."""
        timeout = self._plan.location_timeout_s
        if self._ends_at is not None:
            timeout = min(timeout, max(0.0, self._ends_at - self._clock()))
        there = self._whereabouts.location(self._clock()) is not None
        if self._interrupted or there or timeout <= 0.0 or not self._whereabouts.may_come():
            return
        with suppress(KeyboardInterrupt):  # the results are stored; Ctrl-C here only ends the waiting
            self._hooks.waiting_for_place(timeout)
            until = self._clock() + timeout
            while not self._stop.is_set() and self._clock() < until and self._whereabouts.may_come():
                self._whereabouts.wait(min(_GRACE_S, until - self._clock()))

    def _wall(self) -> str:
        return format_time(datetime.fromtimestamp(max(0.0, self._now()), UTC))


def _skipped(code: str) -> Measured:
    return Measured(Outcome.SKIPPED, {}, Failure(code))


@dataclass(frozen=True, slots=True)
class _Used:
    """Bytes of a run, headers included: what counts as used, by the checks' own count, and all on the interface."""

    bytes: int
    counted_by: str
    own_bytes: int
    interface_bytes: int | None


class _Meter:
    """Bytes of a run on its interface, by the interface's own counters if available."""

    def __init__(self, interface: str | None) -> None:
        self.interface = interface
        self._before = None if interface is None else routes.counters(interface)

    def read(self, payload: int) -> _Used:
        """Return the bytes used so far, counted by `interface` or by `payload`.

        The interface's counters are exact, but they have other programs' data, too: where they are far above what the
        checks have counted, that count is what was used.
        """
        own = on_the_wire(payload)
        after = routes.counters(self.interface) if self.interface is not None and self._before is not None else None
        if after is None or self._before is None:
            return _Used(own, "payload", own, None)
        crossed = (after.rx_bytes - self._before.rx_bytes) + (after.tx_bytes - self._before.tx_bytes)
        # a counter that decreased (the interface was recreated), or loopback targets that never use it
        if crossed < payload:
            return _Used(own, "payload", own, max(0, crossed))
        if crossed > own + own * OTHERS_SHARE + OTHERS_BYTES:
            return _Used(own, "payload", own, crossed)
        return _Used(crossed, "interface", own, crossed)
