"""Require a token or a session: the dependencies that protect every route.

The app depends on `require_reader`, so a new route is closed unless its path is in `OPEN`. Each path there says why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, cast

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection, Request

from sigprobe.collector.access import queries
from sigprobe.collector.access.queries import ADMIN, Token
from sigprobe.collector.access.throttle import WrongTries
from sigprobe.collector.access.token_check import TokenCheck, bearer_secret
from sigprobe.collector.access.token_lookups import TokenLookups
from sigprobe.collector.web.problems import DatabaseSilentError, ProblemError
from sigprobe.collector.web.state import State, client, state_of
from sigprobe.collector.web.templates_env import SESSION_COOKIE
from sigprobe.collector.web.threads import TOKEN_S, in_thread

log = logging.getLogger(__name__)

OPEN: Final = {
    "/healthz": "load balancers ask it, and it holds nothing",
    "/readyz": "load balancers ask it, and it holds nothing",
    "/metrics": "it checks the token itself: loopback needs none",
    "/openapi.json": "the description of the interface",
    "/login": "the way in",
    "/logout": "the way out",
    "/static": "style sheet, script and icon",
    "/v1/batches": "it checks the probe's token itself, after it has found room",
    "/backend/": "speed tests have their own rule, see --throughput",
}
"""Paths that need no reader. One that ends with `/` holds for all paths below it."""


@dataclass(slots=True)
class Access:
    """Tokens and throttles of one process."""

    tokens: TokenCheck
    wrong: WrongTries
    refused: Counter
    threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(4))
    slow_threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    """Where clients wait that have sent many wrong tokens; the others have `lookups`."""

    lookups: TokenLookups = field(init=False)

    def __post_init__(self) -> None:
        """Share the threads."""
        self.lookups = TokenLookups(self.tokens, self.threads)


class LoginNeededError(Exception):
    """The reader must sign in first."""


def install(app: FastAPI, state: State) -> None:
    """Give the app its access part."""
    app.state.access = Access(
        TokenCheck(state.engine),
        WrongTries(),
        Counter("sigprobe_tokens_refused", "Requests without a token good for them.", registry=state.metrics.registry),
    )


def access_of(connection: HTTPConnection) -> Access:
    """Return the access part of the app that a request came to."""
    return cast(Access, connection.app.state.access)


async def find_token(request: Request, secret: str) -> Token | None:
    """The token in use with this secret, or None. A right token is found, whatever came from its address before."""
    access = access_of(request)
    token = access.tokens.remembered(secret)
    if token is not None:
        return token
    if access.wrong.wait_s(client(request).group) is None:
        return await access.lookups.find(secret)
    return await in_thread(access.tokens.find, secret, limiter=access.slow_threads, deadline_s=TOKEN_S)


async def note_wrong(request: Request, group: str) -> None:
    """Count a wrong secret, with the other processes of a PostgreSQL.

    A group that is throttled already is counted here alone, so that a flood does not reach the database.
    """
    access, engine = access_of(request), state_of(request).engine
    throttled = access.wrong.wait_s(group) is not None
    access.wrong.note(group)
    if throttled or engine.dialect.name == "sqlite":
        return
    with suppress(SQLAlchemyError, DatabaseSilentError):
        wrong, age_s = await in_thread(
            queries.note_wrong_try,
            engine,
            group,
            access.wrong.window_s,
            limiter=access.threads,
            deadline_s=TOKEN_S,
        )
        access.wrong.learn(group, wrong, age_s)


async def require_token(request: Request, role: str) -> Token:
    """Return the request's bearer token. Raises ProblemError 401 without a valid one, 403 in another role."""
    access = access_of(request)
    secret = bearer_secret(request.headers.get("authorization"))
    token = None if secret is None else await find_token(request, secret)
    if token is not None and token.role == role:
        return token
    access.refused.inc()
    where = client(request)
    if token is not None:
        log.warning("token refused: wrong role", extra={"token": token.name, "client": where.address})
        raise ProblemError(403, f"this needs a token of role {role}", f"the token is of role {token.role}")
    headers = {"WWW-Authenticate": "Bearer"}
    if secret is not None:
        await note_wrong(request, where.group)
        log.warning("token refused: not valid", extra={"client": where.address})
        wait_s = access.wrong.wait_s(where.group)
        if wait_s is not None:
            headers["Retry-After"] = str(min(wait_s, 60))
    raise ProblemError(401, "a valid token is needed", headers=headers)


async def require_admin(request: Request) -> Token:
    """Return the request's admin token. Raises ProblemError."""
    return await require_token(request, ADMIN)


async def is_signed_in(request: Request) -> bool:
    """Return whether the request carries a live session."""
    secret = request.cookies.get(SESSION_COOKIE, "")
    if not secret or len(secret) > queries.MAX_TOKEN_CHARS:
        return False
    state = state_of(request)
    return await in_thread(
        queries.find_session, state.reader, secret, limiter=access_of(request).threads, deadline_s=TOKEN_S
    )


async def require_reader(request: Request) -> None:
    """Let a request pass that has a session or an admin's token, or whose path is in `OPEN`.

    Raises ProblemError for a program and LoginNeededError for a browser.
    """
    if is_open(_path_of(request)):
        return
    if "authorization" in request.headers:
        await require_admin(request)
    elif not await is_signed_in(request):
        if _path_of(request).startswith("/v1/"):
            await require_admin(request)
        raise LoginNeededError


Admin = Annotated[Token, Depends(require_admin)]


def is_open(path: str) -> bool:
    """Return whether this path needs no reader."""
    return path in OPEN or any(path.startswith(prefix) for prefix in OPEN if prefix.endswith("/"))


def check_closed(app: FastAPI) -> None:
    """Raise AssertionError for a route that `require_reader` cannot protect and that is not in `OPEN`."""
    for route, path in all_routes(app.routes):
        if not isinstance(route, APIRoute) and not is_open(path):
            raise AssertionError(f"{path} is open to everybody: add it through a router, or name it in OPEN")


def all_routes(routes: Iterable[Any]) -> Iterator[tuple[Any, str]]:
    """Yield every route with its whole path, those of included routers too."""
    for entry in routes:
        if callable(inner := getattr(entry, "effective_candidates", None)):
            yield from all_routes(inner())
            yield from all_routes(entry.effective_low_priority_routes())
        else:
            yield getattr(entry, "original_route", entry), entry.path


def _path_of(request: Request) -> str:
    route = request.scope.get("route")
    return route.path if isinstance(route, APIRoute) else request.url.path
