"""Signing in to the pages: an admin's token pasted once, or the one-time link that `serve` prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, urlsplit

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sigprobe.collector import store
from sigprobe.collector.access.checks import client_address
from sigprobe.collector.web.problems import ProblemError
from sigprobe.collector.web.state import State, state_of
from sigprobe.collector.web.templates_env import SESSION_COOKIE, page_language, render
from sigprobe.words import i18n

router = APIRouter(include_in_schema=False)

_MAX_FORM_BYTES: Final = 8 * 1024


async def signed_in(request: Request, state: State) -> bool:
    """Whether the request carries a live session."""
    secret = request.cookies.get(SESSION_COOKIE, "")
    if not secret or len(secret) > store.MAX_TOKEN_CHARS:
        return False
    return await to_thread.run_sync(store.find_session, state.engine, secret, limiter=state.read_threads)


@router.get("/login")
async def get_login(request: Request) -> Response:
    """The form; with `?once=` the one-time link is spent instead."""
    once = request.query_params.get("once")
    if once is None:
        return render(request, "login.html", fault=None)
    if "prefetch" in (request.headers.get("sec-purpose") or request.headers.get("purpose") or "").lower():
        # a browser that looks ahead must not use up the link
        raise ProblemError(403, "not for prefetching")
    state = state_of(request)
    address = client_address(request, behind_proxy=state.settings.behind_proxy)
    refused = _too_many(request, state, address)
    if refused is not None:
        return refused
    secret = await to_thread.run_sync(
        store.spend_once, state.engine, once[: store.MAX_TOKEN_CHARS], limiter=state.read_threads
    )
    if secret is None:
        state.guesses.note(address)
        _ = _text(request)
        return render(request, "login.html", status=403, fault=_("This link was already used, or it is too old."))
    # a page that moves on by itself, not a redirect: after a redirect from another site's link the browser would
    # hold back the SameSite=Strict cookie, and the reader would stand before the form again
    response = render(request, "entered.html")
    _set_session(response, secret, state)
    return response


@router.post("/login")
async def post_login(request: Request) -> Response:
    """Trade an admin's token for a session."""
    state = state_of(request)
    _check_origin(request)
    address = client_address(request, behind_proxy=state.settings.behind_proxy)
    refused = _too_many(request, state, address)
    if refused is not None:
        return refused
    secret = await _form_value(request, "token")
    token = await to_thread.run_sync(state.tokens.find, secret, limiter=state.token_threads)
    _ = _text(request)
    if token is None or token.role != store.ADMIN:
        state.guesses.note(address)
        fault = (
            _("This token is not valid, or it was revoked.")
            if token is None
            else _("This is a probe's token. The page needs the token of an administrator.")
        )
        return render(request, "login.html", status=401, fault=fault)
    session = await to_thread.run_sync(store.open_session, state.engine, token.id, limiter=state.read_threads)
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
        await to_thread.run_sync(store.close_session, state.engine, secret, limiter=state.read_threads)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=state.settings.secure_cookies)
    return response


def _text(request: Request) -> Callable[[str], str]:
    return i18n.load(page_language(request)).gettext


def _too_many(request: Request, state: State, address: str) -> HTMLResponse | None:
    wait_s = state.guesses.wait_s(address)
    if wait_s is None:
        return None
    _ = _text(request)
    return render(
        request,
        "login.html",
        status=429,
        headers={"Retry-After": str(wait_s)},
        fault=_("Too many wrong attempts. Please wait a few minutes."),
    )


def _check_origin(request: Request) -> None:
    """Refuse a form that another site sent: it could sign a reader in or out without their knowing."""
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
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            raise ProblemError(413, "the form is too large")
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    return fields.get(name, [""])[0].strip()


def _set_session(response: Response, secret: str, state: State) -> None:
    response.set_cookie(
        SESSION_COOKIE,
        secret,
        max_age=int(store.SESSION_TIME.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=state.settings.secure_cookies,
    )
