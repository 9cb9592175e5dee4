"""The ASGI app, put together from its parts."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from sqlalchemy import Engine
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sigprobe import __version__
from sigprobe.collector.access import login
from sigprobe.collector.ingest import endpoint
from sigprobe.collector.results import api, pages
from sigprobe.collector.speedtest import endpoints
from sigprobe.collector.web import problems
from sigprobe.collector.web.settings import Settings
from sigprobe.collector.web.state import State, make_state

STATIC_DIR: Final = Path(__file__).parent / "web" / "static"
_FREE_WITHOUT_TLS: Final = ("/backend/", "/healthz", "/openapi.json", "/metrics")

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


def create_app(settings: Settings, engine: Engine) -> FastAPI:
    """The app for these settings over an open store. It starts nothing and opens nothing by itself."""
    app = FastAPI(title="sigprobe collector", version=__version__, docs_url=None, redoc_url=None)
    state = make_state(settings, engine)
    app.state.collector = state
    problems.install(app)
    app.include_router(api.health_router)
    if settings.only != "throughput":
        app.include_router(endpoint.router)
        app.include_router(api.results_router)
        app.include_router(login.router)
        app.include_router(pages.router)
        app.mount("/static", StaticFiles(directory=STATIC_DIR), name="static")
    if settings.only != "ingest":
        app.include_router(endpoints.router(_throughput_settings(settings, state)))
    app.add_middleware(_Guard, settings=settings)
    _describe(app)
    return app


def _throughput_settings(settings: Settings, state: State) -> endpoints.ThroughputSettings:
    return endpoints.ThroughputSettings(
        mode=settings.throughput,
        check_token=lambda secret: state.tokens.find(secret) is not None,
        daily_mb=settings.throughput_daily_mb,
        behind_proxy=settings.behind_proxy,
    )


class _Guard:
    """Nothing secret in the clear, and headers that leave a hostile record or page no way to act."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._plain_public = settings.plain_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or path.startswith("/backend/"):
            # the speed test sets its own headers: other origins may use it
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_SECURITY_HEADERS]
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
    """Complete the OpenAPI document with what the framework cannot see: our errors, the receipt, the token."""

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
        "required": ["receipt", "batch", "digest", "server_time", "results"],
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
