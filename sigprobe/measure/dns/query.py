"""One DNS question to one server, over UDP and, where the answer did not fit, over TCP.

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
_RCODES = {"NXDOMAIN": "dns_nxdomain", "SERVFAIL": "dns_servfail", "REFUSED": "dns_refused"}


@dataclass(frozen=True, slots=True)
class Question:
    """A name in ASCII, absolute, and a record type."""

    name: str
    type: str

    def message(self, *, edns: bool = True) -> dns.message.QueryMessage:
        """A fresh query with a random id. The AD bit asks to be told whether the answer was validated."""
        query = dns.message.make_query(self.name + ".", self.type, use_edns=0 if edns else False, payload=EDNS_PAYLOAD)
        query.flags |= dns.flags.AD
        return query


@dataclass(slots=True)
class Reply:
    """What one server said, and what it took.

    `query_ms` runs from just before the query that was answered was sent until just after its answer was read; an
    answer that had to be fetched again over TCP counts from the first of both, since that is what a program waits
    for. `connect_ms` is what a connection for DoT or DoH took before the query. `ignored` counts packets from the
    server's address that were no answer to us (the kernel already drops what comes from elsewhere). `canonical` is the
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
    """Put `question` to one server within the context's deadline. A server that fails is a Reply with its failure."""
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


def _over_udp(
    address: sockets.Address,
    question: Question,
    context: Context,
    clock: Callable[[], float],
    reply: Reply,
) -> dns.message.Message:
    sent: dict[int, tuple[dns.message.Message, float]] = {}
    queries = [question.message(), question.message()]
    plain = question.message(edns=False)
    with socket.socket(address.family, socket.SOCK_DGRAM) as sock:
        # connected, so that an ICMP error is reported and packets of other senders are not
        sock.connect(address.sockaddr)

        def send(query: dns.message.Message) -> None:
            wire = query.to_wire()
            reply.attempts += 1
            reply.bytes_sent += len(wire)
            at = clock()
            sock.send(wire)
            sent[query.id] = (query, at)

        resend = context.deadline.within(context.deadline.remaining() / 2)
        send(queries.pop())
        while True:
            if queries and resend.expired():
                send(queries.pop())
            patience = sockets.wait_slice(context.deadline, context.stop)
            if queries:
                patience = min(patience, max(resend.remaining(), 0.001))
            sock.settimeout(patience)
            try:
                wire = sock.recv(65535)
            except TimeoutError:
                continue
            at = clock()
            reply.bytes_received += len(wire)
            known = sent.get(int.from_bytes(wire[:2], "big")) if len(wire) >= 12 else None
            message = None if known is None else match(wire, known[0])
            if known is None or message is None:
                reply.ignored += 1
                continue
            if message.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP) and known[0].edns == 0:
                # servers and middle boxes of before EDNS; ask again the old way
                queries.clear()
                if plain.id not in sent:
                    send(plain)
                continue
            reply.query_ms = (at - known[1]) * 1000
            if message.flags & dns.flags.TC:
                reply.truncated = True
                reply.query_ms = None
                message = _over_tcp(address, known[0], context, reply)
                reply.query_ms = (clock() - known[1]) * 1000
            else:
                reply.truncated = False
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
    """The answer in `wire` to `query`; None when it is another's or cannot be read."""
    try:
        head = dns.message.from_wire(wire, question_only=True)
        if not query.is_response(head):
            return None
        return head if head.flags & dns.flags.TC else dns.message.from_wire(wire)
    except _BROKEN:
        return None


def read_answer(message: dns.message.Message, reply: Reply) -> None:
    """Fill a reply with what an answer says; an RCODE other than NOERROR and an empty answer are failures."""
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
    """The zone that an answer without records names as its source (RFC 2308); None where it names none."""
    zone = next((rrset.name for rrset in message.authority if rrset.rdtype == dns.rdatatype.SOA), None)
    return None if zone is None or message.answer else zone.to_text()[:MAX_ANSWER_CHARS]
