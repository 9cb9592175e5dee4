"""Find the speed-test endpoints at a URL: the address that answers, the paths, and whether the server is ours."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from sigprobe.measure.throughput import tcp_info
from sigprobe.measure.throughput.connection import Connection, FaultError, Life, Loop
from sigprobe.measure.throughput.server import Server, check_status
from sigprobe.net.connect_race import STAGGER_S, by_turns
from sigprobe.net.cookies import ChainCookies
from sigprobe.net.http1 import Head
from sigprobe.net.limits import Context, DataBudget, Deadline
from sigprobe.net.sockets import (
    Address,
    GetAddrInfo,
    StoppedError,
    endpoint,
    look_up,
    wait_slice,
)
from sigprobe.net.tls import client_context
from sigprobe.net.urls import redirect_target, same_host
from sigprobe.record.foreign_json import object_or_none
from sigprobe.record.host_names import ascii_hostname

CONTROL_S: Final = 10.0
"""The longest wait for anything that is not the transfer itself."""

IDLE_PROBES: Final = 3
MAX_MOVES: Final = 5
MAX_BODY: Final = 256 * 1024

LAYOUTS: Final = (("backend/", ""), ("backend/", ".php"), ("", ".php"), ("", ""))
"""Where LibreSpeed servers have their endpoints, ours first."""


@dataclass(frozen=True, slots=True)
class Found:
    """A server that can be measured against, and its round trips at rest in seconds."""

    server: Server
    idle_rtts_s: list[float]


def origin(url: str) -> str:
    """Return `scheme://host:port` of a URL, always with the port, so that two spellings of one origin compare equal."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    port = parts.port or (443 if scheme == "https" else 80)
    return f"{scheme}://{endpoint((parts.hostname or '').lower(), port)}"


def of_origin(table: Mapping[str, str], url: str) -> str | None:
    """Return the entry of a table by origin for a URL; None if its exact origin is missing."""
    wanted = origin(url)
    return next((value for key, value in table.items() if origin(key) == wanted), None)


def tls_context(url: str, context: Context) -> ssl.SSLContext | None:
    """Return verifying TLS settings for an https URL, with the collector's own CA if configured; None for http."""
    if urlsplit(url).scheme.lower() != "https":
        return None
    try:
        return client_context(of_origin(context.ca_files, url))
    except OSError as error:
        raise FaultError("tls_failed", f"CA file: {error}") from error


class _MovedError(Exception):
    """The endpoints are elsewhere on the same host: `url` is their new base."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


def find(
    url: str,
    session: str,
    context: Context,
    *,
    getaddrinfo: GetAddrInfo | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Look the host up, connect, find the endpoints, take the idle round trips. Raises FaultError, StoppedError.

    A redirect is followed within the host, such as to https or to `www.`. Cookies are sent back within this chain and
    the measurement after it: some servers set one and redirect to themselves.
    """
    cookies = ChainCookies()
    for _ in range(MAX_MOVES):
        try:
            return _find(url, session, context, cookies, getaddrinfo, clock)
        except _MovedError as moved:
            url = moved.url
    raise FaultError("redirect_limit", f"more than {MAX_MOVES} redirects")


def _find(
    url: str,
    session: str,
    context: Context,
    cookies: ChainCookies,
    getaddrinfo: GetAddrInfo | None,
    clock: Callable[[], float],
) -> Found:
    parts = urlsplit(url)
    tls = tls_context(url, context)
    try:
        host = ascii_hostname(parts.hostname or "") if ":" not in (parts.hostname or "") else parts.hostname or ""
    except ValueError as error:
        raise FaultError("name_not_found", str(error)) from error
    port = parts.port or (443 if tls else 80)
    deadline = context.deadline.within(CONTROL_S)
    lookup = (
        look_up(host, port, deadline, context.stop)
        if getaddrinfo is None
        else look_up(host, port, deadline, context.stop, getaddrinfo=getaddrinfo)
    )
    if lookup.error is not None:
        raise FaultError("name_not_found", lookup.error)
    address, first_s = race(lookup.addresses, host, deadline, context, clock)
    rtts = [first_s]
    authority = endpoint(host, port) if parts.port else (f"[{host}]" if ":" in host else host)
    server = Server(address, host, authority, "", "", tls, of_origin(context.tokens, url), cookies=cookies)
    base = parts.path if parts.path.endswith("/") else parts.path + "/"
    server = _layout(server, url, base, session, context, cookies)
    for _ in range(IDLE_PROBES - 1):
        with suppress(FaultError):
            rtts.append(race((address,), host, context.deadline.within(CONTROL_S), context, clock)[1])
    return Found(server, rtts)


def race(
    addresses: tuple[Address, ...],
    host: str,
    deadline: Deadline,
    context: Context,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Address, float]:
    """Connect to the addresses a quarter second apart; the first that answers, and its time to connect in seconds.

    A name with nine dead addresses costs two seconds so, not nine timeouts. Raises FaultError with the first
    address's fault when none answers.
    """
    loop = Loop()
    waiting = by_turns(addresses)
    won: list[tuple[Address, float]] = []
    faults: list[FaultError] = []
    next_start = clock()
    try:
        while not won:
            if waiting and (clock() >= next_start or not len(loop)):
                address = waiting.pop(0)
                _start_one(loop, address, host, won, faults, clock, context.budget)
                next_start = clock() + STAGGER_S
            elif not len(loop):
                raise faults[0]
            else:
                try:
                    slice_s = wait_slice(deadline, context.stop)
                except TimeoutError:
                    raise FaultError("timeout", "no connection") from None
                loop.turn(min(slice_s, max(0.0, next_start - clock())) if waiting else slice_s)
    finally:
        loop.close()
    return won[0]


def _start_one(
    loop: Loop,
    address: Address,
    host: str,
    won: list[tuple[Address, float]],
    faults: list[FaultError],
    clock: Callable[[], float],
    budget: DataBudget,
) -> None:
    connection = Connection(address, host)
    start = clock()

    budget.spend_wire(tcp_info.PROBE_BYTES)

    def ended(fault: FaultError | None) -> None:
        if fault is None:
            won.append((address, clock() - start))
        else:
            faults.append(fault)
        connection.close()

    loop.start(connection, connection.open(), ended)


class Client:
    """Send small requests to one server, one after the other, over one connection while it lasts."""

    def __init__(self, server: Server, context: Context) -> None:
        self._server = server
        self._context = context
        self._connection: Connection | None = None

    def get(self, server: Server, name: str, query: str = "", most_s: float = CONTROL_S) -> tuple[Head, bytes]:
        """GET an endpoint. Raises FaultError and StoppedError; any status is an answer."""
        deadline = self._context.deadline.within(most_s)
        request = server.request("GET", name, query)
        fresh = self._connection is None
        connection = self._connection or Connection(server.address, server.host, server.tls)
        self._connection = connection
        answer: list[tuple[Head, bytes]] = []
        fault = self._run(connection, _exchange(connection, request, answer, fresh=fresh), deadline)
        if fault is not None or not answer:
            self.close()
            if not fresh:
                return self.get(server, name, query, most_s)
            raise fault or FaultError("reset", "no answer")
        if not answer[0][0].keep_alive:
            self.close()
        return answer[0]

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.spend(self._context.budget)
            self._connection.close()
            self._connection = None

    def _run(self, connection: Connection, life: Life, deadline: Deadline) -> FaultError | None:
        loop = Loop()
        faults: list[FaultError | None] = []
        loop.start(connection, life, faults.append)
        try:
            while not faults:
                loop.turn(wait_slice(deadline, self._context.stop))
        except TimeoutError:
            loop.stop(connection)
            return FaultError("timeout", "no answer")
        except StoppedError:
            loop.stop(connection)
            self.close()
            raise
        finally:
            loop.close()
        return faults[0]


def _exchange(
    connection: Connection, request: bytes, answer: list[tuple[Head, bytes]], *, fresh: bool
) -> Generator[int, int, None]:
    if fresh:
        yield from connection.open()
    yield from connection.send_all(request)
    head = yield from connection.head()
    body = bytearray()
    yield from connection.body(head, memoryview(bytearray(16 * 1024)), lambda _: MAX_BODY - len(body), body)
    if (head.chunked and len(body) >= MAX_BODY) or (head.length is not None and head.length > len(body)):
        head = replace(head, keep_alive=False)
    answer.append((head, bytes(body)))


def _moved(url: str, candidate: Server, head: Head, endpoint_path: str, cookies: ChainCookies) -> str | None:
    """Return the new base of the endpoints where an answer redirects within the host; None for anything else.

    A redirect to the same place leads on where the answer's cookies change the next request.
    """
    asked = urljoin(url, f"{candidate.path}empty{candidate.suffix}")
    target = redirect_target(asked, head.status, {"Location": head.headers.get("location", "")})
    if target is None or not same_host(asked, target) or not target.endswith(endpoint_path):
        return None
    sent = cookies.header(asked)
    cookies.take(asked, head.values("Set-Cookie"), head.headers.get("date"))
    if target == asked and cookies.header(asked) == sent:
        return None
    return target.removesuffix(endpoint_path)


def _layout(server: Server, url: str, base: str, session: str, context: Context, cookies: ChainCookies) -> Server:
    client = Client(server, context)
    missing: FaultError | None = None
    try:
        for folder, suffix in LAYOUTS:
            candidate = replace(server, path=base + folder, suffix=suffix)
            head, body = client.get(candidate, "empty")
            moved = _moved(url, candidate, head, f"{folder}empty{suffix}", cookies)
            if moved is not None:
                raise _MovedError(moved)
            try:
                check_status(head)
                if body.strip():
                    raise FaultError("no_endpoint", "a page where nothing was expected")
            except FaultError as fault:
                if fault.code != "no_endpoint":
                    raise
                missing = missing or fault
                continue
            report = _report(client, candidate, session)
            return replace(candidate, ours=report is not None)
    finally:
        client.close()
    raise missing or FaultError("no_endpoint", "nothing there")


def _report(client: Client, server: Server, session: str, most_s: float = CONTROL_S) -> dict[str, Any] | None:
    try:
        head, body = client.get(server, "received", f"session={session}", most_s)
    except FaultError:
        return None
    document = object_or_none(body) if head.status == 200 else None
    return document if document is not None and document.get("session") == session else None


class Received(NamedTuple):
    """The server's report of a session: bytes, [seconds, bytes so far], whether they show no rate (see `buffered`)."""

    bytes: int
    samples: list[tuple[float, int]]
    buffered: bool


def received(server: Server, session: str, context: Context) -> Received | None:
    """Return the bytes of a session that arrived at the server and its samples; None if it does not report them."""
    client = Client(server, context)
    try:
        report = _report(client, server, session, 3.0)
    finally:
        client.close()
    if report is None or not isinstance(report.get("bytes"), int) or report["bytes"] < 0:
        return None
    try:
        samples = [(float(at_s), int(total)) for at_s, total in report.get("samples") or ()]
    except (TypeError, ValueError):
        return None
    if any(b[0] < a[0] or b[1] < a[1] for a, b in pairwise(samples)):
        return None
    return Received(report["bytes"], samples, report.get("buffered") is True)
