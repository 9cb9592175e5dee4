"""Repeat failed tests ten seconds later, with deadlines that a slow link can meet.

One failure may be one lost packet, a server that restarts, or our own deadline. So a verdict names nobody for a failure
that was seen once. What answers this time is over; what fails in the same way twice is worth a report.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import Final

from sigprobe.measure.path import own_traffic, probes, server_look, small_ttl
from sigprobe.measure.path.data import (
    CollectorData,
    PathData,
    PeekData,
    QuestionsData,
    SecondLookData,
    StepsData,
)
from sigprobe.measure.path.points import done
from sigprobe.net import sockets
from sigprobe.net.limits import Context, Deadline

AFTER_S: Final = 10.0
LOOK_S: Final = 6.0
SECOND_BYTES: Final = 45_000
"""What the second look may cost on the interface, beside the walk's own limit."""

PADDING: Final = 3_000
"""Bytes in a header: more than two whole packets on the way up."""

MOST_STEPS: Final = 2
"""So many failed hosts are asked with small TTLs."""
_UNOPENED: Final = frozenset({"refused", "reset", "timeout", "host_unreachable", "filtered"})
_UNHEARD: Final = frozenset({"reset", "timeout", "tls_failed", "tls_refused", "tls_not_spoken"})

_ECHOES: Final = 5
_QUESTIONS: Final = 30
_QUESTION_EVERY_S: Final = 0.06
_QUESTION_BYTES: Final = 45
HEAVY_LOSS: Final = 0.06
_ROOT_QUESTION: Final = struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + b"\x00" + struct.pack(">HH", 1, 1)


def second_look(
    data: PathData,
    context: Context,
    pool: ThreadPoolExecutor,
    *,
    doubts: Sequence[tuple[str, int, bool, str | None, str | None]],
    look: Callable[[str, int, bool, str | None, str | None, float], PeekData | None],
    collector: Callable[[str, Deadline, int], CollectorData | None],
    plain_look: Callable[[str, Deadline], PeekData | None],
    collectors: Sequence[str],
    started_s: float,
    clock: Callable[[], float],
    spend: Callable[[int], None],
    used: Callable[[], int],
    lossy_pings: bool = False,
    works: Sequence[tuple[str, str, int]] = (),
) -> SecondLookData | None:
    """Repeat failed tests; return None if nothing failed, or no time or data is left.

    `works` are pages that answered: host, address and port.
    """
    failing = [url for url, row in zip(collectors, data["collectors"], strict=False) if _fails(row)]
    references = [p["address"] for p in data["references"]]
    silent = bool(references) and not any(p["answers"] for p in data["references"])
    gateway = data["gateway"]
    dead = gateway is not None and gateway["answers"] is False
    lossy = lossy_pings or _lossy(data)
    whole = data["whole"]
    narrow = whole is not None and whole["far_received"] == 0 and bool(data["collectors"])
    failed = bool(doubts or failing or silent or dead)
    suspect = own_traffic.is_suspect(data)
    if not (failed or lossy or narrow or suspect) or context.budget.exhausted() or context.stop.is_set():
        return None
    if failed or lossy or suspect:
        pause = started_s + AFTER_S - clock()
        if context.deadline.remaining() < pause + 2.0:
            return None
        context.stop.wait(max(0.0, pause))
    deadline = context.deadline.within(LOOK_S)
    web = [pool.submit(look, *which, LOOK_S) for which in doubts]
    again = [pool.submit(collector, url, deadline, 0) for url in failing]
    points = [pool.submit(_answers, text, deadline, context, spend) for text in references] if silent else []
    pages = [pool.submit(plain_look, text, deadline) for text in references[:2]] if silent else []
    near = pool.submit(_answers, gateway["address"], deadline, context, spend) if dead and gateway is not None else None
    asked = pool.submit(_questions, references, deadline, context, spend, clock) if lossy else None
    fine = next((u for u, row in zip(collectors, data["collectors"], strict=False) if row["failure"] is None), None)
    padded = pool.submit(collector, fine, deadline, PADDING) if narrow and fine is not None else None
    shared = data["one_address"]
    page = pool.submit(_page_again, shared, deadline, context, spend) if _was_silent(shared) else None
    mine = pool.submit(own_traffic.look, data, deadline, context, spend, used, clock) if suspect else None
    named = {host for host, *_ in doubts}
    looks = [row for row in data["web"] if row["host"] in named]
    stepped = pool.submit(_steps, looks, works, deadline, context, spend) if looks else None
    answered = [found for point in points if (found := done(point)) is not None]
    rtts = [ms for ms in answered if ms is not None and ms > 0]
    filled = None if padded is None else done(padded)
    return {
        "after_s": round(clock() - started_s, 1),
        "web": [row for row in map(done, web) if row is not None],
        "collectors": [row for row in map(done, again) if row is not None],
        "references_asked": len(points),
        "references_answered": len(answered),
        "references_rtt_ms": min(rtts, default=None),
        "plain": [row for row in map(done, pages) if row is not None],
        "gateway_answers": None if near is None else done(near) is not None,
        "questions": None if asked is None else done(asked),
        "padded": None if filled is None else filled["failure"] is None,
        "steps": (None if stepped is None else done(stepped)) or [],
        "one_address": None if page is None else done(page),
        "own_load": None if mine is None else done(mine),
    }


def _was_silent(page: PeekData | None) -> bool:
    return page is not None and page["status_code"] is None


def _page_again(
    page: PeekData | None, deadline: Deadline, context: Context, spend: Callable[[int], None]
) -> PeekData | None:
    if page is None:
        return None
    again, used = plain_page(page["host"], page["address"], deadline, context)
    spend(used)
    return again


def _steps(
    looks: Sequence[PeekData],
    works: Sequence[tuple[str, str, int]],
    deadline: Deadline,
    context: Context,
    spend: Callable[[int], None],
) -> list[StepsData]:
    """Return how far away the answers to failed connections came from, beside a connection that works on that port."""
    unopened = [row for row in looks if row["failure"] in _UNOPENED and row["phase"] == "tcp"]
    unheard = [row for row in looks if row["failure"] in _UNHEARD and row["phase"] == "tls"]
    if not (unopened or unheard):
        return []
    if len(unopened) + len(unheard) > MOST_STEPS:
        # where many fail the fault is no single host's: one tells for all how far such packets come
        unopened, unheard = unopened[:1], [] if unopened else unheard[:1]
    found: list[StepsData | None] = []
    with ThreadPoolExecutor(3 * MOST_STEPS + 1) as pool:
        tasks = []
        for row in (*unopened, *unheard):
            at = probes.numeric(row["address"], row["port"])
            if at is None:
                continue
            kinds = [small_ttl.first_packets, small_ttl.distance, *([small_ttl.hellos] if row in unheard else [])]
            tasks += [pool.submit(_counted, spend, kind, row["host"], at, deadline, context) for kind in kinds]
        ports = {row["port"] for row in (*unopened, *unheard)}
        same = next(((host, address, port) for host, address, port in works if port in ports), None)
        at = None if same is None else probes.numeric(same[1], same[2])
        if at is not None and same is not None:
            tasks.append(pool.submit(_counted, spend, _control, same[0], at, deadline, context))
        found = [task.result() for task in tasks]
    return [row for row in found if row is not None]


def _control(host: str, at: sockets.Address, deadline: Deadline, stop: Event) -> tuple[StepsData | None, int]:
    return small_ttl.first_packets(host, at, deadline, stop, control=True)


def _counted(
    spend: Callable[[int], None],
    step: Callable[[str, sockets.Address, Deadline, Event], tuple[StepsData | None, int]],
    host: str,
    at: sockets.Address,
    deadline: Deadline,
    context: Context,
) -> StepsData | None:
    row, used = step(host, at, deadline, context.stop)
    spend(used)
    return row


def _fails(row: CollectorData) -> bool:
    return row["failure"] is not None or (row["status_code"] or 0) >= 500


def _lossy(data: PathData) -> bool:
    points = [p for p in data["references"] if p["sent"] and p["received"]]
    sent, received = sum(p["sent"] for p in points), sum(p["received"] for p in points)
    return bool(sent) and sent - received >= 2 and sent - received >= HEAVY_LOSS * sent


def _answers(text: str, deadline: Deadline, context: Context, spend: Callable[[int], None]) -> float | None:
    """Return the shortest round trip of an address in ms, by echoes or a TCP handshake; None where it is silent.

    Port 80 is left out, since a login page answers there for everybody.

    It waits as long as the second look may last: on a slow radio link an answer takes over five seconds.
    """
    at = probes.numeric(text, 443)
    if at is None:
        return None
    ports = [place for port in (443, 53) if (place := probes.numeric(text, port)) is not None]
    with ThreadPoolExecutor(1 + len(ports)) as pool:
        knocks = [pool.submit(probes.knock, place, deadline, context.stop) for place in ports]
        echoes = probes.burst(at, _ECHOES, 0.2, LOOK_S, deadline, context.stop)
        tried = [k for k in (done(future) for future in knocks) if k is not None]
    spend(echoes.bytes + sum(k.bytes for k in tried))
    seen = [ms for ms in echoes.rtts_ms if ms is not None]
    seen += [k.ms or 0.001 for k in tried if k.answered]
    return min(seen, default=None)


def _questions(
    references: Sequence[str],
    deadline: Deadline,
    context: Context,
    spend: Callable[[int], None],
    clock: Callable[[], float],
) -> QuestionsData | None:
    """Send small DNS questions to the references, one every 60 ms; None if no reference answers any."""
    best: QuestionsData | None = None
    for text in references[:2]:
        at = probes.numeric(text, 53)
        if at is None:
            continue
        found = _ask_slowly(at, deadline, context, clock)
        spend(found["sent"] * _QUESTION_BYTES + found["answered"] * 2 * _QUESTION_BYTES)
        if found["answered"]:
            best = (
                found
                if best is None
                else {"sent": best["sent"] + found["sent"], "answered": best["answered"] + found["answered"]}
            )
    return best


def _ask_slowly(at: sockets.Address, deadline: Deadline, context: Context, clock: Callable[[], float]) -> QuestionsData:
    sent = 0
    answered: set[int] = set()
    with socket.socket(at.family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(at.sockaddr)
        except OSError:
            return {"sent": 0, "answered": 0}
        until = clock() + _QUESTIONS * _QUESTION_EVERY_S + 1.5
        next_s = clock()
        while clock() < until and not context.stop.is_set() and not deadline.expired():
            if sent < _QUESTIONS and clock() >= next_s:
                with suppress(OSError):
                    sock.send(struct.pack(">H", sent + 1) + _ROOT_QUESTION)
                sent += 1
                next_s += _QUESTION_EVERY_S
            with suppress(OSError):
                reply = sock.recv(512)
                if len(reply) >= 12:
                    answered.add(struct.unpack_from(">H", reply)[0])
                continue
            if sent == _QUESTIONS and len(answered) == sent:
                break
            context.stop.wait(0.01)
    return {"sent": sent, "answered": len(answered & set(range(1, sent + 1)))}


def answered_on_the_way(
    address: str, deadline: Deadline, context: Context, spend: Callable[[int], None]
) -> bool | None:
    """Return whether a host without a DNS server answers on port 53: then something on the route answers for it."""
    at = probes.numeric(address, 53)
    if at is None:
        return None
    with socket.socket(at.family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(at.sockaddr)
            for attempt in range(2):
                sock.settimeout(max(0.05, min(0.7, deadline.remaining())))
                sock.send(struct.pack(">H", attempt + 1) + _ROOT_QUESTION)
                spend(_QUESTION_BYTES)
                with suppress(TimeoutError):
                    return len(sock.recv(512)) >= 12
        except OSError:
            return False
    return False


def plain_page(host: str, address: str, deadline: Deadline, context: Context) -> tuple[PeekData | None, int]:
    """Return the plain page of an address to which several names lead, such as a login page or an operator's shop."""
    at = probes.numeric(address, 80)
    if at is None:
        return None, 0
    return server_look.peek(host, at, deadline, context.stop, tls=False, method="GET")
