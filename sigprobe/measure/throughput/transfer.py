"""Run one direction of an HTTP throughput test: open and close streams, take samples, and decide when to stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from ipaddress import ip_address
from statistics import median
from typing import Final, Literal

from sigprobe.measure.throughput import link_time, tcp_info, under_loss
from sigprobe.measure.throughput.connection import READ, WRITE, Connection, FaultError, Life, Loop
from sigprobe.measure.throughput.convergence import Judge, conclude
from sigprobe.measure.throughput.plan import Transfer, TransferPlan
from sigprobe.measure.throughput.server import Server, check_status
from sigprobe.measure.throughput.stream import MIB, NO_LIMIT, RETRIES, Numbers, Stream, look, share_bytes
from sigprobe.measure.throughput.stream_ramp import FAR_S, MOST_STREAMS, Ramp, first_streams
from sigprobe.net.limits import OVERHEAD, Context, Progress

TICK_S: Final = 0.005
JUDGE_S: Final = 0.03
PROGRESS_S: Final = 0.15
PROBE_S: Final = 0.1
QUICK_PROBE_S: Final = 0.04
SLOW_PROBE_S: Final = 0.4
QUICK_BPS: Final = 20e6
"""From this rate on, latency is looked at so often: it tells when a queue stands, and a moment costs megabytes."""

MIN_PIECE: Final = 16 * 1024
MOST_FLIGHT: Final = 25_000_000
LEAST_FLIGHT: Final = 1_000_000
"""No more of an upload is under way, until that is seen to hold the rate back; so much always may."""

MOSTLY: Final = 3 / 4
"""With so much of what there was room for moved, less than one MiB of it is left alone; while so many of the streams
still carry what they asked for, their sum is the link's pace."""

MOST_OVERHEAD: Final = 1.1
"""Bytes on the wire for each byte of payload where every packet is acknowledged by itself."""

NOT_REPEATED: Final = 0.92
"""Only this share of the room is asked for: a server may have to send some of it twice."""

TRAILER: Final = 16
"""What may follow the payload of an answer: the last chunk's length."""

SLOW_BPS: Final = 400_000.0
SLOW_FROM_S: Final = 0.4
SLOW_LOOK_S: Final = 1.0
SLOW_AHEAD_S: Final = 0.6
LEAST_WINDOW: Final = 6_000
"""Below this rate a download may have so many seconds of data under way."""

SLOW_BYTES: Final = 40_000
"""A transfer that has moved less within its time goes on for a while."""

OURS_BODY: Final = 1024 * MIB
FOREIGN_BODY: Final = 16 * MIB
SMALL_BODY: Final = 900_000
"""What passes nginx's default of 1 MB for a request body."""


class Direction:
    """Runs one direction to its end: `Direction(...).run()` gives the Transfer."""

    def __init__(
        self,
        way: Literal["download", "upload"],
        server: Server,
        plan: TransferPlan,
        context: Context,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._way = way
        self._server = server
        self._plan = plan
        self._context = context
        self._clock = clock
        self._loop = Loop()
        self._streams: list[Stream] = []
        self._buffer = memoryview(bytearray(MIB) if way == "download" else os.urandom(MIB))
        self._piece = 4 * MIN_PIECE
        self._body_most = OURS_BODY if server.ours else FOREIGN_BODY
        self._moved = 0
        self._wire = 0
        self._probes = 0
        self._moved_then = 0
        self._unsent = 0
        self._exact = server.ours
        self._endless = False
        self._loopback = ip_address(str(server.address.sockaddr[0]).partition("%")[0]).is_loopback
        self._asking = 0
        self._window = NO_LIMIT
        self._asked_again = False
        self._gone: list[Numbers] = []
        self._flight: float = MOST_FLIGHT
        self._held_back_s: float | None = None
        self._began = 0.0
        self._tells = False
        self._out = Transfer()
        self._out.series.rest_s = self._out.series.queues.rest_s = plan.rest_s

    # --- the loop

    def run(self) -> Transfer:
        """Transfer until the rate is known, a cap is reached or nothing works any more; never raises for a target."""
        out, plan, clock = self._out, self._plan, self._clock
        self._began = clock()
        try:
            asking, held = (plan.streams, 0) if plan.streams else first_streams(plan.rtt_s)
            for number in range(asking + held):
                self._open_stream(held=number >= asking)
            self._drive()
        finally:
            self._sample(self._elapsed())
            out.elapsed_s = self._elapsed()
            self._leave_under_way()
            for stream in list(self._streams):
                self._retire(stream)
            self._loop.close()
            self._count_wire(self._gone)
            out.wire_bytes = self._wire
        if self._way == "download":
            out.bytes = self._moved
        else:
            out.bytes = sum(one.sent for one in self._gone) if self._tells else self._moved
            out.retransmits = sum(one.repeated for one in self._gone) if self._tells else None
            out.counted_by = "tcp_info" if self._tells else None
        if out.fault is None and out.ended != "converged":
            series, losses_s = out.series, out.series.governing(out.elapsed_s)
            out.speed = conclude(series.best(), plan.rtt_s, losses_s, series.streams, series.standing_s, cut=True)
        if out.fault is None:
            out.speed = link_time.over_busy_time(out.series, out.speed, out.elapsed_s, plan.rtt_s)
            out.speed = under_loss.settle(out.series, out.speed, out.elapsed_s, plan.rtt_s)
            out.window = link_time.window_of(out.series, out.speed, out.elapsed_s)
        return out

    def _drive(self) -> None:
        out, plan, context = self._out, self._plan, self._context
        judge = Judge(plan.rtt_s)
        ramp = Ramp(plan.rtt_s) if plan.streams is None else None
        next_tick, next_judge, next_progress, next_probe = 0.0, 0.1, 0.0, PROBE_S
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
            spent = spent or (self._way == "download" and self._is_thin())
            total = self._sample(now)
            over = self._wire >= self._plan.cap_bytes and not self._loopback  # packets sent again cost, too
            if spent and (self._way == "download" or not self._tells or total >= self._moved or over):
                out.ended = "data_cap"
                return
            if out.fault is not None:
                return
            if not self._streams and not spent:
                out.fault = FaultError("reset", "every stream has ended")
                return
            if now >= self._ends_s(total) or context.deadline.expired():
                out.ended = "data_cap" if spent else "time_cap"
                if self._moved == 0 or total == 0:
                    out.fault = FaultError("timeout", f"nothing in {now:.1f} s")
                return
            if now >= next_judge:
                next_judge = now + JUDGE_S
                series = out.series
                settled = judge.converged(series.best(), series.governing(now), series.streams, series.standing_s)
                if settled and not link_time.needs_longer(series, judge.speed, now, plan.rtt_s):
                    out.ended = "converged"
                    out.speed = judge.speed
                    return
                self._fit_piece()
                self._limit_queue(now)
            if now >= next_progress:
                next_progress = now + PROGRESS_S
                self._tell(now, total)
            if now >= next_probe:
                quick = self._way == "download" and out.series.ordered.rate(PROBE_S) >= QUICK_BPS
                slow = now > SLOW_LOOK_S and out.series.ordered.rate(SLOW_LOOK_S) < SLOW_BPS
                next_probe = now + (QUICK_PROBE_S if quick else SLOW_PROBE_S if slow else PROBE_S)
                self._probe()
            if ramp is not None and not spent:
                asking = sum(not stream.held for stream in self._streams)
                for _ in range(ramp.more(now, total, asking)):
                    self._ask_more()
            self._unpark()
            if self._held_back_s is not None:
                self._let_go(now)

    def _ends_s(self, total: int) -> float:
        """Return the time limit: later for a slow link, or one that pauses."""
        return max(self._plan.max_s, self._plan.most_s) if total < SLOW_BYTES else self._plan.max_s

    def _elapsed(self) -> float:
        return self._clock() - self._began

    def _room(self) -> int:
        """Return the payload that may still be moved."""
        left = self._context.budget.left_wire_bytes()
        room = self._plan.cap_bytes - self._wire
        room = room if left is None else min(room, left)
        return int(room / MOST_OVERHEAD) - self._unsent - (self._moved - self._moved_then)

    def _under_way(self) -> int:
        """Return the bytes of a download that arrived in the last round trip, queues included."""
        awaited_s = self._out.series.queues.awaited_s(self._elapsed())
        trip_s = max(self._plan.rtt_s, TICK_S, awaited_s, *self._out.loaded_rtts_s[-2:])
        series = self._out.series.ordered
        return int(self._moved - series.at(self._elapsed() - trip_s))

    def _share(self) -> int:
        """Return how many bytes of a download the next stream may request; 0 if none are left."""
        room = int(self._room() * NOT_REPEATED)
        done = self._moved >= MOSTLY * (self._moved + room)
        wanted = max(self._plan.streams or MOST_STREAMS, len(self._streams))
        if self._exact and self._plan.rtt_s < FAR_S:
            wanted += MOST_STREAMS  # smaller pieces: a quick stream can ask again while the others are busy
        return share_bytes(room, self._streams, wanted, exact=self._exact, done=done)

    def _leave_under_way(self) -> None:
        """Count bytes that still arrive after a download is cut off, and the acknowledgements of them."""
        if self._way == "download" and self._moved:
            owed = sum(stream.owed for stream in self._streams)
            # a window that grows sends twice as much in a round trip as arrived in the one before
            self._probes += round(min(owed, 2 * self._under_way()) * OVERHEAD)

    def _count_wire(self, looks: list[Numbers]) -> None:
        """Count bytes on the interface since the last look; estimated where the system has no count."""
        # loopback costs nothing, and its kernel holds more than was ever asked for
        told = 0 if self._loopback else sum(one.wire for one in looks)
        wire = max(self._wire, (told or round(self._moved * OVERHEAD)) + self._probes)
        self._context.budget.spend_wire(wire - self._wire)
        self._wire = wire
        self._moved_then = self._moved
        if self._way == "upload" and told:
            self._unsent = max(0, self._moved - sum(one.sent for one in looks))

    def _is_thin(self) -> bool:
        """Whether all has been asked for and too few streams carry the rest: their sum is no link's pace any more."""
        asking = sum(stream.owed > 0 for stream in self._streams)
        self._asking = max(self._asking, asking)
        return self._moved > 0 and asking < MOSTLY * max(1, self._asking) and self._share() <= 0

    def _unpark(self) -> None:
        """Let a parked stream request bytes that other streams have given back."""
        stream = next((stream for stream in self._streams if stream.parked), None)
        if stream is not None and self._share() > 0:
            stream.parked = False
            self._loop.poke(stream.connection)

    def _count(self, count: int) -> int:
        if count:
            if self._moved == 0 and self._way == "download":
                self._out.series.add(self._elapsed(), 0, 0)
            self._moved += count
        return self._room()

    def _sample(self, now: float) -> int:
        looks = [*self._gone, *(self._numbers(stream, now) for stream in self._streams)]
        self._count_wire(looks)
        told = self._way == "upload" and self._tells
        total = sum(one.acked for one in looks) if told else self._moved
        self._out.series.add(now, total, sum(one.reached for one in looks))
        if told:
            trips = [stream.rtt_s for stream in self._streams if stream.rtt_s is not None and not stream.held]
            if trips:
                self._out.series.trip(now, median(trips))
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

    def _limit_queue(self, now: float) -> None:
        """Limit the queue of a slow link to less than a second of a download: the upload would wait behind it."""
        if self._way != "download":
            return
        rate_bps = self._out.series.ordered.rate(SLOW_LOOK_S)
        window = NO_LIMIT
        if now >= SLOW_FROM_S and rate_bps < SLOW_BPS:
            ahead_s = max(SLOW_AHEAD_S, 2 * self._plan.rtt_s)
            window = max(LEAST_WINDOW, int(rate_bps / 8 * ahead_s / max(1, self._out.streams)))
        if window == NO_LIMIT or not self._window * 0.75 <= window <= self._window * 1.3:
            self._window = window
        for stream in self._streams:
            self._fit_window(stream)

    def _fit_window(self, stream: Stream) -> None:
        """Limit the window to the bytes still wanted, for a server that sends no exact number of bytes."""
        window = self._window
        if not self._exact:
            wanted = self._room() // max(1, len(self._streams)) if self._endless else stream.owed or NO_LIMIT
            window = min(window, max(LEAST_WINDOW, wanted))
        sock = stream.connection.sock
        # the system raises a limit by itself while it sees much arrive, so it is set again and again
        limited = window != NO_LIMIT or stream.limited
        if sock is not None and limited and stream.connection.fileno() >= 0:
            stream.limited = window != NO_LIMIT
            tcp_info.limit_window(sock, window)

    def _tell(self, now: float, total: int) -> None:
        begin, end = self._plan.fraction
        done = min(1.0, max(now / self._plan.max_s, total / max(1, self._plan.cap_bytes)))
        rate = self._out.series.ordered.rate(0.5) if total else None
        self._context.progress(Progress(self._way, rate, "bps", begin + (end - begin) * done))

    # --- streams

    def _open_stream(self, retries: int = RETRIES, *, held: bool = False) -> None:
        server = self._server
        stream = Stream(Connection(server.address, server.host, server.tls), retries)
        stream.held = held
        self._streams.append(stream)
        self._count_streams()
        life = self._receive(stream) if self._way == "download" else self._send(stream)
        self._loop.start(stream.connection, life, lambda fault: self._ended(stream, fault))

    def _count_streams(self) -> None:
        asking = sum(not stream.held for stream in self._streams)
        self._out.streams = self._out.series.streams = max(self._out.streams, asking)

    def _ask_more(self) -> None:
        """Let a stream that is held open request bytes; open another if there is none."""
        stream = next((stream for stream in self._streams if stream.held), None)
        if stream is None:
            self._open_stream()
            return
        stream.held = False
        self._count_streams()
        if stream.waiting:
            self._loop.poke(stream.connection)

    def _wait_for_turn(self, stream: Stream) -> Life:
        view = memoryview(bytearray(4096))
        while stream.held or stream.parked:
            stream.waiting = True
            if (yield READ) & READ and (count := stream.connection.receive_into(view)) is not None:
                raise FaultError(*(("bad_response", "answered before asked") if count else ("reset", "closed unasked")))
        stream.waiting = False

    def _ended(self, stream: Stream, fault: FaultError | None) -> None:
        if fault is None and self._room() <= 0:
            return  # kept open, so that what is on its way can still be acknowledged
        moved = stream.written
        self._retire(stream)
        if stream.parked:
            return  # a server may close what asks for nothing more
        # a server that refuses a large body may cut the connection before its 413 is read
        too_large = fault is not None and (fault.status == 413 or (fault.code == "reset" and not self._server.ours))
        if too_large and stream.announced > SMALL_BODY:
            self._body_most = SMALL_BODY
            self._open_stream(stream.retries)
        elif fault is None or (fault.code == "reset" and moved and stream.retries > 0):
            self._open_stream(stream.retries - (fault is not None))
        elif fault.code != "bad_response" and not all(other.held for other in self._streams):
            return
        elif fault.code != "bad_response" and self._streams and not self._asked_again:
            self._asked_again = True
            self._ask_more()
        else:
            self._out.fault = fault

    def _retire(self, stream: Stream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
        self._gone.append(self._numbers(stream, self._elapsed()))
        self._loop.stop(stream.connection)
        stream.connection.close()

    def _receive(self, stream: Stream) -> Life:
        connection = stream.connection
        yield from connection.open()
        yield from self._wait_for_turn(stream)

        def got(count: int) -> int:
            stream.written += count
            self._endless = self._endless or count > stream.owed
            stream.owed = max(0, stream.owed - count)
            room = self._count(count)
            if not self._exact:
                self._fit_window(stream)
            if self._endless:
                return room
            return min(room, max(TRAILER, stream.owed))

        while self._room() > 0:
            share = self._share()
            if share <= 0:
                stream.parked = True
                yield from self._wait_for_turn(stream)
                continue
            stream.owed = share
            self._fit_window(stream)
            query = f"ckSize={-(-share // MIB)}" + (f"&bytes={share}" if self._exact else "")
            yield from connection.send_all(self._server.request("GET", "garbage", query))
            head = yield from connection.head()
            check_status(head)
            if self._exact and head.length is not None and head.length > share:
                self._exact = False  # a collector of an earlier version knows whole MiB only
            encoding = head.headers.get("content-encoding", "identity")
            if encoding.lower() != "identity":
                raise FaultError("bad_response", f"compressed on the way: Content-Encoding {encoding[:40]}")
            if head.headers.get("content-type", "").lower().startswith("text/html"):
                raise FaultError("bad_response", "a web page instead of test data")
            before = stream.written
            yield from connection.body(head, self._buffer, got)
            stream.owed = 0
            if stream.written == before and self._room() > 0:
                raise FaultError("bad_response", "an empty answer instead of test data")
            if not head.keep_alive:
                return

    def _send(self, stream: Stream) -> Life:
        connection = stream.connection
        yield from connection.open()
        yield from self._wait_for_turn(stream)
        sock = connection.sock
        if sock is None:
            return
        tcp_info.limit_unsent(sock, 8 * MIN_PIECE)
        self._out.series.yields = tcp_info.yields_to_loss(sock)
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
                stream.waiting = self._is_full(stream)
                if stream.waiting:
                    if (yield READ) & READ:
                        yield from self._answered_early(connection)
                    continue
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

    # --- how much is under way

    def _is_full(self, stream: Stream) -> bool:
        """Return whether a stream's share of the bytes in flight is used up; it then waits for the next tick."""
        most = self._flight
        if self._plan.rtt_s >= FAR_S and self._out.series.just_standing(self._elapsed(), self._plan.rtt_s):
            # what is under way keeps the link busy for a round trip, and a longer queue would say nothing new
            most = min(most, max(LEAST_FLIGHT, self._out.series.ordered.rate(PROBE_S) / 8 * self._plan.rtt_s))
        share = most / max(1, len(self._streams))
        if not self._tells or stream.written - stream.acked < share:
            return False
        self._numbers(stream, self._elapsed())
        full = stream.written - stream.acked >= share
        if full and self._held_back_s is None:
            self._held_back_s = self._elapsed()
        return full

    def _let_go(self, now: float) -> None:
        """Let waiting streams continue; without a queue, allow more bytes in flight."""
        since = self._held_back_s
        if since is not None and now - since > 3 * max(JUDGE_S, self._plan.rtt_s):
            self._held_back_s = None
            if self._out.series.standing_s is None:
                self._flight *= 2
        for stream in list(self._streams):
            if stream.waiting and not stream.held and not self._is_full(stream):
                self._loop.poke(stream.connection)

    # --- what was acknowledged

    def _numbers(self, stream: Stream, now: float) -> Numbers:
        numbers = look(stream, now, receiving=self._way == "download", rtt_s=self._plan.rtt_s)
        if numbers.lost:
            self._out.series.lose(now)
        return numbers

    # --- latency under load

    def _probe(self) -> None:
        connection = Connection(self._server.address, self._server.host)
        queues, begin_s = self._out.series.queues, self._elapsed()
        self._probes += tcp_info.PROBE_BYTES

        def ended(fault: FaultError | None) -> None:
            now = self._elapsed()
            queues.end(begin_s, now if fault is None else None)
            if fault is None:
                self._out.loaded_rtts_s.append(now - begin_s)
                if self._way == "download":
                    self._out.series.trip(now, now - begin_s)
            connection.close()

        queues.begin(begin_s)
        self._loop.start(connection, connection.open(), ended)
