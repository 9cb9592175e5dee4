"""Assemble the ASGI app from its domains."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import Depends, FastAPI, Request
from sqlalchemy import Engine
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from sigprobe import __version__
from sigprobe.collector.access import pages as access_pages
from sigprobe.collector.access import reader
from sigprobe.collector.health import api as health_api
from sigprobe.collector.health import circumstances, readiness
from sigprobe.collector.incidents import api as incidents_api
from sigprobe.collector.incidents import pages as incidents_pages
from sigprobe.collector.ingest import api as ingest_api
from sigprobe.collector.ingest import state as ingest_state
from sigprobe.collector.results import api as results_api
from sigprobe.collector.results import pages as results_pages
from sigprobe.collector.speedtest import api as speedtest_api
from sigprobe.collector.speedtest.shared_books import SharedBooks
from sigprobe.collector.web import openapi, problems
from sigprobe.collector.web.secure_transport import SecureTransport
from sigprobe.collector.web.settings import Settings
from sigprobe.collector.web.state import Worker, make_state
from sigprobe.collector.web.templates_env import error_page

STATIC_DIR: Final = Path(__file__).parent / "web" / "static"


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
        app.include_router(incidents_api.router)
        app.include_router(access_pages.router)
        app.include_router(results_pages.router)
        app.include_router(incidents_pages.router)
        app.mount("/static", StaticFiles(directory=STATIC_DIR), name="static")
    if settings.only != "ingest":
        app.include_router(speedtest_api.router(_throughput_settings(settings), books=_books(settings, engine)))
    reader.check_closed(app)
    app.add_middleware(SecureTransport, settings=settings)
    openapi.describe(app)
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
    return SharedBooks(engine, daily_bytes=settings.throughput_daily_mb * 1_000_000)


def _throughput_settings(settings: Settings) -> speedtest_api.ThroughputSettings:
    return speedtest_api.ThroughputSettings(
        mode=settings.throughput,
        find_account=_account,
        daily_mb=settings.throughput_daily_mb,
        behind_proxy=settings.behind_proxy,
        forwarded_header=settings.forwarded_header,
        plain_public=settings.plain_public,
    )
