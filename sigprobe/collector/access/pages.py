"""Sign in to the pages: with an admin's token, or with the one-time link that `serve` prints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sigprobe.collector.access import queries as access_queries
from sigprobe.collector.access.reader import access_of, find_token, note_wrong
from sigprobe.collector.web.problems import ProblemError
from sigprobe.collector.web.state import State, client, state_of
from sigprobe.collector.web.templates_env import SESSION_COOKIE, page_language, render
from sigprobe.collector.web.threads import TOKEN_S, in_thread
from sigprobe.words import i18n

router = APIRouter(include_in_schema=False)

_MAX_FORM_BYTES: Final = 8 * 1024
_FORM_S: Final = 15.0

log = logging.getLogger(__name__)


@router.get("/login")
async def get_login(request: Request) -> Response:
    """Return the form; with `?once=` the one-time link is spent instead."""
    once = request.query_params.get("once")
    if once is None:
        return render(request, "login.html", fault=None)
    if "prefetch" in (request.headers.get("sec-purpose") or request.headers.get("purpose") or "").lower():
        # a browser's prefetch must not use up the link
        raise ProblemError(403, "not for prefetching")
    state = state_of(request)
    secret = await in_thread(
        access_queries.spend_once,
        state.engine,
        once[: access_queries.MAX_TOKEN_CHARS],
        limiter=access_of(request).threads,
        deadline_s=TOKEN_S,
    )
    if secret is None:
        _ = _text(request)
        return await _refuse(request, 403, _("This link was already used, or it is too old."))
    log.info("signed in by one-time link", extra={"client": client(request).address})
    # a page that moves on by itself, not a redirect: after a redirect from another site's link the browser would
    # hold back the SameSite=Strict cookie, and the reader would stand before the form again
    response = render(request, "entered.html")
    _set_session(response, secret, state)
    return response


@router.post("/login")
async def post_login(request: Request) -> Response:
    """Exchange an admin's token for a session."""
    state = state_of(request)
    _check_origin(request)
    secret = await _form_value(request, "token")
    token = await find_token(request, secret) if secret else None
    _ = _text(request)
    if token is None or token.role != access_queries.ADMIN:
        fault = (
            _("This token is not valid, or it was revoked.")
            if token is None
            else _("This is a probe's token. The page needs the token of an administrator.")
        )
        return await _refuse(request, 401, fault)
    session = await in_thread(
        access_queries.open_session,
        state.engine,
        token.id,
        limiter=access_of(request).threads,
    )
    log.info("signed in", extra={"token": token.name, "client": client(request).address})
    response = RedirectResponse("/", 303)
    _set_session(response, session, state)
    return response


@router.post("/logout")
async def post_logout(request: Request) -> Response:
    """End the session here and in the database."""
    state = state_of(request)
    _check_origin(request)
    secret = request.cookies.get(SESSION_COOKIE)
    if secret:
        await in_thread(
            access_queries.close_session,
            state.engine,
            secret,
            limiter=access_of(request).threads,
        )
        log.info("signed out", extra={"client": client(request).address})
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=state.settings.secure_cookies)
    return response


def _text(request: Request) -> Callable[[str], str]:
    return i18n.load(page_language(request)).gettext


async def _refuse(request: Request, status: int, fault: str) -> HTMLResponse:
    """Answer a wrong secret: 429 once the client's group has sent too many. A right one never reaches this code."""
    wrong = access_of(request).wrong
    where = client(request)
    await note_wrong(request, where.group)
    log.warning("sign-in refused", extra={"client": where.address})
    wait_s = wrong.wait_s(where.group)
    if wait_s is None:
        return render(request, "login.html", status=status, fault=fault)
    _ = _text(request)
    return render(
        request,
        "login.html",
        status=429,
        headers={"Retry-After": str(wait_s)},
        fault=_("Too many wrong attempts. Please wait a few minutes."),
    )


def _check_origin(request: Request) -> None:
    """Refuse a form from another site: it could sign a reader in or out unnoticed (CSRF)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        origin = request.headers.get("origin")
        ours = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not ours:
        raise ProblemError(403, "the form was sent by another site")


async def _form_value(request: Request, name: str) -> str:
    body = bytearray()
    try:
        async with asyncio.timeout(_FORM_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_FORM_BYTES:
                    raise ProblemError(413, "the form is too large")
    except TimeoutError as error:
        raise ProblemError(408, "the form stopped arriving", headers={"Connection": "close"}) from error
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    return fields.get(name, [""])[0].strip()


def _set_session(response: Response, secret: str, state: State) -> None:
    response.set_cookie(
        SESSION_COOKIE,
        secret,
        max_age=int(access_queries.SESSION_TIME.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=state.settings.secure_cookies,
    )
