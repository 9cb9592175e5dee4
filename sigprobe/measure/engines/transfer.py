"""One direction of an HTTP throughput test: streams that come and go, samples, and the moment to stop."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from sigprobe.measure.engines import tcp_info
from sigprobe.measure.engines.connection import READ, WRITE, Connection, FaultError, Head, Life, Loop
from sigprobe.measure.engines.converge import Judge, Series, Speed, conclude
from sigprobe.measure.kind import Context, Progress
from sigprobe.measure.sockets import Address

MIB: Final = 1024 * 1024
TICK_S: Final = 0.01
JUDGE_S: Final = 0.05
PROGRESS_S: Final = 0.15
PROBE_S: Final = 0.1
MIN_ROUND_S: Final = 0.05
FIRST_STREAMS: Final = 2
MOST_STREAMS: Final = 8
MIN_PIECE: Final = 16 * 1024
RETRIES: Final = 2

OURS_BODY: Final = 1024 * MIB
FOREIGN_BODY: Final = 16 * MIB
SMALL_BODY: Final = 900_000
"""What passes nginx's default of 1 MB for a request body."""

Ended = Literal["converged", "data_cap", "time_cap"]


@dataclass(frozen=True, slots=True)
class Server:
    """Where to measure: the address that answered, the host's name for it, and the paths its endpoints have."""

    address: Address
    host: str
    authority: str
    path: str
    suffix: str
    tls: ssl.SSLContext | None = None
    token: str | None = None
    ours: bool = False

    def request(self, method: str, name: str, query: str = "", *lines: str) -> bytes:
        """The head of a request to one of the endpoints."""
        head = [
            f"{method} {self.path}{name}{self.suffix}{'?' + query if query else ''} HTTP/1.1",
            f"Host: {self.authority}",
            "User-Agent: sigprobe",
            "Accept: */*",
            "Accept-Encoding: identity",
            *([f"Authorization: Bearer {self.token}"] if self.token else []),
            *lines,
        ]
        return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")


@dataclass(frozen=True, slots=True)
class Plan:
    """The bounds of one direction. `streams` None: as many as the beginning of the transfer shows to be useful."""

    cap_bytes: int
    max_s: float
    rtt_s: float
    streams: int | None = None
    session: str = ""
    fraction: tuple[float, float] = (0.0, 1.0)


@dataclass(slots=True)
class Transfer:
    """What one direction gave: payload bytes on the link, seconds, why it ended, the speed or what went wrong."""

    bytes: int = 0
    elapsed_s: float = 0.0
    ended: Ended | None = None
    speed: Speed | None = None
    fault: FaultError | None = None
    streams: int = 0
    retransmits: int | None = None
    counted_by: str | None = None
    loaded_rtts_s: list[float] = field(default_factory=list)
    series: Series = field(default_factory=Series)


def check_status(head: Head) -> None:
    """Raise FaultError for an answer that is none of a speed test's."""
    status = head.status
    if status == 200:
        return
    if status in (429, 503):
        wait = head.headers.get("retry-after")
        raise FaultError("server_busy", f"HTTP {status}" + (f", Retry-After {wait}" if wait else ""), status)
    if status in (401, 403):
        raise FaultError("token_refused", f"HTTP {status}", status)
    if status in (404, 405, 410) or 300 <= status < 400:
        raise FaultError("no_endpoint", f"HTTP {status}", status)
    raise FaultError("bad_response", f"HTTP {status}", status)


class _Stream:
    """One connection of a transfer and what went over it."""

    __slots__ = ("announced", "base", "connection", "retries", "written")

    def __init__(self, connection: Connection, retries: int = RETRIES) -> None:
        self.connection = connection
        self.retries = retries
        self.written = 0
        self.announced = 0
        self.base: int | None = None


class Direction:
    """Runs one direction to its end: `Direction(...).run()` gives the Transfer."""

    def __init__(
        self,
        way: Literal["download", "upload"],
        server: Server,
        plan: Plan,
        context: Context,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._way = way
        self._server = server
        self._plan = plan
        self._context = context
        self._clock = clock
        self._loop = Loop()
        self._streams: list[_Stream] = []
        self._buffer = memoryview(bytearray(MIB) if way == "download" else os.urandom(MIB))
        self._piece = 4 * MIN_PIECE
        self._body_most = OURS_BODY if server.ours else FOREIGN_BODY
        self._moved = 0
        self._gone = [0, 0, 0]  # acknowledged, on the link, repeated segments of closed streams
        self._began = 0.0
        self._tells = False
        self._out = Transfer()

    # --- the loop

    def run(self) -> Transfer:
        """Transfer until the rate is known, a cap is reached or nothing works any more; never raises for a target."""
        out, plan, clock = self._out, self._plan, self._clock
        self._began = clock()
        try:
            for _ in range(plan.streams or FIRST_STREAMS):
                self._open_stream()
            self._drive()
        finally:
            self._sample(self._elapsed())
            out.elapsed_s = self._elapsed()
            for stream in list(self._streams):
                self._retire(stream)
            self._loop.close()
        if self._way == "download":
            out.bytes = self._moved
        else:
            _, sent, repeated = self._gone
            out.bytes = sent if self._tells else self._moved
            self._context.budget.spend(out.bytes - self._moved)
            out.retransmits = repeated if self._tells else None
            out.counted_by = "tcp_info" if self._tells else None
        if out.fault is None:
            out.speed = conclude(out.series, plan.rtt_s)
        return out

    def _drive(self) -> None:
        out, plan, context = self._out, self._plan, self._context
        judge = Judge(plan.rtt_s)
        ramp = _Ramp(max(MIN_ROUND_S, plan.rtt_s)) if plan.streams is None else None
        next_tick, next_judge, next_progress, next_probe = 0.0, 2 * JUDGE_S, 0.0, PROBE_S
        while True:
            self._loop.turn(next_tick - self._elapsed())
            now = self._elapsed()
            if context.stop.is_set():
                out.fault = FaultError("interrupted", "stopped")
                return
            spent = self._room() <= 0
            if now < next_tick and not spent:
                continue
            next_tick = now + TICK_S
            total = self._sample(now)
            if spent and (self._way == "download" or not self._tells or total >= self._moved):
                out.ended = "data_cap"
                return
            if out.fault is not None:
                return
            if not self._streams and not spent:
                out.fault = FaultError("reset", "every stream has ended")
                return
            if now >= plan.max_s or context.deadline.expired():
                out.ended = "data_cap" if spent else "time_cap"
                if self._moved == 0 or total == 0:
                    out.fault = FaultError("timeout", f"nothing in {now:.1f} s")
                return
            if now >= next_judge:
                next_judge = now + JUDGE_S
                if judge.converged(out.series):
                    out.ended = "converged"
                    return
                self._fit_piece()
            if now >= next_progress:
                next_progress = now + PROGRESS_S
                self._tell(now, total)
            if now >= next_probe:
                next_probe = now + PROBE_S
                self._probe()
            if ramp is not None and not spent:
                for _ in range(ramp.more(now, total, len(self._streams))):
                    self._open_stream()

    def _elapsed(self) -> float:
        return self._clock() - self._began

    def _room(self) -> int:
        left = self._context.budget.left_bytes()
        room = self._plan.cap_bytes - self._moved
        return room if left is None else min(room, left)

    def _count(self, count: int) -> int:
        if count:
            if self._moved == 0 and self._way == "download":
                self._out.series.add(self._elapsed(), 0)
            self._moved += count
            self._context.budget.spend(count)
        return self._room()

    def _sample(self, now: float) -> int:
        total = self._moved if self._way == "download" else self._acked()
        self._out.series.add(now, total)
        return total

    def _fit_piece(self) -> None:
        # ten milliseconds a piece: fine-grained on a slow link, few calls on a fast one
        bytes_per_s = self._out.series.rate(0.2) / 8
        size = int(bytes_per_s * 0.01 / max(1, len(self._streams)))
        self._piece = max(MIN_PIECE, min(MIB, size))
        if self._way == "upload" and self._piece > 8 * MIN_PIECE:
            for stream in self._streams:
                if stream.connection.sock is not None and stream.connection.fileno() >= 0:
                    tcp_info.limit_unsent(stream.connection.sock, self._piece)

    def _tell(self, now: float, total: int) -> None:
        begin, end = self._plan.fraction
        done = min(1.0, max(now / self._plan.max_s, total / max(1, self._plan.cap_bytes)))
        rate = self._out.series.rate(0.5) if total else None
        self._context.progress(Progress(self._way, rate, "bps", begin + (end - begin) * done))

    # --- streams

    def _open_stream(self, retries: int = RETRIES) -> None:
        server = self._server
        stream = _Stream(Connection(server.address, server.host, server.tls), retries)
        self._streams.append(stream)
        self._out.streams = max(self._out.streams, len(self._streams))
        life = self._receive(stream) if self._way == "download" else self._send(stream)
        self._loop.start(stream.connection, life, lambda fault: self._ended(stream, fault))

    def _ended(self, stream: _Stream, fault: FaultError | None) -> None:
        if fault is None and self._room() <= 0:
            return  # kept open, so that what is on its way can still be acknowledged
        moved = stream.written
        self._retire(stream)
        # a server that refuses a large body may cut the connection before its 413 is read
        too_large = fault is not None and (fault.status == 413 or fault.code == "reset")
        if too_large and stream.announced > SMALL_BODY and not self._server.ours:
            self._body_most = SMALL_BODY
            self._open_stream(stream.retries)
        elif fault is None or (fault.code == "reset" and moved and stream.retries > 0):
            self._open_stream(stream.retries - (fault is not None))
        elif not self._streams or fault.code == "bad_response":
            self._out.fault = fault

    def _retire(self, stream: _Stream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
        if self._way == "upload" and stream.base is not None:
            for i, count in enumerate(self._numbers(stream)):
                self._gone[i] += count
        self._loop.stop(stream.connection)
        stream.connection.close()

    def _receive(self, stream: _Stream) -> Life:
        connection = stream.connection
        yield from connection.open()

        def got(count: int) -> int:
            stream.written += count
            return self._count(count)

        while self._room() > 0:
            share = -(-self._room() // (MIB * max(1, len(self._streams))))
            yield from connection.send_all(self._server.request("GET", "garbage", f"ckSize={max(1, min(100, share))}"))
            head = yield from connection.head()
            check_status(head)
            encoding = head.headers.get("content-encoding", "identity")
            if encoding.lower() != "identity":
                raise FaultError("bad_response", f"compressed on the way: Content-Encoding {encoding[:40]}")
            if head.headers.get("content-type", "").lower().startswith("text/html"):
                raise FaultError("bad_response", "a web page instead of test data")
            before = stream.written
            yield from connection.body(head, self._buffer, got)
            if stream.written == before and self._room() > 0:
                raise FaultError("bad_response", "an empty answer instead of test data")
            if not head.keep_alive:
                return

    def _send(self, stream: _Stream) -> Life:
        connection = stream.connection
        yield from connection.open()
        sock = connection.sock
        if sock is None:
            return
        tcp_info.limit_unsent(sock, 8 * MIN_PIECE)
        query = f"session={self._plan.session}"
        while (length := min(self._body_most, self._room())) > 0:
            announced = length if self._body_most != OURS_BODY else self._body_most
            stream.announced = announced
            lines = ("Content-Type: application/octet-stream", f"Content-Length: {announced}")
            request = self._server.request("POST", "empty", query, *lines)
            yield from connection.send_all(request)
            if stream.base is None:
                info = tcp_info.read(sock)
                self._tells = info is not None
                stream.base = info.acked + tcp_info.unacked(sock) if info else 0
            else:
                stream.base += len(request)
            left = announced
            while left > 0:
                room = self._room()
                if room <= 0:
                    return
                count = connection.send(self._buffer[: min(self._piece, left, room)])
                left -= count
                stream.written += count
                self._count(count)
                events = yield READ | WRITE
                if events & READ:
                    self._answered_early(connection)
            head = yield from connection.head()
            check_status(head)
            yield from connection.body(head, memoryview(bytearray(4096)), lambda _: 1)
            if not head.keep_alive:
                return

    def _answered_early(self, connection: Connection) -> None:
        view = memoryview(bytearray(4096))
        count = connection.receive_into(view)
        if count is None:
            return  # TLS talking to itself
        if count == 0:
            raise FaultError("reset", "closed in the middle of the upload")
        connection.rest = bytes(view[:count])
        answer = connection.head()
        try:
            next(answer)
        except StopIteration as complete:
            check_status(complete.value)
        answer.close()
        raise FaultError("bad_response", "answered before it had read the upload")

    # --- what was acknowledged

    def _numbers(self, stream: _Stream) -> tuple[int, int, int]:
        sock = stream.connection.sock
        info = tcp_info.read(sock) if sock is not None and stream.connection.fileno() >= 0 else None
        if info is None or stream.base is None:
            return 0, 0, 0
        return (
            min(stream.written, max(0, info.acked - stream.base)),
            # the kernel counts the SYN among the acknowledged bytes, not among those sent
            min(stream.written, max(0, info.sent + 1 - stream.base)),
            info.retransmits,
        )

    def _acked(self) -> int:
        if not self._tells:
            return self._moved
        return self._gone[0] + sum(self._numbers(stream)[0] for stream in self._streams)

    # --- latency under load

    def _probe(self) -> None:
        connection = Connection(self._server.address, self._server.host)
        start = self._clock()

        def ended(fault: FaultError | None) -> None:
            if fault is None:
                self._out.loaded_rtts_s.append(self._clock() - start)
            connection.close()

        self._loop.start(connection, connection.open(), ended)


class _Ramp:
    """Adds streams while the last round carried clearly more than the one before; two that did not end it."""

    def __init__(self, round_s: float) -> None:
        self._round_s = round_s
        self._until = 0.0
        self._total = 0
        self._before: int | None = None
        self._flat = 0

    def more(self, now: float, total: int, streams: int) -> int:
        """How many streams to add now."""
        if self._flat >= 2 or streams >= MOST_STREAMS or now < self._until or total == 0:
            return 0
        last, self._total = total - self._total, total
        before, self._before = self._before, last
        self._until = now + self._round_s
        if before is None:
            return 0
        if last < 1.5 * before:
            self._flat += 1
            return 0
        self._flat = 0
        return min(streams, MOST_STREAMS - streams)
