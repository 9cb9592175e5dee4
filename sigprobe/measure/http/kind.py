"""Measurement kind `http`: fetch one URL over a fresh connection, and time each phase of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import sigprobe
from sigprobe.measure.http.data import HttpData
from sigprobe.measure.http.options import Options
from sigprobe.measure.kind import Kind, Measured
from sigprobe.net import http_body as body
from sigprobe.net import sockets
from sigprobe.net.challenge import challenge
from sigprobe.net.cookies import ChainCookies
from sigprobe.net.http1 import MAX_HEAD_BYTES
from sigprobe.net.limits import Context, Deadline, rounded
from sigprobe.net.urls import MAX_REDIRECTS, check_url, origin, redirect_target, same_host, shown_url
from sigprobe.record.result import Failure, Outcome

if TYPE_CHECKING:
    import requests
    from urllib3 import HTTPHeaderDict

    from sigprobe.net.http_trace import FetchError, Trace

HEAD_BYTES: Final = MAX_HEAD_BYTES
FRAMING_BYTES: Final = 256 * 1024
"""Limit of what a body may take beyond its payload: chunk sizes, trailers."""
READ_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class _Answer:
    """Data of one request. Everything is None until it is known."""

    url: str
    trace: Trace
    status: int | None = None
    http_version: str | None = None
    headers: Mapping[str, str] | None = None
    raw_fields: HTTPHeaderDict | None = None
    body: bytes | None = None
    decoded: bytes | None = None
    cut: bool | None = None
    head_bytes: int | None = None
    error: FetchError | None = None

    def location(self) -> str | None:
        """Return where a redirect points, as an absolute URL without userinfo and fragment; None if nowhere."""
        return redirect_target(self.url, self.status, self.headers)


def measure(
    options: Options,
    context: Context,
    *,
    resolve: Callable[[str, int, Deadline, threading.Event], sockets.Lookup] = sockets.look_up,
    clock: Callable[[], float] = time.monotonic,
) -> Measured:
    """Fetch the URL once. A server that fails in any way is a `failed` result with the numbers known so far.

    No token and no header of the environment is sent, and no proxy is used. Cookies are sent back within the chain of
    redirects that set them, and dropped at its end.
    """
    if context.budget.exhausted():
        return Measured(Outcome.SKIPPED, _data(None, 0, None, None), Failure("data_budget"))
    from sigprobe.net.http_trace import FetchError, Trace

    url, followed = options.url, 0
    cookies = ChainCookies()
    total_ms = 0.0
    while True:
        trace = Trace(
            context.deadline,
            context.stop,
            context.budget,
            HEAD_BYTES if (left := context.budget.left_bytes()) is None else min(HEAD_BYTES, left),
            resolve=resolve,
            clock=clock,
        )
        answer = _fetch(url, options, context, trace, cookies)
        total_ms += trace.total_ms() or 0
        target = answer.location() if options.follow_redirects and answer.error is None else None
        if target is None:
            break
        try:
            check_url(target)
        except ValueError as error:
            answer.error = FetchError("bad_response", f"redirect to no usable URL: {error}")
            break
        if followed == MAX_REDIRECTS:
            answer.error = FetchError("redirect_limit", f"more than {MAX_REDIRECTS} redirects")
            break
        if answer.raw_fields is not None:
            cookies.take(url, answer.raw_fields.getlist("Set-Cookie"), answer.raw_fields.get("Date"))
        url, followed = target, followed + 1
    found: bool | None = None
    if answer.body is not None and answer.headers is not None:
        answer.decoded = body.decoded(answer.body, answer.headers.get("Content-Encoding", ""))
        if options.expect_text is not None and answer.error is None:
            # bytes that are not what their header says may still be plain text
            content = answer.body if answer.decoded is None else answer.decoded
            content_type = answer.headers.get("Content-Type", "")
            found = options.expect_text in body.text_of(content, content_type)
            if not found and (answer.decoded is None or not body.is_text(content, content_type)):
                found = None
    data = _data(answer, followed, total_ms if answer.error is None else None, found)
    used = str(answer.trace.address) if answer.trace.address else None
    if answer.error is not None:
        left_out = answer.error.code in ("interrupted", "data_budget")
        outcome = Outcome.SKIPPED if left_out else Outcome.FAILED
        return Measured(outcome, data, Failure(answer.error.code, answer.error.detail), used)
    failure = _judge(options, answer, found)
    if failure is None:
        return Measured(Outcome.OK, data, None, used)
    # the service has answered, only not in a way that a check can judge
    unjudged = failure.code in ("http_challenge", "http_unreadable")
    return Measured(Outcome.DEGRADED if unjudged else Outcome.FAILED, data, failure, used)


def _fetch(url: str, options: Options, context: Context, trace: Trace, cookies: ChainCookies) -> _Answer:
    """Make one request and read its answer within the limits."""
    import http.client

    import requests
    import urllib3

    from sigprobe.net import http1, http_trace

    answer = _Answer(url, trace)
    limit = options.max_kb * 1024
    headers = {
        "User-Agent": f"sigprobe/{sigprobe.__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    cookie = cookies.header(url)
    if cookie is not None:
        headers["Cookie"] = cookie
    try:
        if url.startswith("https:"):
            trace.context = http_trace.secure_context(context.ca_files.get(origin(url)))
        with http_trace.session(trace) as session:
            response = session.request(
                options.method, url, headers=headers, stream=True, allow_redirects=False, timeout=None
            )
            with response:
                answer.status = response.status_code
                answer.http_version = {10: "1.0", 11: "1.1"}.get(response.raw.version)
                answer.headers, answer.raw_fields = response.headers, response.raw.headers
                if answer.location() is None or not options.follow_redirects:
                    _read_body(response, answer, limit)
    except http_trace.FetchError as error:
        answer.error = error
    except http_trace.LimitError:
        answer.error = http_trace.FetchError("bad_response", f"no end of the headers within {HEAD_BYTES} bytes")
        if context.budget.exhausted():
            answer.error = http_trace.FetchError("data_budget", "the data budget ended in the headers")
    except http1.ProtocolError as error:
        answer.error = http_trace.FetchError("bad_response", str(error))
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
        answer.error = http_trace.protocol_error(error)
    except ValueError as error:  # what the URL or a header turned out to be
        answer.error = http_trace.FetchError("bad_response", type(error).__name__)
    finally:
        trace.settle()
    return answer


def _read_body(response: requests.Response, answer: _Answer, limit: int) -> None:
    """Read the body up to its limit. Sets `body` and `cut`, also when reading it fails in the middle."""
    from sigprobe.net.http_trace import LimitError

    trace = answer.trace
    room = limit + FRAMING_BYTES
    left = trace.budget.left_bytes()
    trace.max_bytes = trace.bytes_received + (room if left is None else min(room, left))
    content = bytearray()
    answer.cut = False
    try:
        while len(content) <= limit:  # one byte more tells a body that ends there from one that goes on
            piece = response.raw.read1(min(READ_BYTES, limit + 1 - len(content)), decode_content=False)
            if not piece:
                break
            content += piece
        answer.cut = len(content) > limit
    except LimitError:
        answer.cut = True
    finally:
        answer.body = bytes(content[:limit])
        answer.head_bytes = trace.bytes_received - len(content)


def _judge(options: Options, answer: _Answer, found: bool | None) -> Failure | None:
    status = answer.status
    assert status is not None
    wanted = options.expect_status
    good = range(200, 400) if wanted is None else wanted if isinstance(wanted, list) else [wanted]
    mark = challenge(answer.headers)
    if mark is not None and (wanted is None or status not in good):
        return Failure("http_challenge", f"status {status}, {mark}")
    if status not in good:
        return Failure("http_status", f"status {status}")
    if found is None and options.expect_text is not None:
        assert answer.headers is not None
        return Failure("http_unreadable", f"Content-Encoding {answer.headers.get('Content-Encoding', 'missing')[:40]}")
    if found is False:
        part = f"the first {len(answer.body or b'')} bytes of the body" if answer.cut else "the body"
        return Failure("http_text", f"the expected text is not in {part}")
    return None


def _data(answer: _Answer | None, followed: int, total_ms: float | None, found: bool | None) -> dict[str, Any]:
    data: dict[str, Any] = {
        **dict.fromkeys(HttpData.__annotations__),
        "addresses_tried": [],
        "total_ms": rounded(total_ms),
        "text_found": found,
    }
    if answer is None:
        return data
    trace, location = answer.trace, answer.location()
    elsewhere = location is not None and not same_host(answer.url, location)
    received = None if trace.ttfb_ms is None else trace.bytes_received
    data.update(trace.way())
    data.update(
        status_code=answer.status,
        bytes_received=None if answer.body is None else len(answer.body),
        bytes_sent=None if trace.send_ms is None else trace.bytes_sent,
        headers_bytes=received if answer.head_bytes is None else answer.head_bytes,
        body_bytes=None if answer.decoded is None else len(answer.decoded),
        body_cut=answer.cut,
        http_version=answer.http_version,
        cert_issuer=trace.cert_issuer,
        location=None if location is None else shown_url(location)[:500],
        redirect_host=urlsplit(location).hostname if elsewhere and location is not None else None,
        redirects_followed=followed,
    )
    return data


KIND = Kind("http", 1, Options, HttpData, measure)
