"""Send several requests of one check over kept connections, with one byte budget and one deadline.

The client of the kinds `web` and `video`. Bodies are counted as they crossed the wire, before any decoding. Redirects
are followed on the same host only: another host may be a login page, or cost data that was not planned.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import sigprobe
from sigprobe.net import sockets
from sigprobe.net.challenge import challenge
from sigprobe.net.cookies import ChainCookies
from sigprobe.net.http1 import MAX_HEAD_BYTES
from sigprobe.net.limits import Context, DataBudget, Deadline
from sigprobe.net.urls import MAX_REDIRECTS, check_url, origin, redirect_target, same_host, shown_url
from sigprobe.record.result import Failure

if TYPE_CHECKING:
    import requests

    from sigprobe.net.http_trace import Trace

HEAD_BYTES: Final = MAX_HEAD_BYTES
READ_BYTES: Final = 64 * 1024
DRAIN_BYTES: Final = 16 * 1024
"""Limit of what is read of a redirect's own body, so that its connection can serve the next request."""

Resolve = Callable[[str, int, Deadline, threading.Event], sockets.Lookup]


class ByteBudget(DataBudget):
    """Byte budget of one check, within that of its run. Both count what is spent."""

    __slots__ = ("_run",)

    def __init__(self, limit_bytes: int, run: DataBudget) -> None:
        super().__init__(limit_bytes)
        self._run = run

    def spend(self, count: int) -> None:
        """Count bytes here and in the run."""
        super().spend(count)
        self._run.spend(count)

    def left_bytes(self) -> int:
        """Return bytes left under the tighter of the two limits."""
        own = super().left_bytes() or 0
        run = self._run.left_bytes()
        return own if run is None else min(own, run)

    def exhausted(self) -> bool:
        """Return True when nothing is left."""
        return self.left_bytes() <= 0

    def reason(self) -> str:
        """Return the failure code of the tighter limit: `data_budget` for the run's, `data_cap` for the check's own."""
        run = self._run.left_bytes()
        return "data_budget" if run is not None and run <= (super().left_bytes() or 0) else "data_cap"


@dataclass(slots=True)
class Fetched:
    """Outcome of one request. Times are on the check's clock, in seconds; None where nothing came.

    `bytes_received` is payload as sent. `code` is None for an answer that was read to its end, whatever its status.
    `cut` is true when the body went on beyond what was allowed. `location` is a redirect that was not followed.
    """

    url: str
    started_s: float
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    bytes_received: int = 0
    first_byte_s: float | None = None
    ended_s: float | None = None
    cut: bool = False
    redirects: int = 0
    location: str | None = None
    code: str | None = None
    detail: str | None = None

    @property
    def encoding(self) -> str | None:
        """Return the content encoding the body crossed the wire in; None for none."""
        named = self.headers.get("Content-Encoding", "").strip().lower()
        return named if named not in ("", "identity") else None

    @property
    def good(self) -> bool:
        """Return whether a whole body came with a status of success."""
        return self.code is None and not self.cut and self.status is not None and 200 <= self.status < 300


class Client:
    """State shared by the connections of one check: looked-up names, TLS settings, the byte budget."""

    def __init__(
        self,
        context: Context,
        byte_budget: ByteBudget,
        *,
        accept_encoding: str,
        with_tokens: bool = False,
        resolve: Resolve = sockets.look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.context = context
        self.byte_budget = byte_budget
        self.clock = clock
        self._accept_encoding = accept_encoding
        self._with_tokens = with_tokens
        self._resolve = resolve
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], sockets.Lookup] = {}
        self._secure: dict[str | None, ssl.SSLContext] = {}

    def look_up(self, host: str, port: int, deadline: Deadline, stop: threading.Event) -> sockets.Lookup:
        """Look a name up once; later connections reuse its addresses, the one that answered first."""
        with self._lock:
            known = self._known.get((host, port))
        if known is not None:
            return known
        found = self._resolve(host, port, deadline, stop)
        if found.addresses:
            with self._lock:
                self._known[host, port] = sockets.Lookup(found.addresses)
        return found

    def prefer(self, address: sockets.Address) -> None:
        """Move an address that has answered to the front for later connections."""
        with self._lock:
            for key, known in self._known.items():
                if address in known.addresses and known.addresses[0] != address:
                    rest = (other for other in known.addresses if other != address)
                    self._known[key] = sockets.Lookup((address, *rest))

    def secure(self, url: str) -> ssl.SSLContext:
        """Return the TLS settings for a URL, read once. Raises FetchError."""
        from sigprobe.net.http_trace import secure_context

        ca_file = self.context.ca_files.get(origin(url))
        with self._lock:
            if ca_file not in self._secure:
                self._secure[ca_file] = secure_context(ca_file)
            return self._secure[ca_file]

    def headers(self, url: str, byte_range: tuple[int, int] | None) -> dict[str, str]:
        """Build the headers of a request. A collector's token goes to its own origin only, for kinds that send it."""
        said = {
            "User-Agent": f"sigprobe/{sigprobe.__version__}",
            "Accept": "*/*",
            "Accept-Encoding": self._accept_encoding,
            "Connection": "keep-alive",
        }
        if byte_range is not None:
            said["Range"] = f"bytes={byte_range[0]}-{byte_range[0] + byte_range[1] - 1}"
        token = self.context.tokens.get(origin(url)) if self._with_tokens else None
        if token is not None:
            said["Authorization"] = f"Bearer {token}"
        return said


class Connection:
    """One connection at a time, kept open between requests; for one thread. Close it, or use it in a `with`."""

    def __init__(self, client: Client) -> None:
        from sigprobe.net.http_trace import Trace, session

        self._client = client
        context = client.context
        self.trace = Trace(
            context.deadline, context.stop, client.byte_budget, 0, resolve=client.look_up, clock=client.clock
        )
        self._session = session(self.trace)
        self._cookies = ChainCookies()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
        self.trace.settle()

    def get(
        self,
        url: str,
        *,
        max_bytes: int,
        keep: bool = True,
        byte_range: tuple[int, int] | None = None,
    ) -> Fetched:
        """Fetch a URL: at most `max_bytes` of payload, kept only with `keep`; redirects within the host.

        `byte_range` is (offset, length). Raises nothing for a server that fails: `code` says how.
        """
        begun, received, followed = self._client.clock(), 0, 0
        self._cookies = ChainCookies()  # kept within this chain of redirects only
        while True:
            got = self._once(url, max_bytes, keep, byte_range)
            target = redirect_target(url, got.status, got.headers) if got.code is None else None
            received += got.bytes_received
            if target is not None:
                if followed == MAX_REDIRECTS:
                    got.code, got.detail = "redirect_limit", f"more than {MAX_REDIRECTS} redirects"
                else:
                    try:
                        check_url(target)
                        elsewhere = not same_host(url, target)
                    except ValueError as error:
                        got.code, got.detail = "bad_response", f"redirect to no usable URL: {error}"
                    else:
                        if not elsewhere:
                            url, followed = target, followed + 1
                            continue
                        got.location = target
            got.started_s, got.bytes_received, got.redirects = begun, received, followed
            return got

    def _once(self, url: str, max_bytes: int, keep: bool, byte_range: tuple[int, int] | None) -> Fetched:
        connections = len(self.trace.tried)
        got = self._request(url, max_bytes, keep, byte_range)
        if got.code == "reset" and got.first_byte_s is None and connections and len(self.trace.tried) == connections:
            # the server closed a kept connection just as the request left: a browser asks again, too
            got = self._request(url, max_bytes, keep, byte_range)
        if self.trace.address is not None and len(self.trace.tried) != connections:
            self._client.prefer(self.trace.address)
        return got

    def _request(self, url: str, max_bytes: int, keep: bool, byte_range: tuple[int, int] | None) -> Fetched:
        import http.client

        import requests
        import urllib3

        from sigprobe.net import http1, http_trace

        client, trace = self._client, self.trace
        trace.renew()
        got = Fetched(url, client.clock())
        try:
            self._allow(HEAD_BYTES)
            if urlsplit(url).scheme == "https":
                trace.context = client.secure(url)
            said = client.headers(url, byte_range)
            cookie = self._cookies.header(url)
            if cookie is not None:
                said["Cookie"] = cookie
            response = self._session.get(url, headers=said, stream=True, allow_redirects=False, timeout=None)
            with response:
                got.status, got.headers = response.status_code, response.headers
                self._cookies.take(url, response.raw.headers.getlist("Set-Cookie"), got.headers.get("Date"))
                onwards = redirect_target(url, got.status, got.headers) is not None
                self._read(response, got, DRAIN_BYTES if onwards else max_bytes, keep)
        except http_trace.FetchError as error:
            got.code, got.detail = error.code, error.detail
        except http_trace.LimitError:
            got.code, got.detail = "bad_response", f"no end of the headers within {HEAD_BYTES} bytes"
            if client.byte_budget.exhausted():
                got.code, got.detail = client.byte_budget.reason(), "the data allowed ended in the headers"
        except http1.ProtocolError as error:
            got.code, got.detail = "bad_response", str(error)
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
            failed = http_trace.protocol_error(error)
            got.code, got.detail = failed.code, failed.detail
        except ValueError as error:  # what the URL or a header turned out to be
            got.code, got.detail = "bad_response", type(error).__name__
        got.ended_s = client.clock()
        if trace.ttfb_ms is not None:
            got.first_byte_s = trace.first_byte_s
        return got

    def _read(self, response: requests.Response, got: Fetched, limit: int, keep: bool) -> None:
        """Read the body up to its limit, one piece after the other as long as the byte_budget allows."""
        from sigprobe.net.http_trace import LimitError

        kept = bytearray()
        try:
            while got.bytes_received <= limit:  # one byte more tells a body that ends there from one that goes on
                self._allow(READ_BYTES + HEAD_BYTES)
                wanted = min(READ_BYTES, limit + 1 - got.bytes_received)
                piece = response.raw.read1(wanted, decode_content=False)
                if not piece:
                    break
                got.bytes_received += len(piece)
                if keep:
                    kept += piece
            got.cut = got.bytes_received > limit
        except LimitError:
            got.cut = True
        finally:
            got.body = bytes(kept[:limit])

    def _allow(self, count: int) -> None:
        trace = self.trace
        trace.max_bytes = trace.bytes_received + min(count, self._client.byte_budget.left_bytes())


# --- numbers that both kinds have ---------------------------------------------------------------------------


def fill_first(data: dict[str, Any], first: Fetched, trace: Trace) -> None:
    """Copy the path facts of a check's first request into its data, under the names of kind `http`."""
    where = first.location
    other = None if where is None else urlsplit(where).hostname
    data.update(trace.way())
    data.update(
        status_code=first.status,
        first_byte_ms=since(first.started_s, first.first_byte_s),
        location=None if where is None else shown_url(where)[:500],
        redirect_host=other,
        redirects_followed=first.redirects if first.status is not None else None,
    )


def failure_of(got: Fetched, byte_budget: ByteBudget) -> Failure | None:
    """Return the failure of one answer; None for a whole body with a status of success."""
    if got.code is not None:
        return Failure(got.code, got.detail)
    if got.location is not None:
        return Failure("redirect_elsewhere", f"to {urlsplit(got.location).hostname}")
    mark = challenge(got.headers)
    if mark is not None:
        return Failure("http_challenge", f"status {got.status}, {mark}")
    if got.status is None or not 200 <= got.status < 300:
        return Failure("http_status", f"status {got.status}")
    if got.cut:
        return Failure(byte_budget.reason(), f"cut after {got.bytes_received} bytes")
    return None


def fill_totals(data: dict[str, Any], connections: Sequence[Connection], payload: int) -> None:
    """Sum the bytes of all connections of a check; `payload` is the part that was bodies."""
    data["connections"] = sum(1 for one in connections if one.trace.address is not None)
    data["bytes_received"] = payload
    data["bytes_sent"] = sum(one.trace.bytes_sent for one in connections)
    data["headers_bytes"] = sum(one.trace.bytes_received for one in connections) - payload


def since(start_s: float, end_s: float | None) -> float | None:
    """Return milliseconds from one moment to another; None when that one never came."""
    return None if end_s is None else round((end_s - start_s) * 1000, 3)
