"""The speed-test endpoints: LibreSpeed's protocol, plus the bytes that really arrived, a video, and the guards.

Any LibreSpeed client can use them and our probe measures against them. What keeps them from harming the
collector's first job, taking results in: a token where the world can reach them, few connections and a daily
allowance per address, a global cap, and a turn for everybody else after each chunk.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from sigprobe.collector.access.token_check import bearer_secret
from sigprobe.collector.speedtest import video
from sigprobe.collector.speedtest.books import Books, LocalBooks
from sigprobe.collector.speedtest.lent_connection import KEY, Loan
from sigprobe.collector.speedtest.limits import Allowance, RefusedError
from sigprobe.collector.web.client_address import ForwardedHeader, client_of, group_of
from sigprobe.collector.web.problems import described
from sigprobe.protocol import batches
from sigprobe.record.addresses import is_loopback

MIB: Final = 1024 * 1024
DEFAULT_CHUNKS: Final = 4
MAX_CHUNKS: Final = 100
RETRY_LATER_S: Final = 3600
STALL_S: Final = 30.0
"""A client that takes or sends nothing for so long loses its place."""

LEAST_BPS: Final = 4096.0
"""So does one whose body comes more slowly on average: a fifth of the slowest link that probes must work over."""

BODY_S: Final = 150.0
"""No body takes longer: a test lasts at most 120 s each way."""

CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Encoding, Content-Type, Authorization",
    "Access-Control-Max-Age": "600",
}
UNCACHED: Final = {"Cache-Control": "no-store, no-transform", "Pragma": "no-cache"}

_PROBLEMS: Final = described(
    (400, "A parameter is not valid"),
    (401, "A token is wanted here"),
    (403, "A token may not pass here without TLS"),
    (429, "This token or address has had its share: see Retry-After"),
    (503, "All places are taken: see Retry-After"),
)
_AS_FILE: Final = {
    "Content-Type": "application/octet-stream",
    "Content-Description": "File Transfer",
    "Content-Disposition": "attachment; filename=random.dat",
    "Content-Transfer-Encoding": "binary",
}
_SESSION: Final = {
    "name": "session",
    "in": "query",
    "schema": {"type": "string", "format": "uuid"},
    "description": "the client's own name for its upload",
}
_PARAMETERS: Final[dict[str, list[dict[str, Any]]]] = {
    "garbage": [
        {
            "name": "ckSize",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": MAX_CHUNKS, "default": DEFAULT_CHUNKS},
            "description": "MiB to send; what is beyond the limits counts as the limit",
        },
        {
            "name": "bytes",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": MAX_CHUNKS * MIB},
            "description": "bytes to send, in place of ckSize; LibreSpeed servers ignore it",
        },
    ],
    "empty": [_SESSION],
    "received": [{**_SESSION, "required": True}],
}
_ACCOUNT: Final = "sigprobe.account"
_UUID: Final = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


@dataclass(frozen=True)
class ThroughputSettings:
    """Who may use the endpoints and how much. `daily_mb` is per token, else per address, and day; 0 for none at all."""

    mode: Literal["open", "token", "off"]
    find_account: Callable[[Request, str], Awaitable[str | None]]
    """The account of a token, or None for one that is not in use."""
    daily_mb: int = 1000
    behind_proxy: bool = False
    forwarded_header: ForwardedHeader = "x-forwarded-for"
    plain_public: bool = False
    """Others can read what passes, so no token may."""


def router(
    settings: ThroughputSettings,
    *,
    address_of: Callable[[Request], str] | None = None,
    clock: Callable[[], float] = time.monotonic,
    books: Books | None = None,
) -> APIRouter:
    """Return the routes of `/backend/…`; none at all when the mode is `off`.

    `address_of` names the client that limits go by. `books` are those that this process shares with others, or its own
    where none are given. Refusals are problem+json: 401 without a valid token, 429 over
    an address's own limit, 503 over the global one, the last two with `Retry-After`.
    """
    routes = APIRouter(prefix="/backend", tags=["throughput"])
    if settings.mode == "off":
        return routes
    name_client = address_of or (
        lambda r: client_of(r, behind_proxy=settings.behind_proxy, header=settings.forwarded_header).address
    )
    kept: Books = books or LocalBooks(daily_bytes=settings.daily_mb * 1_000_000, clock=clock)
    # one block for everybody: random, so that nothing on the way can compress it
    block = os.urandom(MIB)

    async def admit(request: Request) -> Response | None:
        return await _refusal(request, settings)

    async def blocks(request: Request, size: int, unit: int, headers: Mapping[str, str]) -> Response:
        allowance = await _enter(request, kept, settings, name_client(request), size, unit)
        return _Garbage(block, size, allowance, unit=unit, headers=headers, leave=kept.leave)

    async def garbage(request: Request) -> Response:
        """Random bytes: `bytes`, else `ckSize` MiB, 4 unless told, at most 100 MiB.

        Of MiB there are fewer when the day's allowance is nearly used.
        """
        refusal = await admit(request)
        if refusal is not None:
            return refusal
        try:
            size = _exact_size(request)
            return await blocks(request, size or _chunk_count(request) * MIB, size or MIB, _AS_FILE)
        except RefusedError as refused:
            return _refused(refused)

    async def empty(request: Request) -> Response:
        """Read and discard what is posted, counting it for `session` as it arrives."""
        refusal = await admit(request)
        if refusal is not None:
            return refusal
        if request.method == "POST":
            session = _session(request)
            try:
                wanted = _length(request) or MAX_CHUNKS * MIB
                allowance = await _enter(request, kept, settings, name_client(request), wanted, session=session)
            except RefusedError as refused:
                return _refused(refused)
            return await _take(request, allowance, kept.counter(session), lambda: kept.leave(allowance, session))
        return Response(headers={**CORS, **UNCACHED, "Connection": "keep-alive"})

    async def get_ip(request: Request) -> Response:
        """The client's address in the form that LibreSpeed's clients read; `isp` and `distance` change nothing."""
        address = name_client(request)
        return JSONResponse({"processedString": address, "rawIspInfo": ""}, headers={**CORS, **UNCACHED})

    async def received(request: Request) -> Response:
        """How many bytes of `session` arrived, and when: `samples` are [seconds since the first byte, bytes so far].

        `buffered` is true where bodies came whole and at once, as from a proxy that keeps them until their end.
        """
        refusal = await admit(request)
        if refusal is not None:
            return refusal
        session = _session(request)
        if session is None:
            return _problem(400, "session must be a UUID")
        try:
            report = await kept.report(session)
        except RefusedError as refused:
            return _refused(refused)
        return JSONResponse({"session": session, **report}, headers={**CORS, **UNCACHED})

    async def segment(request: Request, size: int) -> Response:
        """Return a video segment of exactly so many random bytes, or a refusal: half a segment would be of no use."""
        try:
            return await blocks(request, size, size, {"Content-Type": video.SEGMENT_TYPE})
        except RefusedError as refused:
            return _refused(refused)

    async def preflight() -> Response:
        return Response(status_code=204, headers=CORS)

    endpoints: tuple[tuple[str, Callable[[Request], Awaitable[Response]], list[str]], ...] = (
        ("garbage", garbage, ["GET"]),
        ("empty", empty, ["GET", "POST"]),
        ("getIP", get_ip, ["GET"]),
        ("received", received, ["GET"]),
    )
    for name, endpoint, methods in endpoints:
        for path in (f"/{name}", f"/{name}.php"):
            shown = not path.endswith(".php")
            for method in methods:  # one route each: two methods on one would share an operation id
                routes.add_api_route(
                    path,
                    endpoint,
                    methods=[method],
                    include_in_schema=shown,
                    response_class=Response,
                    responses=_PROBLEMS,
                    openapi_extra={"parameters": _PARAMETERS.get(name, [])},
                )
            routes.add_api_route(path, preflight, methods=["OPTIONS"], include_in_schema=False)
    video.add_routes(routes, admit, segment, problem=_problem, headers={**CORS, **UNCACHED}, responses=_PROBLEMS)
    for path in video.PATHS:
        routes.add_api_route(path, preflight, methods=["OPTIONS"], include_in_schema=False)
    return routes


async def _refusal(request: Request, settings: ThroughputSettings) -> Response | None:
    """Return why this request may not use the speed test; None when it may. Its token's account stays in the scope."""
    secret = bearer_secret(request.headers.get("authorization"))
    if secret is not None and settings.plain_public:
        return _problem(403, "a token may not pass here without TLS")
    account = None if secret is None else await settings.find_account(request, secret)
    # limits go by token where there is one: behind one address of a carrier there are many clients
    request.scope[_ACCOUNT] = account
    if account is not None or (settings.mode == "open" and secret is None):
        return None
    return _problem(401, "a valid token is needed", {"WWW-Authenticate": "Bearer"})


async def _enter(
    request: Request,
    books: Books,
    settings: ThroughputSettings,
    address: str,
    wanted: int,
    unit: int = 1,
    session: str | None = None,
) -> Allowance:
    """Reserve a place for a stream: in the name of its token, else of its address; loopback has no limits."""
    account = request.scope.get(_ACCOUNT)
    client = group_of(address) if account is None else f"token {account}"
    free = account is None and not settings.behind_proxy and is_loopback(address)
    return await books.enter(client, free=free, wanted=wanted, unit=unit, session=session)


class _Garbage(Response):
    """The block over and over, straight to the server: a generator in between costs a good part of the rate.

    `size` bytes in all, as many whole `unit`s as the day's allowance has left. Raises RefusedError for none.
    """

    media_type = "application/octet-stream"

    def __init__(
        self,
        block: bytes,
        size: int,
        allowance: Allowance,
        *,
        unit: int,
        headers: Mapping[str, str],
        leave: Callable[[Allowance], Awaitable[None]],
    ) -> None:
        super().__init__(headers={**CORS, **UNCACHED, **headers}, media_type=headers.get("Content-Type"))
        self._block = memoryview(block)
        self._allowance = allowance
        self._leave = leave
        booked = allowance.reserve(size)
        self._size = booked // unit * unit
        allowance.refund(booked - self._size)
        if self._size == 0:
            allowance.leave()
            raise RefusedError(429, "this client has used its data for the day", RETRY_LATER_S)
        self.headers["Content-Length"] = str(self._size)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the announced blocks; whoever leaves early, or reads nothing for `STALL_S`, ends it."""
        gone = asyncio.ensure_future(_disconnected(receive))
        sent = 0
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while sent < self._size and not gone.done():
                piece = self._block[: self._size - sent]
                async with asyncio.timeout(STALL_S):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                sent += len(piece)
                # a fast client would never make the server wait: everybody else gets a turn here
                await asyncio.sleep(0)
            if sent == self._size:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            return
        finally:
            gone.cancel()
            self._allowance.refund(self._size - sent)
            await self._leave(self._allowance)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _take(
    request: Request,
    allowance: Allowance,
    count: Callable[[int], None] | None,
    leave: Callable[[], Awaitable[None]],
) -> Response:
    """Read a body in the fastest way this server has, and answer."""
    loan = _lend(request, allowance, count)
    response = Response(headers={**CORS, **UNCACHED, "Connection": "keep-alive"})
    try:
        async with asyncio.timeout(BODY_S):
            await (loan.finished(STALL_S, LEAST_BPS) if loan else _discard(request, allowance, count))
    except RefusedError as refused:
        response = _refused(refused)
    except TimeoutError:
        response = _refused(RefusedError(408, "the body came too slowly", 1))
    finally:
        await leave()
    if loan is not None:
        # a lent connection is answered at once; what is then sent the usual way goes nowhere
        loan.answer(response)
    return response


def _lend(request: Request, allowance: Allowance, count: Callable[[int], None] | None) -> Loan | None:
    """Take the connection over for the body, where the server can lend it and the length is known."""
    lend = request.scope.get(KEY)
    length = _length(request)
    if lend is None or length is None:
        return None

    def arrived(size: int) -> None:
        if count is not None:
            count(size)
        allowance.spend(size)

    loan: Loan | None = lend(length, arrived)
    return loan


async def _discard(request: Request, allowance: Allowance, count: Callable[[int], None] | None) -> None:
    """Read the body to its end, or to where the client left: what arrived until then counts all the same."""
    body = request.stream()
    began, total = time.monotonic(), 0
    with suppress(ClientDisconnect, StopAsyncIteration):
        while True:
            try:
                async with asyncio.timeout(STALL_S):
                    chunk = await anext(body)
            except TimeoutError:
                raise RefusedError(408, "the body came too slowly", 1) from None
            total += len(chunk)
            if (passed := time.monotonic() - began) > STALL_S and total * 8 < LEAST_BPS * passed:
                raise RefusedError(408, "the body came too slowly", 1)
            if count is not None and chunk:
                count(len(chunk))
            allowance.spend(len(chunk))
            await asyncio.sleep(0)


def _chunk_count(request: Request) -> int:
    # LibreSpeed takes any text here: what is no number is the default, what is too much is the most
    text = request.query_params.get("ckSize", "")
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) == 0:
        return DEFAULT_CHUNKS
    return min(int(text), MAX_CHUNKS)


def _exact_size(request: Request) -> int:
    """Return the number of bytes asked for; 0 where only MiB are."""
    text = request.query_params.get("bytes", "")
    return min(int(text), MAX_CHUNKS * MIB) if re.fullmatch(r"[0-9]{1,9}", text) else 0


def _length(request: Request) -> int | None:
    """Return the announced length of the body; None where there is none."""
    text = request.headers.get("content-length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def _session(request: Request) -> str | None:
    session = request.query_params.get("session", "").lower()
    return session if _UUID.match(session) else None


def _refused(refused: RefusedError) -> Response:
    return _problem(refused.status, refused.title, {"Retry-After": str(refused.retry_after_s)})


def _problem(status: int, title: str, headers: dict[str, str] | None = None) -> Response:
    return Response(
        batches.problem_body(status, title),
        status,
        {**CORS, **UNCACHED, **(headers or {})},
        media_type=batches.PROBLEM_TYPE,
    )
