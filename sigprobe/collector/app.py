"""Assemble the ASGI app from its domains."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from sqlalchemy import Engine
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sigprobe import __version__
from sigprobe.collector.access import pages as access_pages
from sigprobe.collector.access import reader
from sigprobe.collector.health import api as health_api
from sigprobe.collector.health import circumstances, readiness
from sigprobe.collector.ingest import api as ingest_api
from sigprobe.collector.ingest import state as ingest_state
from sigprobe.collector.results import api as results_api
from sigprobe.collector.results import pages as results_pages
from sigprobe.collector.speedtest import api as speedtest_api
from sigprobe.collector.speedtest.shared_books import SharedBooks
from sigprobe.collector.web import problems
from sigprobe.collector.web.log import REQUEST, request_id
from sigprobe.collector.web.settings import Settings
from sigprobe.collector.web.state import Worker, make_state
from sigprobe.collector.web.templates_env import error_page

STATIC_DIR: Final = Path(__file__).parent / "web" / "static"
_FREE_WITHOUT_TLS: Final = ("/backend/", "/healthz", "/readyz", "/openapi.json", "/metrics")

_SECURITY_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def create_app(settings: Settings, engine: Engine, worker: Worker | None = None) -> FastAPI:
    """Return the app for these settings over an open store. It starts nothing and opens nothing by itself."""
    app = FastAPI(
        title="sigprobe collector",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        # every route needs a reader unless its path is named in `reader.OPEN`
        dependencies=[Depends(reader.require_reader)],
    )
    state = make_state(settings, engine, worker)
    app.state.collector = state
    problems.install(app)
    app.state.error_page = error_page
    app.add_exception_handler(reader.LoginNeededError, _to_login)
    reader.install(app, state)
    readiness.install(app, state)
    circumstances.install(app, state)
    app.include_router(health_api.router)
    if settings.only != "throughput":
        ingest_state.install(app, state)
        app.include_router(ingest_api.router)
        app.include_router(results_api.router)
        app.include_router(access_pages.router)
        app.include_router(results_pages.router)
        app.mount("/static", StaticFiles(directory=STATIC_DIR), name="static")
    if settings.only != "ingest":
        app.include_router(speedtest_api.router(_throughput_settings(settings), books=_books(settings, engine)))
    reader.check_closed(app)
    app.add_middleware(_Guard, settings=settings)
    _describe(app)
    return app


async def _to_login(_request: Request, _error: Exception) -> Response:
    return RedirectResponse("/login", 303, {"Cache-Control": "no-store"})


async def _account(request: Request, secret: str) -> str | None:
    token = await reader.find_token(request, secret)
    return None if token is None else token.id


def _books(settings: Settings, engine: Engine) -> SharedBooks | None:
    """Return the books that the processes of one PostgreSQL share; SQLite has one process, with books of its own."""
    if engine.dialect.name == "sqlite":
        return None
    return SharedBooks(engine, daily_bytes=settings.throughput_daily_mb * 1_000_000, clock=time.monotonic)


def _throughput_settings(settings: Settings) -> speedtest_api.ThroughputSettings:
    return speedtest_api.ThroughputSettings(
        mode=settings.throughput,
        find_account=_account,
        daily_mb=settings.throughput_daily_mb,
        behind_proxy=settings.behind_proxy,
        forwarded_header=settings.forwarded_header,
        plain_public=settings.plain_public,
    )


class _Guard:
    """Refuse secrets over plain HTTP, give each request an id, and set headers that keep hostile content inactive."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._plain_public = settings.plain_public
        self._behind_proxy = settings.behind_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        request = None
        if scope["type"] == "http":
            told = Headers(scope=scope).get("x-request-id") if self._behind_proxy else None
            request = request_id(told)
            REQUEST.set(request)
        if scope["type"] != "http" or path.startswith("/backend/"):
            # the speed test sets its own headers: other origins may use it
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = (b"x-request-id", str(request).encode("ascii"))
                message["headers"] = [*message.get("headers", ()), *_SECURITY_HEADERS, own]
            await send(message)

        if self._plain_public and not path.startswith(_FREE_WITHOUT_TLS):
            refusal = problems.problem(
                403,
                "this collector serves no tokens or results without TLS",
                "start it with --tls-cert and --tls-key, with --behind-proxy, or on 127.0.0.1",
            )
            await refusal(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)


def _describe(app: FastAPI) -> None:
    """Complete the OpenAPI document with parts unknown to the framework: our errors, the receipt, the token."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            parts: MutableMapping[str, Any] = schema.setdefault("components", {})
            parts.setdefault("securitySchemes", {})["bearer"] = {"type": "http", "scheme": "bearer"}
            parts.setdefault("schemas", {}).update(_SCHEMAS)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


_SCHEMAS: Final[dict[str, Any]] = {
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status", "sigprobe"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "sigprobe": {"const": 1},
        },
    },
    "Receipt": {
        "type": "object",
        "required": ["receipt", "batch", "digest", "results"],
        "properties": {
            "receipt": {"type": "integer"},
            "batch": {"type": "string"},
            "digest": {"type": "string"},
            "server_time": {"type": "string", "format": "date-time"},
            "results": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["id", "status"],
                    "properties": {
                        "id": {"type": "string"},
                        "status": {"enum": ["accepted", "duplicate", "rejected", "conflict", "retry"]},
                        "reason": {"type": "string"},
                    },
                },
            },
        },
    },
}
