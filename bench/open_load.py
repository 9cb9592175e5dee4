"""Offer a collector batches in an open loop: virtual probes, each batch over a connection of its own.

The load runs in a process of its own over bare sockets and one epoll: on a machine that the collector shares, every
microsecond of the load is one that the collector lacks. It states what it took itself, and how late it was.
"""

from __future__ import annotations

import errno
import multiprocessing
import random
import select
import socket
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sigprobe.collector.serve import raise_file_limit
from sigprobe.protocol import batches
from tests.support.collector_client import make_result

PER_BATCH = 8
GIVE_UP_S = 25.0
_SWEEP_S = 1.0


@dataclass
class Round:
    """What became of the batches of one round."""

    offered: int = 0
    taken: int = 0
    latencies_s: list[float] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    without_retry_after: int = 0
    late_s: list[float] = field(default_factory=list)
    """How long after its time the load sent a batch: what the load lacks, not the collector."""
    cpu_share: float = 0.0
    """The part of one processor that the load took."""

    def p99_s(self) -> float:
        """Return the time within which 99 of 100 taken batches were answered."""
        return quantile(self.latencies_s, 0.99)


def quantile(values: list[float], share: float) -> float:
    """Return a quantile; infinite for no values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("inf")


class _Request:
    __slots__ = ("answer", "began", "body", "into", "left", "socket")

    def __init__(self, sock: socket.socket, body: bytes, token: str, into: Round) -> None:
        self.socket = sock
        self.body = body
        self.left = b"POST /v1/batches HTTP/1.1\r\nAuthorization: Bearer " + token.encode() + b"\r\n" + body
        self.into = into
        self.began = time.monotonic()
        self.answer = b""


class _Loop:
    """The connections of the load. Runs in its own process."""

    def __init__(self, host: str, port: int, tokens: list[str]) -> None:
        raise_file_limit()
        self._address = (host, port)
        self._tokens = tokens
        self._bodies: deque[bytes] = deque()
        self._open: dict[int, _Request] = {}
        self._poll = select.epoll()
        self._seq = 0
        self._swept = 0.0

    def prepare(self, count: int) -> None:
        """Make batches beforehand: making them costs as much as taking them."""
        while len(self._bodies) < count:
            results = [make_result(self._seq + place + 1) for place in range(PER_BATCH)]
            self._seq += PER_BATCH
            batch = batches.build_batch([(r.id, r.to_line()) for r in results])
            fixed = batches.batch_headers(batch, "")
            fixed.pop("Authorization")
            lines = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
            head = f"Host: x\r\nConnection: close\r\nContent-Length: {len(batch.body)}\r\n{lines}\r\n".encode()
            self._bodies.append(head + batch.body)

    def closed(self, clients: int, seconds: float) -> Round:
        """Let each client send one batch after the other."""
        found = Round()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while len(self._open) < clients:
                self._send(self._tokens[1 + found.offered % (len(self._tokens) - 1)], found)
            self._turn(0.05)
        self._finish()
        return found

    def open(self, rate: float, seconds: float, flood: float) -> tuple[Round, Round]:
        """Send at a rate, spread at random; `flood` more each second come from the first token."""
        rng = random.Random(7)
        found, flooded = Round(), Round()
        began, used = time.monotonic(), time.process_time()
        end, due = began + seconds, began
        while due < end:
            now = time.monotonic()
            while due <= now and due < end:
                is_flood = rng.random() < flood / (rate + flood)
                into = flooded if is_flood else found
                token = self._tokens[0] if is_flood else self._tokens[rng.randrange(1, len(self._tokens))]
                into.late_s.append(time.monotonic() - due)
                self._send(token, into)
                due += rng.expovariate(rate + flood)
            self._turn(min(0.05, max(0.0, due - time.monotonic())))
        found.cpu_share = (time.process_time() - used) / (time.monotonic() - began)
        self._finish()
        return found, flooded

    def _finish(self) -> None:
        while self._open:
            self._turn(0.05)

    def _send(self, token: str, into: Round) -> None:
        if not self._bodies:
            self.prepare(50)
        into.offered += 1
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        request = _Request(sock, self._bodies.popleft(), token, into)
        code = sock.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            self._bodies.append(request.body)
            into.others[errno.errorcode.get(code, str(code))] += 1
            return
        self._open[sock.fileno()] = request
        self._poll.register(sock.fileno(), select.EPOLLOUT)

    def _turn(self, wait_s: float) -> None:
        for number, _event in self._poll.poll(wait_s, 256):
            request = self._open[number]
            try:
                if request.left:
                    request.left = request.left[request.socket.send(request.left) :]
                    if not request.left:
                        self._poll.modify(number, select.EPOLLIN)
                    continue
                piece = request.socket.recv(65536)
            except BlockingIOError:
                continue
            except OSError as error:
                self._end(number, type(error).__name__)
                continue
            if piece:
                request.answer += piece
            else:
                self._end(number)
        now = time.monotonic()
        if now - self._swept > _SWEEP_S:
            self._swept = now
            for number in [n for n, request in self._open.items() if now - request.began > GIVE_UP_S]:
                self._end(number, "TimeoutError")

    def _end(self, number: int, fault: str | None = None) -> None:
        request = self._open.pop(number)
        self._poll.unregister(number)
        request.socket.close()
        into, answer = request.into, request.answer
        status = fault or answer[9:12].decode("ascii", "replace")
        if status == "200":
            into.taken += 1
            into.latencies_s.append(time.monotonic() - request.began)
            return
        into.others[status or "no answer"] += 1
        if status in ("429", "503") and b"retry-after:" not in answer.lower():
            into.without_retry_after += 1
        # sent again later, as probes do
        self._bodies.append(request.body)


def _serve(url: str, tokens: list[str], commands: Any) -> None:
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    loop = _Loop(parts.hostname, parts.port, tokens)
    while (command := commands.recv()) is not None:
        name, *values = command
        commands.send(getattr(loop, name)(*values))


class Load:
    """Virtual probes: each has a token, and sends whatever batch is next over a fresh connection."""

    def __init__(self, url: str, tokens: list[str]) -> None:
        # a fresh interpreter: this one has threads
        context = multiprocessing.get_context("spawn")
        self._commands, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(url, tokens, theirs), daemon=True)
        self._process.start()
        theirs.close()  # so that its end is noticed here

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._commands.send(None)
        self._process.join(10)

    def prepare(self, count: int) -> None:
        """Make batches beforehand."""
        self._ask("prepare", count)

    def closed_loop(self, clients: int, seconds: float) -> float:
        """Return how many batches a second are taken when each client sends one after the other."""
        found: Round = self._ask("closed", clients, seconds)
        return found.taken / seconds

    def open_loop(self, rate: float, seconds: float, flood: float = 0.0) -> tuple[Round, Round]:
        """Send at a rate, spread at random; `flood` more each second come from the first token."""
        rounds: tuple[Round, Round] = self._ask("open", rate, seconds, flood)
        return rounds

    def _ask(self, *command: Any) -> Any:
        self._commands.send(command)
        return self._commands.recv()
