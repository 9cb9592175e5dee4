"""Serve health, readiness and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from sigprobe import __version__
from sigprobe.collector.access.reader import require_admin
from sigprobe.collector.health.circumstances import gauges, watch_of
from sigprobe.collector.health.queries import last_number
from sigprobe.collector.health.readiness import readiness_of
from sigprobe.collector.incidents.metrics import gauges as incident_gauges
from sigprobe.collector.web.problems import ProblemError, described, problem
from sigprobe.collector.web.state import client, state_of
from sigprobe.collector.web.threads import in_thread

router = APIRouter(tags=["health"])


class _Now(Collector):
    """Metrics that were looked up for one scrape."""

    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._found


_NUMBER_S: Final = 1.0
_NUMBER_HELP: Final = (
    "# HELP sigprobe_receive_number The highest receive number in the database.\n# TYPE sigprobe_receive_number gauge\n"
)


@router.get("/healthz", summary="Whether this process answers", response_class=JSONResponse)
async def get_health() -> dict[str, str]:
    """Answer without any other check. `/readyz` reports whether batches can be stored."""
    return {"status": "ok", "version": __version__}


@router.get(
    "/readyz",
    summary="Whether batches can be stored now",
    response_class=JSONResponse,
    responses=described((503, "The database cannot store anything now")),
)
async def get_readiness(request: Request) -> Response:
    """Try a small write; 503 with the reason when it fails or takes more than two seconds, or the clock is wrong.

    `degraded`, with 200: batches are stored, but something behind them needs an administrator; `checks` names it.
    """
    fault = await readiness_of(request).fault()
    if fault is not None:
        wait_s = state_of(request).retry_after.next_s()
        return problem(503, "batches cannot be stored now", fault, {"Retry-After": str(wait_s)})
    found = await watch_of(request).circumstances()
    checks = {"database": "ok", "clock": "ok"} | ({} if found is None else found.checks())
    return JSONResponse(
        {
            "status": "ready" if all(value == "ok" for value in checks.values()) else "degraded",
            "version": __version__,
            "checks": checks,
        },
        headers={"Cache-Control": "no-store"},
    )


@router.get("/metrics", include_in_schema=False)
async def get_metrics(request: Request) -> Response:
    """Counters for Prometheus: from loopback as it is, from elsewhere with an admin's token."""
    state = state_of(request)
    if not client(request).loopback:
        if state.settings.plain_public:
            raise ProblemError(403, "a token may not pass here without TLS")
        await require_admin(request)
    text = state.metrics.text()
    own = CollectorRegistry()
    own.register(_Now(list(gauges(state, await watch_of(request).circumstances()))))
    text += generate_latest(own)
    # counters are available even while the database is not
    with suppress(SQLAlchemyError, ProblemError):
        last = await in_thread(last_number, state.reader, limiter=state.read_threads, deadline_s=_NUMBER_S)
        text += f"{_NUMBER_HELP}sigprobe_receive_number {last}\n".encode()
    with suppress(SQLAlchemyError, ProblemError):
        found = await in_thread(
            lambda: list(incident_gauges(state.reader)), limiter=state.read_threads, deadline_s=_NUMBER_S
        )
        incidents = CollectorRegistry()
        incidents.register(_Now(found))
        text += generate_latest(incidents)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})
