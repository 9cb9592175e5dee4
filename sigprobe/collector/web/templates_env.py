"""Templates, the reader's language, and what every page shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from sigprobe.collector.web.state import state_of
from sigprobe.words import i18n

LANG_COOKIE: Final = "sigprobe_lang"
SESSION_COOKIE: Final = "sigprobe_session"
_YEAR_S: Final = 365 * 86400

_environment: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page_language(request: Request) -> str:
    """`?lang=`, else the cookie, else Accept-Language, else Indonesian."""
    for wish in (request.query_params.get("lang"), request.cookies.get(LANG_COOKIE)):
        if wish in i18n.LANGUAGES:
            return wish
    return _accepted(request.headers.get("accept-language", ""))


def _accepted(header: str) -> str:
    best, best_q = "id", 0.0
    for part in header[:500].split(","):
        tag, _, weight = part.strip().partition(";")
        name = tag.strip().lower().partition("-")[0]
        name = "id" if name == "in" else name  # the old code for Indonesian
        try:
            q = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if name in i18n.LANGUAGES and q > best_q:
            best, best_q = name, q
    return best


def render(
    request: Request, template: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any
) -> HTMLResponse:
    """A page in the reader's language; `?lang=` is remembered."""
    lang = page_language(request)
    text = i18n.load(lang).gettext
    body = _environment.get_template(template).render(
        _=text,
        lang=lang,
        languages=[(name, link(request, lang=name)) for name in i18n.LANGUAGES],
        signed_in=values.pop("signed_in", False),
        **values,
    )
    response = HTMLResponse(body, status, {"Cache-Control": "no-store", "Vary": "Cookie, Accept-Language"})
    response.headers.update(headers or {})
    if request.query_params.get("lang") in i18n.LANGUAGES:
        secure = state_of(request).settings.secure_cookies
        response.set_cookie(LANG_COOKIE, lang, max_age=_YEAR_S, httponly=True, samesite="lax", secure=secure)
    return response


def link(request: Request, **changes: str | None) -> str:
    """This page's address with some query values changed; None takes one away. The one-time secret never stays."""
    query: dict[str, str] = dict(request.query_params)
    query.pop("once", None)
    for name, value in changes.items():
        if value is None:
            query.pop(name, None)
        else:
            query[name] = value
    return f"{request.url.path}?{urlencode(query)}" if query else request.url.path
