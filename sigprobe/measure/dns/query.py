"""Send one DNS query to one server: over UDP, and over TCP if the answer was truncated.

It imports dnspython at the top, so it is itself imported only by a check that runs.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from sigprobe.net import sockets
from sigprobe.net.limits import Context
from sigprobe.record.result import Failure

EDNS_PAYLOAD = 1232
MAX_ANSWERS = 32
MAX_ANSWER_CHARS = 255
MAX_ANSWERS_CHARS = 3072  # of all answers of one resolver: eight of them must fit into a record

_BROKEN = (dns.exception.DNSException, ValueError, IndexError, struct.error)
EDNS_FAILS = frozenset({dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.BADVERS})
"""What servers say that do not take EDNS (RFC 6891, 7), and much else: asked once more without it."""
PLAIN_WAIT_S = 1.0
"""The least time that a query without EDNS has after an error for one with it."""
_RCODES = {"NXDOMAIN": "dns_nxdomain", "SERVFAIL": "dns_servfail", "REFUSED": "dns_refused"}


@dataclass(frozen=True, slots=True)
class Question:
    """A name in ASCII, absolute, and a record type."""

    name: str
    type: str

    def message(self, *, edns: bool = True) -> dns.message.QueryMessage:
        """Return a fresh query with a random id. The AD bit asks to be told whether the answer was validated."""
        query = dns.message.make_query(self.name + ".", self.type, use_edns=0 if edns else False, payload=EDNS_PAYLOAD)
        query.flags |= dns.flags.AD
        return query


@dataclass(slots=True)
class Reply:
    """Answer of one server, and what it took.

    `query_ms` runs from just before the query that was answered was sent until just after its answer was read; an
    answer that had to be fetched again over TCP counts from the first of both, since that is what a program waits
    for. `connect_ms` is what a connection for DoT or DoH took before the query. `ignored` counts packets from the
    server's address that were no answer to us (the kernel already drops what comes from elsewhere). `edns` is whether
    the answer came for a query with EDNS; False means that only one without it was answered. `canonical` is the
    name at the end of the CNAME chain, `denied_by` the zone whose SOA came with an answer without records.
    """

    address: str
    protocol: str = "udp"
    connect_ms: float | None = None
    query_ms: float | None = None
    rcode: str | None = None
    answers: list[str] | None = None
    ttl_s: int | None = None
    canonical: str | None = None
    denied_by: str | None = None
    truncated: bool | None = None
    edns: bool | None = None
    ad: bool | None = None
    attempts: int = 0
    ignored: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    failure: Failure | None = None
    stopped: bool = False


def ask(
    host: str,
    port: int,
    question: Question,
    context: Context,
    clock: Callable[[], float] = time.monotonic,
) -> Reply:
    """Send `question` to one server within the context's deadline. A server that fails is a Reply with its failure."""
    reply = Reply(sockets.endpoint(host, port))
    try:
        address = _address(host, port)
        message = _over_udp(address, question, context, clock, reply)
        read_answer(message, reply)
    except sockets.StoppedError:
        reply.stopped = True
        reply.failure = Failure("interrupted")
    except TimeoutError:
        if reply.ignored:
            reply.failure = Failure(
                "bad_response", f"{reply.ignored} packets came, none of them an answer to the query"
            )
        else:
            reply.failure = Failure("dns_timeout", f"{reply.attempts} queries over {reply.protocol}, no answer")
    except EOFError:
        reply.failure = Failure("reset", f"closed in the middle of the answer over {reply.protocol}")
    except OSError as error:
        code = sockets.code_of(error)
        if code is None:
            raise
        reply.failure = Failure(code, f"{sockets.reason_of(error)} over {reply.protocol}")
    except _BROKEN as error:
        reply.failure = Failure("bad_response", f"{type(error).__name__} over {reply.protocol}")
    return reply


def _address(host: str, port: int) -> sockets.Address:
    try:
        row = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0]
    except socket.gaierror as error:  # a scope that is no interface of this device
        raise OSError(errno.ENETUNREACH, str(error)) from error
    return sockets.Address(row[0], row[4])


class _Queries:
    """The queries of one exchange over UDP: with EDNS, again at a third of the time, without it from half of it on."""

    def __init__(self, question: Question, context: Context, clock: Callable[[], float], reply: Reply) -> None:
        self.sent: dict[int, tuple[dns.message.Message, float]] = {}
        self._plain = question.message(edns=False)
        self._due = [(question.message(), 0.0), (question.message(), 1 / 3), (self._plain, 1 / 2)]
        self._begun, self._length_s = clock(), context.deadline.remaining()
        self._clock = clock
        self._reply = reply

    def send_due(self, sock: socket.socket) -> None:
        """Send the queries that are due."""
        while self._due and self._clock() - self._begun >= self._due[0][1] * self._length_s:
            self._send(sock, self._due.pop(0)[0])

    def send_plain(self, sock: socket.socket) -> None:
        """Send the query without EDNS now, as the last one."""
        self._due.clear()
        if self._plain.id not in self.sent:
            self._send(sock, self._plain)

    def wait_s(self, most_s: float) -> float:
        """Return how long to wait for an answer before the next query is due."""
        if not self._due:
            return most_s
        return min(most_s, max(self._begun + self._due[0][1] * self._length_s - self._clock(), 0.001))

    def _send(self, sock: socket.socket, query: dns.message.Message) -> None:
        wire = query.to_wire()
        self._reply.attempts += 1
        self._reply.bytes_sent += len(wire)
        at = self._clock()
        sock.send(wire)
        self.sent[query.id] = (query, at)


def _over_udp(
    address: sockets.Address,
    question: Question,
    context: Context,
    clock: Callable[[], float],
    reply: Reply,
) -> dns.message.Message:
    """Ask over UDP, and over TCP where the answer was truncated.

    Some servers and boxes on the way drop, refuse or fail queries with EDNS; the C library sends none, so what it
    resolves has to be found here, too. An error that comes for EDNS is kept for the case that nothing else comes.
    """
    queries = _Queries(question, context, clock, reply)
    refused: tuple[dns.message.Message, float] | None = None
    deadline = context.deadline
    with socket.socket(address.family, socket.SOCK_DGRAM) as sock:
        # connected, so that an ICMP error is reported and packets of other senders are not
        sock.connect(address.sockaddr)
        while True:
            queries.send_due(sock)
            try:
                sock.settimeout(queries.wait_s(sockets.wait_slice(deadline, context.stop)))
                wire = sock.recv(65535)
            except (TimeoutError, ConnectionRefusedError) as error:
                if refused is not None and (deadline.expired() or not isinstance(error, TimeoutError)):
                    return _taken(refused[0], refused[1], reply, edns=True)
                if deadline.expired() or not isinstance(error, TimeoutError):
                    raise
                continue
            at = clock()
            reply.bytes_received += len(wire)
            known = queries.sent.get(int.from_bytes(wire[:2], "big")) if len(wire) >= 12 else None
            message = None if known is None else match(wire, known[0])
            if known is None or message is None:
                reply.ignored += 1
                continue
            query, ms = known[0], (at - known[1]) * 1000
            with_edns = query.edns == 0
            if with_edns and message.rcode() in EDNS_FAILS:
                if refused is None:
                    refused = message, ms
                    deadline = deadline.within(max(PLAIN_WAIT_S, 5 * ms / 1000))
                queries.send_plain(sock)
                continue
            if message.flags & dns.flags.TC:
                reply.truncated, reply.edns = True, with_edns
                message = _over_tcp(address, query, context, reply)
                reply.query_ms = (clock() - known[1]) * 1000
                return message
            if refused is not None and message.rcode() == refused[0].rcode():
                # the same without EDNS: then EDNS was not the reason
                return _taken(refused[0], refused[1], reply, edns=True)
            return _taken(message, ms, reply, edns=with_edns)


def _taken(message: dns.message.Message, ms: float, reply: Reply, *, edns: bool) -> dns.message.Message:
    reply.query_ms, reply.edns, reply.truncated = ms, edns, False
    return message


def _over_tcp(
    address: sockets.Address,
    query: dns.message.Message,
    context: Context,
    reply: Reply,
) -> dns.message.Message:
    reply.protocol = "tcp"
    wire = query.to_wire()
    with socket.socket(address.family, socket.SOCK_STREAM) as sock:
        sockets.connect(sock, address.sockaddr, context.deadline, context.stop)
        sock.settimeout(sockets.wait_slice(context.deadline, context.stop))
        sock.sendall(len(wire).to_bytes(2, "big") + wire)
        reply.bytes_sent += len(wire) + 2
        while True:
            length = int.from_bytes(_exactly(sock, 2, context, reply), "big")
            message = match(_exactly(sock, length, context, reply), query)
            if message is not None:
                return message
            reply.ignored += 1


def _exactly(sock: socket.socket, count: int, context: Context, reply: Reply) -> bytes:
    data = b""
    while len(data) < count:
        sock.settimeout(sockets.wait_slice(context.deadline, context.stop))
        try:
            piece = sock.recv(count - len(data))
        except TimeoutError:
            continue
        if not piece:
            raise EOFError
        reply.bytes_received += len(piece)
        data += piece
    return data


def match(wire: bytes, query: dns.message.Message) -> dns.message.Message | None:
    """Return the answer in `wire` to `query`; None if it belongs to another query or cannot be parsed."""
    try:
        head = dns.message.from_wire(wire, question_only=True)
        if not query.is_response(head):
            return None
        return head if head.flags & dns.flags.TC else dns.message.from_wire(wire)
    except _BROKEN:
        return None


def read_answer(message: dns.message.Message, reply: Reply) -> None:
    """Fill a reply from an answer; an RCODE other than NOERROR and an empty answer are failures."""
    reply.rcode = dns.rcode.to_text(message.rcode())
    reply.ad = bool(message.flags & dns.flags.AD)
    reply.denied_by = _denied_by(message)
    if reply.rcode != "NOERROR":
        reply.failure = Failure(_RCODES.get(reply.rcode, "dns_rcode"), reply.rcode)
        return
    chain = cast(dns.message.QueryMessage, message).resolve_chaining()
    reply.answers = []
    reply.canonical = chain.canonical_name.to_text(omit_final_dot=True)[:MAX_ANSWER_CHARS]
    if chain.answer is None:
        reply.failure = Failure("dns_no_answer", f"NOERROR without {dns.rdatatype.to_text(message.question[0].rdtype)}")
        return
    room = MAX_ANSWERS_CHARS
    for record in chain.answer:
        text = record.to_text()[:MAX_ANSWER_CHARS]
        room -= len(text)
        if len(reply.answers) == MAX_ANSWERS or room < 0:
            break
        reply.answers.append(text)
    reply.ttl_s = int(chain.minimum_ttl)


def _denied_by(message: dns.message.Message) -> str | None:
    """Return the zone that an answer without records names as its source (RFC 2308); None where it names none."""
    zone = next((rrset.name for rrset in message.authority if rrset.rdtype == dns.rdatatype.SOA), None)
    return None if zone is None or message.answer else zone.to_text()[:MAX_ANSWER_CHARS]
