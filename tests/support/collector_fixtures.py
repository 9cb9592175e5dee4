"""Provide collectors to test against: a store on either engine, and an app in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from sigprobe.collector import store
from sigprobe.collector.access import queries as access_queries
from sigprobe.collector.app import create_app
from sigprobe.collector.web.settings import Settings
from sigprobe.collector.worker.loop import Worker
from tests.support import citus
from tests.support.collector_client import Collector
from tests.support.postgres import Postgres, running

_CITUS = [pytest.param("citus", marks=[pytest.mark.citus, pytest.mark.process])] if citus.URL else []
"""Where a cluster is given, every test of a database runs on it, too."""


@pytest.fixture
def make_collector(tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    """Provide a function that makes a collector with given `Settings` fields, and optionally over an open store."""
    opened: list[tuple[TestClient, Engine, Worker]] = []

    def make(engine: Engine | None = None, *, client_host: str = "127.0.0.1", **settings: Any) -> Collector:
        engine = engine or store.open_store(f"sqlite:///{tmp_path}/collector-{len(opened)}.db")
        worker = Worker(engine)
        app = create_app(Settings(**settings), engine, worker)
        client = TestClient(
            app,
            base_url="http://127.0.0.1",
            client=(client_host, 50000),
            raise_server_exceptions=False,
            follow_redirects=False,
        )
        opened.append((client, engine, worker))
        return Collector(
            client,
            engine,
            access_queries.create_token(engine, f"laptop-{len(opened)}", access_queries.PROBE),
            access_queries.create_token(engine, f"boss-{len(opened)}", access_queries.ADMIN),
            worker,
        )

    yield make
    for client, engine, worker in opened:
        worker.stop()
        ingest = getattr(client.app.state, "ingest", None)  # type: ignore[attr-defined]
        if ingest is not None:
            ingest.group.close()
        client.close()
        engine.dispose()


@pytest.fixture
def collector(make_collector: Callable[..., Collector]) -> Collector:
    """Return a collector on loopback over SQLite."""
    return make_collector()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Provide one running PostgreSQL for all tests that want one."""
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql", *_CITUS])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database, once on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    if request.param == "citus":
        return citus.new_distributed_database()
    return str(request.getfixturevalue("postgres").new_database())


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """Provide an open store on each engine."""
    opened = store.open_store(database)
    yield opened
    opened.dispose()
