"""Engine `iperf3`: the real program against a server of its own, held to our limits of bytes and seconds.

It is asked for a number of bytes and interrupted when its time is up; what it had seen until then still counts. Its
own rate is taken where it came to its end, slow start and all, since that is what iperf3 means by it.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput.connection import FaultError
from sigprobe.measure.throughput.convergence import MIN_BYTES, Series, conclude
from sigprobe.measure.throughput.link_time import seconds
from sigprobe.net.limits import Context, Progress
from sigprobe.net.sockets import code_of, endpoint
from sigprobe.record.messages import N_, MessageError
from sigprobe.record.result import Failure, Outcome

Way = Literal["download", "upload"]
PROGRAM: Final = "iperf3"
PORT: Final = 5201
STREAMS: Final = 4
BLOCK: Final = 131_072
"""The program's own unit; each stream may send one or two beyond the number asked for."""

POLL_S: Final = 0.05
GRACE_S: Final = 2.0
"""After an interrupt: the time to write down what was seen."""

CONNECT_S: Final = 10.0
MAX_BPS: Final = 1e12
MAX_SECONDS: Final = 86_400.0
MAX_RTT_US: Final = 120e6
MAX_SEGMENTS: Final = 1e9
"""Beyond these a number is a counter that wrapped around, not a measurement."""
BESIDE_BYTES: Final = 2_000_000
"""How far two counts of one transfer may differ: what was under way, and a block or two of each stream."""

ROUNDING: Final = 0.01
"""How far a stated rate may differ from its own bytes and seconds."""

SLOW_START_S: Final = 1.0
"""The seconds that count begin behind it."""

MAX_STARTS: Final = 10_000
"""Limit of places in the output that are tried as the start of a report."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One direction: iperf3's document, whether it completed, and seconds on our clock."""

    document: dict[str, Any]
    whole: bool
    elapsed_s: float


def host_port(url: str) -> tuple[str, int]:
    """Return host and port of `host`, `host:port` or `iperf3://host:port`. Raises MessageError for anything else."""
    wrong = MessageError(N_("url must be host:port for engine: iperf3, for example url: iperf3.example:5201"))
    try:
        parts = urlsplit(url if "://" in url else f"iperf3://{url}")
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme != "iperf3" or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        raise wrong
    if parts.hostname.startswith("-"):
        raise wrong
    return parts.hostname, port or PORT


def measure(
    data: dict[str, Any],
    context: Context,
    *,
    url: str,
    direction: Literal["both", "download", "upload"],
    streams: int | None,
    max_bytes: int,
    max_s: float,
    which: Callable[[str], str | None] = shutil.which,
) -> Measured:
    """Measure and fill `data`, a dict that has every key; return the outcome."""
    host, port = host_port(url)
    data.update(server=endpoint(host, port), streams=streams or STREAMS)
    program = which(PROGRAM)
    if program is None:
        return Measured(Outcome.FAILED, data, Failure("program_missing", f"{PROGRAM} is not installed"))
    ways: tuple[Way, ...] = ("download", "upload") if direction == "both" else (direction,)
    left = max_bytes
    faults: dict[Way, FaultError] = {}
    for number, way in enumerate(ways):
        of_run = context.budget.left_bytes()
        cap = min(left, left if of_run is None else of_run) // (len(ways) - number)
        context.progress(Progress(way, None, "bps", number / len(ways)))
        command = [program, "-c", host, "-p", str(port), "-J", "-i", "0.1", "-P", str(data["streams"]), "-n"]
        command.append(str(max(MIN_BYTES, cap - 2 * BLOCK * data["streams"])))
        command += ["--connect-timeout", str(math.ceil(CONNECT_S * 1000)), *(["-R"] if way == "download" else [])]
        try:
            if cap < MIN_BYTES:
                raise FaultError("data_budget", "no data was left")
            left -= _fill(data, way, _run(command, context, max_s), context, cap)
        except FaultError as fault:
            faults[way] = fault
            data[f"{way}_failure"] = fault.code
            if fault.code == "interrupted":
                break
    reasons = [data[f"ended_{way}"] for way in ways if data[f"ended_{way}"] is not None]
    data["ended"] = "time_cap" if "time_cap" in reasons else next(iter(reasons), None)
    return _outcome(data, ways, faults)


def _run(command: list[str], context: Context, max_s: float) -> _Run:
    """Run the program until it ends, is interrupted, or has to be killed. Raises FaultError without a document."""
    begin = time.monotonic()
    interrupted_s: float | None = None
    with tempfile.TemporaryFile() as output:
        environment = {**os.environ, "LC_ALL": "C"}
        process = subprocess.Popen(  # noqa: S603 - our own command; the host has been checked not to be an option
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, env=environment
        )
        try:
            while process.poll() is None:
                now = time.monotonic() - begin
                if interrupted_s is None and (now >= max_s or context.stop.is_set() or context.deadline.expired()):
                    interrupted_s = now
                    process.send_signal(signal.SIGINT)
                if interrupted_s is not None and now - interrupted_s > GRACE_S:
                    break
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        elapsed_s = interrupted_s if interrupted_s is not None else time.monotonic() - begin
        output.seek(0)
        raw = output.read()
    if context.stop.is_set():
        raise FaultError("interrupted", "stopped")
    document = find_document(raw.decode("utf-8", "replace"))
    if document is None:
        raise FaultError("timeout" if interrupted_s is not None else "bad_response", "iperf3 gave no report")
    error = document.get("error")
    if error and not (interrupted_s is not None and _list(document, "intervals")):
        raise _fault(str(error))
    return _Run(document, interrupted_s is None, elapsed_s)


_START_KEYS: Final = frozenset({"version", "system_info", "timestamp", "connecting_to", "connected", "test_start"})
_END_KEYS: Final = frozenset({"streams", "sum", "sum_sent", "sum_received", "cpu_utilization_percent"})
_NOT_A_NUMBER: Final = re.compile(r"([:\[,]\s*)[-+]?(?:nan|inf(?:inity)?)\b(?:\(\w*\))?", re.I)
"""What C's printf writes for such a number, which JSON has no word for."""


def find_document(text: str) -> dict[str, Any] | None:
    """Return the report in a program's output, whatever else was printed around it; None without one.

    Libraries, wrappers and iperf3 itself print warnings before, behind and between the lines of its JSON, some of them
    as JSON. Of several reports the last counts.
    """
    text = _NOT_A_NUMBER.sub(r"\1null", text)
    rank, document = _best(text)
    if rank < _SURE:
        other_rank, other = _best("\n".join(line for line in text.splitlines() if _may_be_of_report(line)))
        if other_rank > rank:
            return other
    return document


_SURE: Final = 3


def _best(text: str) -> tuple[int, dict[str, Any] | None]:
    """Return the last of the objects that look most like a report, and their rank."""
    decoder = json.JSONDecoder(parse_constant=lambda _: None)
    best: tuple[int, dict[str, Any] | None] = (0, None)
    at = text.find("{")
    tries = 0
    while at >= 0 and tries < MAX_STARTS:
        tries += 1
        try:
            document, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            rank = _rank(document)
            if rank and rank >= best[0]:
                best = rank, document
        at = text.find("{", end)
    return best


def _rank(document: dict[str, Any]) -> int:
    """Return how much an object looks like a report: 0 not at all, `_SURE` beyond doubt."""
    start, end, intervals = (document.get(key) for key in ("start", "end", "intervals"))
    failed = isinstance(document.get("error"), str)
    if not isinstance(start, dict) or not (isinstance(end, dict) or failed):
        return int(failed or any(isinstance(part, dict) for part in (start, end)) or isinstance(intervals, list))
    known = start.keys() & _START_KEYS or _part(document, "end").keys() & _END_KEYS
    return _SURE if known and (isinstance(intervals, list) or failed or _part(document, "end")) else 2


def _may_be_of_report(line: str) -> bool:
    """Return whether a line may be one of an indented report, and is no warning between its lines."""
    line = line.strip()
    if _LINE.match(line) is None:
        return False
    try:
        return not json.loads(line)  # a whole object on a line of its own is a message
    except (ValueError, RecursionError):
        return True


_LINE: Final = re.compile(r'"[^"]*":|[{}\[\]]+,?|[{}\[\]],? ?[{}\[\]]|(?:"[^"]*"|-?\d[\d.eE+-]*|true|false|null),?$')


def _number(value: Any, most: float) -> float | None:
    """Return a plausible counter; None for text, negative ones, and what wrapped around (1.8e19)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= most else None


def _count(value: Any, most: float) -> int | None:
    number = _number(value, most)
    return None if number is None else int(number)


def _part(value: Any, key: str) -> dict[str, Any]:
    """Return a part of the report; empty where it is missing or no object."""
    part = value.get(key) if isinstance(value, dict) else None
    return part if isinstance(part, dict) else {}


def _list(value: Any, key: str) -> list[Any]:
    part = value.get(key) if isinstance(value, dict) else None
    return part if isinstance(part, list) else []


def _fault(text: str) -> FaultError:
    """Return the failure code for iperf3's error text."""
    known = {"busy": "server_busy", "name or service": "name_not_found", "temporary failure in name": "name_not_found"}
    for words, code in known.items():
        if words in text.lower():
            return FaultError(code, text)
    if "timed out" in text or "interrupt" in text:
        return FaultError("timeout", text)
    for number in range(1, 134):
        if text.endswith(os.strerror(number)):
            return FaultError(code_of(OSError(number, "")) or "reset", text)
    return FaultError("bad_response", text)


def _fill(data: dict[str, Any], way: Way, run: _Run, context: Context, cap: int) -> int:
    """Store one direction's numbers; return the bytes used. Raises FaultError if they give no rate.

    `cap` is the limit of bytes that the program was given.
    """
    most_bytes = 2 * cap + BESIDE_BYTES
    end = _part(run.document, "end")
    samples, total = [(0.0, 0)], 0
    for interval in _list(run.document, "intervals"):
        part = _part(interval, "sum")
        moved, at_s = _count(part.get("bytes"), most_bytes), _number(part.get("end"), MAX_SECONDS)
        if moved is None or at_s is None or at_s < samples[-1][0]:
            continue
        total += moved
        samples.append((at_s, total))
    sent, received = _part(end, "sum_sent"), _part(end, "sum_received")
    counts = _credible([total, _count(sent.get("bytes"), most_bytes), _count(received.get("bytes"), most_bytes)])
    if counts[0] is None:
        samples = [(0.0, 0)]
    used = max(counts[0] or 0, counts[2] or 0, (counts[1] or 0) if way == "upload" else 0)
    context.budget.spend(used)
    data["bytes_received" if way == "download" else "bytes_sent"] = used
    data[f"{way}_s"] = round(run.elapsed_s, 3)
    data[f"ended_{way}"] = "data_cap" if run.whole else "time_cap"
    rate: float | None = None
    if run.whole:
        rate = _rate_of_whole(counts[2] or used, received, sent, samples[-1][0])
    else:
        # the peer's count comes only at the end: here a socket's buffer filled at the start is left out as slow start
        speed = conclude(Series(samples), 0.1)
        rate = None if speed is None else speed.bps
        if speed is not None and speed.ci_bps is not None:
            data[f"{way}_ci_bps"] = [round(edge) for edge in speed.ci_bps]
            data[f"{way}_interval_kind"] = speed.kind
    if rate is not None:
        data[f"{way}_window"] = seconds(Series(samples), SLOW_START_S, samples[-1][0])
    if way == "upload":
        data["upload_counted_by"] = "server" if run.whole else "client"
        data["retransmits"] = _count(sent.get("retransmits"), MAX_SEGMENTS)
        _round_trips(data, end)
    if rate is None or used < MIN_BYTES:
        code = "too_short" if run.whole or used >= MIN_BYTES else "too_slow"
        raise FaultError(code, f"{used} bytes in {run.elapsed_s:.3f} s")
    data[f"{way}_bps"] = round(rate)
    return used


def _round_trips(data: dict[str, Any], end: dict[str, Any]) -> None:
    senders = [_part(stream, "sender") for stream in _list(end, "streams")]
    least = [us for one in senders if (us := _number(one.get("min_rtt"), MAX_RTT_US))]
    mean = [us for one in senders if (us := _number(one.get("mean_rtt"), MAX_RTT_US))]
    data["idle_rtt_ms"] = min(least) / 1000 if least else None
    data["loaded_rtt_ms"] = round(median(mean) / 1000, 3) if mean else None


def _credible(counts: list[int | None]) -> list[int | None]:
    """Return counts of one transfer, with None for one that is far beyond all others."""
    known = sorted(count for count in counts if count)
    most = 2 * known[-2] + BESIDE_BYTES if len(known) > 1 else None
    return [count if count is not None and (most is None or count <= most) else None for count in counts]


def _rate_of_whole(moved: int, received: dict[str, Any], sent: dict[str, Any], intervals_s: float) -> float | None:
    """Return the rate of a whole transfer: as stated where it agrees with its bytes and seconds, else computed."""
    stated = _number(received.get("bits_per_second"), MAX_BPS)
    own = _rate(moved, received.get("seconds"))
    if stated and own and abs(stated - own) <= ROUNDING * own:
        return stated
    # the peer of a test of an instant reports bytes and no time: the sender's seconds, or those of the intervals
    return own or _rate(moved, sent.get("seconds")) or _rate(moved, intervals_s)


def _rate(moved: int, seconds: Any) -> float | None:
    """Return bits per second; None where the seconds, or the rate, are not plausible."""
    duration_s = _number(seconds, MAX_SECONDS)
    rate = moved * 8 / duration_s if moved and duration_s else None
    return rate if rate is not None and rate <= MAX_BPS else None


def _outcome(data: dict[str, Any], ways: tuple[Way, ...], faults: dict[Way, FaultError]) -> Measured:
    if not faults:
        return Measured(Outcome.OK, data)
    texts = "; ".join(f"{way}: {fault.code}, {fault.detail}" for way, fault in faults.items())
    first = next(iter(faults.values()))
    if first.code == "interrupted" and not any(data[f"{way}_bps"] for way in ways):
        return Measured(Outcome.SKIPPED, data, Failure("interrupted", texts))
    if len(faults) < len(ways) and any(data[f"{way}_bps"] for way in ways):
        return Measured(Outcome.DEGRADED, data, Failure("one_direction", texts))
    return Measured(Outcome.FAILED, data, Failure(first.code, texts))
