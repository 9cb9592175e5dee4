"""`GET /v1/results` for whoever works on with the records, and what machines ask of a server: health, metrics."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from sigprobe import __version__
from sigprobe.collector import store
from sigprobe.collector.access.checks import client_address
from sigprobe.collector.web.problems import ProblemError
from sigprobe.collector.web.state import State, state_of
from sigprobe.record.addresses import is_loopback

results_router = APIRouter(tags=["results"])
health_router = APIRouter(tags=["health"])

_CURSOR: Final = re.compile(r"1:([0-9]{1,18})")


def make_cursor(number: int) -> str:
    """An opaque, URL-safe word for a place in the receive order."""
    return base64.urlsafe_b64encode(f"1:{number}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """The receive number of a cursor. Raises ProblemError 422 when it is none of ours."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise ProblemError(422, "the cursor is not one of ours") from error
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise ProblemError(422, "the cursor is not one of ours")
    return int(found[1])


_RESULTS_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["results", "next"],
    "properties": {
        "results": {"type": "array", "items": {"type": "object"}},
        "next": {"type": ["string", "null"]},
    },
}
_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in (
        (401, "No valid token"),
        (403, "Not an admin's token, or no TLS"),
        (422, "A parameter is not valid"),
        (503, "The database is away: see Retry-After"),
    )
}


@results_router.get(
    "/v1/results",
    summary="Stored records, oldest received first",
    response_class=Response,
    openapi_extra={"security": [{"bearer": []}]},
    responses={
        200: {"description": "One page", "content": {"application/json": {"schema": _RESULTS_ANSWER}}},
        **_PROBLEMS,
    },
)
async def get_results(
    request: Request,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    tps_id: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """One page, run records included, each as the probe wrote it. `next` is null once nothing more is stored."""
    state = state_of(request)
    await require_admin(request, state)
    after = 0 if cursor is None else read_cursor(cursor)
    lines = await to_thread.run_sync(
        lambda: store.page_lines(state.engine, after=after, limit=limit + 1, tps_id=tps_id), limiter=state.read_threads
    )
    shown = lines[:limit]
    following = f'"{make_cursor(shown[-1][0])}"' if len(lines) > limit else "null"
    # the stored bytes as they are: reading and writing them anew could change what a signature covers
    body = b'{"results":[' + b",".join(line for _, line in shown) + b'],"next":' + following.encode() + b"}"
    return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")


async def require_admin(request: Request, state: State) -> None:
    """Raise ProblemError unless the request carries an admin's token."""
    await to_thread.run_sync(
        state.tokens.require, request.headers.get("authorization"), store.ADMIN, limiter=state.token_threads
    )


@health_router.get(
    "/healthz",
    summary="Whether the server and its database answer",
    response_class=JSONResponse,
    responses={503: _PROBLEMS[503]},
)
async def get_health(request: Request) -> dict[str, str]:
    """Ask the database the cheapest question there is; 503 when it does not answer."""
    state = state_of(request)
    await to_thread.run_sync(store.last_number, state.engine, limiter=state.read_threads)
    return {"status": "ok", "version": __version__}


@health_router.get("/metrics", include_in_schema=False)
async def get_metrics(request: Request) -> Response:
    """Counters for Prometheus: from loopback as it is, from elsewhere with an admin's token."""
    state = state_of(request)
    settings = state.settings
    near = not settings.behind_proxy and is_loopback(client_address(request, behind_proxy=False))
    if not near:
        if settings.plain_public:
            raise ProblemError(403, "a token may not pass here without TLS")
        await require_admin(request, state)
    last = await to_thread.run_sync(store.last_number, state.engine, limiter=state.read_threads)
    return Response(metrics_text(state, last), media_type="text/plain; version=0.0.4; charset=utf-8")


def metrics_text(state: State, last_number: int) -> str:
    """The counters of this process in Prometheus's text form."""
    lines: list[str] = []

    def put(name: str, kind: str, text: str, *samples: tuple[str, float]) -> None:
        lines.extend((f"# HELP sigprobe_{name} {text}", f"# TYPE sigprobe_{name} {kind}"))
        lines.extend(f"sigprobe_{name}{labels} {value}" for labels, value in samples)

    put(
        "batches_total",
        "counter",
        "Batches answered, by HTTP status.",
        *((f'{{status="{status}"}}', n) for status, n in sorted(state.batches.items())),
    )
    put(
        "records_total",
        "counter",
        "Records answered in receipts, by status.",
        *((f'{{status="{status}"}}', n) for status, n in sorted(state.records.items())),
    )
    put("shed_total", "counter", "Batches turned away before their body was read.", ("", state.gate.shed))
    put("tokens_refused_total", "counter", "Requests without a token good for them.", ("", state.tokens.refused))
    put("batches_in_flight", "gauge", "Batches on their way now.", ("", state.gate.in_flight))
    put("batches_storing", "gauge", "Batches waiting for the database or in it.", ("", state.gate.storing))
    put("body_bytes_held", "gauge", "Compressed bytes set apart for batches on their way.", ("", state.gate.held_bytes))
    put("store_seconds_total", "counter", "Time spent unpacking and storing.", ("", round(state.store_seconds, 6)))
    put("receive_number", "gauge", "The highest receive number in the database.", ("", last_number))
    if state.last_batch_at_s is not None:
        put("last_batch_timestamp_seconds", "gauge", "When a batch was last stored.", ("", state.last_batch_at_s))
    return "\n".join(lines) + "\n"
