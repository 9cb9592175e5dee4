"""Send one DNS query to one resolver over TLS: DoT (RFC 7858) or DoH (RFC 8484). The certificate is always verified.

The connection is made first and timed apart (`connect_ms`); `query_ms` runs from the send of the query to its answer,
so that it can be held beside a query over UDP. Imported only by a check that runs.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import dns.message
import requests
import urllib3

from sigprobe.measure.dns.query import EDNS_FAILS, PLAIN_WAIT_S, Question, Reply, match, read_answer
from sigprobe.net import http1, http_trace, sockets
from sigprobe.net.challenge import challenge
from sigprobe.net.limits import Context
from sigprobe.net.urls import origin, shown_url
from sigprobe.record.result import Failure

DNS_MESSAGE = "application/dns-message"
MAX_ANSWER_BYTES = 65_535

_Exchange = Callable[[dns.message.Message, Context], dns.message.Message]
_BROKEN = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    http1.ProtocolError,
    OSError,
    ValueError,
)


def ask_tls(
    host: str, port: int, name: str | None, question: Question, context: Context, clock: Callable[[], float]
) -> Reply:
    """Ask over DoT. The certificate must be for `name`, or, without one, for the address itself."""
    reply = Reply(sockets.endpoint(host, port), protocol="dot")

    def exchange(query: dns.message.Message, context: Context) -> dns.message.Message:
        trace = _trace(context, clock, f"tls://{sockets.endpoint(host, port)}")
        return _over_tls(trace, (host, port), name or host, query, clock, reply)

    return _guarded(reply, question, context, exchange)


def ask_https(url: str, question: Question, context: Context, clock: Callable[[], float]) -> Reply:
    """Ask over DoH by POST. A status other than 200, or another media type, is no answer."""
    reply = Reply(shown_url(url), protocol="doh")
    return _guarded(reply, question, context, lambda query, context: _over_https(url, query, context, clock, reply))


def _guarded(reply: Reply, question: Question, context: Context, exchange: _Exchange) -> Reply:
    """Ask, once more without EDNS where that may help; an exception becomes the reply's failure."""
    try:
        message = exchange(question.message(), context)
        reply.edns = True
        if message.rcode() in EDNS_FAILS:
            message = _without_edns(message, reply, question, context, exchange)
        read_answer(message, reply)
    except http_trace.FetchError as error:
        reply.stopped = error.code == "interrupted"
        code = "dns_timeout" if error.code == "timeout" else error.code
        reply.failure = Failure(code, error.detail)
    except http_trace.LimitError:
        reply.failure = Failure("bad_response", "the answer is too long")
    except EOFError:
        reply.failure = Failure("reset", f"closed in the middle of the answer over {reply.protocol}")
    except http1.ProtocolError as error:
        reply.failure = Failure("bad_response", str(error))
    except _BROKEN as error:
        reply.failure = Failure("bad_response", f"{type(error).__name__} over {reply.protocol}")
    return reply


def _without_edns(
    first: dns.message.Message, reply: Reply, question: Question, context: Context, exchange: _Exchange
) -> dns.message.Message:
    """Ask once more without EDNS, as over UDP; return the first answer where that gets none, or the same error."""
    times = reply.connect_ms, reply.query_ms
    wait_s = max(PLAIN_WAIT_S, 5 * sum(ms for ms in times if ms is not None) / 1000)
    plain: dns.message.Message | None = None
    try:
        plain = exchange(question.message(edns=False), replace(context, deadline=context.deadline.within(wait_s)))
    except http_trace.FetchError as error:
        if error.code == "interrupted":
            raise
    except (http_trace.LimitError, EOFError, *_BROKEN):
        pass  # the first answer stays
    if plain is not None and plain.rcode() != first.rcode():
        reply.edns = False
        return plain
    reply.connect_ms, reply.query_ms = times
    return first


def _trace(context: Context, clock: Callable[[], float], place: str) -> http_trace.Trace:
    limit = MAX_ANSWER_BYTES + http1.MAX_HEAD_BYTES
    trace = http_trace.Trace(context.deadline, context.stop, context.budget, limit, clock=clock)
    trace.context = http_trace.secure_context(context.ca_files.get(place))
    return trace


def _over_tls(
    trace: http_trace.Trace,
    place: tuple[str, int],
    name: str,
    query: dns.message.Message,
    clock: Callable[[], float],
    reply: Reply,
) -> dns.message.Message:
    wire = query.to_wire()
    begun = clock()
    plain = trace.open(*place)
    try:
        tls = trace.secure(plain, name)
    except BaseException:
        plain.close()
        raise
    with tls:
        reply.connect_ms = (clock() - begun) * 1000
        sent = clock()
        reply.attempts += 1
        try:
            # a server that has closed may have said why: the reads below raise that
            with suppress(BrokenPipeError, ConnectionResetError):
                tls.sendall(len(wire).to_bytes(2, "big") + wire)
            while True:
                length = int.from_bytes(_exactly(tls, 2), "big")
                message = match(_exactly(tls, length), query)
                if message is not None:
                    break
                reply.ignored += 1
        finally:
            _count(trace, reply)
        reply.query_ms = (clock() - sent) * 1000
    reply.truncated = False
    return message


def _count(trace: http_trace.Trace, reply: Reply) -> None:
    reply.bytes_sent += trace.bytes_sent
    reply.bytes_received += trace.bytes_received


def _exactly(tls: ssl.SSLSocket, count: int) -> bytes:
    data = bytearray(count)
    view = memoryview(data)
    got = 0
    while got < count:
        piece = tls.recv_into(view[got:])
        if not piece:
            raise EOFError
        got += piece
    return bytes(data)


def _over_https(
    url: str, query: dns.message.Message, context: Context, clock: Callable[[], float], reply: Reply
) -> dns.message.Message:
    trace = _trace(context, clock, origin(url))
    query.id = 0  # RFC 8484: so that caches may share the answer
    headers = {"Content-Type": DNS_MESSAGE, "Accept": DNS_MESSAGE, "Connection": "close"}
    reply.attempts += 1
    try:
        with (
            http_trace.session(trace) as session,
            session.post(
                url, data=query.to_wire(), headers=headers, stream=True, allow_redirects=False, timeout=None
            ) as response,
        ):
            content = bytearray()
            while len(content) <= MAX_ANSWER_BYTES:
                piece = response.raw.read1(MAX_ANSWER_BYTES + 1 - len(content), decode_content=False)
                if not piece:
                    break
                content += piece
    finally:
        _count(trace, reply)
        parts = (trace.dns_ms, trace.tcp_ms, trace.tls_ms)
        if trace.tls_ms is not None:
            reply.connect_ms = sum(part for part in parts if part is not None)
    media = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if response.status_code != 200 or media != DNS_MESSAGE:
        mark = challenge(response.headers)
        if mark is not None:
            raise http_trace.FetchError("http_challenge", f"status {response.status_code}, {mark}")
        raise http_trace.FetchError("bad_response", f"status {response.status_code}, {media or 'no media type'}")
    message = match(bytes(content), query)
    if message is None:
        raise http_trace.FetchError("bad_response", "the body is no answer to the query")
    if trace.send_ms is not None and trace.ttfb_ms is not None:
        reply.query_ms = trace.send_ms + trace.ttfb_ms
    reply.truncated = False
    return message
