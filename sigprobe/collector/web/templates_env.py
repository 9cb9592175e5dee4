"""Set up templates, the reader's language, and the shared parts of every page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from sigprobe.collector.web.state import state_of
from sigprobe.words import i18n
from sigprobe.words.i18n import N_

LANG_COOKIE: Final = "sigprobe_lang"
SESSION_COOKIE: Final = "sigprobe_session"
_YEAR_S: Final = 365 * 86400


def _drawable(value: object) -> object:
    """Return the last defence of every page: a lone surrogate from a stored line cannot be sent as UTF-8."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return value.encode("utf-8", "replace").decode("utf-8")
    return value


_environment: Final = Environment(
    # each domain keeps its pages beside its code, under names of their own
    loader=FileSystemLoader(sorted(Path(__file__).parent.parent.glob("*/templates"))),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_drawable,
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
    """Return a page in the reader's language; `?lang=` is remembered."""
    lang = page_language(request)
    text = i18n.load(lang).gettext
    body = _environment.get_template(template).render(
        _=text,
        lang=lang,
        languages=[(name, link(request, lang=name)) for name in i18n.LANGUAGES],
        signed_in=values.pop("signed_in", False),
        **values,
    )
    # markup of ours may hold what came through a filter: the same defence once more
    response = HTMLResponse(
        body.encode("utf-8", "replace"), status, {"Cache-Control": "no-store", "Vary": "Cookie, Accept-Language"}
    )
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
    return f"{request.url.path}?{urlencode(query, errors='replace')}" if query else request.url.path


def error_page(request: Request, refusal: Response) -> HTMLResponse:
    """Return a refusal as a page in the reader's language, with the problem's own status and headers."""
    _ = i18n.load(page_language(request)).gettext
    text = _ERRORS.get(refusal.status_code) or (
        N_("Something went wrong on this server. Please try again later.")
        if refusal.status_code >= 500
        else N_("This request cannot be answered.")
    )
    kept = {
        name: value for name, value in refusal.headers.items() if name in ("retry-after", "www-authenticate", "allow")
    }
    return render(request, "error.html", status=refusal.status_code, headers=kept, text=_(text))


_ERRORS: Final = {
    403: N_("This request is not allowed."),
    404: N_("There is no such page."),
    405: N_("This request is not allowed."),
    408: N_("The request took too long. Please try again."),
    413: N_("The request is too large."),
    422: N_("A value in the address is not valid."),
    503: N_("The server is busy, or its database is not available now. Please try again in a few seconds."),
}
