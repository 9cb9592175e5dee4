"""Every route needs a reader, unless its path is named."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi import APIRouter
from starlette.routing import Route

from sigprobe.collector.access.reader import OPEN, all_routes, check_closed, is_open
from tests.support.collector_client import Collector


def test_no_route_answers_a_stranger(make_collector: Callable[..., Collector]) -> None:
    """Each route, asked without cookie and token from afar, refuses or leads to the sign-in, if it is not named."""
    collector = make_collector(client_host="192.0.2.7", throughput="token")
    app = collector.client.app
    asked = 0
    for route, path in all_routes(app.routes):  # type: ignore[attr-defined]
        for method in getattr(route, "methods", None) or ["GET"]:
            answer = collector.client.request(method, re.sub(r"{[^}]*}", "x", path))
            if not is_open(path):
                assert answer.status_code in (401, 303), (method, path)
                asked += 1
            elif path in ("/v1/batches", "/metrics") or (path.startswith("/backend/") and method != "OPTIONS"):
                assert answer.status_code == 401 or "getIP" in path, (method, path)
    assert asked >= 3
    assert set(OPEN) == {
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/login",
        "/logout",
        "/static",
        "/v1/batches",
        "/backend/",
    }


def test_a_route_added_without_a_word_is_closed(collector: Collector) -> None:
    """A future router is closed; a route that the dependency cannot reach fails the check."""
    app = collector.client.app
    router = APIRouter()

    @router.get("/v1/new")
    def new() -> str:
        return "secret"

    app.include_router(router)  # type: ignore[attr-defined]
    assert collector.client.get("/v1/new").status_code == 401
    assert collector.get("/v1/new").status_code == 200, "the control: the route is there"
    check_closed(app)  # type: ignore[arg-type]
    app.router.routes.append(Route("/raw", lambda _: None))  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match="/raw"):
        check_closed(app)  # type: ignore[arg-type]
