"""Engine `speedtest`: the speedtest-cli package against its vendor's servers, with its known faults caught.

The package shows a timeout as 0.00 and a failed ping as 3,600 s, counts an upload when it enters the socket's
buffer, and knows neither a deadline nor a limit in bytes. It runs in a worker that is told to stop and left behind if
it does not, its reads and writes go through a meter that counts and caps them, and its numbers are believed only
where they can be true.
"""

from __future__ import annotations

import socket
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import BadStatusLine
from typing import Any, Final, Literal
from urllib.error import HTTPError, URLError

from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput.connection import FaultError, as_fault
from sigprobe.measure.throughput.convergence import MIN_BYTES
from sigprobe.net.http1 import ProtocolError
from sigprobe.net.http_response import Response
from sigprobe.net.limits import Context, DataBudget, Progress
from sigprobe.record.result import Failure, Outcome

Way = Literal["download", "upload"]
POLL_S: Final = 0.05
LEAVE_S: Final = 0.2
SOCKET_TIMEOUT_S: Final = 10
ABSURD_PING_MS: Final = 100_000.0
"""One failed try of the three already adds 600,000 ms to the package's mean; no real round trip comes near this."""

# bytes of the vendor's random<N>x<N>.jpg files, roughly
_FILES: Final = {
    350: 245_000,
    500: 505_000,
    750: 1_118_000,
    1000: 1_986_000,
    1500: 4_468_000,
    2000: 7_907_000,
    2500: 12_407_000,
    3000: 17_816_000,
    3500: 24_262_000,
    4000: 31_625_000,
}


class _StopEvent(threading.Event):
    """The package asks `isSet`, which Python has deprecated; this one answers without the warning."""

    def isSet(self) -> bool:  # noqa: N802 - the package's word
        return self.is_set()


class _Meter:
    """Replace the package's opener: count the bytes it reads and writes, and stop at the cap."""

    def __init__(self, opener: Any, budget: DataBudget, end_upload: type[Exception]) -> None:
        self._opener = opener
        self._budget = budget
        self._end_upload = end_upload
        self._lock = threading.Lock()
        self.moved = 0
        self.cap = 0
        self.capped = False
        self.faults: list[OSError] = []

    def begin(self, cap: int) -> None:
        """Start counting a direction from zero."""
        self.moved, self.cap, self.capped = 0, cap, False
        self.faults.clear()

    def full(self) -> bool:
        """Return True once the cap or the budget is reached."""
        self.capped = self.capped or self.moved >= self.cap or self._budget.exhausted()
        return self.capped

    def open(self, request: Any) -> Any:
        """Open a request as the package's opener does, with its data and its answer metered."""
        if hasattr(request.data, "read"):
            read = request.data.read

            def metered(size: int = 10_240) -> bytes:
                if self.full():
                    raise self._end_upload
                piece: bytes = read(size)
                self._count(len(piece))
                return piece

            request.data.read = metered
        try:
            answer = self._opener.open(request)
        except OSError as error:
            self.faults.append(error)
            if isinstance(error, HTTPError):
                error.close()
            raise
        return answer if request.data is not None else _MeteredAnswer(answer, self)

    def _count(self, size: int) -> None:
        with self._lock:
            self.moved += size
        self._budget.spend(size)

    def read(self, answer: Any, size: int) -> bytes:
        """Read a piece of an answer; nothing more once the cap is reached."""
        if self.full():
            return b""
        try:
            piece: bytes = answer.read(size)
        except OSError as error:
            self.faults.append(error)
            answer.close()  # the package would leave it open
            raise
        self._count(len(piece))
        return piece


class _Answer(Response):
    """An answer read by our own parser, with its errors in the package's terms."""

    def begin(self) -> None:
        """Read the head. Raises BadStatusLine."""
        try:
            super().begin()
        except ProtocolError as error:
            raise BadStatusLine(str(error)) from error


class _MeteredAnswer:
    def __init__(self, answer: Any, meter: _Meter) -> None:
        self._answer = answer
        self._meter = meter

    def read(self, size: int) -> bytes:
        return self._meter.read(self._answer, size)

    def close(self) -> None:
        self._answer.close()


@dataclass(slots=True)
class _Part:
    """One direction: the package's own number, payload bytes, seconds, whether the cap ended it, what failed.

    `allowed_s` is how long it might take.
    """

    bps: float
    bytes: int
    seconds: float
    capped: bool
    fault: FaultError | None
    allowed_s: float = 0.0


@dataclass(slots=True)
class _State:
    """The worker's results so far. Only the worker writes; the waiting thread reads."""

    phase: Way | None = None
    began_s: float = 0.0
    meter: _Meter | None = None
    server: str | None = None
    ping_ms: float | None = None
    threads: int | None = None
    parts: dict[Way, _Part] = field(default_factory=dict)
    fault: FaultError | None = None


def measure(
    data: dict[str, Any],
    context: Context,
    *,
    direction: Literal["both", "download", "upload"],
    streams: int | None,
    max_bytes: int,
    max_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Measured:
    """Fill `data` as engine `http` does, as far as the package tells; `upload_counted_by` is `client`."""
    ways: tuple[Way, ...] = ("download", "upload") if direction == "both" else (direction,)
    stop = _StopEvent()
    state = _State()

    def work() -> None:
        try:
            _work(
                state,
                context,
                stop,
                ways=ways,
                streams=streams,
                max_bytes=max_bytes,
                max_s=max_s,
                clock=clock,
            )
        except FaultError as fault:
            state.fault = fault
        except Exception as error:  # noqa: BLE001 - the package raises whatever its parsers do
            state.fault = _fault(error)

    context.progress(Progress("idle", None, None, 0.0))
    # the package leaves deprecated calls and open sockets behind; neither is the caller's fault
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="speedtest")
        warnings.simplefilter("ignore", ResourceWarning)
        worker = threading.Thread(target=work, name="speedtest", daemon=True)
        worker.start()
        while worker.is_alive() and not context.stop.is_set() and not context.deadline.expired():
            worker.join(POLL_S)
            _tell(state, context, ways, max_s, clock)
        if worker.is_alive():
            # it looks at the event between reads; a read that hangs keeps it, and it ends with the process
            stop.set()
            worker.join(LEAVE_S)
        late = worker.is_alive()
    return _judge(data, ways, state, interrupted=context.stop.is_set(), late=late, clock=clock)


def _work(
    state: _State,
    context: Context,
    stop: _StopEvent,
    *,
    ways: tuple[Way, ...],
    streams: int | None,
    max_bytes: int,
    max_s: float,
    clock: Callable[[], float],
) -> None:
    import speedtest

    for connection in (speedtest.SpeedtestHTTPConnection, speedtest.SpeedtestHTTPSConnection):
        connection.response_class = _Answer
    test = speedtest.Speedtest(timeout=SOCKET_TIMEOUT_S, secure=True, shutdown_event=stop)
    test.get_servers()
    if stop.is_set():
        return
    best = test.get_best_server()
    state.server = str(best.get("host") or best.get("url") or "") or None
    latency = best.get("latency")
    if isinstance(latency, int | float) and 0 < latency < ABSURD_PING_MS:
        state.ping_ms = float(latency)
    meter = state.meter = _Meter(test._opener, context.budget, speedtest.SpeedtestUploadTimeout)
    test._opener = meter
    used = 0
    for number, way in enumerate(ways):
        if stop.is_set():
            return
        cap = (max_bytes - used) // (len(ways) - number)
        _fit(test.config, way, cap, max_s)
        meter.begin(cap)
        state.phase, state.began_s = way, clock()
        threads = streams or test.config["threads"][way]
        state.threads = max(state.threads or 0, threads)
        bps = test.download(threads=threads) if way == "download" else test.upload(threads=threads)
        seconds = clock() - state.began_s
        # the package swallows every error of a single request: when nothing came, the first one is the reason
        fault = _fault(meter.faults[0]) if meter.faults and meter.moved < MIN_BYTES else None
        state.parts[way] = _Part(float(bps), meter.moved, seconds, meter.capped, fault, max_s)
        used += meter.moved
    state.phase = None


def _fit(config: dict[str, Any], way: Way, cap: int, max_s: float) -> None:
    """Request about the cap at most: the meter cuts the rest, but bytes in flight are lost then."""
    config["length"][way] = max_s
    if way == "download":
        fitting = [size for size in config["sizes"]["download"] if _FILES.get(size, cap) * 4 <= cap]
        config["sizes"]["download"] = fitting or [min(config["sizes"]["download"])]
        config["counts"]["download"] = 4
    else:
        fitting = [size for size in config["sizes"]["upload"] if size * 4 <= cap]
        config["sizes"]["upload"] = fitting or [min(config["sizes"]["upload"])]
        config["upload_max"] = config["counts"]["upload"] * len(config["sizes"]["upload"])


def _fault(error: Exception) -> FaultError:
    """Return the failure code for an exception of the package."""
    cause = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    if isinstance(cause, HTTPError):
        # the vendor answers 403 to addresses it has seen too often, and 429
        busy = cause.code in (403, 429, 503)
        found = FaultError("server_busy" if busy else "bad_response", f"HTTP {cause.code}")
        cause.close()
        return found
    if isinstance(cause, URLError) and isinstance(cause.reason, OSError):
        cause = cause.reason
    if isinstance(cause, socket.gaierror):
        return FaultError("name_not_found", str(cause))
    if isinstance(cause, OSError):
        return as_fault(cause)
    name = type(error).__name__
    missing = name in ("NoMatchedServers", "SpeedtestBestServerFailure", "ServersRetrievalError")
    return FaultError("no_endpoint" if missing else "bad_response", f"{name}: {error}")


def _tell(state: _State, context: Context, ways: tuple[Way, ...], max_s: float, clock: Callable[[], float]) -> None:
    phase, meter = state.phase, state.meter
    if phase is None or meter is None or phase not in ways:
        return
    seconds = max(clock() - state.began_s, 1e-3)
    done = min(1.0, max(seconds / max_s, meter.moved / max(1, meter.cap)))
    fraction = (ways.index(phase) + done) / len(ways)
    context.progress(Progress(phase, meter.moved * 8 / seconds if meter.moved else None, "bps", fraction))


def _judge(
    data: dict[str, Any],
    ways: tuple[Way, ...],
    state: _State,
    *,
    interrupted: bool,
    late: bool,
    clock: Callable[[], float],
) -> Measured:
    data.update(server=state.server, idle_rtt_ms=state.ping_ms, streams=state.threads)
    if late and state.phase is not None and state.meter is not None and state.phase not in state.parts:
        cut = FaultError("interrupted" if interrupted else "timeout", "stopped")
        state.parts[state.phase] = _Part(0.0, state.meter.moved, clock() - state.began_s, False, cut)
    faults: dict[Way, FaultError] = {}
    for way in ways:
        fault = _fill(data, way, state, interrupted=interrupted)
        if fault is not None:
            faults[way] = fault
            data[f"{way}_failure"] = fault.code
    reasons = [data[f"ended_{way}"] for way in ways if data[f"ended_{way}"] is not None]
    data["ended"] = "time_cap" if "time_cap" in reasons else (reasons[0] if reasons else None)
    if not faults:
        return Measured(Outcome.OK, data, address_used=state.server)
    detail = "; ".join(f"{way}: {fault.code}, {fault.detail}" for way, fault in faults.items())
    if len(faults) < len(ways):
        return Measured(Outcome.DEGRADED, data, Failure("one_direction", detail), state.server)
    first = next(iter(faults.values()))
    outcome = Outcome.SKIPPED if first.code == "interrupted" else Outcome.FAILED
    return Measured(outcome, data, Failure(first.code, detail), state.server)


def _fill(data: dict[str, Any], way: Way, state: _State, *, interrupted: bool) -> FaultError | None:
    """Store one direction; return its failure, or None if it has a speed."""
    part = state.parts.get(way)
    if part is None:
        if interrupted:
            return FaultError("interrupted", "stopped")
        return state.fault or FaultError("timeout", "not reached in time")
    data["bytes_received" if way == "download" else "bytes_sent"] = part.bytes
    data[f"{way}_s"] = round(part.seconds, 3)
    if part.fault is not None:
        return part.fault
    if interrupted:
        return FaultError("interrupted", "stopped")
    data[f"ended_{way}"] = "data_cap" if part.capped else "time_cap"
    if way == "upload":
        data["upload_counted_by"] = "client"
    bps = part.bps
    if bps <= 0 and part.seconds > 0:
        bps = part.bytes * 8 / part.seconds  # the package's clock saw no time pass
    if part.bytes < MIN_BYTES or bps <= 0:
        slow = not part.capped and part.seconds >= part.allowed_s / 2
        code = "data_budget" if part.capped else "too_slow" if slow else "too_short"
        return FaultError(code, f"{part.bytes} bytes in {part.seconds:.3f} s")
    data[f"{way}_bps"] = round(bps)
    return None
