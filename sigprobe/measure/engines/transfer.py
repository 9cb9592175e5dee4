"""One direction of an HTTP throughput test: streams that come and go, samples, and the moment to stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from sigprobe.measure.engines import tcp_info
from sigprobe.measure.engines.arrivals import Arrivals
from sigprobe.measure.engines.connection import READ, WRITE, Connection, FaultError, Life, Loop
from sigprobe.measure.engines.converge import Judge, Speed, conclude
from sigprobe.measure.engines.ramp import Ramp, first_streams
from sigprobe.measure.engines.server import Server, check_status
from sigprobe.measure.kind import Context, Progress

MIB: Final = 1024 * 1024
TICK_S: Final = 0.01
JUDGE_S: Final = 0.05
PROGRESS_S: Final = 0.15
PROBE_S: Final = 0.1
MIN_PIECE: Final = 16 * 1024
RETRIES: Final = 2

OURS_BODY: Final = 1024 * MIB
FOREIGN_BODY: Final = 16 * MIB
SMALL_BODY: Final = 900_000
"""What passes nginx's default of 1 MB for a request body."""

Ended = Literal["converged", "data_cap", "time_cap"]


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
    series: Arrivals = field(default_factory=Arrivals)


class _Stream:
    """One connection of a transfer and what went over it."""

    __slots__ = ("announced", "base", "connection", "holes", "lost_s", "reached_base", "retries", "written")

    def __init__(self, connection: Connection, retries: int = RETRIES) -> None:
        self.connection = connection
        self.retries = retries
        self.written = 0
        self.announced = 0
        self.base: int | None = None
        self.reached_base: int | None = None
        self.holes = 0
        self.lost_s = 0.0


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
        self._gone = [0, 0, 0, 0]  # acknowledged, on the link, repeated segments, got through: of closed streams
        self._began = 0.0
        self._tells = False
        self._out = Transfer()

    # --- the loop

    def run(self) -> Transfer:
        """Transfer until the rate is known, a cap is reached or nothing works any more; never raises for a target."""
        out, plan, clock = self._out, self._plan, self._clock
        self._began = clock()
        try:
            for _ in range(plan.streams or first_streams(plan.rtt_s)):
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
            _, sent, repeated, _ = self._gone
            out.bytes = sent if self._tells else self._moved
            self._context.budget.spend(out.bytes - self._moved)
            out.retransmits = repeated if self._tells else None
            out.counted_by = "tcp_info" if self._tells else None
        if out.fault is None:
            series = out.series
            out.speed = conclude(series.best(), plan.rtt_s, series.losses_s, series.streams)
        return out

    def _drive(self) -> None:
        out, plan, context = self._out, self._plan, self._context
        judge = Judge(plan.rtt_s)
        ramp = Ramp(plan.rtt_s) if plan.streams is None else None
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
                if judge.converged(out.series.best(), out.series.losses_s, out.series.streams):
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
                self._out.series.add(self._elapsed(), 0, 0)
            self._moved += count
            self._context.budget.spend(count)
        return self._room()

    def _sample(self, now: float) -> int:
        acked, reached = self._gone[0], self._gone[3]
        for stream in self._streams:
            numbers = self._numbers(stream, now)
            acked += numbers[0]
            reached += numbers[3]
        total = acked if self._way == "upload" and self._tells else self._moved
        self._out.series.add(now, total, reached)
        return total

    def _fit_piece(self) -> None:
        # ten milliseconds a piece: fine-grained on a slow link, few calls on a fast one
        bytes_per_s = self._out.series.ordered.rate(0.2) / 8
        size = int(bytes_per_s * 0.01 / max(1, len(self._streams)))
        self._piece = max(MIN_PIECE, min(MIB, size))
        if self._way == "upload" and self._piece > 8 * MIN_PIECE:
            for stream in self._streams:
                if stream.connection.sock is not None and stream.connection.fileno() >= 0:
                    tcp_info.limit_unsent(stream.connection.sock, self._piece)

    def _tell(self, now: float, total: int) -> None:
        begin, end = self._plan.fraction
        done = min(1.0, max(now / self._plan.max_s, total / max(1, self._plan.cap_bytes)))
        rate = self._out.series.ordered.rate(0.5) if total else None
        self._context.progress(Progress(self._way, rate, "bps", begin + (end - begin) * done))

    # --- streams

    def _open_stream(self, retries: int = RETRIES) -> None:
        server = self._server
        stream = _Stream(Connection(server.address, server.host, server.tls), retries)
        self._streams.append(stream)
        self._out.streams = self._out.series.streams = max(self._out.streams, len(self._streams))
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
        for i, count in enumerate(self._numbers(stream, self._elapsed())):
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
                # behind the last byte an answer is what is due
                if events & READ and left > 0:
                    yield from self._answered_early(connection)
            head = yield from connection.head()
            check_status(head)
            yield from connection.body(head, memoryview(bytearray(4096)), lambda _: 1)
            if not head.keep_alive:
                return

    def _answered_early(self, connection: Connection) -> Life:
        view = memoryview(bytearray(4096))
        count = connection.receive_into(view)
        if count is None:
            return  # TLS talking to itself
        if count == 0:
            raise FaultError("reset", "closed in the middle of the upload")
        connection.rest = bytes(view[:count])
        check_status((yield from connection.head()))
        raise FaultError("bad_response", "answered before it had read the upload")

    # --- what was acknowledged

    def _numbers(self, stream: _Stream, now: float) -> tuple[int, int, int, int]:
        """Of one stream: bytes acknowledged, bytes on the link, segments repeated, bytes got through in any order."""
        sock = stream.connection.sock
        info = tcp_info.read(sock) if sock is not None and stream.connection.fileno() >= 0 else None
        if info is None:
            return 0, 0, 0, 0
        reached, holes = (
            (info.arrived, info.out_of_order) if self._way == "download" else (info.reached, info.retransmits)
        )
        if stream.reached_base is None or stream.written == 0:
            stream.reached_base = reached
        if holes > stream.holes:
            # one gap is told by many segments: what follows within a round trip belongs to the same
            if now - stream.lost_s >= self._plan.rtt_s:
                self._out.series.losses_s.append(now)
                stream.lost_s = now
            stream.holes = holes
        reached -= stream.reached_base
        if self._way == "download" or stream.base is None:
            return 0, 0, 0, reached
        return (
            min(stream.written, max(0, info.acked - stream.base)),
            # the kernel counts the SYN among the acknowledged bytes, not among those sent
            min(stream.written, max(0, info.sent + 1 - stream.base)),
            info.retransmits,
            reached,
        )

    # --- latency under load

    def _probe(self) -> None:
        connection = Connection(self._server.address, self._server.host)
        start = self._clock()

        def ended(fault: FaultError | None) -> None:
            if fault is None:
                self._out.loaded_rtts_s.append(self._clock() - start)
            connection.close()

        self._loop.start(connection, connection.open(), ended)
